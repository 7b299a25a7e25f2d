//! From messages to the bytes of an OTLP request. Pure: the time of receipt is an argument.

use serde::de::IgnoredAny;
use shipwake_otlp::write::Value;

use super::config::SyslogConfig;
use super::frame::{Frame, Framer};
use super::message::{Clock, read};
use super::record::known;
use crate::config::IngestConfig;
use crate::lines::{Converted, ConvertedLines, Converter, Parameters, Patterns, Rules, Source};

/// How texts are read: as `auto` reads a line, and as they stand.
pub(super) struct How {
    auto: Rules,
    raw: Rules,
}

impl How {
    /// `offset_s`: what times without a zone are in. 0 is not said: then such a time is not taken from a text at all.
    pub(super) fn new(config: &IngestConfig, patterns: &Patterns, offset_s: i32) -> Self {
        let sign = if offset_s < 0 { "-" } else { "%2B" };
        let minutes = offset_s.unsigned_abs() / 60;
        let zone = match minutes {
            0 => String::new(),
            minutes => format!("&tz={sign}{:02}{:02}", minutes / 60, minutes % 60),
        };
        let rules = |format: &str| {
            let uri = format!("/?multiline=off&format={format}{zone}").parse().expect("letters and digits");
            let rules = Parameters::of(&uri).and_then(|of| Rules::new(&of, &config.upstreams, patterns));
            rules.expect("the format is known, and upstreams were checked at the start")
        };
        How { auto: rules("auto"), raw: rules("raw") }
    }
}

/// Messages on their way to a request.
pub(super) struct Converting<'h> {
    config: &'h SyslogConfig,
    clock: Clock,
    lines: Converter<'h>,
    texts: Converter<'h>,
}

impl<'h> Converting<'h> {
    pub(super) fn new(how: &'h How, config: &'h SyslogConfig, received_ns: i64, ingest: &IngestConfig) -> Self {
        Converting {
            config,
            clock: Clock { received_ns, offset_s: config.offset_s },
            lines: Converter::new(&how.auto, received_ns, ingest),
            texts: Converter::new(&how.raw, received_ns, ingest),
        }
    }

    /// Takes a message that came from `peer`.
    pub(super) fn message(&mut self, message: &[u8], peer: &str) {
        let message = read(message, self.clock);
        let known = known(&message, peer, self.config);
        let attributes: Vec<(&str, Value<'_>)> =
            known.attributes.iter().map(|(name, value)| (name.as_str(), Value::String(value.as_bytes()))).collect();
        let source = Source {
            identity: &known.identity,
            time_ns: message.time_ns,
            severity: known.severity,
            attributes: &attributes,
        };
        let converter = if is_only_text(message.body) { &mut self.texts } else { &mut self.lines };
        converter.record(message.body, 1, &source);
    }

    pub(super) fn finish(self) -> Converted {
        let (mut whole, texts) = (self.lines.finish(), self.texts.finish());
        // Requests one behind the other are one request.
        whole.request.extend_from_slice(&texts.request);
        whole.accepted += texts.accepted;
        for (reason, found) in texts.rejected.reasons {
            whole.rejected.add(reason, found.count, || found.detail);
        }
        whole
    }
}

/// Whether a text is kept as it stands: it is empty, or it begins as JSON and is none, because a relay has cut it. A sender
/// of `/v1/lines` would be told; here nobody listens, and what is left of a message is better than nothing.
fn is_only_text(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    body.is_empty() || (body.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(body).is_err())
}

/// What becomes of a TCP stream of syslog, cut into chunks of `chunk_bytes`: for fuzzing.
pub fn convert_syslog(stream: &[u8], chunk_bytes: usize, received_ns: i64) -> ConvertedLines {
    let (ingest, config) = (IngestConfig::default(), SyslogConfig::default());
    let how = How::new(&ingest, &Patterns::default(), config.offset_s);
    let mut converting = Converting::new(&how, &config, received_ns, &ingest);
    let (mut framer, mut rejected) = (Framer::new(config.message_bytes_max), 0);
    let mut take = |framer: &mut Framer, ended: bool| {
        while let Some(frame) = framer.next(ended) {
            match frame {
                Frame::Message(message) => converting.message(&message, "127.0.0.1"),
                Frame::Rejected(_) => rejected += 1,
            }
        }
    };
    for chunk in stream.chunks(chunk_bytes.max(1)) {
        framer.push(chunk);
        take(&mut framer, false);
    }
    take(&mut framer, true);
    let Converted { request, accepted, rejected: refused, .. } = converting.finish();
    ConvertedLines { request, accepted, rejected: rejected + refused.total() }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    const NOW_NS: i64 = 1_795_428_000_000_000_000;

    #[test]
    fn nothing_is_rejected_for_what_it_says() {
        let stream =
            b"<13>1 - h a - - - {\"cut\":\"by a rel\n<13>1 - h a - - - \n<13>\n{\n<13>1 - h a - - - {\"ok\":1}\n";
        let found = convert_syslog(stream, 7, NOW_NS);
        assert_eq!((found.accepted, found.rejected), (5, 0));
    }

    proptest! {
        #[test]
        fn how_a_stream_arrives_does_not_matter(
            pieces in prop::collection::vec(prop_oneof![
                "<[0-9]{1,3}>1 - h app - - (-|\\[a b=\"c\"\\]) [ -~]{0,40}\n".prop_map(String::into_bytes),
                "<[0-9]{1,3}>Feb  6 12:14:14 h app: [ -~]{0,40}\n".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..40),
            ], 0..8),
            chunk in 1usize..50,
        ) {
            let stream = pieces.concat();
            let (whole, cut) = (convert_syslog(&stream, stream.len(), NOW_NS), convert_syslog(&stream, chunk, NOW_NS));
            prop_assert_eq!(&whole, &cut);
            let request = ExportLogsServiceRequest::decode(whole.request.as_slice()).expect("a valid request");
            let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
            prop_assert_eq!(scopes.map(|scope| scope.log_records.len() as u64).sum::<u64>(), whole.accepted);
        }
    }
}
