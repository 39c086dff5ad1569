//! URLs as etcd takes them: a scheme, a host and a port, and nothing else.

use crate::gotext::quote;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
    Unix,
    Unixs,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Unixs => "unixs",
        }
    }

    /// Whether a path on this machine stands where a host would.
    pub fn is_socket_file(self) -> bool {
        matches!(self, Scheme::Unix | Scheme::Unixs)
    }
}

/// One URL of a listen, advertise or peer list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub scheme: Scheme,
    /// `host:port` as written (a socket file's whole path for `unix`).
    pub authority: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority)
    }
}

impl Url {
    /// Reads one URL; the errors are those of Go's `net/url` and of etcd.
    pub fn parse(written: &str) -> Result<Url, String> {
        let text = written.trim();
        let go_error = |why: String| format!("parse {}: {why}", quote(text));
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err(go_error("net/url: invalid control character in URL".into()));
        }
        let unknown_scheme = || format!("URL scheme must be http, https, unix, or unixs: {text}");
        let (scheme, rest) = split_scheme(text).map_err(|why| go_error(why.into()))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "" if rest.split('/').next().is_some_and(|first| first.contains(':')) => {
                return Err(go_error("first path segment in URL cannot contain colon".into()));
            }
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(unknown_scheme()),
        };
        if scheme.is_socket_file() {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() {
                return Err(format!("URL names no socket file: {text}"));
            }
            return Ok(Url { scheme, authority: path.to_string() });
        }
        let no_address = || format!("URL address does not have the form \"host:port\": {text}");
        let rest = rest.strip_prefix("//").ok_or_else(no_address)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        check_port_digits(authority).map_err(go_error)?;
        let url = Url { scheme, authority: authority.to_string() };
        url.host_and_port().map_err(|_| no_address())?;
        if path.starts_with('/') {
            return Err(format!("URL must not contain a path: {text}"));
        }
        if !path.is_empty() || authority.contains('@') {
            return Err(format!("URL must be a scheme, a host and a port: {text}"));
        }
        Ok(url)
    }

    /// Reads a comma-separated list; it comes back sorted, each once.
    pub fn parse_list(list: &str) -> Result<Vec<Url>, String> {
        let mut urls = list.split(',').map(Url::parse).collect::<Result<Vec<Url>, String>>()?;
        urls.sort_by_key(Url::to_string);
        let mut seen = BTreeSet::new();
        urls.retain(|url| seen.insert(url.to_string()));
        Ok(urls)
    }

    /// Splits host (without brackets) and port as Go's `net.SplitHostPort` does.
    pub fn host_and_port(&self) -> Result<(&str, &str), String> {
        let whole = &self.authority[..];
        let fault = |why: &str| format!("address {whole}: {why}");
        let colon = whole.rfind(':').ok_or_else(|| fault("missing port in address"))?;
        let (host, port) = (&whole[..colon], &whole[colon + 1..]);
        if let Some(bracketed) = host.strip_prefix('[') {
            let inner =
                bracketed.strip_suffix(']').ok_or_else(|| fault("missing port in address"))?;
            return Ok((inner, port));
        }
        if host.contains(':') {
            return Err(fault("too many colons in address"));
        }
        if host.contains(['[', ']']) {
            return Err(fault("unexpected '[' or ']' in address"));
        }
        Ok((host, port))
    }

    /// Returns the address to listen on: an IP address or `localhost`, never a name that has to be
    /// looked up.
    pub fn bind_address(&self) -> Result<SocketAddr, String> {
        let (host, port) = self.host_and_port()?;
        let ip: IpAddr = if host == "localhost" {
            Ipv4Addr::LOCALHOST.into()
        } else {
            host.parse().map_err(|_| format!("expected IP in URL for binding ({self})"))?
        };
        let port = if port.is_empty() { "0" } else { port };
        let port: u16 =
            port.parse().map_err(|_| format!("listen tcp: address {port}: invalid port"))?;
        Ok(SocketAddr::new(ip, port))
    }

    /// Checks that an advertised URL has a host, of whatever kind.
    pub fn check_host(&self) -> Result<(), String> {
        if self.scheme.is_socket_file() {
            return Ok(());
        }
        let (host, _) = self.host_and_port()?;
        if host.is_empty() {
            return Err(format!("unexpected empty host ({self})"));
        }
        Ok(())
    }
}

