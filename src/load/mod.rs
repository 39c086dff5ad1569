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
//! hide the requests it kept from being made (coordinated omission). What runs here is meant to be
//! several times cheaper than the server: requests are written straight into send buffers and read
//! out of receive buffers, in batches, without an allocation of their own.
//!
//! | file | what |
//! |---|---|
//! | `arguments`, `text` | the command line |
//! | `workload` | the table of workloads |
//! | `chance`, `keys` | random numbers, distributions, keys and values |
//! | `source`, `protobuf` | requests planned and written, answers judged |
//! | `wire`, `frames`, `grpc`, `calls`, `http2`, `hpack` | connections |
//! | `session`, `run`, `affinity` | clients, threads, pace |
//! | `living` | watchers and leases: workloads that are more than requests and answers |
//! | `record` | what is counted, and when |
//! | `summary`, `table`, `hdr_log`, `page` | what is reported |
//! | `acks`, `check` | proving that what was acknowledged is there |
//! | `null` | a server that does nothing |
//! | `compare` | Braid and etcd side by side |
//!
//! Errors are counted by code and never retried; every bound is an argument.

mod acks;
mod affinity;
mod arguments;
mod calls;
mod chance;
mod check;
mod command;
mod compare;
mod frames;
mod grpc;
mod hdr_log;
mod hpack;
mod http2;
mod keys;
mod living;
mod null;
mod page;
mod protobuf;
mod record;
mod run;
mod session;
mod source;
mod summary;
mod table;
mod text;
mod wire;
mod workload;

pub use command::main;
