//! Which path is answered how.

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, HeaderValue,
};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;

use super::Site;
use super::health::{self, Outcome};
use crate::protocol::grpc::Deflater;
use crate::rt;
use crate::server::front::Front;

type Answer = Response<Full<Bytes>>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const NOSNIFF: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));

/// Answers one request; nothing here reads a body.
pub(super) async fn answer(front: &Front, site: Site, request: Request<Incoming>) -> Answer {
    let host = match host(&request) {
        Ok(host) => host,
        Err(why) => return bad_request(why),
    };
    if !is_allowed(&front.settings.hosts, host_name(host)) {
        return error(StatusCode::MISDIRECTED_REQUEST, &unrecognized_host(host_name(host)));
    }
    let path = request.uri().path();
    if path == "/metrics" {
        // Every one is about a millisecond's work, and a client may ask for many at once.
        rt::give_way().await;
        let body = (front.settings.metrics)();
        return match accepts_gzip(request.headers()) {
            true => packed(METRICS, body).await,
            false => found(METRICS, body),
        };
    }
    let query = Query(request.uri().query().unwrap_or(""));
    let check = match path {
        "/version" if site == Site::Client => None,
        "/health" => Some(Check::Health),
        _ => match (path.strip_prefix("/livez"), path.strip_prefix("/readyz")) {
            (Some(rest), _) => Check::of(health::LIVEZ, rest),
            (_, Some(rest)) => Check::of(health::READYZ, rest),
            _ => Some(Check::Unknown),
        },
    };
    if matches!(check, Some(Check::Unknown)) {
        return error(StatusCode::NOT_FOUND, "404 page not found");
    }
    if request.method() != Method::GET {
        let mut refused = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    match check {
        None => found(JSON, version(front)),
        Some(Check::Health) => {
            let reason = health::health(front, &query).await;
            let figures = &front.settings.figures;
            let counted = match &reason {
                None => &figures.health_successes,
                Some(_) => &figures.health_failures,
            };
            counted.add(1);
            health_answer(reason)
        }
        Some(Check::Group(checks)) => {
            checks_answer(health::checks(front, path, checks, &query).await)
        }
        Some(Check::One(check)) => {
            checks_answer(health::checks(front, path, &[check], &query.without_exclude()).await)
        }
        Some(Check::Unknown) => unreachable!("answered above"),
    }
}

enum Check {
    Health,
    Group(&'static [health::Check]),
    One(health::Check),
    Unknown,
}

impl Check {
    /// Parses the path behind `/livez` or `/readyz`: nothing, or the name of one check.
    fn of(group: &'static [health::Check], rest: &str) -> Option<Check> {
        let one = rest.strip_prefix('/').and_then(|name| {
            group.iter().find(|check| check.name() == name).map(|check| Check::One(*check))
        });
        Some(match rest {
            "" => Check::Group(group),
            _ => one.unwrap_or(Check::Unknown),
        })
    }
}

/// The part of a URL behind the question mark.
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Every value that `name` is given; a name alone has an empty one.
    pub(super) fn values(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(move |(own, _)| *own == name)
            .map(|(_, value)| value)
    }

    pub(super) fn has(&self, name: &'a str) -> bool {
        self.values(name).next().is_some()
    }

    /// A single check cannot be excluded from itself.
    fn without_exclude(&self) -> Query<'a> {
        Query(if self.has("verbose") { "verbose" } else { "" })
    }
}

fn version(front: &Front) -> String {
    let versions = &front.settings.versions;
    serde_json::json!({
        "etcdserver": versions.server,
        "etcdcluster": versions.cluster,
        "storage": versions.storage,
    })
    .to_string()
}

fn health_answer(reason: Option<String>) -> Answer {
    let healthy = reason.is_none();
    let body = serde_json::json!({
        "health": if healthy { "true" } else { "false" },
        "reason": reason.unwrap_or_default(),
    });
    match healthy {
        true => found(TEXT, body.to_string()),
        false => error(StatusCode::SERVICE_UNAVAILABLE, &body.to_string()),
    }
}

fn checks_answer(outcome: Outcome) -> Answer {
    if outcome.failed {
        return error(StatusCode::SERVICE_UNAVAILABLE, &outcome.lines);
    }
    let (name, value) = NOSNIFF;
    let mut answer = found(TEXT, format!("{}ok\n", outcome.lines));
    answer.headers_mut().insert(name, value);
    answer
}

