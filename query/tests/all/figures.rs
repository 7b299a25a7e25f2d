//! What the pages cost. The bounds are far above the promised figures, because tests share their machine; the measured
//! times are printed (`--nocapture`).

use std::time::{Duration, Instant};

use crate::support::rows::{Requests, release};
use crate::support::{T0, World};

/// The median of a few runs, each with an answer.
async fn median(world: &World, path: &str) -> (Duration, f64) {
    let mut runs = Vec::new();
    for _ in 0..9 {
        let started = Instant::now();
        let (status, answer) = world.get(path).await;
        assert!(status.is_success(), "{answer}");
        runs.push((started.elapsed(), answer["meta"]["query_ms"].as_f64().expect("a number")));
    }
    runs.sort_by_key(|(elapsed, _)| *elapsed);
    runs[runs.len() / 2]
}

#[tokio::test]
async fn pages_are_made_in_milliseconds() {
    let world = World::new();
    for service in 0..200 {
        let (old, new) = (release(&format!("service-{service}"), "1"), release(&format!("service-{service}"), "2"));
        for step in 0..180 {
            let t_ms = T0 + step * 10_000;
            for n in 0..10 {
                world.shard.requests_in_memory(&Requests::new(&old, t_ms, 30).taking(20_000 + n * n * 9_000));
                if step > 90 {
                    world.shard.requests_in_memory(&Requests::new(&new, t_ms, 3).taking(21_000 + n * n * 9_000));
                }
            }
        }
    }
    world.set_now(T0 + 30 * 60_000);
    let (overview, overview_ms) = median(&world, "/api/v1/overview?env=prod").await;
    let (service, service_ms) =
        median(&world, "/api/v1/services/service-7/release?env=prod&from=now-30m&step=10s").await;
    println!(
        "overview of 200 services: {overview_ms} ms ({overview:?} over HTTP); service, 30 min at 10 s: {service_ms} ms ({service:?})"
    );
    assert!(overview < Duration::from_millis(500), "{overview:?}");
    assert!(service < Duration::from_millis(200), "{service:?}");
}
