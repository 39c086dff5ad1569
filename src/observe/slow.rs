//! etcd's lines about what took too long, with etcd's fields.

use std::time::Duration;

use time::OffsetDateTime;

use crate::gotext::GoDuration;

/// A unary request that was answered.
#[derive(Clone, Debug)]
pub struct RequestStats<'a> {
    pub took: Duration,
    /// The client's address.
    pub remote: &'a str,
    /// The method's full name: `/etcdserverpb.KV/Put`.
    pub method: &'a str,
    /// Keys or operations asked for and answered, and their bytes; -1 where etcd does not count.
    pub request_count: i64,
    pub request_bytes: i64,
    pub response_count: i64,
    pub response_bytes: i64,
    /// The request without its values.
    pub request: &'a str,
}

/// Logs a request that took longer than `--warning-unary-request-duration`.
pub fn slow_request(stats: &RequestStats<'_>) {
    let start = OffsetDateTime::now_utc() - stats.took;
    tracing::warn!(
        "start time" = super::line::stamp(start),
        "time spent" = shown(stats.took),
        remote = stats.remote,
        "response type" = stats.method,
        "request count" = stats.request_count,
        "request size" = stats.request_bytes,
        "response count" = stats.response_count,
        "response size" = stats.response_bytes,
        "request content" = stats.request,
        "request stats"
    );
}

/// Logs applying that took longer than `--warning-apply-duration`, with what it did when.
///
/// `steps` are names and how long each took, in order.
pub fn slow_apply(
    took: Duration,
    expected: Duration,
    request: &str,
    response_bytes: Option<usize>,
    error: Option<&str>,
    steps: &[(&str, Duration)],
) {
    let response = response_bytes.map(|bytes| format!("size:{bytes}")).unwrap_or_default();
    tracing::warn!(
        took = shown(took),
        "expected-duration" = shown(expected),
        prefix = "",
        request,
        response,
        error,
        steps = (!steps.is_empty()).then(|| shown_steps(steps)),
        "apply request took too long"
    );
}

/// Logs a write to the log that took `took`, if that is longer than etcd lets pass.
pub fn slow_sync(took: Duration, expected: Duration) {
    if took > expected {
        tracing::warn!(took = shown(took), "expected-duration" = shown(expected), "slow fdatasync");
    }
}

/// Returns a length of time in Go's form, as etcd logs it.
pub fn shown(duration: Duration) -> String {
    GoDuration::from(duration).to_string()
}

fn shown_steps(steps: &[(&str, Duration)]) -> String {
    let shown: Vec<String> =
        steps.iter().map(|(name, took)| format!("{name} (duration: {})", shown(*took))).collect();
    shown.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_show_their_length() {
        let steps = [("evaluate", Duration::from_micros(1500)), ("flush", Duration::from_secs(1))];
        assert_eq!(shown_steps(&steps), "evaluate (duration: 1.5ms); flush (duration: 1s)");
        assert_eq!(shown_steps(&[]), "");
    }
}
