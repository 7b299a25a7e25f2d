//! The real program on real ports: every test starts `shipwake serve`, talks to it as a sender or a reader would, kills
//! and restarts it. Nothing here links the server.

mod alerts;
mod bad_corpus;
mod bad_input;
mod canary;
mod cardinality;
mod compaction;
mod compare;
mod damage;
mod demo;
mod deploy;
mod disk;
mod doctor;
mod gate;
mod gates;
mod harness;
mod kinds;
mod lines;
mod logs;
mod markers;
mod otlp;
mod overload;
mod own_telemetry;
mod patterns;
mod pipe;
mod product;
mod prometheus;
mod retries;
mod sender;
mod senders;
mod shutdown;
mod spine;
mod syslog;
mod tail;
mod told;
mod verdicts;
