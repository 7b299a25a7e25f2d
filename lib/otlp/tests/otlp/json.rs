//! The JSON reader against an independent writer: arbitrary requests, written in every style that a sender is free to use,
//! come out as the bytes that prost makes of the same request. And whatever the text, there is no panic and little memory.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;
use shipwake_otlp::json::{GROWTH_MAX, JsonError, Transcoded, transcode_logs, transcode_metrics, transcode_spans};

use crate::agree;
use crate::generate;
use crate::json_writer::Style;

fn style() -> impl Strategy<Value = Style> {
    any::<[bool; 5]>().prop_map(|[integers_as_strings, upper_hex, nulls, defaults, strangers]| Style {
        integers_as_strings,
        upper_hex,
        nulls,
        defaults,
        strangers,
    })
}

type Transcode = fn(&[u8], usize) -> Result<Transcoded, JsonError>;

/// Transcodes a text, with and without whitespace, and gives what prost reads from the result, as prost writes it.
fn normalised<M: Message + Default>(json: &Value, transcode: Transcode) -> Vec<u8> {
    let [compact, spaced] = [json.to_string(), format!("{json:#}")].map(|text| {
        let done =
            transcode(text.as_bytes(), text.len() * GROWTH_MAX).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(done.ignored, None);
        done.request
    });
    assert_eq!(compact, spaced);
    agree::check_all(&compact);
    let read = M::decode(compact.as_slice()).unwrap_or_else(|error| panic!("{error}: {json}"));
    read.encode_to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn logs_are_what_prost_makes_of_them(request in generate::logs(), style in style()) {
        let found = normalised::<ExportLogsServiceRequest>(&style.logs(&request), transcode_logs);
        prop_assert_eq!(found, request.encode_to_vec());
    }

    #[test]
    fn spans_are_what_prost_makes_of_them(request in generate::spans(), style in style()) {
        let found = normalised::<ExportTraceServiceRequest>(&style.spans(&request), transcode_spans);
        prop_assert_eq!(found, request.encode_to_vec());
    }

    #[test]
    fn metrics_are_what_prost_makes_of_them(request in generate::metrics(), style in style()) {
        let found = normalised::<ExportMetricsServiceRequest>(&style.metrics(&request), transcode_metrics);
        prop_assert_eq!(found, request.encode_to_vec());
    }

    #[test]
    fn changed_texts_are_refused_or_can_be_scanned(
        request in generate::metrics(),
        style in style(),
        changes in vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(b"{}[],:\"\\0-en".to_vec())]), 1..4),
    ) {
        let mut text = style.metrics(&request).to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        for transcode in [transcode_logs, transcode_spans, transcode_metrics] {
            if let Ok(done) = transcode(&text, text.len() * GROWTH_MAX) {
                agree::check_all(&done.request);
            }
        }
    }
}
