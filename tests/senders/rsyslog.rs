//! rsyslog forwards what programs log, octet-counted RFC 5424 over TCP, and keeps it while Shipwake is away.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Start, eventually, free_ports, spawn, start_with};
use crate::process::Process;

/// A rsyslog that takes what is logged at a socket and forwards it to `port`.
async fn rsyslog(folder: &Path, port: u16) -> (Process, String) {
    let dir = folder.display();
    let config = format!(
        r#"global(workDirectory="{dir}" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{dir}/log" RateLimit.Interval="0" Annotate="off")
action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" TCP_Framing="octet-counted"
       template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1" action.resumeInterval="1"
       queue.type="LinkedList" queue.size="10000")
"#
    );
    let file = folder.join("rsyslog.conf");
    std::fs::write(&file, config).expect("written");
    let (file, pid) = (file.to_str().expect("text"), format!("{dir}/rsyslogd.pid"));
    let process = Process::start("rsyslogd", &["-n", "-f", file, "-i", &pid]);
    let socket = folder.join("log");
    eventually("rsyslog listens", || async { socket.exists().then_some(()) }).await;
    (process, socket.to_str().expect("text").to_owned())
}

fn numbered(what: &str, count: usize) -> String {
    (0..count).map(|n| format!("order {n} {what}\n")).collect()
}

#[tokio::test]
async fn what_rsyslog_forwards_is_there_once_with_level_and_release() {
    let folder = tempfile::tempdir().expect("a folder");
    let tcp = format!("127.0.0.1:{}", free_ports()[0]);
    let options = ["--syslog-tcp", &tcp, "--syslog-apps", "checkout=1.42.0"];
    let shipwake = start_with(&folder.path().join("data"), &options).await;
    let port = tcp.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let (rsyslog, socket) = rsyslog(folder.path(), port).await;
    log(&socket, "checkout", "local0.err", &numbered("failed", 400));
    log(&socket, "checkout", "local0.info", &numbered("paid", 100));
    log(&socket, "cart", "user.info", "{\"level\":\"warn\",\"msg\":\"slow\",\"version\":\"7\"}\n");
    shipwake.wait_number("select count(*) from logs", 501).await;
    let number = async |condition: &str| shipwake.number(&format!("select count(*) from logs where {condition}")).await;
    assert_eq!(number("service = 'checkout' and version = '1.42.0'").await, 500);
    assert_eq!(number("service = 'checkout' and severity_number = 17").await, 400);
    assert_eq!(number("service = 'cart' and version = '7' and severity_number = 13 and body = 'slow'").await, 1);
    assert_eq!(shipwake.number("select count(distinct body) from logs").await, 501);
    assert_eq!(shipwake.metric("shipwake_records_received_total", "logs").await, 501.0);
    assert_eq!(shipwake.metric("shipwake_records_rejected_total", "logs").await, 0.0);
    let host = "select count(distinct instance) from logs where attributes['host.name'] = instance";
    assert_eq!(shipwake.number(host).await, 1, "rsyslog names the host");
    rsyslog.stop();
}

#[tokio::test]
async fn rsyslog_delivers_what_was_logged_before_shipwake_was_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_ports()[0];
    let (rsyslog, socket) = rsyslog(folder.path(), port).await;
    log(&socket, "checkout", "local0.err", &numbered("failed", 400));
    let tcp = format!("127.0.0.1:{port}");
    let options = ["--syslog-tcp", &tcp];
    let shipwake = spawn(&Start { data: &folder.path().join("data"), options: &options, ports: None });
    shipwake.wait_ready().await;
    // rsyslog itself sends the first message of a connection that failed twice, so only different ones are counted.
    shipwake.wait_number("select count(distinct body) from logs where service = 'checkout'", 400).await;
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
