//! The tools that ask, each as a fake that goes by the rules of the real one, reading the files of `deploy/hooks` over real HTTP: what
//! would a rollout do with the answers?

mod argo;
mod boards;
mod files;
mod flagger;
mod spinnaker;

use std::net::SocketAddr;

use shipwake::board::{Board, Publisher, board};
use shipwake::clock::Clock;
use shipwake::gates::Gates;
use shipwake_alerts as shipwake;
use shipwake_verdict::Word;
use tokio_util::sync::CancellationToken;

use boards::{Release, board_of};

/// The address that the files name.
const ADDRESS: &str = "http://shipwake.shipwake.svc:4400";

/// Gates on loopback.
struct Server {
    address: SocketAddr,
    publisher: Publisher,
    revision: u64,
}

impl Server {
    async fn start() -> Self {
        let (publisher, reader) = board();
        let router = Gates::new(reader, None, Clock::default(), CancellationToken::new()).router();
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(socket, router).await });
        Server { address, publisher, revision: 0 }
    }

    /// Shows checkout 2.14.0 with this word.
    fn show(&mut self, word: Word) {
        self.show_board(board_of(vec![Release::new("checkout", "2.14.0").hash("7d9f", "5c6b").word(word)]));
    }

    fn show_board(&mut self, mut shown: Board) {
        self.revision += 1;
        shown.revision = self.revision;
        self.publisher.publish(shown);
    }

    /// An address of a file, on this server.
    fn here(&self, address: &str) -> String {
        assert!(address.starts_with(ADDRESS), "{address}");
        address.replace(ADDRESS, &format!("http://{}", self.address))
    }
}

const WORDS: [Word; 4] = [Word::Go, Word::NoGo, Word::Watch, Word::Wait];

#[tokio::test]
async fn the_script_for_curl_ends_with_the_verdict() {
    let mut server = Server::start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/hooks/curl/gate.sh");
    let url = format!("http://{}", server.address);
    let run = async |candidate: &str| {
        let mut command = tokio::process::Command::new("sh");
        command.args([script, "checkout", candidate]).env("SHIPWAKE_URL", &url);
        let out = command.env("SHIPWAKE_GATE_SECONDS", "0").output().await.expect("it runs");
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code().expect("it ends"), said)
    };
    let (code, said) = run("2.14.0").await;
    assert_eq!(code, 3, "nothing is known: {said}");
    server.show(Word::Go);
    assert_eq!(run("2.14.0").await.0, 0);
    server.show(Word::NoGo);
    let (code, said) = run("2.14.0").await;
    assert_eq!(code, 1);
    assert!(said.starts_with("Roll back: errors"), "{said}");
    let nowhere = tokio::process::Command::new("sh")
        .args([script, "checkout", "2.14.0"])
        .env("SHIPWAKE_URL", "http://127.0.0.1:1")
        .env("SHIPWAKE_GATE_SECONDS", "0")
        .output();
    assert_eq!(nowhere.await.expect("it runs").status.code(), Some(3));
}