fn found(content_type: HeaderValue, body: String) -> Answer {
    let mut answer = Response::new(Full::from(body));
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// Answers as [`found`] does, under gzip; everything else of the core runs in between.
async fn packed(content_type: HeaderValue, body: String) -> Answer {
    let mut deflater = Deflater::new(body.into(), BytesMut::new());
    let body = loop {
        if let Some(body) = deflater.step() {
            break body.freeze();
        }
        rt::give_way().await;
    };
    let mut answer = Response::new(Full::new(body));
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    answer
}

/// Whether gzip is named, and no less than the plain form: as promhttp chooses.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut plain) = (0.0, 0.0);
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    for entry in lists.flat_map(|list| list.split(',')) {
        let (name, weight) = entry.split_once(';').unwrap_or((entry, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok());
        match name.trim() {
            "gzip" => gzip = weight.unwrap_or(0.0),
            "identity" => plain = weight.unwrap_or(0.0),
            _ => {}
        }
    }
    gzip > 0.0 && gzip >= plain
}

/// Returns the request's host, or why it is bad, in Go's words.
fn host<B>(request: &Request<B>) -> Result<&str, &'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.as_bytes(),
        (None, _) if request.version() < Version::HTTP_11 => b"",
        (None, _) => return Err(": missing required Host header"),
        (Some(_), Some(_)) => return Err(""),
    };
    let is_valid =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(byte);
    match std::str::from_utf8(host) {
        Ok(text) if host.iter().all(is_valid) => Ok(text),
        _ => Err(": malformed Host header"),
    }
}

/// As Go's server answers what it does not hand on; the connection ends.
fn bad_request(why: &str) -> Answer {
    let mut answer = found(TEXT, format!("400 Bad Request{why}"));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// As Go's `http.Error`: the text and a newline.
fn error(code: StatusCode, text: &str) -> Answer {
    let mut answer = found(TEXT, format!("{text}\n"));
    *answer.status_mut() = code;
    let (name, value) = NOSNIFF;
    answer.headers_mut().insert(name, value);
    answer
}

fn is_allowed(hosts: &[String], host: &str) -> bool {
    hosts.is_empty() || hosts.iter().any(|allowed| allowed == "*" || allowed == host)
}

/// The host without its port: `[::1]:2379` is `::1`.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            name
        }
        _ => host,
    }
}

fn unrecognized_host(host: &str) -> String {
    format!(
        "
etcd received your request, but the Host header was unrecognized.

To fix this, choose one of the following options:
- Enable TLS, then any HTTPS request will be allowed.
- Add the hostname you want to use to the whitelist in settings.
  - e.g. etcd --host-whitelist {host:?}

This requirement has been added to help prevent \"DNS Rebinding\" attacks (CVE-2018-5702).
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_their_port() {
        for (host, name) in [
            ("localhost:2379", "localhost"),
            ("localhost", "localhost"),
            ("[::1]:2379", "::1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("", ""),
        ] {
            assert_eq!(host_name(host), name);
        }
    }

    #[test]
    fn a_host_is_asked_for_as_by_go() {
        let told = |version, hosts: &[&'static str]| {
            let mut request = Request::new(());
            *request.version_mut() = version;
            for host in hosts {
                request.headers_mut().append(HOST, HeaderValue::from_static(host));
            }
            host(&request).map(str::to_owned)
        };
        assert_eq!(told(Version::HTTP_11, &["a:2379"]), Ok("a:2379".to_owned()));
        assert_eq!(told(Version::HTTP_11, &[""]), Ok(String::new()));
        assert_eq!(told(Version::HTTP_10, &[]), Ok(String::new()));
        assert_eq!(told(Version::HTTP_11, &[]), Err(": missing required Host header"));
        assert_eq!(told(Version::HTTP_11, &["a", "a"]), Err(""));
        assert_eq!(told(Version::HTTP_10, &["a b"]), Err(": malformed Host header"));
    }

    #[test]
    fn gzip_is_chosen_as_by_promhttp() {
        let chosen = |lists: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_static(list));
            }
            accepts_gzip(&headers)
        };
        for yes in ["gzip", "deflate, gzip;q=1.0, *;q=0.5", "identity, gzip", "br , gzip; q=0.1"] {
            assert!(chosen(&[yes]), "{yes}");
        }
        for no in ["", "*", "zstd", "gzip;q=0", "gzip;q=much", "identity, gzip;q=0.5"] {
            assert!(!chosen(&[no]), "{no}");
        }
        assert!(chosen(&["br", "gzip"]) && !chosen(&[]));
    }

    #[test]
    fn a_star_or_no_list_allows_every_host() {
        let list = |hosts: &[&str]| hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>();
        assert!(is_allowed(&list(&[]), "evil"));
        assert!(is_allowed(&list(&["a", "*"]), "evil"));
        assert!(is_allowed(&list(&["a"]), "a"));
        assert!(!is_allowed(&list(&["a"]), "evil"));
    }

    #[test]
    fn queries_hold_several_values_of_a_name() {
        let query = Query("exclude=a&verbose&exclude=b&x=1");
        assert_eq!(query.values("exclude").collect::<Vec<_>>(), ["a", "b"]);
        assert!(query.has("verbose"));
        assert!(!query.has("serializable"));
    }
}
