//! Syslog over TCP and UDP from raw sockets: every message is a record of the right release, or is counted.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};

use crate::harness::{Shipwake, eventually, free_ports, start, start_with};

struct Running {
    _folder: tempfile::TempDir,
    shipwake: Shipwake,
    tcp: String,
    udp: String,
}

async fn running() -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let ports = free_ports();
    let (tcp, udp) = (format!("127.0.0.1:{}", ports[0]), format!("127.0.0.1:{}", ports[1]));
    let options = [
        "--syslog-tcp",
        &tcp,
        "--syslog-udp",
        &udp,
        "--syslog-apps",
        "nginx=shop@1.42.0",
        "--syslog-environment",
        "prod",
    ];
    let shipwake = start_with(&folder.path().join("data"), &options).await;
    Running { _folder: folder, shipwake, tcp, udp }
}

fn send_tcp(address: &str, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(bytes).expect("sent");
    stream
}

/// received = stored + rejected, once nothing is on its way.
async fn assert_conserved(shipwake: &Shipwake, received: f64, rejected: f64) {
    eventually("received = stored + rejected", || async {
        let found = [
            shipwake.metric("shipwake_records_received_total", "logs").await,
            shipwake.metric("shipwake_records_stored_total", "logs").await,
            shipwake.metric("shipwake_records_rejected_total", "logs").await,
        ];
        (found == [received, received - rejected, rejected]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn messages_of_both_standards_are_records_of_their_releases() {
    let running = running().await;
    let shipwake = &running.shipwake;
    let structured = r#"<165>1 2026-11-23T10:00:00.5Z web-1 app 12 ID47 [shipwake@0 service="pay" version="9"][x@1 k="v"] disk is full"#;
    let json = r#"<14>1 - web-2 app - - - {"level":"error","msg":"no stock","service":"cart","version":"7"}"#;
    let counted: String = [structured, json].iter().map(|text| format!("{} {text}", text.len())).collect();
    let cut = "<14>1 - web-2 app - - - {\"level\":\"error\",\"msg\":\"cut by a rel";
    let counted = format!("{counted}{} {cut}", cut.len());
    // A line without an end is complete when its connection is.
    let mixed = format!("{counted}<187>Feb  6 12:14:14 web-3 nginx[5]: upstream is gone\n<14>1 - - app - - - last");
    drop(send_tcp(&running.tcp, mixed.as_bytes()));
    shipwake.wait_number("select count(*) from logs", 5).await;
    assert_eq!(shipwake.number("select count(*) from logs where body like '%cut by a rel'").await, 1);

    let rows = shipwake
        .sql(
            "select service, version, environment, instance, severity_number, body, attributes['syslog.x@1.k'], \
             attributes['host.name'] from logs where body not like '%cut by a rel' order by service",
        )
        .await;
    let text = |row: usize| serde_json::to_string(&rows[row]).expect("JSON");
    assert_eq!(text(0), r#"["app","unversioned","prod","127.0.0.1",9,"last",null,null]"#);
    assert_eq!(text(1), r#"["cart","7","prod","web-2",17,"no stock",null,"web-2"]"#);
    assert_eq!(text(2), r#"["pay","9","prod","web-1",10,"disk is full","v","web-1"]"#);
    assert_eq!(text(3), r#"["shop","1.42.0","prod","web-3",17,"upstream is gone",null,"web-3"]"#);
    let at = "select count(*) from logs where time = timestamp '2026-11-23T10:00:00.5'";
    assert_eq!(shipwake.number(at).await, 1);
    assert_conserved(shipwake, 5.0, 0.0).await;
}

#[tokio::test]
async fn many_messages_over_udp_and_tcp_are_all_counted() {
    let running = running().await;
    let shipwake = &running.shipwake;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for n in 0..300 {
        socket.send_to(format!("<13>1 - h udp - - - message {n}\n").as_bytes(), &running.udp).expect("sent");
        if n % 50 == 49 {
            // The kernel's buffer is small: not more at once than it holds.
            shipwake.wait_number("select count(*) from logs where service = 'udp'", n + 1).await;
        }
    }
    let streams: Vec<TcpStream> = (0..4)
        .map(|stream| {
            let text: String = (0..5000).map(|n| format!("<13>1 - h tcp - - - {stream} {n}\n")).collect();
            send_tcp(&running.tcp, text.as_bytes())
        })
        .collect();
    shipwake.wait_number("select count(distinct body) from logs where service = 'tcp'", 20_000).await;
    assert_eq!(shipwake.metric("shipwake_syslog_connections", "").await, 4.0);
    drop(streams);
    assert_conserved(shipwake, 20_300.0, 0.0).await;
}

#[tokio::test]
async fn what_is_too_long_or_no_message_is_rejected_and_the_rest_is_taken() {
    let running = running().await;
    let shipwake = &running.shipwake;
    let long = format!("<13>1 - h a - - - {}", "x".repeat(70_000));
    let lies = "19 <13>1 - h a - - - abc and more than the count says";
    let stream = format!("{long}\n{} {long}<13>1 - h a - - - good\n{lies}\n\n<13>1 - h a - - - good\n", long.len());
    let mut connection = send_tcp(&running.tcp, stream.as_bytes());
    let good = "select count(*) from logs where body = 'good'";
    shipwake.wait_number(good, 2).await;
    connection.write_all("no header at all: kept as it is\n".as_bytes()).expect("still connected");
    shipwake.wait_number("select count(*) from logs where body like 'no header%'", 1).await;
    // Twice too long, once between messages; the one with the lie is kept up to where its count ended.
    assert_conserved(shipwake, 7.0, 3.0).await;
}

#[tokio::test]
async fn sigterm_keeps_what_was_sent_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let tcp = format!("127.0.0.1:{}", free_ports()[0]);
    let data = folder.path().join("data");
    let shipwake = start_with(&data, &["--syslog-tcp", &tcp]).await;
    let text: String = (0..50_000).map(|n| format!("<13>1 - h stop - - - {n}\n")).collect();
    let _open = send_tcp(&tcp, text.as_bytes());
    shipwake.wait_number("select least(count(*), 1) from logs", 1).await;
    let (status, _) = tokio::task::spawn_blocking(move || shipwake.terminate()).await.expect("joined");
    assert!(status.success(), "{status}");
    let again = start(&data).await;
    again.wait_number("select count(distinct body) from logs where service = 'stop'", 50_000).await;
}
