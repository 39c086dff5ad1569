//! The flags that every command takes, and their environment variables.

use std::ffi::OsString;
use std::fmt::Write;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, Parser, ValueEnum};

use super::exit::{self, Failure};
use super::get::int;
use crate::client::Transport;
use crate::gotext::GoDuration;
use crate::gotext::strconv::parse_bool;

/// Flags of etcdctl, and two of ours.
#[derive(Args, Debug)]
#[command(next_help_heading = "Flags of any command")]
pub struct Globals {
    /// endpoints, tried in turn
    #[arg(long, global = true, hide = true, value_delimiter = ',')]
    #[arg(default_value = "127.0.0.1:2379")]
    pub endpoints: Vec<String>,
    /// the protocol: Braid's own frames, etcd's gRPC, or whichever the server answers
    #[arg(long, global = true, hide = true, value_enum, default_value = "auto")]
    pub transport: TransportName,
    /// short for --transport grpc
    #[arg(long, global = true, hide = true)]
    pub grpc: bool,
    /// set the output format (fields, json, protobuf, simple, table)
    #[arg(long, short = 'w', global = true, hide = true, default_value = "simple")]
    pub write_out: String,
    /// print byte strings as hex encoded strings
    #[arg(long, global = true, hide = true)]
    pub hex: bool,
    /// dial timeout for client connections (0 is none)
    #[arg(long, global = true, hide = true, default_value = "2s")]
    #[arg(value_parser = duration)]
    pub dial_timeout: Duration,
    /// timeout for short running command (excluding dial timeout)
    #[arg(long, global = true, hide = true, default_value = "5s")]
    #[arg(value_parser = duration)]
    pub command_timeout: Duration,
    /// keepalive time for client connections (over gRPC 10s at least; 0 is never)
    #[arg(long, global = true, hide = true, default_value = "2s")]
    #[arg(value_parser = duration)]
    pub keepalive_time: Duration,
    /// keepalive timeout for client connections (0 is 20s)
    #[arg(long, global = true, hide = true, default_value = "6s")]
    #[arg(value_parser = duration)]
    pub keepalive_timeout: Duration,
    /// bytes of a request at most (0 is 2 MiB)
    #[arg(long, global = true, hide = true, default_value = "0", value_parser = int)]
    pub max_request_bytes: i64,
    /// bytes of an answer at most (0 is 2 GiB)
    #[arg(long, global = true, hide = true, default_value = "0", value_parser = int)]
    pub max_recv_bytes: i64,
    /// `username[:password]` for authentication
    #[arg(long, global = true, hide = true, default_value = "", hide_default_value = true)]
    pub user: String,
    /// password for authentication (then --user has none)
    #[arg(long, global = true, hide = true, default_value = "", hide_default_value = true)]
    pub password: String,
    /// token for authentication (then there is no --user and no --password)
    #[arg(long, global = true, hide = true, default_value = "", hide_default_value = true)]
    pub auth_jwt_token: String,
    /// accepted, without effect
    #[arg(long, global = true, hide = true)]
    pub debug: bool,
    /// no transport security, which is all there is so far
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "true", value_parser = parse_bool)]
    #[arg(action = clap::ArgAction::Set)]
    pub insecure_transport: bool,
    /// accepted, without effect
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "true", value_parser = parse_bool)]
    #[arg(action = clap::ArgAction::Set)]
    pub insecure_discovery: bool,
    /// not there yet
    #[arg(long, global = true, hide = true)]
    pub insecure_skip_tls_verify: bool,
    /// not there yet
    #[arg(long, global = true, hide = true)]
    pub cacert: Option<String>,
    /// not there yet
    #[arg(long, global = true, hide = true)]
    pub cert: Option<String>,
    /// not there yet
    #[arg(long, global = true, hide = true)]
    pub key: Option<String>,
    /// not there yet
    #[arg(long, short = 'd', global = true, hide = true)]
    #[arg(default_value = "", hide_default_value = true)]
    pub discovery_srv: String,
    /// not there yet
    #[arg(long, global = true, hide = true, default_value = "", hide_default_value = true)]
    pub discovery_srv_name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TransportName {
    Auto,
    Frames,
    Grpc,
}

impl From<TransportName> for Transport {
    fn from(name: TransportName) -> Transport {
        match name {
            TransportName::Auto => Transport::Auto,
            TransportName::Frames => Transport::Frames,
            TransportName::Grpc => Transport::Grpc,
        }
    }
}

