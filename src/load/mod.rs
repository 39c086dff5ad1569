//! The load generator: `braid-load`.
//!
//! ```text
//!  thread (an executor)                                           server
//!   ┌ Source ─ plan ─▶ Session ─ write ─▶ Wires ═ frames per core ═▶ │
//!   │                    │  ▲                  ═ or one of gRPC  ═▶ │
//!   └◀─ learn ───────────┘  └── answers ◀─────────────────────────── │
//!                        ▼
//!                     Recorder ── interval by interval ──▶ live line, table, JSON, log, page
//! ```
//!
//! A *session* is one client; in a **closed loop** it keeps its slots busy, in an **open loop** it
//! makes requests when they are due and measures from then, so that a server that stalls cannot
//! hide the requests that it kept from being made (coordinated omission). A request costs the
//! generator several times less than the server: it is written straight into a send buffer, and its
//! answer read out of a receive buffer, in batches and without an allocation of its own.
//!
//! | file | what |
//! |---|---|
//! | `arguments`, `text` | the command line |
//! | `workload` | the table of workloads |
//! | `distribution`, `keys`, `values` | distributions, keys, values that can be verified |
//! | `source`, `protobuf` | requests planned and written, answers judged |
//! | `wire`, `frames`, `grpc`, `calls` | connections |
//! | `session`, `run`, `affinity` | clients, threads, pace |
//! | `streaming` | workloads with watchers and leases, whose load goes on in the background |
//! | `record` | counters and histograms, interval by interval |
//! | `summary`, `table`, `hdr_log`, `page` | the reports |
//! | `acks`, `check` | prove that every acknowledged write is there |
//! | `null` | a server that does nothing |
//! | `compare` | runs Braid and etcd, or any two, in turn; `diff` of what was written before |
//! | `find` | looks for the highest rate that keeps a service level objective |
//!
//! Errors are counted by code and never retried; every bound is an argument.

mod acks;
mod affinity;
mod arguments;
mod calls;
mod check;
mod command;
mod compare;
mod distribution;
mod find;
mod frames;
mod grpc;
mod hdr_log;
mod keys;
mod null;
mod page;
mod protobuf;
mod record;
mod run;
mod session;
mod source;
mod streaming;
mod summary;
mod table;
mod text;
mod values;
mod wire;
mod workload;

pub use command::main;
