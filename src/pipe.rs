//! `shipwake pipe`: standard input, line by line, to a running Shipwake.
//!
//! A thread reads; the loop gathers what it read and sends one batch after the other. Memory is bounded: when Shipwake does
//! not take lines for long, standard input is not read any further, and the program at the other end waits. A batch has a
//! key, so that one whose answer was lost counts once. Ends when everything is delivered, or says what is not.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::send::post::{Delivered, Post};
use crate::send::words::say;
use crate::send::{Target, cut};

/// What is read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks between the thread and the loop.
const CHUNKS_MAX: usize = 4;
/// Lines that are held while Shipwake does not take them; then reading stops.
const HELD_BYTES_MAX: usize = 16 << 20;
/// A batch goes when nothing came for so long, so that what was written together stays together …
const QUIET: Duration = Duration::from_millis(100);
/// … or when its first line has waited so long.
const LINGER: Duration = Duration::from_millis(500);
/// After a signal, what is on its way is still read for so long.
const LAST_READS: Duration = Duration::from_secs(2);
/// After a signal, delivery may take so long: less than what managers of services allow.
const WAIT_AFTER_SIGNAL: Duration = Duration::from_secs(8);

/// Exit code when something was not delivered, and when Shipwake refused what it was asked.
const NOT_DELIVERED: u8 = 1;
const REFUSED: u8 = 2;

/// `shipwake pipe`.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct PipeArgs {
    /// Where to, and what is said about the lines.
    #[command(flatten)]
    pub target: Target,
    /// Copy standard input to standard output.
    #[arg(long, env = "SHIPWAKE_TEE")]
    pub tee: bool,
}

/// Runs until standard input ends and everything is delivered. Exit code 1 when something is not delivered, 2 when Shipwake
/// refused the very first batch: a wrong format, for example.
///
/// # Errors
/// When the endpoint is not an address.
pub fn run(args: &PipeArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(Pipe::new(args)?.run());
    // The thread may sit in a read that never ends; the process does not wait for it.
    runtime.shutdown_background();
    code
}

struct Pipe {
    wait: Duration,
    chunks: mpsc::Receiver<Vec<u8>>,
    held: Vec<u8>,
    /// When the first and the last byte that is held came.
    since: Instant,
    last: Instant,
    ended: bool,
    /// When waiting for delivery ends.
    give_up: Option<Instant>,
    /// When reading ends after a signal.
    last_reads: Option<Instant>,
    post: Option<Box<Post>>,
    flight: Option<Flight>,
    name: u128,
    batches: u64,
}

struct Flight {
    lines: u64,
    task: JoinHandle<(Box<Post>, Delivered)>,
}

/// What happens next.
enum Event {
    Read(Option<Vec<u8>>),
    Landed(Box<Post>, Delivered),
    /// A signal.
    Asked,
    /// It is time for something.
    Woken,
}

