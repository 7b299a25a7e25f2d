//! Live topics over a real socket.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::rows::{Requests, release};
use crate::support::{T0, World};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const LIMIT: Duration = Duration::from_secs(10);

async fn serve(world: &World) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = world.query.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn world() -> World {
    let world = World::new();
    for second in 0..600 {
        world.shard.requests_in_memory(&Requests::new(&release("checkout", "1"), T0 + second * 1_000, 5));
    }
    world.set_now(T0 + 600_000);
    world
}

async fn connect(address: SocketAddr) -> Socket {
    connect_async(format!("ws://{address}/api/v1/live/ws")).await.expect("a socket").0
}

async fn send(socket: &mut Socket, command: Value) {
    socket.send(Message::text(command.to_string())).await.expect("sent");
}

/// The next message that `wanted` accepts, within the limit.
async fn next(socket: &mut Socket, wanted: impl Fn(&Value) -> bool) -> Value {
    let until = tokio::time::Instant::now() + LIMIT;
    loop {
        let message = tokio::time::timeout_at(until, socket.next()).await.expect("a message in time");
        let message = message.expect("an open socket").expect("a message");
        let Message::Text(text) = message else { continue };
        let value: Value = serde_json::from_str(&text).expect("JSON");
        if wanted(&value) {
            return value;
        }
    }
}

fn is(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |message| message["k"] == kind
}

#[tokio::test]
async fn a_topic_begins_whole_and_goes_on_with_what_changed() {
    let world = world();
    let mut socket = connect(serve(&world).await).await;
    let beat = next(&mut socket, is("hb")).await;
    assert_eq!(beat, json!({"k": "hb", "now": T0 + 600_000, "wm": T0 + 600_000, "lag_ms": 0}));
    send(&mut socket, json!({"op": "sub", "id": 7, "topic": "service.release", "args": {"service": "checkout", "env": "prod", "from": "now-5m", "step": "10s"}})).await;
    let snap = next(&mut socket, is("snap")).await;
    assert_eq!((&snap["id"], &snap["wm"]), (&json!(7), &json!(T0 + 600_000)));
    let times = |message: &Value| {
        message["data"]["t"].as_array().expect("times").iter().filter_map(Value::as_i64).collect::<Vec<_>>()
    };
    assert_eq!(times(&snap).len(), 30);

    // Ten seconds later: two windows are new, and none of the old ones is sent again.
    for second in 600..611 {
        world.shard.requests_in_memory(&Requests::new(&release("checkout", "1"), T0 + second * 1_000, 5));
    }
    world.set_now(T0 + 611_000);
    let grown = |message: &Value| message["k"] == "delta" && times(message).len() == 2;
    let delta = next(&mut socket, grown).await;
    assert!(delta["seq"].as_u64() > snap["seq"].as_u64());
    assert_eq!(times(&delta), [T0 + 600_000, T0 + 610_000]);
    assert_eq!(delta["data"]["lanes"][0]["n"], json!([50, 5]));
    assert_eq!(delta["data"]["meta"]["from"], json!(T0 + 310_000), "what lies before has left the range");
    assert_eq!(delta["data"]["headline"], "1 takes all traffic");
}

#[tokio::test]
async fn the_live_answer_is_the_rest_answer() {
    let world = world();
    let mut socket = connect(serve(&world).await).await;
    for (id, topic, args, path) in [
        (1, "overview", json!({"env": "prod"}), "/api/v1/overview?env=prod"),
        (2, "pipeline", json!({}), "/api/v1/pipeline"),
        (3, "service.release", json!({"service": "checkout"}), "/api/v1/services/checkout/release"),
    ] {
        send(&mut socket, json!({"op": "sub", "id": id, "topic": topic, "args": args})).await;
        let mut pushed =
            next(&mut socket, |message| message["k"] == "snap" && message["id"] == id).await["data"].take();
        let (_, mut asked) = world.get(path).await;
        pushed["meta"]["query_ms"] = Value::Null;
        asked["meta"]["query_ms"] = Value::Null;
        assert_eq!(pushed, asked, "{topic}");
    }
}

