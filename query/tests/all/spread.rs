//! A statement that several query nodes compute has the answer that one node gives, whatever happens to the others. The
//! nodes are stages of their own over one store, and speak over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::util::pretty::pretty_format_batches;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::response::Parts;
use axum::middleware::{self, Next};
use axum::response::Response;
use futures::StreamExt;
use prometheus_client::registry::Registry;
use serde_json::Value;
use shipwake_query::{Query, QueryConfig, SqlAnswer, SqlRequest};
use shipwake_store::{Store, Table};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::support::rows::{Log, Requests, release};
use crate::support::{Counters, T0, World};

/// Statements whose stored rows are shared out.
const SPREAD: &[&str] = &[
    "select version, count(*) from logs group by version order by version",
    "select count(*), min(time), max(time), avg(severity_number), sum(severity_number) from logs",
    "select time, body, attributes['code'] as code from logs where severity_number >= 17 order by time desc, body limit 7",
    "select body, time from logs order by body desc, time limit 3",
    "select body, time, version from logs where severity_number = 17 order by time, body, version",
    "select count(*) from logs where matches(body, 'declined') and severity_number > 3",
    "select count(distinct body), count(*) filter (where severity_number >= 17) from logs",
    "select distinct version, severity_number from logs order by 1, 2",
    "select attributes['code'] as code, count(*) as n from logs group by 1 having count(*) > 2 order by 1",
    "select service, version, count(*) from logs group by rollup(service, version) order by 1, 2, 3",
    "select version, max(body), min(body) from logs where time >= '2026-11-23T14:00:20Z' group by version order by version",
    "select version, window_start, requests, errors, p50, p95, p99 from release_health where resolution_s = 60 order by 1, 2",
    "select version, hdr_quantile(hdr_merge(histogram), 0.99) as p99, sum(count) from windows
     where signal = 'duration' and resolution_s = 60 group by version order by version",
    "select signal, resolution_s, count(*), sum(count), sum(revision) from windows group by 1, 2 order by 1, 2",
    "select a.version, a.n, b.m from (select version, count(*) as n from logs group by version) as a
     join (select version, count(*) as m from spans group by version) as b on a.version = b.version order by 1",
    "select version, n, sum(n) over (order by version) as running
     from (select version, count(*) as n from logs group by version) order by version",
    "select count(*) from logs where severity_number > (select avg(severity_number) from logs)",
    "select 'logs' as what, count(*) from logs union all select 'spans', count(*) from spans order by 1",
    "with l as (select version, body from logs) select a.version, count(*) from l as a group by 1 order by 1",
];

/// Statements that are computed where they are asked.
const ALONE: &[&str] = &[
    "select 1",
    "select severity_number from logs where severity_number = 17",
    "select count(*) from releases",
    "select count(*) from logs where time < '2020-01-01'",
    "select sum(1 / (severity_number - severity_number)) from logs where time < '2020-01-01'",
];

/// Statements that may be planned in one way or the other.
const EITHER: &[&str] = &[
    "select version, count(*) from logs where version in (select version from spans where duration_ns > 5000000)
     group by version order by version",
    "select version, array_agg(distinct severity_number order by severity_number) from logs group by version order by 1",
    "select first_value(body order by time) from logs",
    "select count(*) from (select * from logs where severity_number = 17 limit 10)",
    "select version, n from (select version, count(*) as n, row_number() over (order by version) as r from logs
     group by version) where r < 3 order by version",
];

/// A node that computes for others, behind what happens on the way.
struct Node {
    _query: Query,
    _server: AbortOnDropHandle<()>,
}

struct Cluster {
    world: World,
    /// The same store, asked alone.
    alone: Query,
    _others: Vec<Node>,
}

type Way = fn(Router) -> Router;

fn undisturbed(router: Router) -> Router {
    router
}

impl Cluster {
    async fn new(others: usize, way: Way) -> Self {
        Self::with(others, way, spreading(), None).await
    }