impl Globals {
    /// Refuses encryption and discovery, so that nobody goes without them silently.
    pub fn refuse_what_is_not_there(&self) -> Result<(), Failure> {
        for (name, value) in [("cacert", &self.cacert), ("cert", &self.cert), ("key", &self.key)] {
            match value.as_deref() {
                None => {}
                Some("") => {
                    let why = format!("empty string is passed to --{name} option");
                    return Err(Failure::bad_arguments(why));
                }
                Some(_) => return Err(not_there(name, "TLS")),
            }
        }
        if self.insecure_skip_tls_verify {
            return Err(not_there("insecure-skip-tls-verify", "TLS"));
        }
        if !self.insecure_transport {
            return Err(not_there("insecure-transport=false", "TLS"));
        }
        if !self.discovery_srv.is_empty() {
            return Err(not_there("discovery-srv", "DNS discovery"));
        }
        if !self.discovery_srv_name.is_empty() {
            return Err(not_there("discovery-srv-name", "DNS discovery"));
        }
        Ok(())
    }

    /// Returns name and password, if a user is named.
    pub fn credentials(&self) -> Result<Option<(String, String)>, Failure> {
        let named = !(self.user.is_empty() && self.password.is_empty());
        if named && !self.auth_jwt_token.is_empty() {
            let why = "--auth-jwt-token excludes --user and --password";
            return Err(Failure::bad_arguments(why));
        }
        credentials(&self.user, &self.password, "")
    }

    pub fn token(&self) -> Option<String> {
        Some(self.auth_jwt_token.clone()).filter(|token| !token.is_empty())
    }
}

/// Returns name and password out of two flags whose names begin with `flags`.
pub fn credentials(
    user: &str,
    password: &str,
    flags: &str,
) -> Result<Option<(String, String)>, Failure> {
    if user.is_empty() {
        return Ok(None);
    }
    if !password.is_empty() {
        return Ok(Some((user.to_owned(), password.to_owned())));
    }
    match user.split_once(':') {
        Some((name, password)) => Ok(Some((name.to_owned(), password.to_owned()))),
        None => {
            let variable = if flags.is_empty() { " or ETCDCTL_PASSWORD" } else { "" };
            Err(Failure::bad_arguments(format!(
                "a prompt for the password is not there yet: use --{flags}user name:password, \
                 --{flags}password{variable}"
            )))
        }
    }
}

pub fn not_there(flag: &str, what: &str) -> Failure {
    Failure::bad_arguments(format!("--{flag}: {what} is not there yet"))
}

/// The prefixes of our variables; the first goes first.
const PREFIXES: [&str; 2] = ["BRAIDCTL_", "ETCDCTL_"];

/// Variables of the prefixes that are no flags, and known all the same.
const NO_FLAGS: [&str; 5] = [
    "ETCDCTL_API",
    "ETCDCTL_WATCH_KEY",
    "ETCDCTL_WATCH_RANGE_END",
    "BRAIDCTL_WATCH_KEY",
    "BRAIDCTL_WATCH_RANGE_END",
];

/// Flags for what the environment sets and the command line leaves out. A variable that a flag
/// overrides is an error, as with etcdctl: one of the two was not meant.
pub fn from_environment(
    matches: &ArgMatches,
    environment: &[(OsString, OsString)],
) -> Result<Vec<OsString>, Failure> {
    let mut flags = Vec::new();
    let mut known = Vec::new();
    for (id, long) in ids() {
        let on_the_line = given(matches, &id);
        let mut taken = false;
        for prefix in PREFIXES {
            let name = format!("{prefix}{}", long.to_uppercase().replace('-', "_"));
            let set = environment.iter().find(|(variable, _)| *variable == *name);
            known.push(name.clone());
            let Some((_, value)) = set else { continue };
            if on_the_line {
                let why = format!(
                    "conflicting environment variable {name} is shadowed by corresponding \
                     command-line flag (either unset environment variable or disable flag)"
                );
                return Err(Failure::new(exit::ERROR, why));
            }
            if !value.is_empty() && !taken {
                let mut flag = OsString::from(format!("--{long}="));
                flag.push(value);
                flags.push(flag);
                taken = true;
            }
        }
    }
    for (name, _) in environment {
        let Some(name) = name.to_str() else { continue };
        let ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if ours && !NO_FLAGS.contains(&name) && !known.iter().any(|known| known == name) {
            let line = serde_json::json!({
                "level": "warn",
                "msg": "unrecognized environment variable",
                "environment-variable": name,
            });
            eprintln!("{line}");
        }
    }
    Ok(flags)
}

/// Whether a flag stands on the command line, before or after the commands.
/// The value of a flag that is a length of time; a negative one is none at all.
fn duration(text: &str) -> Result<Duration, String> {
    GoDuration::parse(text).map(GoDuration::to_std)
}

fn given(matches: &ArgMatches, id: &str) -> bool {
    let mut level = Some(matches);
    while let Some(matches) = level {
        let source = matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id));
        if source == Some(ValueSource::CommandLine) {
            return true;
        }
        level = matches.subcommand().map(|(_, below)| below);
    }
    false
}

/// Only the global flags, to ask clap about them.
#[derive(Parser)]
#[command(disable_help_flag = true)]
struct Alone {
    #[command(flatten)]
    _globals: Globals,
}

