//! Log lines and metrics.

mod line;
pub mod log;
pub mod slow;

pub use log::Log;
