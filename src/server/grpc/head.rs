//! Headers of gRPC requests, read, and of answers, written.

use std::rc::Rc;
use std::time::Duration;

use crate::http2::hpack::Field;
use crate::http2::{Fields, Heads};
use crate::protocol::Method;
use crate::protocol::grpc::{Encoding, parse_timeout, percent_encode};
use crate::protocol::status::{self, Status, code};
use crate::types::Refusal;

/// The headers of a request that matter, each as it comes first.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestHead {
    content_type: Seen<()>,
    timeout: Option<Result<Duration, Status>>,
    /// `None` is POST.
    http_method: Option<Rc<[u8]>>,
    method: Seen<Method>,
    encoding: Option<Result<Encoding, Status>>,
    api_version: Option<Option<Rc<str>>>,
    /// etcd's metadata for "not without a leader".
    requires_leader: Option<bool>,
}

/// A header of which nearly always the same comes.
#[derive(Clone, Debug, Default)]
enum Seen<T> {
    #[default]
    Nothing,
    Known(T),
    Other(Rc<[u8]>),
}

impl<T> Seen<T> {
    fn set(&mut self, known: Option<T>, value: &[u8]) {
        if let Seen::Nothing = self {
            *self = known.map_or_else(|| Seen::Other(value.into()), Seen::Known);
        }
    }
}

impl Heads for RequestHead {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b":path" => {
                let path = std::str::from_utf8(value).ok();
                let method = path.and_then(|path| Method::from_path(path).ok());
                self.method.set(method, value);
            }
            b":method" if value != b"POST" => self.http_method = Some(value.into()),
            b"content-type" => self.content_type.set(is_grpc(value).then_some(()), value),
            b"grpc-timeout" => {
                let read = || parse_timeout(&String::from_utf8_lossy(value));
                self.timeout.get_or_insert_with(read);
            }
            b"grpc-encoding" => {
                let read = || Encoding::of(Some(&String::from_utf8_lossy(value)));
                self.encoding.get_or_insert_with(read);
            }
            b"client-api-version" => {
                let read = || std::str::from_utf8(value).ok().map(Rc::from);
                self.api_version.get_or_insert_with(read);
            }
            b"hasleader" => _ = self.requires_leader.get_or_insert(value == b"true"),
            _ => {}
        }
    }
}

/// A call as its headers announce it.
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) timeout: Option<Duration>,
    /// The compression of its messages, and of its answers.
    pub(super) encoding: Encoding,
    /// The version of the API that the client says it speaks.
    pub(super) api_version: Option<Rc<str>>,
    /// The call is to fail, and a stream to end, if there is no leader.
    pub(super) requires_leader: bool,
}

/// The reason for which a call is not even looked at.
pub(super) struct Rejection {
    pub(super) http: u16,
    pub(super) status: Status,
}

impl From<Status> for Rejection {
    fn from(status: Status) -> Rejection {
        Rejection { http: 200, status }
    }
}

impl RequestHead {
    /// Judges in grpc-go's order: content type, timeout, HTTP method, no time left, path, encoding.
    pub(super) fn judge(self) -> Result<Head, Rejection> {
        if let Some(rejection) = self.is_no_grpc() {
            return Err(rejection);
        }
        let timeout = self.timeout.transpose();
        let timeout = timeout.map_err(|status| Rejection { http: 400, status })?;
        if let Some(method) = &self.http_method {
            let method = String::from_utf8_lossy(method);
            let text =
                format!("Received a HEADERS frame with :method {method:?} which should be POST");
            return Err(Rejection { http: 405, status: Status::new(code::INTERNAL, text) });
        }
        // The time is over before the call is looked at, whatever it asks for.
        if timeout == Some(Duration::ZERO) {
            return Err(status::of(&Refusal::DeadlineExceeded).into());
        }
        let unknown = |path: &[u8]| match Method::from_path(&String::from_utf8_lossy(path)) {
            Ok(method) => Ok(method),
            Err(refusal) => Err(status::of(&refusal)),
        };
        let method = match &self.method {
            Seen::Known(method) => *method,
            Seen::Other(path) => unknown(path)?,
            // CONNECT has none, and is no POST.
            Seen::Nothing => unknown(b"")?,
        };
        if self.api_version == Some(None) {
            return Err(status::of(&Refusal::InvalidClientApiVersion).into());
        }
        Ok(Head {
            method,
            timeout,
            encoding: self.encoding.transpose()?.unwrap_or_default(),
            api_version: self.api_version.flatten(),
            requires_leader: self.requires_leader == Some(true),
        })
    }