/// Returns identifier and long name of every global flag.
fn ids() -> Vec<(String, String)> {
    let command = Alone::command();
    let flags = command.get_arguments().map(|arg| {
        let long = arg.get_long().expect("a global flag has a long name");
        (arg.get_id().to_string(), long.to_owned())
    });
    flags.collect()
}

/// Returns the text of `braidctl options`.
pub fn listing() -> String {
    let mut text = "The following options can be passed to any command:\n\n".to_owned();
    let command = Alone::command();
    let mut flags: Vec<_> = command.get_arguments().collect();
    flags.sort_by_key(|arg| arg.get_long());
    // The flags whose feature is not there yet come last, in one list.
    let (absent, there): (Vec<_>, Vec<_>) = flags.into_iter().partition(|arg| is_absent(arg));
    for arg in there {
        let short = arg.get_short().map_or("    ".to_owned(), |short| format!("-{short}, "));
        let long = arg.get_long().unwrap_or_default();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let defaults: Vec<_> =
            arg.get_default_values().iter().filter_map(|value| value.to_str()).collect();
        let default = match defaults.join(",") {
            shown if shown.is_empty() || arg.is_hide_default_value_set() => String::new(),
            shown if shown == "false" => String::new(),
            shown => format!(" (default {shown})"),
        };
        writeln!(text, "  {short}--{long:<26} {help}{default}").expect("a string grows");
    }
    text.push_str("\nNot there yet, and refused:");
    for arg in absent {
        write!(text, " --{}", arg.get_long().unwrap_or_default()).expect("a string grows");
    }
    text.push('\n');
    text
}

/// How a flag says that its feature is not there yet.
const ABSENT: &str = "not there yet";

/// Whether a flag is only there to be refused by name.
pub fn is_absent(arg: &clap::Arg) -> bool {
    arg.get_help().is_some_and(|help| help.to_string() == ABSENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globals(flags: &[&str]) -> Globals {
        let words = std::iter::once("braidctl").chain(flags.iter().copied());
        Alone::try_parse_from(words).expect("good flags")._globals
    }

    #[test]
    fn every_global_flag_of_etcdctl_is_there() {
        let listing = listing();
        for flag in [
            "endpoints",
            "debug",
            "write-out",
            "hex",
            "dial-timeout",
            "command-timeout",
            "keepalive-time",
            "keepalive-timeout",
            "max-request-bytes",
            "max-recv-bytes",
            "insecure-transport",
            "insecure-discovery",
            "insecure-skip-tls-verify",
            "cert",
            "key",
            "cacert",
            "auth-jwt-token",
            "user",
            "password",
            "discovery-srv",
            "discovery-srv-name",
        ] {
            assert!(ids().iter().any(|(_, long)| long == flag), "--{flag} is missing");
            let listed = [format!("--{flag} "), format!("--{flag}\n")];
            assert!(listed.iter().any(|name| listing.contains(name)), "--{flag} is not listed");
        }
        assert!(listing.contains("-w, --write-out"));
        let absent = "\nNot there yet, and refused: --cacert --cert --discovery-srv \
                      --discovery-srv-name --insecure-skip-tls-verify --key\n";
        assert!(listing.ends_with(absent), "{listing}");
        assert!(listing.contains("(default 127.0.0.1:2379)"));
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        for (flags, text) in [
            (&["--cacert", "ca.pem"][..], "--cacert: TLS is not there yet"),
            (&["--cert="], "empty string is passed to --cert option"),
            (&["--insecure-transport=false"], "--insecure-transport=false: TLS"),
            (&["--insecure-skip-tls-verify"], "--insecure-skip-tls-verify: TLS"),
            (&["-d", "example.com"], "--discovery-srv: DNS discovery"),
        ] {
            let failure = globals(flags).refuse_what_is_not_there().expect_err(text);
            assert_eq!(failure.code, 128);
            assert!(failure.message.expect("a message").starts_with(text), "{flags:?}");
        }
        let insecure = globals(&["--insecure-transport", "--insecure-discovery=true"]);
        assert_eq!(insecure.refuse_what_is_not_there(), Ok(()));
    }

    #[test]
    fn credentials() {
        let found = |flags: &[&str]| globals(flags).credentials();
        let pair = |name: &str, password: &str| Ok(Some((name.to_owned(), password.to_owned())));
        assert_eq!(found(&[]), Ok(None));
        assert_eq!(found(&["--user", "a:b:c"]), pair("a", "b:c"));
        assert_eq!(found(&["--user", "a:b", "--password", "c"]), pair("a:b", "c"));
        assert_eq!(found(&["--user", "a"]).expect_err("no password").code, 128);
        let both = found(&["--user", "a:b", "--auth-jwt-token", "t"]);
        assert_eq!(both.expect_err("both").code, 128);
    }
}
