//! Faults: the real program is killed, cut off, filled up and damaged while it works, and an oracle outside of it judges what is left.
//! `docs/faults.md` says which fault is tested where, and how to repeat a run.
//!
//! Every test prints the seed of its chances. `SHIPWAKE_TORTURE_SEED` repeats them; `SHIPWAKE_TORTURE=long` is what `make torture` does.

mod answers;
mod bucket;
mod chance;
mod damage;
mod disk;
mod gateway;
#[path = "../program/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the program, which need more of it")]
mod harness;
mod kills;
mod limits;
mod load;
mod old_lines;
#[path = "../program/otlp.rs"]
#[allow(dead_code, reason = "shared with the tests of the program, which need more of it")]
mod otlp;
mod points;
#[path = "../../lib/store/tests/common/proxy.rs"]
#[allow(dead_code, reason = "shared with the tests of the store, which need more of it")]
mod proxy;
mod shim;
mod versions;
