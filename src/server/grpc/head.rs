//! Headers of gRPC requests, read, and of answers, written.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method as HttpMethod, Response, StatusCode, request};

use crate::protocol::Method;
use crate::protocol::grpc::{Encoding, parse_timeout, percent_encode};
use crate::protocol::status::{self, Status, code};
use crate::types::Refusal;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// etcd's metadata for "not without a leader", with the value `true`.
const HAS_LEADER: HeaderName = HeaderName::from_static("hasleader");
const CLIENT_API_VERSION: HeaderName = HeaderName::from_static("client-api-version");

/// A call as its headers announce it.
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) timeout: Option<Duration>,
    /// How its messages are compressed, and its answers.
    pub(super) encoding: Encoding,
    /// The version of the API that the client says it speaks.
    pub(super) api_version: Option<HeaderValue>,
    /// The call is to fail, and a stream to end, if there is no leader.
    pub(super) requires_leader: bool,
}

/// Why a call is not even looked at.
pub(super) struct Rejection {
    pub(super) http: StatusCode,
    pub(super) status: Status,
}

impl From<Status> for Rejection {
    fn from(status: Status) -> Rejection {
        Rejection { http: StatusCode::OK, status }
    }
}

impl Head {
    /// Judges in grpc-go's order: content type, timeout, HTTP method, no time left, path, encoding.
    pub(super) fn of(parts: &request::Parts) -> Result<Head, Rejection> {
        let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if !content_type.is_some_and(is_grpc) {
            let text = String::from_utf8_lossy(content_type.unwrap_or_default());
            return Err(Rejection {
                http: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                status: Status::new(
                    code::INVALID_ARGUMENT,
                    format!("invalid gRPC request content-type {text:?}"),
                ),
            });
        }
        let timeout = match parts.headers.get(GRPC_TIMEOUT) {
            Some(value) => Some(
                timeout(value)
                    .map_err(|status| Rejection { http: StatusCode::BAD_REQUEST, status })?,
            ),
            None => None,
        };
        if parts.method != HttpMethod::POST {
            return Err(Rejection {
                http: StatusCode::METHOD_NOT_ALLOWED,
                status: Status::new(
                    code::INTERNAL,
                    format!(
                        "Received a HEADERS frame with :method {:?} which should be POST",
                        parts.method.as_str()
                    ),
                ),
            });
        }
        // The time is over before the call is looked at, whatever it asks for.
        if timeout == Some(Duration::ZERO) {
            return Err(status::of(&Refusal::DeadlineExceeded).into());
        }
        let method = Method::from_path(parts.uri.path()).map_err(|refusal| status::of(&refusal))?;
        if let Some(version) = parts.headers.get(CLIENT_API_VERSION)
            && std::str::from_utf8(version.as_bytes()).is_err()
        {
            let refusal = Refusal::InvalidClientApiVersion;
            return Err(status::of(&refusal).into());
        }
        let encoding = parts.headers.get(GRPC_ENCODING).map(HeaderValue::as_bytes);
        let encoding = Encoding::of(encoding.map(String::from_utf8_lossy).as_deref())?;
        let requires_leader = parts.headers.get(HAS_LEADER).is_some_and(|value| value == "true");
        let api_version = parts.headers.get(CLIENT_API_VERSION).cloned();
        Ok(Head { method, timeout, encoding, api_version, requires_leader })
    }

    pub(super) fn api_version(&self) -> Option<&str> {
        self.api_version.as_ref().and_then(|value| value.to_str().ok())
    }
}

/// `application/grpc`, alone or followed by a subtype or parameters.
fn is_grpc(content_type: &[u8]) -> bool {
    let lower = content_type.to_ascii_lowercase();
    match lower.strip_prefix(b"application/grpc") {
        Some([]) => true,
        Some([first, ..]) => matches!(first, b'+' | b';'),
        None => false,
    }
}

fn timeout(value: &HeaderValue) -> Result<Duration, Status> {
    parse_timeout(&String::from_utf8_lossy(value.as_bytes()))
}

/// The headers in front of messages.
pub(super) fn begin(encoding: Encoding) -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    if encoding == Encoding::Gzip {
        response.headers_mut().insert(GRPC_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// The headers of an answer that has no messages.
pub(super) fn only(http: StatusCode, status: &Status) -> Response<()> {
    let mut response = begin(Encoding::Identity);
    *response.status_mut() = http;
    put_status(response.headers_mut(), status);
    response
}

/// Returns the trailers of an answer that has messages.
pub(super) fn end(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    put_status(&mut trailers, status);
    trailers
}

/// Returns the trailers of an answer that went well.
pub(super) fn end_ok() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

fn put_status(headers: &mut HeaderMap, status: &Status) {
    headers.insert(GRPC_STATUS, HeaderValue::from(status.code));
    let message = percent_encode(&status.message);
    let message = HeaderValue::from_str(&message).expect("percent-encoding leaves plain ASCII");
    headers.insert(GRPC_MESSAGE, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_is_grpc() {
        for yes in ["application/grpc", "application/grpc+proto", "Application/gRPC;charset=x"] {
            assert!(is_grpc(yes.as_bytes()), "{yes}");
        }
        for no in ["", "application/json", "application/grpc-web", "application/grp", "text/plain"]
        {
            assert!(!is_grpc(no.as_bytes()), "{no}");
        }
    }
}