/// Returns the texts of a list, joined as etcd shows them.
pub fn join(urls: &[Url]) -> String {
    let texts: Vec<String> = urls.iter().map(Url::to_string).collect();
    texts.join(",")
}

/// Splits at the first colon if what stands before it can be a scheme.
fn split_scheme(text: &str) -> Result<(&str, &str), &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_port_digits(authority: &str) -> Result<(), String> {
    let after_host = authority.rfind(']').map_or(authority, |at| &authority[at + 1..]);
    match after_host.find(':') {
        Some(at) if !after_host[at + 1..].bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("invalid port {} after host", quote(&after_host[at..])))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_read_as_etcd_reads_them() {
        for (text, shown) in [
            ("http://localhost:2379", "http://localhost:2379"),
            (" HTTP://10.0.0.1:2379 ", "http://10.0.0.1:2379"),
            ("https://[::1]:2379", "https://[::1]:2379"),
            ("http://:2379", "http://:2379"),
            ("http://example.com:", "http://example.com:"),
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("unixs://name:0", "unixs://name:0"),
        ] {
            assert_eq!(Url::parse(text).map(|url| url.to_string()), Ok(shown.into()), "{text}");
        }
        for (text, error) in [
            ("", "URL scheme must be http, https, unix, or unixs: "),
            ("localhost", "URL scheme must be http, https, unix, or unixs: localhost"),
            ("localhost:2379", "URL scheme must be http, https, unix, or unixs: localhost:2379"),
            ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
            (
                "127.0.0.1:2379",
                "parse \"127.0.0.1:2379\": first path segment in URL cannot contain colon",
            ),
            (":2379", "parse \":2379\": missing protocol scheme"),
            (
                "http://localhost:abc",
                "parse \"http://localhost:abc\": invalid port \":abc\" after host",
            ),
            (
                "http://localhost",
                "URL address does not have the form \"host:port\": http://localhost",
            ),
            ("http://::1:2379", "parse \"http://::1:2379\": invalid port \"::1:2379\" after host"),
            ("http://a:1/", "URL must not contain a path: http://a:1/"),
            ("http://a:1?b", "URL must be a scheme, a host and a port: http://a:1?b"),
            ("http://u@a:1", "URL must be a scheme, a host and a port: http://u@a:1"),
        ] {
            assert_eq!(Url::parse(text), Err(error.into()), "{text}");
        }
    }

    #[test]
    fn lists_are_sorted_and_hold_each_url_once() {
        let urls = Url::parse_list("http://b:1, http://a:1,http://b:1").unwrap();
        assert_eq!(join(&urls), "http://a:1,http://b:1");
    }

    #[test]
    fn only_addresses_can_be_bound() {
        let bind = |text: &str| Url::parse(text).unwrap().bind_address();
        assert_eq!(bind("http://localhost:2379"), Ok("127.0.0.1:2379".parse().unwrap()));
        assert_eq!(bind("http://[::]:0"), Ok("[::]:0".parse().unwrap()));
        assert_eq!(bind("http://0.0.0.0:"), Ok("0.0.0.0:0".parse().unwrap()));
        assert_eq!(
            bind("http://example.com:2379"),
            Err("expected IP in URL for binding (http://example.com:2379)".into())
        );
        assert_eq!(
            bind("http://:2379"),
            Err("expected IP in URL for binding (http://:2379)".into())
        );
        assert_eq!(
            bind("http://127.0.0.1:70000"),
            Err("listen tcp: address 70000: invalid port".into())
        );
    }
}
