//! Braid: a key-value store that serves etcd's v3 API, built thread-per-core.
//!
//! ```text
//!  client ─▶ connection ─▶ router ─▶ shard ─▶ replica (raft, wal) ─▶ disk
//!            on any core   by key    evaluates,  one entry for a turn   io_uring,
//!                                    asks for r                         DSYNC
//!                ▲                                                        │
//!                └─ answer ◀─ release at stable ≥ r ◀─ line ◀─ committed ◀┘
//! ```
//!
//! The keyspace is hashed over shards. Every shard is a Raft group with a log and a revision B-tree
//! of its own, and all shards are braided into one revision line. In the repository,
//! `docs/design.md` says how that works and has the glossary, `docs/invariants.md` has the rules
//! that always hold, `ARCHITECTURE.md` says what each module may use, and `CONTRIBUTING.md` how to
//! work on it.
//!
//! # What others use
//!
//! [`client`] is the client library for this server and for etcd. Its requests and answers are
//! etcd's messages, [`protocol::pb`]. This program puts a key and reads it:
//!
//! ```no_run
//! use braid::client::blocking::Client;
//! use braid::client::{Error, Options};
//! use braid::protocol::pb::etcdserverpb as pb;
//!
//! fn main() -> Result<(), Error> {
//!     let client = Client::connect(Options::endpoints(["127.0.0.1:2379"]))?;
//!     let put = pb::PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
//!     client.put(put)?;
//!     let get = pb::RangeRequest { key: "k".into(), ..Default::default() };
//!     println!("{:?}", client.range(get)?.kvs);
//!     Ok(())
//! }
//! ```
//!
//! [`client::watch`] follows changes, [`client::lease`] keeps leases alive, and
//! [`client::concurrency`] has sessions, locks and elections. The folder `examples` of the
//! repository has a whole program for each.
//!
//! # What is internal
//!
//! The rest is the server, `braidctl`, the load generator and the simulator. It is public for the
//! programs, tests and benches of this repository, and promises nothing: any commit may change it.
//! [`process::main`], [`ctl::main`] and [`load::main`] are the programs, and [`sim`] is where to
//! see a whole member run.
//!
//! | module | what it is |
//! |---|---|
//! | [`types`] | requests, replies, events and numbers that every room shares |
//! | [`limits`] | every bound of the system |
//! | [`budget`] | how much memory connections may hold, and who holds it |
//! | [`chance`] | numbers from a seed |
//! | [`gotext`] | Go's text forms: durations, numbers, quoted strings, sizes |
//! | [`config`] | the configuration, under etcd's names of flags, variables and file keys |
//! | [`protocol`] | the wire formats: bytes to requests, replies to bytes; pure |
//! | [`http2`] | HTTP/2 and HPACK: bytes in, events out, bytes out; pure |
//! | [`server`] | connections: frames, gRPC, HTTP/1.1 |
//! | [`member`] | what one core of a member owns, put together; pure |
//! | [`router`] | requests planned by their keys, split over shards, merged |
//! | [`mod@line`] | the revision line: sequencer, rounds, takeovers |
//! | [`shard`] | one shard: evaluation, logging, release |
//! | [`control`] | the control group |
//! | [`peer`] | what members send one another, and its bytes; pure |
//! | [`raft`] | Raft, by raft-rs |
//! | [`replica`] | one group: its Raft state and its log, joined |
//! | [`wal`] | the durable log and its checkpoints |
//! | [`store`] | one shard's revision B-tree |
//! | [`watch`] | watchers, and the events that reach them |
//! | [`rt`] | the runtime: executors, sockets, io_uring, threads |
//! | [`process`] | the server process |
//! | [`observe`] | log lines and metrics |
//! | [`client`] | the client library |
//! | [`ctl`] | `braidctl`: commands and output formats |
//! | [`load`] | `braid-load`: the load generator |
//! | [`sim`] | the simulator |
//! | [`teeth`] | rules that a test build can leave out |

pub mod budget;
pub mod chance;
pub mod client;
pub mod config;
pub mod control;
pub mod ctl;
pub mod gotext;
pub mod http2;
pub mod limits;
pub mod line;
pub mod load;
pub mod member;
pub mod observe;
pub mod peer;
pub mod process;
pub mod protocol;
pub mod raft;
pub mod replica;
pub mod router;
pub mod rt;
pub mod server;
pub mod shard;
pub mod sim;
pub mod store;
pub mod teeth;
pub mod types;
pub mod wal;
pub mod watch;