#[tokio::test]
async fn a_paused_topic_is_silent_until_it_is_resumed() {
    let world = world();
    let mut socket = connect(serve(&world).await).await;
    send(&mut socket, json!({"op": "sub", "id": 1, "topic": "overview", "args": {}})).await;
    let snap = next(&mut socket, is("snap")).await;
    send(&mut socket, json!({"op": "pause", "id": 1})).await;
    // Commands are carried out in order: after the answer to this one the pause is in force.
    send(&mut socket, json!({"op": "resume", "id": 99})).await;
    next(&mut socket, |message| message["id"] == 99 && message["k"] == "err").await;
    for _ in 0..2 {
        let message = next(&mut socket, |message| message["id"] == 1 || message["k"] == "hb").await;
        assert_eq!(message["k"], "hb", "two heartbeats take two seconds or more");
    }
    send(&mut socket, json!({"op": "resume", "id": 1})).await;
    let resumed = next(&mut socket, |message| message["id"] == 1).await;
    assert!(resumed["k"] == "snap" || resumed["k"] == "delta", "{resumed}");
    assert!(resumed["seq"].as_u64() > snap["seq"].as_u64(), "{resumed}");
}

#[tokio::test]
async fn what_cannot_be_followed_is_said() {
    let world = world();
    let mut socket = connect(serve(&world).await).await;
    for (command, code) in [
        (json!({"op": "sub", "id": 1, "topic": "weather"}), "bad-argument"),
        (json!({"op": "sub", "id": 1, "topic": "service.release", "args": {}}), "bad-argument"),
        (json!({"op": "sub", "id": 1, "topic": "service.release", "args": {"service": "nobody"}}), "not-found"),
        (
            json!({"op": "sub", "id": 1, "topic": "service.release", "args": {"service": "checkout", "from": "x"}}),
            "bad-argument",
        ),
        (json!({"op": "dance"}), "bad-request"),
    ] {
        send(&mut socket, command.clone()).await;
        assert_eq!(next(&mut socket, is("err")).await["code"], code, "{command}");
    }
    socket.send(Message::binary(vec![1, 2, 3])).await.expect("sent");
    assert_eq!(next(&mut socket, is("err")).await["code"], "bad-request");
    // A failed topic heals when the thing appears.
    send(&mut socket, json!({"op": "sub", "id": 5, "topic": "service.release", "args": {"service": "late"}})).await;
    next(&mut socket, |message| message["id"] == 5 && message["k"] == "err").await;
    world.shard.requests_in_memory(&Requests::new(&release("late", "1"), T0 + 599_000, 5));
    next(&mut socket, |message| message["id"] == 5 && message["k"] == "snap").await;
}

#[tokio::test]
async fn a_page_of_another_site_may_not_connect() {
    let world = world();
    let address = serve(&world).await;
    for (origin, allowed) in [("http://evil.example".to_owned(), false), (format!("http://{address}"), true)] {
        let mut request = format!("ws://{address}/api/v1/live/ws").into_client_request().expect("a request");
        request.headers_mut().insert("origin", origin.parse().expect("a header"));
        match connect_async(request).await {
            Ok(_) => assert!(allowed, "{origin}"),
            Err(WsError::Http(response)) => assert!(!allowed && response.status() == 403, "{origin}: {response:?}"),
            Err(other) => panic!("{origin}: {other}"),
        }
    }
}

#[tokio::test]
async fn closing_the_stage_ends_the_sockets() {
    let world = world();
    let mut socket = connect(serve(&world).await).await;
    next(&mut socket, is("hb")).await;
    world.query.close();
    let closed = tokio::time::timeout(LIMIT, async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(Some(frame)) = message {
                return Some(u16::from(frame.code));
            }
        }
        None
    });
    assert_eq!(closed.await.expect("an end in time"), Some(1001));
}

