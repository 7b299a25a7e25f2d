//! Web apps without a line of telemetry in them, put under the agents that people use: Python's
//! `opentelemetry-instrument` with Flask, and the Java agent with the JDK's own HTTP server. Their requests, errors and routes
//! are counted by version, and so are the logs that they write.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::client::{Protocol, Running, Way, configure};
use crate::dose::assert_conservation;
use crate::harness::{self, Shipwake};
use crate::install;

const FINE: i64 = 20;
const FAILED: i64 = 5;

/// Requests the app's pages, asks it to stop, and waits until it has: agents export what they hold on the way out.
async fn visit(mut app: Running) {
    let address = format!("http://127.0.0.1:{}", app.says("listening").await);
    let client = reqwest::Client::new();
    for number in 0..FINE {
        let answer = client.get(format!("{address}/items/{number}")).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    for _ in 0..FAILED {
        let answer = client.get(format!("{address}/checkout")).send().await.expect("an answer");
        assert_eq!(answer.status(), 500);
    }
    assert_eq!(client.post(format!("{address}/stop")).send().await.expect("an answer").status(), 200);
    app.finish().await;
}

async fn assert_seen(shipwake: &Shipwake, service: &str, version: &str, routes: [&str; 2]) {
    let release = format!("service = '{service}' and version = '{version}' and environment = 'test'");
    let of_route = |route: &str| {
        format!(
            "select count(*), count(*) filter (where status_code = 'error') from spans
             where {release} and kind = 'server' and route = '{route}'"
        )
    };
    shipwake.wait_number(&of_route(routes[0]), FINE).await;
    assert_eq!(shipwake.sql(&of_route(routes[0])).await, [[json!(FINE), json!(0)]]);
    assert_eq!(shipwake.sql(&of_route(routes[1])).await, [[json!(FAILED), json!(FAILED)]]);
    // With the request that stops it.
    let health = format!(
        "select sum(requests), sum(errors), max(source), max(instances) from release_health
         where {release} and resolution_s = 60"
    );
    let expected: [Value; 4] = [json!(FINE + FAILED + 1), json!(FAILED), json!("spans"), json!(1)];
    assert_eq!(shipwake.sql(&health).await, [expected]);
    // The agents send spans and a duration metric of the same requests: two sources, told apart and never added up.
    for source in ["spans", "metrics"] {
        for signal in ["requests", "errors", "duration"] {
            let windows = format!(
                "select sum(count) from windows where {release} and source = '{source}' and signal = '{signal}'
                 and resolution_s = 60 and route = '{}'",
                routes[1]
            );
            assert_eq!(shipwake.number(&windows).await, FAILED, "{service} {version}: {signal} from {source}");
        }
    }
    let logs = |filter: &str| format!("select count(*) from logs where {release} and {filter}");
    shipwake.wait_number(&logs("severity_number between 13 and 16 and body like '%was asked for%'"), FINE).await;
    shipwake
        .wait_number(&logs("severity_number >= 17 and attributes['exception.message'] = 'card declined'"), FAILED)
        .await;
    let joined = format!(
        "select count(*) from logs join spans on logs.trace_id = spans.trace_id and logs.span_id = spans.span_id
         where logs.service = '{service}' and logs.version = '{version}' and logs.body like '%was asked for%'"
    );
    assert_eq!(shipwake.number(&joined).await, FINE, "log records point at their spans");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flask_app_under_auto_instrumentation_is_seen_by_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = harness::start(folder.path()).await;
    let python = install::python();
    for way in [Way::plain(Protocol::Grpc), Way { gzip: true, ..Way::plain(Protocol::HttpProtobuf) }] {
        let mut command = Command::new(python.with_file_name("opentelemetry-instrument"));
        command.arg(&python).arg(install::sources().join("python/app.py"));
        configure(&mut command, "flask", &way.to_string(), way, &way.protocol.endpoint(&shipwake));
        command.env("OTEL_SEMCONV_STABILITY_OPT_IN", "http");
        command.env("OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED", "true");
        visit(Running::new(command, format!("Flask over {way}"))).await;
        assert_seen(&shipwake, "flask", &way.to_string(), ["GET /items/<int:item>", "GET /checkout"]).await;
    }
    assert_conservation(&shipwake, [0, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_java_web_app_under_the_agent_is_seen_by_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = harness::start(folder.path()).await;
    let java = install::java();
    for way in [Way::plain(Protocol::Grpc), Way { gzip: true, ..Way::plain(Protocol::HttpProtobuf) }] {
        let mut command = Command::new("java");
        command.arg(format!("-javaagent:{}", java.join("agent/opentelemetry-javaagent.jar").display()));
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]).arg(java.join("classes")).arg("shop.App");
        configure(&mut command, "jdk", &way.to_string(), way, &way.protocol.endpoint(&shipwake));
        visit(Running::new(command, format!("the Java agent over {way}"))).await;
        assert_seen(&shipwake, "jdk", &way.to_string(), ["GET /items", "GET /checkout"]).await;
    }
    assert_conservation(&shipwake, [0, 0, 0]).await;
}
