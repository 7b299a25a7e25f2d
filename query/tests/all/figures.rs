//! What the pages cost. The bounds are far above the promised figures, because tests share their machine; the measured
//! times are printed (`--nocapture`).

use std::time::{Duration, Instant};

use crate::support::rows::{Requests, release};
use crate::support::{T0, World};

/// What a page took.
#[derive(Debug)]
struct Figure {
    /// Median of the wall clock, over HTTP with the JSON.
    wall: Duration,
    /// Mean of the processor time of the whole process, which a busy machine changes little.
    cpu_ms: f64,
}

const RUNS: usize = 25;

async fn measure(world: &World, path: &str) -> Figure {
    let mut runs = Vec::new();
    let before_ms = cpu_ms();
    for _ in 0..RUNS {
        let started = Instant::now();
        let (status, answer) = world.get(path).await;
        assert!(status.is_success(), "{answer}");
        runs.push(started.elapsed());
    }
    runs.sort();
    Figure { wall: runs[runs.len() / 2], cpu_ms: (cpu_ms() - before_ms) / RUNS as f64 }
}

/// Processor time of this process, in steps of ten milliseconds.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields after the name").split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("ticks")).sum();
    ticks * 10.0
}

#[tokio::test]
async fn pages_are_made_in_milliseconds() {
    let world = World::new();
    for service in 0..200 {
        let (old, new) = (release(&format!("service-{service}"), "1"), release(&format!("service-{service}"), "2"));
        for step in 0..180 {
            let t_ms = T0 + step * 10_000;
            for n in 0..4 {
                world.shard.requests_in_memory(&Requests::new(&old, t_ms, 75).taking(20_000 + n * n * 40_000));
                if step > 90 {
                    world.shard.requests_in_memory(&Requests::new(&new, t_ms, 8).taking(21_000 + n * n * 40_000));
                }
            }
        }
    }
    world.set_now(T0 + 30 * 60_000);
    world.get("/api/v1/overview?env=prod").await;
    let overview = measure(&world, "/api/v1/overview?env=prod").await;
    let service = measure(&world, "/api/v1/services/service-7/release?env=prod&from=now-30m&step=10s").await;
    for (page, figure) in [("overview of 200 services", &overview), ("service, 30 min at 10 s", &service)] {
        println!("{page}: {:.1} ms of processor time, {:?} with HTTP and JSON", figure.cpu_ms, figure.wall);
    }
    // Hundreds of times what they take: what is printed are the figures, what is asserted is that nothing grows out of bounds.
    assert!(overview.wall < Duration::from_secs(5), "{overview:?}");
    assert!(service.wall < Duration::from_secs(5), "{service:?}");
}