/// Reads server-sent events until one is of the kind.
struct Events {
    stream: TcpStream,
    text: String,
}

impl Events {
    async fn open(address: SocketAddr, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        Self { stream, text: String::new() }
    }

    /// The head of the answer.
    async fn head(&mut self) -> String {
        self.part("HTTP/1.1", "\r\n\r\n").await.to_lowercase()
    }

    /// The next event that holds a text, from there to its end. Events before it are passed over.
    async fn until(&mut self, wanted: &str) -> String {
        self.part(wanted, "\n\n").await
    }

    async fn part(&mut self, wanted: &str, terminator: &str) -> String {
        let read = async {
            loop {
                if let Some(at) = self.text.find(wanted)
                    && let Some(end) = self.text[at..].find(terminator)
                {
                    let event = self.text[at..at + end].to_owned();
                    self.text.drain(..at + end);
                    return event;
                }
                let mut bytes = [0; 4096];
                let count = self.stream.read(&mut bytes).await.expect("a stream");
                assert!(count > 0, "the stream ended: {}", self.text);
                self.text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        };
        tokio::time::timeout(LIMIT, read).await.expect("an event in time")
    }
}

fn id_of(event: &str) -> u64 {
    let line = event.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id");
    line.trim().parse().expect("a number")
}

#[tokio::test]
async fn server_sent_events_carry_the_same_and_can_be_resumed() {
    let world = world();
    let address = serve(&world).await;
    let path = "/api/v1/live/sse?topic=overview&env=prod";
    let mut events = Events::open(address, path, "").await;
    let head = events.head().await;
    assert!(head.contains(" 200 ") && head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("x-accel-buffering: no"), "{head}");
    let snap = events.until("event: snap").await;
    assert!(snap.contains("\"k\":\"snap\"") && snap.contains("\"service\":\"checkout\""), "{snap}");
    events.until("event: hb").await;
    let seen = id_of(&events.until("event: delta").await);
    drop(events);

    let mut again = Events::open(address, path, &format!("Last-Event-ID: {seen}\r\n")).await;
    let delta = again.until("event: delta").await;
    assert_eq!(id_of(&delta), seen + 1, "what was missed comes first: {delta}");
    let mut stranger = Events::open(address, path, "Last-Event-ID: 5\r\n").await;
    stranger.until("event: snap").await;

    let (status, problem) = world.get("/api/v1/live/sse?topic=weather").await;
    assert_eq!((status.as_u16(), problem["argument"].as_str()), (400, Some("topic")));
}

#[tokio::test]
async fn subscribers_of_one_topic_share_its_computation() {
    let world = world();
    let address = serve(&world).await;
    let mut sockets = Vec::new();
    for _ in 0..8 {
        let mut socket = connect(address).await;
        send(&mut socket, json!({"op": "sub", "id": 1, "topic": "pipeline"})).await;
        sockets.push(socket);
    }
    for socket in &mut sockets {
        let first = next(socket, is("snap")).await["seq"].as_u64().expect("a number");
        next(socket, |message| message["seq"].as_u64() >= Some(first + 2)).await;
    }
    let newest = next(&mut sockets[0], |message| message["seq"].is_u64()).await["seq"].as_u64().expect("a number");
    let frames = newest - u64::try_from(T0 + 600_000).expect("after 1970") + 1;
    let asked = world.counters.asked.load(Ordering::Relaxed) as u64;
    assert!(asked <= frames + 2, "{asked} computations for {frames} frames of eight sockets");
    // Nobody follows it any more: it is not computed any more.
    drop(sockets);
    let until = Instant::now() + LIMIT;
    let mut last = (asked, Instant::now());
    while last.1.elapsed() < Duration::from_millis(2_500) {
        let now = world.counters.asked.load(Ordering::Relaxed) as u64;
        if now != last.0 {
            last = (now, Instant::now());
        }
        assert!(Instant::now() < until, "still computed with nobody there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
