//! `shipwake pipe`: nothing is lost and nothing counted twice, whatever happens to the server; what is wrong is said.

use std::time::Duration;

use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Start, eventually, free_ports, spawn, start};
use crate::sender::{Sender, lines};

const COUNT: &str = "select count(*) from logs where service = 'piped' and version = '1.0'";
const DISTINCT: &str = "select count(distinct body) from logs where service = 'piped'";

#[tokio::test]
async fn lines_wait_for_a_server_that_starts_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let ports = free_ports();
    let mut pipe = Sender::pipe(&format!("http://127.0.0.1:{}", ports[1]), &[]);
    pipe.write(&lines(0, 1000));
    eventually("says that nobody is there", || async { pipe.said().contains("holding lines").then_some(()) }).await;
    let shipwake = spawn(&Start { data: &folder.path().join("data"), options: &[], ports: Some(ports) });
    shipwake.wait_ready().await;
    shipwake.wait_number(COUNT, 1000).await;
    eventually("says that it is back", || async { pipe.said().contains("takes lines again").then_some(()) }).await;
    pipe.write("the last one has no end");
    pipe.close_stdin();
    assert_eq!(pipe.exit_code().await, 0, "{}", pipe.said());
    shipwake.wait_number(COUNT, 1001).await;
}

#[tokio::test]
async fn kills_of_the_server_lose_nothing_and_count_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let start = Start { data: &data, options: &["--commit-seconds", "1"], ports: Some(free_ports()) };
    let mut shipwake = spawn(&start);
    shipwake.wait_ready().await;
    let mut pipe = Sender::pipe(&shipwake.http(), &["--wait", "30s"]);
    for round in 0..8 {
        for part in 0..10 {
            let from = round * 2000 + part * 200;
            pipe.write(&lines(from, from + 200));
            // The moment of the kill is the randomness that is tested; nothing waits for a condition here.
            tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..30))).await;
        }
        shipwake.kill();
        shipwake = spawn(&start);
    }
    shipwake.wait_ready().await;
    pipe.close_stdin();
    assert_eq!(pipe.exit_code().await, 0, "{}", pipe.said());
    shipwake.wait_number(COUNT, 16_000).await;
    assert_eq!(shipwake.number(DISTINCT).await, 16_000);
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_counts_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let between = loses_the_first_answer(shipwake.ports()[1]).await;
    let mut pipe = Sender::pipe(&between, &[]);
    pipe.write(&"the same\n".repeat(50));
    pipe.close_stdin();
    assert_eq!(pipe.exit_code().await, 0, "{}", pipe.said());
    shipwake.wait_number(COUNT, 50).await;
    eventually("the second request is recognised", || async {
        (shipwake.metric("shipwake_records_deduplicated_total", "logs").await == 50.0).then_some(())
    })
    .await;
    assert_eq!(shipwake.number(COUNT).await, 50);
}

/// A relay that throws away the answer to the first connection. Gives its address.
async fn loses_the_first_answer(port: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        for connection in 0.. {
            let (mut client, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.expect("Shipwake listens");
                if connection > 0 {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
                let (mut from_client, _keep) = client.split();
                let (mut from_server, mut to_server) = server.split();
                let mut answer = [0; 1];
                tokio::select! {
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                    _ = from_server.read_exact(&mut answer) => {}
                }
                let _ = to_server.shutdown().await;
            });
        }
    });
    address
}

#[tokio::test]
async fn what_cannot_be_delivered_is_said_and_copied_all_the_same() {
    let nobody = format!("http://127.0.0.1:{}", free_ports()[1]);
    let mut pipe = Sender::pipe(&nobody, &["--tee", "--wait", "300ms"]);
    pipe.write("one\ntwo\n\nthree");
    pipe.close_stdin();
    assert_eq!(pipe.exit_code().await, 1);
    assert_eq!(pipe.stdout(), "one\ntwo\n\nthree");
    assert!(pipe.said().contains("3 lines are not delivered"), "{}", pipe.said());
}

#[tokio::test]
async fn rejected_lines_are_shown_and_a_wrong_format_ends_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let mut pipe = Sender::pipe(&shipwake.http(), &["--format", "json"]);
    pipe.write("{\"msg\":\"good\"}\nnot json\n");
    pipe.close_stdin();
    assert_eq!(pipe.exit_code().await, 0, "{}", pipe.said());
    let said = pipe.said();
    assert!(said.contains("not json") && said.contains("1 lines were rejected, 1 accepted"), "{said}");
    shipwake.wait_number(COUNT, 1).await;

    let mut pipe = Sender::pipe(&shipwake.http(), &["--format", "cobol"]);
    pipe.write("x\n");
    assert_eq!(pipe.exit_code().await, 2, "{}", pipe.said());
    assert!(pipe.said().contains("cobol"), "{}", pipe.said());
}

#[tokio::test]
async fn sigterm_sends_what_was_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let mut pipe = Sender::pipe(&shipwake.http(), &["--tee"]);
    pipe.write(&lines(0, 3000));
    eventually("it has read", || async { pipe.stdout().ends_with("line 2999\n").then_some(()) }).await;
    pipe.signal("-TERM");
    assert_eq!(pipe.exit_code().await, 0, "{}", pipe.said());
    shipwake.wait_number(COUNT, 3000).await;
}
