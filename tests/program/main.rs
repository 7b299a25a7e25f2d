//! The real program on real ports: every test starts `shipwake serve`, talks to it as a sender or a reader would, kills
//! and restarts it. Nothing here links the server.

mod bad_corpus;
mod bad_input;
mod demo;
mod disk;
mod doctor;
mod harness;
mod kinds;
mod lines;
mod otlp;
mod own_telemetry;
mod overload;
mod prometheus;
mod senders;
mod pipe;
mod sender;
mod patterns;
mod shutdown;
mod spine;
mod syslog;
mod tail;
mod torture;