    /// `token` is what the others want to see.
    async fn with(others: usize, way: Way, config: QueryConfig, token: Option<&str>) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..others {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
        }
        let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("bound"));
        let peers = listeners.iter().map(url).collect();
        let world = World::with(QueryConfig { peers, ..config });
        let others = listeners.into_iter().map(|listener| node(&world.store, listener, way, token)).collect();
        let alone = query(&world.store, QueryConfig::default());
        fill(&world);
        Self { world, alone, _others: others }
    }

    async fn ask(&self, text: &str) -> SqlAnswer {
        let answer = self.world.query.sql(request(text)).await;
        answer.unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    async fn assert_same(&self, text: &str, nodes: usize) -> SqlAnswer {
        let answer = self.assert_same_rows(text).await;
        if answer.meta.nodes != nodes {
            let plan = self.ask(&format!("explain {text}")).await;
            let (found, warnings) = (answer.meta.nodes, &answer.meta.warnings);
            panic!("{text}: {found} nodes instead of {nodes}, {warnings:?}\n{}", rows(&plan));
        }
        answer
    }

    async fn assert_same_rows(&self, text: &str) -> SqlAnswer {
        let answer = self.ask(text).await;
        let alone = self.alone.sql(request(text)).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(rows(&answer), rows(&alone), "{text}");
        assert_eq!(answer.schema, alone.schema, "{text}");
        assert_eq!(answer.meta.positions, alone.meta.positions);
        answer
    }
}

/// Shares out whatever it can.
fn spreading() -> QueryConfig {
    QueryConfig { spread_bytes_min: 0, ..QueryConfig::default() }
}

fn request(text: &str) -> SqlRequest {
    SqlRequest { query: text.to_owned(), ..SqlRequest::default() }
}

fn rows(answer: &SqlAnswer) -> String {
    pretty_format_batches(&answer.batches).expect("printable").to_string()
}

fn query(store: &Arc<Store>, config: QueryConfig) -> Query {
    Query::new(config, store.clone(), Arc::new(Counters::default()), &mut Registry::default()).expect("threads")
}

fn node(store: &Arc<Store>, listener: TcpListener, way: Way, token: Option<&str>) -> Node {
    let cluster_token = token.map(str::to_owned);
    let peers = vec![format!("http://{}", listener.local_addr().expect("bound"))];
    let query = query(store, QueryConfig { cluster_token, peers, ..QueryConfig::default() });
    let router = way(query.worker_router());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    Node { _query: query, _server: AbortOnDropHandle::new(server) }
}

/// A dozen commits of everything, and rows that are hot.
fn fill(world: &World) {
    for round in 0..13 {
        for number in 0..20_i64 {
            let version = ["1.0", "1.1", "2.0"][((round + number) % 3) as usize];
            let t_ms = T0 + round * 5_000 + number * 100;
            let is_error = number % 4 == 0;
            world.shard.log(&Log {
                release: release("checkout", version),
                time_ns: t_ms * 1_000_000,
                severity: if is_error { 17 } else { 9 },
                body: if is_error {
                    format!("card declined for order {number}")
                } else {
                    format!("paid {}", round * number)
                },
                attributes: if is_error { vec![("code".to_owned(), (number % 8).to_string())] } else { Vec::new() },
            });
            let requests = Requests::new(&release("checkout", version), t_ms, 3).taking(1_000 * (number as u64 + 1));
            let requests = requests.errors(u64::from(is_error));
            world.shard.requests(&requests);
            world.shard.span(&requests);
        }
        if round < 12 {
            world.shard.commit();
        }
    }
}

#[tokio::test]
async fn several_nodes_give_the_answer_of_one() {
    for others in [1, 2] {
        let cluster = Cluster::new(others, undisturbed).await;
        for text in SPREAD {
            let answer = cluster.assert_same(text, others + 1).await;
            assert_eq!(answer.meta.warnings.iter().filter(|text| text.contains("node")).count(), 0, "{text}");
        }
        for text in ALONE {
            cluster.assert_same(text, 1).await;
        }
        for text in EITHER {
            cluster.assert_same_rows(text).await;
        }
    }
}

