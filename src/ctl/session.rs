//! The session of a command: a client and an output format.

use std::time::Duration;

use futures_lite::future::block_on;

use super::exit::{self, Failure};
use super::globals::{Globals, TransportName};
use super::output::{Answer, Format, Printer};
use super::{print, print_next};
use crate::client::{Client, Error, Options, Transport};

/// The keepalive timeout that grpc-go uses in place of 0.
const GO_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// One run of the program.
pub struct Session {
    options: Options,
    credentials: Option<(String, String)>,
    pub printer: Printer,
    pub command_timeout: Duration,
}

impl Session {
    /// Checks the global flags; dials nothing.
    pub fn new(globals: &Globals) -> Result<Session, Failure> {
        globals.refuse_what_is_not_there()?;
        let format = Format::parse(&globals.write_out)
            .ok_or_else(|| Failure::new(exit::BAD_FEATURE, "unsupported output format"))?;
        let positive = |count: i64| usize::try_from(count).ok().filter(|count| *count > 0);
        let defaults = Options::default();
        Ok(Session {
            options: Options {
                endpoints: globals.endpoints.clone(),
                transport: if globals.grpc { Transport::Grpc } else { globals.transport.into() },
                dial_timeout: unless_zero(globals.dial_timeout),
                request_timeout: Some(globals.command_timeout),
                token: globals.token(),
                request_bytes_max: positive(globals.max_request_bytes)
                    .unwrap_or(defaults.request_bytes_max),
                answer_bytes_max: positive(globals.max_recv_bytes)
                    .unwrap_or(defaults.answer_bytes_max),
                ping_interval: unless_zero(globals.keepalive_time),
                ping_timeout: unless_zero(globals.keepalive_timeout).unwrap_or(GO_PING_TIMEOUT),
                // One command makes one connection.
                core_connections: false,
                ..defaults
            },
            credentials: globals.credentials()?,
            printer: Printer { format, hex: globals.hex, value_only: false },
            command_timeout: globals.command_timeout,
        })
    }

    /// Returns the endpoints as given.
    pub fn endpoints(&self) -> &[String] {
        &self.options.endpoints
    }

    /// Returns a client of all endpoints, authenticated if a user is named.
    pub async fn client(&self) -> Result<Client, Error> {
        authenticated(Client::lazy(self.options.clone())?, self.credentials.as_ref()).await
    }

    /// Returns a client of one endpoint.
    pub async fn client_at(&self, endpoint: &str) -> Result<Client, Error> {
        let options = Options { endpoints: vec![endpoint.to_owned()], ..self.options.clone() };
        authenticated(Client::lazy(options)?, self.credentials.as_ref()).await
    }

    /// Returns a client of an endpoint of another cluster.
    pub async fn client_to(
        &self,
        endpoint: &str,
        transport: Option<TransportName>,
        credentials: Option<&(String, String)>,
    ) -> Result<Client, Error> {
        let options = Options {
            endpoints: vec![endpoint.to_owned()],
            transport: transport.map_or(self.options.transport, Transport::from),
            token: None,
            ..self.options.clone()
        };
        authenticated(Client::lazy(options)?, credentials).await
    }

    /// Waits for a call; a timeout that had a cause tells it on standard error.
    pub fn call<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        block_on(call).map_err(|error| {
            explain(&error);
            error.into()
        })
    }

    pub fn show(&self, answer: &Answer) -> Result<(), Failure> {
        show(&self.printer, answer)
    }

    /// Shows as [`Session::show`] does, for commands that go on afterwards: without a reader they
    /// end.
    pub fn show_next(&self, answer: &Answer) -> Result<(), Failure> {
        print_next(&rendered(&self.printer, answer)?)
    }

    /// Returns a line beside the answers, likewise.
    pub fn print_next(&self, text: &str) -> Result<(), Failure> {
        print_next(text.as_bytes())
    }

    /// Returns `--endpoints`, or every client URL of the cluster's members.
    pub fn endpoints_or_cluster(&self, cluster: bool) -> Result<Vec<String>, Failure> {
        if !cluster {
            return Ok(self.endpoints().to_vec());
        }
        let members = block_on(async { self.client().await?.member_list(true).await });
        let members = members.map_err(|error| {
            explain(&error);
            let what = "failed to fetch endpoints from etcd cluster member list";
            Failure::new(exit::ERROR, format!("{what}: {error}"))
        })?;
        Ok(members.members.into_iter().flat_map(|member| member.client_ur_ls).collect())
    }
}

/// Turns 0, which says "no limit" to etcdctl, into `None`.
fn unless_zero(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

/// While authentication is off, a name and a password are not needed and do no harm.
async fn authenticated(
    client: Client,
    credentials: Option<&(String, String)>,
) -> Result<Client, Error> {
    const OFF: &str = "etcdserver: authentication is not enabled";
    let Some((name, password)) = credentials else { return Ok(client) };
    match client.authenticate(name, password).await {
        Err(Error::Status { message, .. }) if message == OFF => Ok(client),
        result => result,
    }
}

/// Writes an answer to standard output.
pub fn show(printer: &Printer, answer: &Answer) -> Result<(), Failure> {
    print(&rendered(printer, answer)?)
}

fn rendered(printer: &Printer, answer: &Answer) -> Result<Vec<u8>, Failure> {
    printer.render(answer).map_err(|format| {
        let message = format!("{} not supported as output format", format.name());
        Failure::new(exit::BAD_FEATURE, message)
    })
}

/// Prints what was tried until the deadline.
pub fn explain(error: &Error) {
    if let Error::Timeout { last: Some(last), .. } = error {
        warn("retried until the deadline", last);
    }
}

/// Warns the user in one JSON line like etcdctl's.
pub fn warn(message: &str, error: &impl std::fmt::Display) {
    let line = serde_json::json!({
        "level": "warn",
        "logger": "braid-client",
        "msg": message,
        "error": error.to_string(),
    });
    eprintln!("{line}");
}
