//! A proxy between the store and its S3 server that lets requests go wrong as planned: answers get lost, requests come late or not at
//! all, the server says that it is too busy.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What becomes of a request to create an object whose path contains the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is done, and the answer is lost.
    LoseAnswer,
    /// It is not done, and there is no answer.
    LoseRequest,
    /// There is no answer, and it is done when [`Proxy::deliver`] is called.
    Late,
    /// It is not done: 503 SlowDown.
    SlowDown,
    /// It is not done: 409, as for two who create the object at the same moment.
    Conflict,
    /// It is not done, and the answer is that it is.
    Lie,
}

/// See the head of the file. Works until the test ends.
pub struct Proxy {
    pub port: u16,
    plan: Arc<Plan>,
}

#[derive(Default)]
struct Plan {
    faults: Mutex<VecDeque<(&'static str, Fault)>>,
    late: Mutex<Vec<Vec<u8>>>,
    /// Faults that have happened.
    happened: Mutex<usize>,
}

impl Proxy {
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let plan: Arc<Plan> = Arc::default();
        let of_thread = plan.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let plan = of_thread.clone();
                std::thread::spawn(move || serve(&client, server, &plan));
            }
        });
        Self { port, plan }
    }

    /// Plans a fault for the next request to create an object whose path contains `path`; several are met in order.
    pub fn plan(&self, path: &'static str, fault: Fault) {
        self.plan.faults.lock().expect("lock").push_back((path, fault));
    }

    /// How many of the planned faults have happened.
    pub fn happened(&self) -> usize {
        *self.plan.happened.lock().expect("lock")
    }

    /// Hands on the requests that were late, one after the other.
    pub fn deliver(&self, server: u16) {
        for request in self.plan.late.lock().expect("lock").drain(..) {
            let mut upstream = TcpStream::connect(("127.0.0.1", server)).expect("the server listens");
            upstream.write_all(&request).expect("takes the request");
            read_message(&mut BufReader::new(upstream), true).expect("answers");
        }
    }
}

fn serve(client: &TcpStream, server: u16, plan: &Plan) -> Option<()> {
    let mut requests = BufReader::new(client.try_clone().ok()?);
    let upstream = TcpStream::connect(("127.0.0.1", server)).ok()?;
    let mut answers = BufReader::new(upstream.try_clone().ok()?);
    let (mut to_client, mut to_server) = (client, &upstream);
    loop {
        let request = read_message(&mut requests, true)?;
        let line = String::from_utf8_lossy(request.split(|byte| *byte == b'\r').next()?).into_owned();
        match fault_of(plan, &line) {
            Some(Fault::LoseRequest) => return end(client),
            Some(Fault::Late) => {
                plan.late.lock().expect("lock").push(request);
                return end(client);
            }
            Some(fault @ (Fault::SlowDown | Fault::Conflict)) => {
                let (status, code) = match fault {
                    Fault::SlowDown => ("503 Slow Down", "SlowDown"),
                    _ => ("409 Conflict", "ConditionalRequestConflict"),
                };
                let body = format!("<Error><Code>{code}</Code><Message>later</Message></Error>");
                let length = body.len();
                write!(to_client, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").ok()?;
                continue;
            }
            Some(Fault::Lie) => {
                write!(to_client, "HTTP/1.1 200 OK\r\netag: \"x\"\r\ncontent-length: 0\r\n\r\n").ok()?;
                continue;
            }
            fault => {
                to_server.write_all(&request).ok()?;
                let answer = read_message(&mut answers, !line.starts_with("HEAD "))?;
                if fault == Some(Fault::LoseAnswer) {
                    return end(client);
                }
                to_client.write_all(&answer).ok()?;
            }
        }
    }
}

fn end(client: &TcpStream) -> Option<()> {
    client.shutdown(std::net::Shutdown::Both).ok()
}

fn fault_of(plan: &Plan, line: &str) -> Option<Fault> {
    let mut faults = plan.faults.lock().expect("lock");
    let (path, fault) = *faults.front()?;
    if !line.starts_with("PUT ") || !line.contains(path) {
        return None;
    }
    faults.pop_front();
    *plan.happened.lock().expect("lock") += 1;
    Some(fault)
}

/// One request or answer, head and body.
fn read_message(from: &mut impl BufRead, has_body: bool) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let start = message.len();
        if from.read_until(b'\n', &mut message).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&message[start..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        is_chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        if line.trim().is_empty() {
            break;
        }
    }
    if !has_body {
        return Some(message);
    }
    if is_chunked {
        while !message.ends_with(b"\r\n0\r\n\r\n") {
            if from.read_until(b'\n', &mut message).ok()? == 0 {
                return None;
            }
        }
        return Some(message);
    }
    let start = message.len();
    message.resize(start + length, 0);
    from.read_exact(&mut message[start..]).ok()?;
    Some(message)
}
