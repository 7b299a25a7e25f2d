//! A real Prometheus scrapes Shipwake's own metrics and writes them back: a service by version.

use std::process::{Child, Command, Stdio};

use crate::harness::{eventually, free_ports, start};
use crate::senders::assert_conserved;

/// A Prometheus that is stopped when the test ends.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_real_prometheus_writes_a_service_by_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\n\
         scrape_configs:\n\
         - job_name: shipwake\n  static_configs:\n  - targets: ['{}']\n    labels: {{version: '7.3', environment: test}}\n\
         remote_write:\n- url: '{}/api/v1/write'\n  queue_config: {{batch_send_deadline: 200ms}}\n",
        shipwake.ui().trim_start_matches("http://"),
        shipwake.http(),
    );
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, config).expect("a folder of our own");
    let log = std::fs::File::create(folder.path().join("prometheus.log")).expect("a folder of our own");
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{}", free_ports()[0]))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("prometheus is installed by `make needs-test`");
    let prometheus = Prometheus(child);
    let said = || std::fs::read_to_string(folder.path().join("prometheus.log")).unwrap_or_default();

    eventually("the scraped metrics are points of their version", || async {
        let points = "select count(*) from points where service = 'shipwake' and version = '7.3' and environment = 'test' \
                      and metric = 'shipwake_records_stored_total'";
        (shipwake.number(points).await >= 3).then_some(())
    })
    .await;
    let instance =
        "select count(distinct instance) from points where service = 'shipwake' and instance like '127.0.0.1:%'";
    assert_eq!(shipwake.number(instance).await, 1);
    let wrong = "select count(*) from points where metric like '%_total' and (kind <> 'sum' or not monotonic)";
    assert_eq!(shipwake.number(wrong).await, 0);
    eventually("histograms are whole", || async {
        let histograms =
            "select count(*) from points where metric = 'shipwake_visible_lag_seconds' and kind = 'histogram' and unit = 's' and count > 0";
        (shipwake.number(histograms).await >= 2).then_some(())
    })
    .await;
    eventually("increases are in windows by version", || async {
        let stored = "select cast(sum(sum) as bigint) from windows where service = 'shipwake' and version = '7.3' \
                      and metric = 'shipwake_records_stored_total' and resolution_s = 60";
        (shipwake.number(stored).await > 0).then_some(())
    })
    .await;
    drop(prometheus);
    assert!(!said().contains("non-recoverable"), "{}", said());
    assert_eq!(shipwake.metric("shipwake_records_rejected_total", "").await, 0.0);
    assert_conserved(&shipwake).await;
}
