//! Answers get lost: a proxy between a sender and the program cuts connections when the answer to a request comes, and the sender
//! sends the request again, as SDKs do. Each record counts once. (F13 of `docs/faults.md`)

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rand::Rng;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::chance::{chances, rounds};
use crate::harness::{eventually, start_with};
use crate::load::{Load, judge};

/// A request of the load is larger, what a connection says about itself is smaller.
const REQUEST_BYTES: usize = 4096;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_answer_was_lost_counts_once_when_it_comes_again() {
    for protocol in ["http", "grpc"] {
        let random = chances(protocol);
        let folder = tempfile::tempdir().expect("a folder");
        let shipwake = start_with(&folder.path().join("data"), &["--commit-seconds", "1"]).await;
        let server = shipwake.ports()[usize::from(protocol == "http")];
        let cutter = Cutter::start(server, random).await;
        let oracle = folder.path().join("oracle");
        let options = ["--protocol", protocol, "--rate", "2000/s", "--in-flight", "16"];
        let load = Load::start_at(cutter.port, shipwake.ports()[2], &oracle, &options);
        // In pieces, because a condition has a limit.
        let cuts = rounds(30, 500);
        for reached in (0..cuts).step_by(30).chain([cuts]) {
            eventually(&format!("{reached} answers are lost"), || async { (cutter.cuts() >= reached).then_some(()) })
                .await;
        }
        cutter.stop();
        load.stop().await;
        judge(&shipwake, &oracle).await;
        let repeated = shipwake.metric("shipwake_records_deduplicated_total", "").await;
        println!("{protocol}: {} answers lost, {repeated} records deduplicated", cutter.cuts());
        // Not each cut loses the answer of a request that was taken, but most do, and a request has 50 records.
        assert!(repeated >= f64::from(cuts) / 2.0 * 50.0, "{repeated} records came again after {cuts} cuts");
    }
}

/// A proxy that loses answers until it is stopped.
struct Cutter {
    port: u16,
    plan: Arc<Plan>,
}

struct Plan {
    server: u16,
    random: Mutex<StdRng>,
    cuts: AtomicU32,
    stopped: std::sync::atomic::AtomicBool,
}

/// How an answer gets lost.
enum Loss {
    /// Nothing of it comes.
    All,
    /// Its first half comes.
    Half,
}

impl Cutter {
    async fn start(server: u16, random: StdRng) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let plan =
            Arc::new(Plan { server, random: Mutex::new(random), cuts: AtomicU32::new(0), stopped: false.into() });
        let of_task = plan.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let plan = of_task.clone();
                tokio::spawn(async move { plan.serve(client).await });
            }
        });
        Cutter { port, plan }
    }

    fn cuts(&self) -> u32 {
        self.plan.cuts.load(Ordering::Relaxed)
    }

    /// Hands everything on from now.
    fn stop(&self) {
        self.plan.stopped.store(true, Ordering::Relaxed);
    }
}

impl Plan {
    /// Hands bytes on in both directions until one end closes, or an answer is to be lost.
    async fn serve(&self, mut client: TcpStream) -> Option<()> {
        let mut server = TcpStream::connect(("127.0.0.1", self.server)).await.ok()?;
        let (mut from_client, mut from_server) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let mut asked = 0;
        loop {
            tokio::select! {
                read = client.read(&mut from_client) => {
                    let bytes = read.ok().filter(|bytes| *bytes > 0)?;
                    server.write_all(&from_client[..bytes]).await.ok()?;
                    asked += bytes;
                }
                read = server.read(&mut from_server) => {
                    let bytes = read.ok().filter(|bytes| *bytes > 0)?;
                    match self.loss(asked) {
                        Some(Loss::All) => return None,
                        Some(Loss::Half) => {
                            client.write_all(&from_server[..bytes / 2]).await.ok()?;
                            return None;
                        }
                        None => {}
                    }
                    client.write_all(&from_server[..bytes]).await.ok()?;
                    asked = 0;
                }
            }
        }
    }

    /// Whether and how to lose what comes after a client has sent so much.
    fn loss(&self, asked: usize) -> Option<Loss> {
        if asked < REQUEST_BYTES || self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let mut random = self.random.lock().expect("no panic");
        if !random.random_bool(0.25) {
            return None;
        }
        self.cuts.fetch_add(1, Ordering::Relaxed);
        Some(if random.random_bool(0.5) { Loss::All } else { Loss::Half })
    }
}
