//! Log patterns, end to end: what only the canary writes is told with its count and an example, known noise is not, and a
//! kill changes no count.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use serde_json::Value;

use crate::harness::{Shipwake, eventually, start};
use crate::otlp::{logs, now_ns, post, resource, spans};

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

/// Error lines of an instance, one for each time.
fn errors(version: &str, instance: &str, lines: &[(u64, String)]) -> ExportLogsServiceRequest {
    let bodies: Vec<&str> = lines.iter().map(|(_, body)| body.as_str()).collect();
    let mut request = logs(resource("pay", version, instance), &bodies);
    let records =
        request.resource_logs.iter_mut().flat_map(|logs| &mut logs.scope_logs).flat_map(|logs| &mut logs.log_records);
    for (record, (time, _)) in records.zip(lines) {
        (record.time_unix_nano, record.severity_number) = (*time, 17);
    }
    request
}

/// Eight minutes of version 1, four of a canary with a tenth of its traffic. Both time out once in thirty requests; the
/// canary rejects cards too.
async fn send(shipwake: &Shipwake) {
    let now = now_ns();
    let times =
        |count: u64, seconds: u64| (0..count).map(move |n| now - n * seconds * S / count - S).collect::<Vec<_>>();
    let requests = |times: &[u64]| times.iter().map(|time| (*time, 20 * MS, 200)).collect::<Vec<_>>();
    let timeouts = |times: &[u64]| -> Vec<(u64, String)> {
        times
            .iter()
            .step_by(30)
            .map(|time| (*time, format!("read tcp 10.4.0.{}:5432: i/o timeout", time % 250)))
            .collect()
    };
    let (old, new) = (times(1_800, 480), times(90, 240));
    let rejected: Vec<(u64, String)> = new
        .iter()
        .take(12)
        .map(|time| (*time, format!("card token tok_{time:x} rejected by acquirer lighthouse: unsupported version 3")))
        .collect();
    post(&shipwake.http(), "traces", &spans(resource("pay", "1.0", "a"), &requests(&old))).await;
    post(&shipwake.http(), "traces", &spans(resource("pay", "1.1", "b"), &requests(&new))).await;
    post(&shipwake.http(), "logs", &errors("1.0", "a", &timeouts(&old))).await;
    post(&shipwake.http(), "logs", &errors("1.1", "b", &timeouts(&new))).await;
    post(&shipwake.http(), "logs", &errors("1.1", "b", &rejected)).await;
}

async fn assert_told(shipwake: &Shipwake) {
    let told = eventually("the new pattern is told", || async {
        let release = shipwake.api("/api/v1/services/pay/release?env=test&from=now-10m&to=now&cand=1.1&base=1.0").await;
        let patterns = release["patterns"].as_array()?.clone();
        (!patterns.is_empty()).then_some(patterns)
    })
    .await;
    assert_eq!(told.len(), 1, "known noise is not told: {told:?}");
    let one = &told[0];
    assert_eq!((one["class"].as_str(), one["level"].as_str()), (Some("new"), Some("error")), "{one}");
    assert_eq!(one["text"], "card token <*> rejected by acquirer lighthouse: unsupported version <*>");
    assert_eq!((one["count"].as_u64(), one["count_base"].as_u64()), (Some(12), Some(0)), "{one}");
    assert!(one["sample"].as_str().is_some_and(|sample| sample.starts_with("card token tok_")), "{one}");
    let id = one["id"].as_str().expect("an id");
    assert_eq!(shipwake.number(&format!("select count(*) from logs where pattern_id = '{id}'")).await, 12);
}

async fn counts(shipwake: &Shipwake) -> Vec<Vec<Value>> {
    shipwake
        .sql(
            "select version, template, level, count, cast(first_seen as bigint) / 1000000, example from patterns \
             where service = 'pay' order by version, template",
        )
        .await
}

#[tokio::test]
async fn a_new_error_line_of_the_canary_is_told_and_a_kill_changes_no_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let first = start(&data).await;
    send(&first).await;
    assert_told(&first).await;
    let before = counts(&first).await;
    let lines: Vec<_> = before.iter().map(|row| (row[0].as_str(), row[3].as_i64())).collect();
    assert_eq!(lines, [(Some("1.0"), Some(60)), (Some("1.1"), Some(12)), (Some("1.1"), Some(3))], "{before:?}");
    first.kill();

    // From the journal, and then from what a commit wrote.
    let second = start(&data).await;
    assert_eq!(counts(&second).await, before);
    assert_told(&second).await;
    let (status, _) = second.terminate();
    assert!(status.success(), "{status}");
    let third = start(&data).await;
    assert_eq!(counts(&third).await, before);
    assert_told(&third).await;
    let overview = eventually("the overview counts it", || async {
        let overview = third.api("/api/v1/overview").await;
        overview["services"].as_array()?.iter().find(|line| line["service"] == "pay").cloned()
    })
    .await;
    assert_eq!(overview["new_patterns"].as_u64(), Some(1), "{overview}");
}
