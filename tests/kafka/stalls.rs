//! A partition that is silent although there is something to read: a proxy between Shipwake and its broker swallows the answers to
//! requests for records, and hands everything else on. Nobody's thread has ended and every connection is alive; only the watch sees it.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::broker::{Kafka, Settings};
use crate::harness::{Start, eventually, spawn};
use crate::otlp::{logs, post, resource};

/// The number of the request for records in Kafka's protocol.
const FETCH: u16 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_stands_still_is_said_and_goes_on_where_it_was() {
    let proxy = Proxy::start();
    let advertised = format!("PLAINTEXT://127.0.0.1:{}", proxy.port);
    let kafka = Kafka::start(&Settings {
        brokers: 1,
        secure: false,
        besides: &[("advertised.listeners", advertised.as_str())],
    });
    let port = kafka.bootstrap().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    proxy.plan.broker.store(port, Ordering::Relaxed);
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let journal = format!("kafka://127.0.0.1:{}/journal?create=true", proxy.port);
    let start = Start { data: &data, options: &["--journal", &journal, "--partitions", "1"], ports: None };
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    post(&shipwake.http(), "logs", &logs(resource("pay", "1", "i"), &["before"])).await;
    shipwake.wait_number("select count(*) from logs where service = 'pay'", 1).await;
    assert_eq!(shipwake.metric("shipwake_journal_stalls_total", "").await, 0.0);

    proxy.plan.swallows.store(true, Ordering::Relaxed);
    // A request for records may be answered already.
    eventually("an answer is swallowed", || {
        std::future::ready((proxy.plan.swallowed.load(Ordering::Relaxed) > 0).then_some(()))
    })
    .await;
    for n in 0..5 {
        post(&shipwake.http(), "logs", &logs(resource("pay", "1", "i"), &[&format!("meanwhile {n}")])).await;
    }
    eventually("the watch tells of the partition", || async {
        (shipwake.metric("shipwake_journal_stalls_total", "").await >= 1.0).then_some(())
    })
    .await;
    let answer = reqwest::get(format!("{}/readyz", shipwake.ui())).await.expect("an answer");
    let (status, said) = (answer.status().as_u16(), answer.text().await.expect("text"));
    assert!(status == 503 && said.contains("partition 0"), "{status} {said}");
    assert!(shipwake.log().contains("stands still"), "{}", shipwake.log());
    assert_eq!(shipwake.number("select count(*) from logs where service = 'pay'").await, 1);

    // The path is mended: what was swallowed is asked for again on a new connection.
    proxy.plan.swallows.store(false, Ordering::Relaxed);
    proxy.cut();
    shipwake.wait_number("select count(*) from logs where service = 'pay'", 6).await;
    assert_eq!(shipwake.number("select count(distinct body) from logs where service = 'pay'").await, 6);
    shipwake.wait_ready().await;
}

/// See the head of the file.
struct Proxy {
    port: u16,
    plan: Arc<Plan>,
}

#[derive(Default)]
struct Plan {
    broker: AtomicU16,
    swallows: AtomicBool,
    swallowed: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let plan: Arc<Plan> = Arc::default();
        let of_thread = plan.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(broker) = TcpStream::connect(("127.0.0.1", of_thread.broker.load(Ordering::Relaxed))) else {
                    continue;
                };
                of_thread.serve(&client, &broker);
            }
        });
        Proxy { port, plan }
    }

    /// Ends all connections.
    fn cut(&self) {
        for connection in self.plan.connections.lock().expect("no panic").drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Plan {
    /// Hands messages on in both directions on threads of their own.
    fn serve(self: &Arc<Self>, client: &TcpStream, broker: &TcpStream) {
        let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        self.connections.lock().expect("no panic").extend([clone(client), clone(broker)]);
        // Numbers of the requests for records that are not answered yet.
        let fetches: Arc<Mutex<HashSet<[u8; 4]>>> = Arc::default();
        let (mut from, mut to, asked) = (clone(client), clone(broker), fetches.clone());
        std::thread::spawn(move || {
            while let Some(request) = message(&mut from) {
                let kind = u16::from_be_bytes([request[4], request[5]]);
                if kind == FETCH {
                    asked.lock().expect("no panic").insert(request[8..12].try_into().expect("four bytes"));
                }
                if to.write_all(&request).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
        let (mut from, mut to, plan) = (clone(broker), clone(client), self.clone());
        std::thread::spawn(move || {
            while let Some(answer) = message(&mut from) {
                let is_records = fetches.lock().expect("no panic").remove(&answer[4..8]);
                if is_records && plan.swallows.load(Ordering::Relaxed) {
                    plan.swallowed.fetch_add(1, Ordering::Relaxed);
                } else if to.write_all(&answer).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

/// One message with its length in front. A request has kind, version and number behind it, an answer the number.
fn message(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let bytes = u32::from_be_bytes(length) as usize;
    let mut message = vec![0; 4 + bytes];
    message[..4].copy_from_slice(&length);
    from.read_exact(&mut message[4..]).ok()?;
    (bytes >= 8).then_some(message)
}
