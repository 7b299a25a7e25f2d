//! A sender of OTLP as the SDKs are: one export request in, an answer out, over gRPC or HTTP, gzip or not.
//!
//! [`answer`] and [`retry`] decide (pure); [`sender`] holds the sockets. Requests are passed as encoded bytes, so that a
//! repeated request has identical bytes, which is what the server recognises it by. Used by `load` and by the demo's shop.

pub mod answer;
pub mod attribute;
pub mod retry;
pub mod sender;

pub use answer::Answer;
pub use retry::{Outcome, Retry};
pub use sender::{Protocol, Sender};