#[tokio::test]
async fn what_other_nodes_read_counts_as_read() {
    let cluster = Cluster::new(2, undisturbed).await;
    let text = "select version, sum(severity_number) from logs group by version";
    let (spread, alone) = (cluster.ask(text).await, cluster.alone.sql(request(text)).await.expect("an answer"));
    let (spread, alone) = (spread.meta.scanned_bytes, alone.meta.scanned_bytes);
    assert!(alone > 0 && spread.abs_diff(alone) * 10 <= alone, "{spread} bytes instead of about {alone}");
}

#[tokio::test]
async fn a_small_statement_asks_nobody() {
    // The segments of these tests have some kilobytes.
    let cluster = Cluster::with(1, undisturbed, QueryConfig::default(), None).await;
    cluster.assert_same(SPREAD[0], 1).await;
}

#[tokio::test]
async fn a_node_with_another_token_and_one_that_is_away_compute_nothing() {
    let cluster = Cluster::with(1, undisturbed, spreading(), Some("s3cret")).await;
    cluster.assert_same(SPREAD[0], 1).await;
    let config = QueryConfig { cluster_token: Some("s3cret".to_owned()), ..spreading() };
    let cluster = Cluster::with(1, undisturbed, config, Some("s3cret")).await;
    cluster.assert_same(SPREAD[0], 2).await;
    let world = World::with(QueryConfig {
        peers: vec!["http://127.0.0.1:1".to_owned(), "http://nobody.invalid:4400".to_owned()],
        ..spreading()
    });
    fill(&world);
    let answer = world.query.sql(request(SPREAD[0])).await.expect("an answer");
    assert_eq!((answer.meta.nodes, answer.meta.warnings), (1, Vec::new()));
}

/// A way on which the answer of a part is changed.
fn disturbed<F: Future<Output = Response> + Send + 'static>(router: Router, how: fn(Response) -> F) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| async move {
        let is_part = request.uri().path().ends_with("/ExecuteTask");
        let response = next.run(request).await;
        if is_part { how(response).await } else { response }
    }))
}

async fn frames(response: Response) -> (Parts, Vec<Bytes>) {
    let (parts, body) = response.into_parts();
    let frames = body.into_data_stream().map(|frame| frame.unwrap_or_default()).collect().await;
    (parts, frames)
}

fn of_frames(parts: Parts, frames: Vec<Bytes>) -> Response {
    let frames = futures::stream::iter(frames.into_iter().map(Ok::<_, std::io::Error>));
    Response::from_parts(parts, Body::from_stream(frames))
}

/// The stream of a part ends as if all were well, with less than there was.
fn cut_short(router: Router) -> Router {
    disturbed(router, |response| async {
        let (parts, mut frames) = frames(response).await;
        frames.truncate(frames.len() / 2);
        of_frames(parts, frames)
    })
}

/// Like that, and with nothing at all.
fn emptied(router: Router) -> Router {
    disturbed(router, |response| async { of_frames(response.into_parts().0, Vec::new()) })
}

/// The connection breaks.
fn broken(router: Router) -> Router {
    disturbed(router, |response| async {
        let (parts, frames) = frames(response).await;
        let broken = futures::stream::iter(frames).take(1).map(Ok);
        let broken = broken.chain(futures::stream::iter([Err(std::io::Error::other("gone"))]));
        Response::from_parts(parts, Body::from_stream(broken))
    })
}

/// It cannot compute.
fn failing(router: Router) -> Router {
    disturbed(router, |_| async {
        Response::builder().status(500).body(Body::from("out of order")).expect("a response")
    })
}

#[tokio::test]
async fn a_part_that_is_not_whole_is_computed_again_and_never_taken_for_the_answer() {
    for way in [cut_short, emptied, broken, failing] as [Way; 4] {
        let cluster = Cluster::new(2, way).await;
        for text in [SPREAD[0], SPREAD[2], SPREAD[11], SPREAD[14]] {
            let answer = cluster.assert_same(text, 1).await;
            assert!(answer.meta.warnings.iter().any(|text| text.contains("another node failed")), "{text}");
        }
    }
}