impl Pipe {
    fn new(args: &PipeArgs) -> anyhow::Result<Self> {
        let post = Post::new(&args.target)?;
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let tee = args.tee;
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || read_stdin(&sender, tee))?;
        let now = Instant::now();
        Ok(Pipe {
            wait: args.target.wait,
            chunks,
            held: Vec::new(),
            since: now,
            last: now,
            ended: false,
            give_up: None,
            last_reads: None,
            post: Some(Box::new(post)),
            flight: None,
            name: rand::random(),
            batches: 0,
        })
    }

    async fn run(mut self) -> anyhow::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for Ctrl-C")?;
        loop {
            let now = Instant::now();
            if self.reading_ends().is_some_and(|ends| ends <= now) {
                self.end();
            }
            self.send_if_due(now);
            let delivered = self.ended && self.held.is_empty() && self.flight.is_none();
            if delivered || self.give_up.is_some_and(|give_up| give_up <= now) {
                return Ok(self.finish());
            }
            match self.next(&mut terminate, &mut interrupt).await {
                Event::Read(Some(chunk)) => self.hold(&chunk),
                Event::Read(None) => self.end(),
                Event::Woken => {}
                Event::Landed(_, Delivered::RefusedAtFirst(reason)) => {
                    say(&reason);
                    return Ok(ExitCode::from(REFUSED));
                }
                Event::Landed(post, Delivered::Taken | Delivered::Refused) => {
                    (self.post, self.flight) = (Some(post), None);
                }
                Event::Asked if self.last_reads.is_some() => return Ok(self.finish()),
                Event::Asked => {
                    let now = Instant::now();
                    self.last_reads = Some(now + LAST_READS);
                    self.give_up = Some(now + WAIT_AFTER_SIGNAL.min(self.wait));
                }
            }
        }
    }

    async fn next(&mut self, terminate: &mut Signal, interrupt: &mut Signal) -> Event {
        let due = (self.flight.is_none() && self.sendable()).then(|| self.due(Instant::now()));
        let wake = [due, self.reading_ends(), self.give_up].into_iter().flatten().min();
        let waking = async {
            match wake {
                Some(wake) => sleep_until(wake).await,
                None => std::future::pending().await,
            }
        };
        let landing = async {
            match &mut self.flight {
                Some(flight) => (&mut flight.task).await.expect("sending does not panic"),
                None => std::future::pending().await,
            }
        };
        let reading = !self.ended && self.held.len() < HELD_BYTES_MAX;
        tokio::select! {
            biased;
            (post, delivered) = landing => Event::Landed(post, delivered),
            _ = terminate.recv() => Event::Asked,
            _ = interrupt.recv() => Event::Asked,
            chunk = self.chunks.recv(), if reading => Event::Read(chunk),
            () = waking => Event::Woken,
        }
    }

    /// When reading ends after a signal: when nothing comes any more, or when enough has come.
    fn reading_ends(&self) -> Option<Instant> {
        let until = self.last_reads.filter(|_| !self.ended)?;
        let asked = until - LAST_READS;
        Some(until.min(self.last.max(asked) + 2 * QUIET))
    }

    fn hold(&mut self, chunk: &[u8]) {
        self.last = Instant::now();
        if self.held.is_empty() {
            self.since = self.last;
        }
        self.held.extend_from_slice(chunk);
    }

    fn end(&mut self) {
        self.ended = true;
        self.give_up.get_or_insert(Instant::now() + self.wait);
    }

    fn sendable(&self) -> bool {
        cut::batch_end(&self.held, self.ended) > 0
    }

    /// When the next batch goes.
    fn due(&self, now: Instant) -> Instant {
        if self.ended || self.held.len() >= cut::BATCH_BYTES_MAX {
            return now;
        }
        (self.since + LINGER).min(self.last + QUIET)
    }

    fn send_if_due(&mut self, now: Instant) {
        if self.flight.is_some() || now < self.due(now) {
            return;
        }
        let end = cut::batch_end(&self.held, self.ended);
        let Some(mut post) = (if end > 0 { self.post.take() } else { None }) else { return };
        let rest = self.held.split_off(end);
        let batch = std::mem::replace(&mut self.held, rest);
        self.since = now;
        self.batches += 1;
        let key = format!("pipe-{:032x}-{}", self.name, self.batches);
        let lines = cut::lines(&batch);
        let task = tokio::spawn(async move {
            let delivered = post.deliver(&batch, &key).await;
            (post, delivered)
        });
        self.flight = Some(Flight { lines, task });
    }

    /// Says what is not delivered.
    fn finish(&self) -> ExitCode {
        let undelivered = self.flight.as_ref().map_or(0, |flight| flight.lines) + cut::lines(&self.held);
        let sums = self.post.as_ref().map(|post| post.sums()).unwrap_or_default();
        if undelivered > 0 {
            say(&format!("{undelivered} lines are not delivered"));
        }
        if sums.rejected > 0 {
            say(&format!("{} lines were rejected, {} accepted", sums.rejected, sums.accepted));
        }
        if undelivered > 0 || sums.refused > 0 { ExitCode::from(NOT_DELIVERED) } else { ExitCode::SUCCESS }
    }
}

fn read_stdin(chunks: &mpsc::Sender<Vec<u8>>, mut tee: bool) {
    let mut stdin = std::io::stdin().lock();
    let mut stdout = std::io::stdout();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let count = match stdin.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                say(&format!("failed to read standard input: {error}"));
                return;
            }
        };
        if tee && stdout.write_all(&buffer[..count]).and_then(|()| stdout.flush()).is_err() {
            say("standard output is closed; lines are sent all the same");
            tee = false;
        }
        if chunks.blocking_send(buffer[..count].to_vec()).is_err() {
            return;
        }
    }
}
