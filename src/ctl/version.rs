//! `version`: of this program and of the API it speaks.

/// The etcd API whose requests and output this program has.
pub const API: &str = "3.7";

pub fn text() -> String {
    format!("braidctl version: {}\nAPI version: {API}\n", env!("CARGO_PKG_VERSION"))
}
