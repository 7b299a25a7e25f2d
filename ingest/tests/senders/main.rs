//! Ingest as senders see it: real sockets on loopback, a real tonic client, and bytes by hand for what no client library
//! would send. The journal is the strict one in memory, or the embedded one where durability is the point.

mod backlog;
mod conservation;
mod corpus;
mod events;
mod grpc;
mod http;
mod journal;
mod json;
mod lines;
mod markers;
mod pressure;
mod remote_write;
mod sockets;
mod stalled;
mod support;
