//! Go's text forms, which etcd's flags, log lines, metrics and command line are made of.
//!
//! | file | what it has |
//! |---|---|
//! | `duration` | `time.Duration`, read and printed |
//! | `number` | integers, booleans and floating-point numbers |
//! | `quote` | `%q`, and string literals read |
//! | `size` | sizes with decimal units |
//! | [`strconv`] | numbers again, with the error texts of Go's package of that name |

mod duration;
mod number;
mod quote;
mod size;
pub mod strconv;

pub use duration::GoDuration;
pub use number::{NumberError, float, parse_bool, parse_int, parse_uint};
pub use quote::{hex, quote, quote_all, unquote_prefix};
pub use size::bytes;