/// Parts that wait, and that have ever waited.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static WAITED: AtomicUsize = AtomicUsize::new(0);

/// One more that waits for as long as this is kept.
struct Waiting;

impl Waiting {
    fn new() -> Self {
        WAITING.fetch_add(1, Ordering::SeqCst);
        WAITED.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// It takes the work and says nothing any more.
fn silent(router: Router) -> Router {
    disturbed(router, |response| async {
        let (parts, body) = response.into_parts();
        let waiting = Waiting::new();
        let silence = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        let silence = silence.map(move |frame| {
            let _ = (&waiting, &body);
            frame
        });
        Response::from_parts(parts, Body::from_stream(silence))
    })
}

#[tokio::test]
async fn a_damaged_segment_is_left_out_and_named_whichever_node_meets_it() {
    let cluster = Cluster::new(2, undisturbed).await;
    let text = "select count(*), count(distinct body) from logs";
    let number = |answer: &SqlAnswer| answer.batches[0].column(0).as_primitive::<Int64Type>().value(0) as u64;
    let mut left = number(&cluster.assert_same(text, 3).await);
    let segments: Vec<_> = cluster.world.store.snapshot(&[]).files(Table::Logs).cloned().collect();
    // Each node reads some of them.
    for victim in segments.iter().take(9) {
        let path = cluster.world.dir.path().join("store").join(&*victim.path);
        let mut bytes = std::fs::read(&path).expect("a segment");
        bytes[200] ^= 0x11;
        std::fs::write(&path, bytes).expect("damaged");
        left -= victim.rows;
        let answer = cluster.ask(text).await;
        assert_eq!(number(&answer), left, "{}", victim.path);
        let warnings = answer.meta.warnings.join("; ");
        assert!(warnings.contains(&*victim.path) || warnings.contains("more damaged segments"), "{warnings}");
    }
    assert_eq!(cluster.world.store.lost().len(), 9);
}

#[tokio::test]
async fn a_statement_whose_time_is_over_leaves_nothing_behind_on_other_nodes() {
    let cluster = Cluster::new(1, silent).await;
    let asked = SqlRequest { timeout_ms: Some(700), ..request(SPREAD[0]) };
    let error = cluster.world.query.sql(asked).await.expect_err("nobody answers");
    assert!(error.to_string().contains("time budget of 700 ms"), "{error}");
    assert!(WAITED.load(Ordering::SeqCst) > 0, "the other node was asked");
    let until = Instant::now() + Duration::from_secs(10);
    while WAITING.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < until, "the other node still computes");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_question_that_has_no_answer_has_none_from_several_nodes_either() {
    let cluster = Cluster::new(1, undisturbed).await;
    let text = "select version, sum(10 / (severity_number - 9)) from logs group by version";
    let (spread, alone) = (cluster.world.query.sql(request(text)).await, cluster.alone.sql(request(text)).await);
    let (spread, alone) = (spread.expect_err("a division by zero"), alone.expect_err("a division by zero"));
    assert_eq!(spread.to_string(), alone.to_string());
    let config = QueryConfig { memory_bytes_per_query: 64 << 10, memory_bytes: 64 << 10, ..spreading() };
    let cluster = Cluster::with(1, undisturbed, config, None).await;
    let text = "select body, attributes, time, count(*) from logs group by 1, 2, 3";
    let error = cluster.world.query.sql(request(text)).await.expect_err("more than the budget").to_string();
    assert!(error.contains("memory budget"), "{error}");
}

#[tokio::test]
async fn an_answer_says_how_many_nodes_computed_it() {
    let cluster = Cluster::new(1, undisturbed).await;
    let (_, answer) = cluster.world.sql(SPREAD[0]).await;
    assert_eq!(answer["meta"]["nodes"], 2, "{answer}");
    let (_, answer) = cluster.world.sql("select 1").await;
    assert_eq!(answer["meta"]["nodes"], Value::Null, "{answer}");
}