    fn is_no_grpc(&self) -> Option<Rejection> {
        let text = match &self.content_type {
            Seen::Known(()) => return None,
            Seen::Other(text) => String::from_utf8_lossy(text),
            Seen::Nothing => "".into(),
        };
        let text = format!("invalid gRPC request content-type {text:?}");
        Some(Rejection { http: 415, status: Status::new(code::INVALID_ARGUMENT, text) })
    }
}

/// `application/grpc`, alone or followed by a subtype or parameters.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    content_type.split_at_checked(GRPC.len()).is_some_and(|(begin, rest)| {
        begin.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';'))
    })
}

const CONTENT_TYPE: Field<'static> =
    Field { name: "content-type", value: "application/grpc", comes_again: true };

/// The headers in front of messages.
pub(super) fn begin(encoding: Encoding) -> Fields<'static> {
    const PLAIN: &[Field<'static>] = &[CONTENT_TYPE];
    const PACKED: &[Field<'static>] =
        &[CONTENT_TYPE, Field { name: "grpc-encoding", value: "gzip", comes_again: true }];
    match encoding {
        Encoding::Identity => Fields { status: Some(200), fields: PLAIN, kept: Some(0) },
        Encoding::Gzip => Fields { status: Some(200), fields: PACKED, kept: Some(1) },
    }
}

/// Returns the trailers of an answer that went well.
pub(super) fn end_ok() -> Fields<'static> {
    const FIELDS: &[Field<'static>] =
        &[Field { name: "grpc-status", value: "0", comes_again: true }];
    Fields { status: None, fields: FIELDS, kept: Some(2) }
}

/// Hands `put` the headers of an answer that has no messages.
pub(super) fn only<T>(http: u16, status: &Status, put: impl FnOnce(Fields<'_>) -> T) -> T {
    with_status(status, |[code, message]| {
        let fields = [CONTENT_TYPE, code, message];
        put(Fields { status: Some(http), fields: &fields, kept: None })
    })
}

/// Hands `put` the trailers of an answer that has messages.
pub(super) fn end<T>(status: &Status, put: impl FnOnce(Fields<'_>) -> T) -> T {
    with_status(status, |fields| put(Fields { status: None, fields: &fields, kept: None }))
}

fn with_status<T>(status: &Status, put: impl FnOnce([Field<'_>; 2]) -> T) -> T {
    let (code, message) = (status.code.to_string(), percent_encode(&status.message));
    let comes_again = status.code <= code::UNAUTHENTICATED;
    let code = Field { name: "grpc-status", value: &code, comes_again };
    put([code, Field::once("grpc-message", &message)])
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

    fn judged(fields: &[(&str, &str)]) -> Result<Head, Rejection> {
        let mut head = RequestHead::default();
        fields.iter().for_each(|(name, value)| head.field(name.as_bytes(), value.as_bytes()));
        head.judge()
    }

    #[test]
    fn a_header_that_comes_again_says_nothing_new() {
        let call = [(":path", "/etcdserverpb.KV/Range"), ("content-type", "application/grpc")];
        let head = judged(
            &[
                &call[..],
                &[("hasleader", "true"), ("hasleader", "false")],
                &[("grpc-timeout", "3S"), ("grpc-timeout", "nonsense"), (":method", "POST")],
                &[("client-api-version", "3.7"), ("client-api-version", "3.6")],
            ]
            .concat(),
        );
        let head = head.unwrap_or_else(|rejection| panic!("{:?}", rejection.status));
        assert_eq!((head.method, head.timeout), (Method::Range, Some(Duration::from_secs(3))));
        assert!(head.requires_leader && head.encoding == Encoding::Identity);
        assert_eq!(head.api_version.as_deref(), Some("3.7"));
    }

    #[test]
    fn what_is_wrong_is_judged_in_the_order_of_grpc_go() {
        let mut wrong = vec![
            (":path", "/etcdserverpb.KV/Rage", 200, 12),
            ("grpc-timeout", "0n", 200, 4),
            (":method", "GET", 405, 13),
            ("grpc-timeout", "5x", 400, 13),
            ("content-type", "text/html", 415, 3),
        ];
        let grpc = ("content-type", "application/grpc");
        let mut fields = vec![grpc];
        for (name, value, http, code) in wrong.drain(..) {
            fields.retain(|(other, _)| *other != name);
            fields.push((name, value));
            let Err(rejection) = judged(&fields) else { panic!("{fields:?} is fine") };
            assert_eq!((rejection.http, rejection.status.code), (http, code), "{fields:?}");
        }
    }
}
