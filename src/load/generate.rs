//! Sends the schedule: one task paces, one task per request sends and repeats it as an SDK would, one reports.
//!
//! Requests in flight are bounded; when the bound is reached the pacer waits, and what it sends later counts its latency
//! from when it was due. Everything runs on one thread: the generator shares its cores with the server it measures.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::args::GenerateArgs;
use super::content::Shape;
use super::oracle;
use super::oracle_file::OracleFile;
use super::probe;
use super::schedule::{Planned, Schedule};
use super::stats::Stats;
use super::template::Templates;
use super::wire::retry::Next;
use super::wire::{Outcome, Protocol, Retry, Sender};

const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What the tasks of a run share.
struct Run {
    stats: Mutex<Stats>,
    oracle: Option<OracleFile>,
    give_up: Duration,
    batch: u32,
    started: Instant,
}

/// Runs the load and returns its summary. `stop` ends it early; what is in flight is still waited for.
///
/// # Errors
/// When an endpoint is no URL or the oracle cannot be written. Refusals and losses are part of the summary.
pub async fn run(args: &GenerateArgs, stop: CancellationToken) -> anyhow::Result<Value> {
    let shape = Shape::of(args, args.run.clone().unwrap_or_else(run_name));
    let templates = Templates::new(shape.clone());
    let senders = senders(args)?;
    let oracle =
        args.oracle.as_deref().map(|path| OracleFile::create(path, &oracle::header_line(&shape))).transpose()?;
    let run = Arc::new(Run {
        stats: Mutex::default(),
        oracle,
        give_up: args.give_up,
        batch: shape.batch,
        started: Instant::now(),
    });
    eprintln!(
        "run {}: {} resources, {:.0} bytes a record",
        shape.run,
        shape.resources(),
        templates.request_bytes().iter().sum::<usize>() as f64 / 3.0 / f64::from(shape.batch)
    );

    let ended = CancellationToken::new();
    let background = tokio::spawn(report(run.clone(), args.report_every, ended.clone()));
    let syncing = tokio::spawn(sync_oracle(run.clone(), ended.clone()));
    let probing = args.visible_lag.then(|| {
        let probe = probe::run(args.url.clone(), shape.run.clone(), senders[0].clone(), ended.clone());
        tokio::spawn(probe)
    });

    let paced = pace(args, &templates, &senders, &run, &stop).await;
    let elapsed = run.started.elapsed();
    ended.cancel();
    paced?;
    background.await.context("the reporter panicked")?;
    syncing.await.context("the oracle's syncer panicked")??;
    if let Some(oracle) = &run.oracle {
        oracle.append(&oracle::end_line())?;
        oracle.sync()?;
    }
    let mut summary = run.stats.lock().expect("no holder of the counters panics").summary(elapsed, cpu_used());
    summary["run"] = shape.run.into();
    if let Some(probing) = probing {
        summary["visible_lag"] = probing.await.context("the prober panicked")?;
    }
    Ok(summary)
}

