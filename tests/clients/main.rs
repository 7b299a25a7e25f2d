//! Unmodified OpenTelemetry clients against the real program: the SDKs of Python, JavaScript, Java and Go, a web app under
//! Python's auto-instrumentation, one under the Java agent, a Collector in front, and Sentry's command line. What arrives is counted in SQL, in
//! the windows and in `/metrics`, and has to equal what was sent.
//!
//! The programs stand beside this file, one folder for each language. What they need is installed under `target/clients`
//! by the first test that asks for it; a second run finds it there.

mod chaos;
mod client;
mod collector;
mod dose;
mod every_way;
#[path = "../program/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the program, which need more of it")]
mod harness;
mod install;
mod retries;
mod sentry;
mod web;
