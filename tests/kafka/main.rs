//! The real program on a real Kafka: every test starts brokers of its own, talks to Shipwake as a sender or a reader would,
//! and ends processes as they end in life. What brokers need is brought by Maven once, under `target/kafka`.

mod broker;
#[path = "../../lib/store/tests/common/bucket.rs"]
mod bucket;
#[path = "../program/canary.rs"]
#[allow(dead_code, reason = "shared with the tests of the program, which need more of it")]
mod canary;
mod cluster;
mod collector;
mod faults;
#[path = "../program/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the program, which need more of it")]
mod harness;
#[path = "../clients/install.rs"]
#[allow(dead_code, reason = "shared with the tests of clients, which need more of it")]
mod install;
mod load;
mod manifests;
#[path = "../program/otlp.rs"]
#[allow(dead_code, reason = "shared with the tests of the program, which need more of it")]
mod otlp;
mod query_nodes;
mod speed;
mod spread;
mod stalls;
mod telling;
mod words;
