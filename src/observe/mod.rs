//! Log lines and metrics: what a member tells those who run it.
//!
//! ```text
//!  core ──tracing event──▶ line ──▶ bounded queue ──▶ thread ──▶ stderr, stdout, files
//!  core ──relaxed store──▶ CoreMetrics ◀──load── scrape ──▶ /metrics
//! ```
//!
//! Neither ever makes a core wait. A line that finds the queue full is dropped and counted. A
//! figure has one writer, its core, so that adding to it is a load and a store on a cache line that
//! nobody else writes; a scrape reads them all and adds them up.
//!
//! Names, labels, buckets and the form of lines are etcd's; `braid_*` is ours.
//!
//! | file | what |
//! |---|---|
//! | `log` | starting the log, writing notes, leaving |
//! | `line` | one line, as JSON or for people |
//! | `slow` | etcd's lines about slow requests |
//! | `cell` | counters and histograms with one writer |
//! | `figures` | what a core and a shard count |
//! | `exposition` | Prometheus's text form |
//! | `scrape` | all figures under their names |
//! | `os` | what the kernel knows of this process |

pub mod cell;
mod exposition;
pub mod figures;
mod line;
pub mod log;
pub mod os;
pub mod scrape;
pub mod slow;

pub use cell::{Figure, Histogram};
pub use figures::{CoreMetrics, Method, MethodKind, RequestKind, ShardMetrics};
pub use log::Log;
pub use os::OsFigures;
pub use scrape::{MemberFigures, Scrape, render};
