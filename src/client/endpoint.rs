//! An endpoint as a user writes it, and the address it stands for.

use super::Error;

/// The address of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Host name or numeric address, and port.
    Tcp { host: String, port: u16 },
    /// A socket file.
    Unix { path: String },
}

/// An endpoint: the text names it in output and errors, the address is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) text: String,
    pub(super) address: Address,
}

/// The port of an endpoint that names none.
const PORT_DEFAULT: u16 = 2379;

impl Endpoint {
    /// Accepts `host:port`, `http://host:port`, `unix://path`, `unix:path` and `[v6]:port`.
    pub(super) fn parse(text: &str) -> Result<Endpoint, Error> {
        let invalid = |why: &str| Error::Invalid(format!("endpoint {text:?}: {why}"));
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => match text.strip_prefix("unix:") {
                Some(rest) => ("unix", rest),
                None => ("http", text),
            },
        };
        let address = match scheme {
            "http" => parse_authority(rest.trim_end_matches('/')).map_err(invalid)?,
            "unix" if !rest.is_empty() => Address::Unix { path: rest.to_owned() },
            "unix" => return Err(invalid("the path of the socket is missing")),
            "https" | "unixs" => return Err(invalid("TLS is not there yet")),
            _ => return Err(invalid("unknown scheme; http and unix are known")),
        };
        Ok(Endpoint { text: text.to_owned(), address })
    }

    /// Returns the value of HTTP/2's `:authority`.
    pub(super) fn authority(&self) -> String {
        match &self.address {
            Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix { .. } => "localhost".to_owned(),
        }
    }
}

fn parse_authority(text: &str) -> Result<Address, &'static str> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, tail) = rest.split_once(']').ok_or("the closing bracket is missing")?;
        (host, tail.strip_prefix(':'))
    } else {
        match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err("an IPv6 address stands in brackets");
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.contains(['/', '@', '?', '#']) {
        return Err("only a host and a port are expected");
    }
    let port = match port {
        None => PORT_DEFAULT,
        Some(port) => port.parse().map_err(|_| "the port is not a number up to 65535")?,
    };
    let host = if host.is_empty() { "localhost" } else { host };
    Ok(Address::Tcp { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn forms_that_etcd_clients_take() {
        let cases = [
            ("127.0.0.1:2379", tcp("127.0.0.1", 2379)),
            ("http://example.com:1/", tcp("example.com", 1)),
            ("example.com", tcp("example.com", 2379)),
            (":2381", tcp("localhost", 2381)),
            ("http://[::1]:7", tcp("::1", 7)),
            ("[::1]", tcp("::1", 2379)),
            ("unix:///tmp/a:2", Address::Unix { path: "/tmp/a:2".to_owned() }),
            ("unix:a.sock", Address::Unix { path: "a.sock".to_owned() }),
        ];
        for (text, address) in cases {
            assert_eq!(Endpoint::parse(text).map(|e| e.address), Ok(address), "{text}");
        }
        assert_eq!(Endpoint::parse("[::1]:7").map(|e| e.authority()), Ok("[::1]:7".to_owned()));
    }

    #[test]
    fn bad_endpoints_are_refused_with_the_reason() {
        for (text, reason) in [
            ("https://a:1", "TLS is not there yet"),
            ("ftp://a:1", "unknown scheme"),
            ("a:99999", "the port"),
            ("::1:2379", "brackets"),
            ("a:1/path", "the port"),
            ("user@a:1", "only a host"),
            ("unix://", "path"),
            ("[::1", "closing bracket"),
        ] {
            let error = Endpoint::parse(text).expect_err(text).to_string();
            assert!(error.contains(reason) && error.contains(text), "{text}: {error}");
        }
    }
}
