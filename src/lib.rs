//! Braid: an etcd-v3-compatible key-value store, thread-per-core.
//!
//! ```text
//!  client ─▶ connection ─▶ router ─▶ shard leader ─▶ raft ─▶ wal ─▶ (quorum) ─▶ store ─▶ client
//!            on any core   by key    evaluates, asks  entry   io_uring           visible
//!                                    sequencer for r  batch   DSYNC              at stable
//! ```
//!
//! The keyspace is hash-sharded over the cores; every shard is a Raft group of its own with its own
//! log and its own in-memory revision B-tree; all shards are braided into one revision line.
//!
//! | room | what |
//! |---|---|
//! | [`types`] | requests and answers as the core sees them |
//! | [`limits`] | every bound of the system |
//! | [`config`] | etcd's flag, environment and file names; they live at this edge |
//! | [`protocol`] | bytes ↔ request and reply, pure |
//! | [`server`] | listener, connections, gRPC, HTTP |
//! | [`member`] | what one core of a member owns, put together: pure |
//! | [`router`] | placement, plan, merge |
//! | [`mod@line`] | sequencer, rounds, epochs: the braid |
//! | [`shard`] | one shard's life |
//! | [`control`] | the control group |
//! | [`raft`] | raft-rs, fenced |
//! | [`replica`] | one group: its Raft state and its log, joined |
//! | [`wal`] | records, segments, checkpoints |
//! | [`store`] | revision B-tree |
//! | [`watch`] | watchers: who wants a change, and telling it in order, once, without a gap |
//! | [`rt`] | glommio, io-uring, sockets, threads |
//! | [`process`] | one server process: directory, core loops, signals |
//! | [`observe`] | log lines and metrics |
//! | [`client`] | the client library under `braidctl` |
//! | [`ctl`] | `braidctl`: commands and output formats |
//! | [`load`] | `braid-load`: the load generator, and Braid beside etcd |
//! | [`sim`] | the simulator |

pub mod client;
pub mod config;
pub mod control;
pub mod ctl;
pub mod limits;
pub mod line;
pub mod load;
pub mod member;
pub mod observe;
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