/// Sends what is due when it is due, then waits for the answers.
async fn pace(
    args: &GenerateArgs,
    templates: &Templates,
    senders: &Arc<[Sender]>,
    run: &Arc<Run>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let start_wall_ns = wall_ns();
    let in_flight = Arc::new(Semaphore::new(args.in_flight as usize));
    let mut tasks = JoinSet::new();
    for planned in Schedule::new(args.rate, args.mix, run.batch, templates.request_bytes()) {
        if planned.due >= args.duration {
            break;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until((run.started + planned.due).into()) => {}
        }
        let permit = in_flight.clone().acquire_owned().await.expect("the semaphore is never closed");
        let time_ns = start_wall_ns + planned.due.as_nanos() as u64;
        let first = planned.number * u64::from(run.batch);
        let body = templates.request(planned.signal, first, time_ns);
        if let Some(oracle) = &run.oracle {
            oracle.append(&oracle::sent_line(planned.signal, first, run.batch, time_ns))?;
        }
        let late = run.started.elapsed().saturating_sub(planned.due);
        run.stats.lock().expect("no holder of the counters panics").sent(run.batch, body.len(), late);
        let (senders, run) = (senders.clone(), run.clone());
        tasks.spawn(async move {
            let _permit = permit;
            deliver(&run, &senders, planned, first, body).await
        });
        while let Some(ended) = tasks.try_join_next() {
            ended.context("a request's task panicked")??;
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a request's task panicked")??;
    }
    Ok(())
}

/// Sends one request until its fate is known, and writes it down. Each attempt takes the next connection, which may be one to
/// another process.
async fn deliver(run: &Run, senders: &[Sender], planned: Planned, first: u64, body: Bytes) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut retry = Retry::new(run.give_up, tasks_seed(&planned));
    let mut turns = senders.iter().cycle().skip((tasks_seed(&planned) % senders.len() as u64) as usize);
    let outcome: Outcome = loop {
        let sender = turns.next().expect("there is a connection");
        let answer = sender.send(planned.signal, body.clone()).await;
        match retry.after(answer, begun.elapsed()) {
            Next::Again(wait) => tokio::time::sleep(wait).await,
            Next::Done(outcome) => break outcome,
        }
    };
    let since_due = run.started.elapsed().saturating_sub(planned.due);
    if let Some(oracle) = &run.oracle {
        oracle.append(&oracle::outcome_line(planned.signal, first, run.batch, &outcome))?;
    }
    run.stats.lock().expect("no holder of the counters panics").ended(run.batch, &outcome, retry.attempts(), since_due);
    Ok(())
}

async fn report(run: Arc<Run>, every: Duration, ended: CancellationToken) {
    let mut before = (Stats::default(), Instant::now(), cpu_used());
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let stats = run.stats.lock().expect("no holder of the counters panics").clone();
        let (now, cpu) = (Instant::now(), cpu_used());
        let span = now - before.1;
        let cores = cpu.saturating_sub(before.2).as_secs_f64() / span.as_secs_f64().max(1e-3);
        eprintln!("{}", stats.progress(&before.0, span, run.started.elapsed(), cores));
        before = (stats, now, cpu);
    }
}

async fn sync_oracle(run: Arc<Run>, ended: CancellationToken) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = ended.cancelled() => return Ok(()),
            () = tokio::time::sleep(SYNC_EVERY) => {}
        }
        let run = run.clone();
        tokio::task::spawn_blocking(move || run.oracle.as_ref().map_or(Ok(()), OracleFile::sync))
            .await
            .context("the sync panicked")??;
    }
}

fn senders(args: &GenerateArgs) -> anyhow::Result<Arc<[Sender]>> {
    let endpoints = args.endpoint.as_deref().unwrap_or(match args.protocol {
        Protocol::Grpc => "http://127.0.0.1:4317",
        Protocol::Http => "http://127.0.0.1:4318",
    });
    let endpoints: Vec<&str> = endpoints.split(',').map(str::trim).collect();
    let connections = (args.connections as usize).max(endpoints.len());
    let in_turn = endpoints.into_iter().cycle().take(connections);
    in_turn.map(|endpoint| Sender::new(args.protocol, endpoint, args.gzip, "shipwake-load")).collect()
}

/// A number that differs between the requests of a run.
fn tasks_seed(planned: &Planned) -> u64 {
    planned.number * 3 + planned.signal as u64
}

fn run_name() -> String {
    format!("load-{:x}", wall_ns() / 1_000_000)
}

/// Nanoseconds since the epoch.
pub fn wall_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// CPU time of this process so far, from `/proc`, whose clock tick is a hundredth of a second; zero where there is none.
fn cpu_used() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return Duration::ZERO };
    // The second field is the command in parentheses and may hold blanks; user and system time are the 14th and 15th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    TICK * (ticks(11) + ticks(12))
}
