//! Log lines and metrics.
//!
//! ```text
//!  core ──tracing event──▶ line ──▶ bounded queue ──▶ thread ──▶ stderr, stdout, files
//!  core ──relaxed store──▶ CoreMetrics ◀──load── scrape ──▶ /metrics
//! ```
//!
//! Neither ever makes a core wait. A line that finds the queue full is dropped and counted. A
//! figure has one writer, its core, so that adding to it is a load and a store on a cache line that
//! nobody else writes. A scrape reads all of them and adds them up.
//!
//! Names, labels, buckets and the form of lines are etcd's; `braid_*` is ours.
//!
//! | file | what |
//! |---|---|
//! | `log` | starting the log, writing notes, leaving |
//! | `line` | one line, as JSON or for the console |
//! | `slow` | etcd's lines about slow requests |
//! | `cell` | counters and histograms with one writer |
//! | `figures` | the counters of a core and of a shard |
//! | `exposition` | Prometheus's text form |
//! | `help` | the HELP text of every metric |
//! | `scrape` | all figures under their names |
//! | `os` | figures of the kernel about this process |

pub mod cell;
mod exposition;
pub mod figures;
mod help;
mod line;
pub mod log;
pub mod os;
pub mod scrape;
pub mod slow;

pub use cell::{Figure, Histogram};
pub use figures::{CoreMetrics, Method, MethodKind, RequestKind, ShardMetrics};
pub use log::{LinesDropped, Log};
pub use os::OsFigures;
pub use scrape::{MemberFigures, Scrape, render};
