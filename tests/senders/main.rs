//! Real programs in front of the real Shipwake: rsyslog, nginx, httpd, HAProxy and Varnish from the distribution, each started
//! here on loopback with a configuration of its own in a temporary folder. What they were asked, counted by the backends
//! behind them, is what windows and SQL say.

// Shared with the other test binary, which uses all of it.
#[allow(dead_code)]
#[path = "../program/harness.rs"]
mod harness;
#[allow(dead_code)]
#[path = "../program/sender.rs"]
mod sender;

mod backends;
mod process;
mod proxies;
mod rsyslog;
