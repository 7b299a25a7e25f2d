//! rsyslog forwards what programs log, octet-counted RFC 5424 over TCP, and keeps it while Shipwake is away.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{Start, eventually, free_ports, spawn};
use crate::process::Process;

#[tokio::test]
async fn rsyslog_delivers_what_was_logged_before_shipwake_was_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().display();
    let port = free_ports()[0];
    let config = format!(
        r#"global(workDirectory="{dir}" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{dir}/log" RateLimit.Interval="0" Annotate="off")
action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" TCP_Framing="octet-counted"
       template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1" action.resumeInterval="1"
       queue.type="LinkedList" queue.size="10000")
"#
    );
    let file = folder.path().join("rsyslog.conf");
    std::fs::write(&file, config).expect("written");
    let (file, pid) = (file.to_str().expect("text"), format!("{dir}/rsyslogd.pid"));
    let rsyslog = Process::start("rsyslogd", &["-n", "-f", file, "-i", &pid]);
    let socket = folder.path().join("log");
    eventually("rsyslog listens", || async { socket.exists().then_some(()) }).await;
    let socket = socket.to_str().expect("text");
    log(socket, "checkout", "local0.err", &(0..400).map(|n| format!("order {n} failed\n")).collect::<String>());
    log(socket, "cart", "user.info", "{\"level\":\"warn\",\"msg\":\"slow\",\"version\":\"7\"}\n");

    let tcp = format!("127.0.0.1:{port}");
    let options = ["--syslog-tcp", &tcp, "--syslog-apps", "checkout=1.42.0"];
    let shipwake = spawn(&Start { data: &folder.path().join("data"), options: &options, ports: None });
    shipwake.wait_ready().await;
    log(socket, "checkout", "local0.info", &(400..500).map(|n| format!("order {n} paid\n")).collect::<String>());
    let count = "select count(distinct body) from logs where service = 'checkout' and version = '1.42.0'";
    shipwake.wait_number(count, 500).await;
    assert_eq!(shipwake.number("select count(*) from logs where service = 'checkout'").await, 500);
    assert_eq!(
        shipwake.number("select count(*) from logs where service = 'checkout' and severity_number = 17").await,
        400
    );
    shipwake
        .wait_number("select count(*) from logs where service = 'cart' and version = '7' and severity_number = 13", 1)
        .await;
    assert_eq!(shipwake.metric("shipwake_records_received_total", "logs").await, 501.0);
    assert_eq!(shipwake.metric("shipwake_records_rejected_total", "logs").await, 0.0);
    let host = "select count(distinct instance) from logs where attributes['host.name'] = instance";
    assert_eq!(shipwake.number(host).await, 1, "rsyslog names the host");
    rsyslog.stop();
}

/// `logger`, a line each.
fn log(socket: &str, tag: &str, priority: &str, text: &str) {
    let mut logger = Command::new("logger")
        .args(["-u", socket, "-t", tag, "-p", priority])
        .stdin(Stdio::piped())
        .spawn()
        .expect("logger is part of every Debian");
    logger.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    assert!(logger.wait().expect("started here").success());
}
