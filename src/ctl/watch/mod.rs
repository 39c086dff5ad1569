//! `watch`: changes as they happen, of a key or a range, until the server ends it.
//!
//! ```text
//!  arguments, ETCDCTL_WATCH_KEY ─▶ request ─▶ watch stream ─▶ show: output, then the program
//!  or lines of standard input  ─▶    "     ─▶      "
//! ```

mod interactive;
mod show;

use std::ffi::{OsStr, OsString};

use clap::Args;
use futures_lite::future::block_on;

use super::exit::{self, Failure};
use super::get::{argument, int, key_range};
use super::session::Session;
use crate::client::Client;
use crate::gotext;
use crate::protocol::pb::etcdserverpb as pb;
use show::{Reader, Turn};

#[derive(Args, Debug)]
pub struct Watch {
    /// `[key or prefix] [range_end]`
    #[arg(value_name = "KEY")]
    arguments: Vec<OsString>,
    /// a program to run for every event
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Interactive mode
    #[arg(long, short)]
    interactive: bool,
    /// Watch on a prefix if prefix is set
    #[arg(long)]
    prefix: bool,
    /// Revision to start watching
    #[arg(long, default_value = "0", value_parser = int)]
    rev: i64,
    /// get the previous key-value pair before the event happens
    #[arg(long)]
    prev_kv: bool,
    /// get periodic watch progress notification from server
    #[arg(long)]
    progress_notify: bool,
}

/// The part of a watch that comes from environment variables.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WatchEnvironment {
    /// From the environment.
    key: Option<OsString>,
    range_end: Option<OsString>,
    /// The command line ends in the `--` that a program should follow.
    dangling: bool,
}

const SEPARATOR_ALONE: &str = "bad number of arguments (found separator --, but no commands)";
const ENVIRONMENT_CONFLICT: &str = "bad number of arguments (found conflicting environment key)";

impl WatchEnvironment {
    pub fn of(arguments: &[OsString], environment: &[(OsString, OsString)]) -> WatchEnvironment {
        let variable = |name: &str| {
            let names = [format!("BRAIDCTL_{name}"), format!("ETCDCTL_{name}")];
            names.iter().find_map(|name| {
                let set = environment.iter().find(|(variable, _)| *variable == **name);
                set.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
            })
        };
        WatchEnvironment {
            key: variable("WATCH_KEY"),
            range_end: variable("WATCH_RANGE_END"),
            dangling: dangling(arguments),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        match (&self.key, &self.range_end) {
            (None, Some(end)) => {
                let end = gotext::quote(argument(end));
                Err(Failure::bad_arguments(format!(
                    "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={end}"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the first `--` is the last word.
fn dangling(words: &[impl AsRef<OsStr>]) -> bool {
    let first = words.iter().position(|word| word.as_ref() == "--");
    first.is_some_and(|first| first + 1 == words.len())
}

impl Watch {
    pub fn run(&self, session: &Session, environment: &WatchEnvironment) -> Result<(), Failure> {
        environment.check()?;
        if self.interactive {
            return interactive::run(session, environment);
        }
        let words = self.words(environment)?;
        let request = self.request(&words).map_err(Failure::bad_arguments)?;
        block_on(async {
            let mut reader = Reader::new(watching(session).await?);
            reader.watch(request, self.command.clone());
            loop {
                match reader.turn(session).await? {
                    Turn::Going => {}
                    Turn::Ended => {
                        let why = "watch is canceled by the server";
                        return Err(Failure::new(exit::INTERRUPTED, why));
                    }
                }
            }
        })
    }

    /// Returns key and range end, from the arguments or the environment, never from both.
    fn words(&self, environment: &WatchEnvironment) -> Result<Vec<OsString>, Failure> {
        if environment.dangling {
            return Err(Failure::bad_arguments(SEPARATOR_ALONE));
        }
        match &environment.key {
            Some(_) if !self.arguments.is_empty() => {
                Err(Failure::bad_arguments(ENVIRONMENT_CONFLICT))
            }
            Some(key) => Ok([key].into_iter().chain(&environment.range_end).cloned().collect()),
            None if self.arguments.is_empty() => {
                Err(Failure::bad_arguments("bad number of arguments"))
            }
            None => Ok(self.arguments.clone()),
        }
    }

    fn request(&self, words: &[OsString]) -> Result<pb::WatchCreateRequest, &'static str> {
        let (key, range_end) = match words {
            [key] => key_range(argument(key), self.prefix, false),
            [_, _] if self.prefix => {
                return Err("`range_end` and `--prefix` are mutually exclusive");
            }
            [key, end] => (argument(key), argument(end)),
            // etcdctl takes the first and drops the others.
            _ => return Err("bad number of arguments"),
        };
        Ok(pb::WatchCreateRequest {
            key,
            range_end,
            start_revision: self.rev,
            progress_notify: self.progress_notify,
            prev_kv: self.prev_kv,
            ..Default::default()
        })
    }
}

/// Returns a client for watchers: a member without a leader must say so.
async fn watching(session: &Session) -> Result<Client, Failure> {
    Ok(session.client().await?.requiring_leader())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::arguments::watch_line;

    fn watch(line: &[&str]) -> Watch {
        watch_line(line.iter().map(OsString::from)).expect("clap takes it")
    }

    fn around(variables: &[(&str, &str)], line: &[&str]) -> WatchEnvironment {
        let line: Vec<OsString> = line.iter().map(OsString::from).collect();
        let variables: Vec<_> = variables.iter().map(|(k, v)| (k.into(), v.into())).collect();
        WatchEnvironment::of(&line, &variables)
    }

    fn request(variables: &[(&str, &str)], line: &[&str]) -> Result<Found, Failure> {
        let environment = around(variables, line);
        environment.check()?;
        let watch = watch(line);
        let words = watch.words(&environment)?;
        let request = watch.request(&words).map_err(Failure::bad_arguments)?;
        Ok((request.key.to_vec(), request.range_end.to_vec(), watch.command))
    }

    type Found = (Vec<u8>, Vec<u8>, Vec<OsString>);

    #[test]
    fn the_key_comes_from_the_arguments_or_the_environment() {
        let found = |key: &str, end: &str, command: &[&str]| -> Result<Found, Failure> {
            Ok((key.into(), end.into(), command.iter().map(OsString::from).collect()))
        };
        let (key, end) = (("ETCDCTL_WATCH_KEY", "k"), ("ETCDCTL_WATCH_RANGE_END", "l"));
        assert_eq!(request(&[], &["a"]), found("a", "", &[]));
        assert_eq!(request(&[], &["a", "b"]), found("a", "b", &[]));
        assert_eq!(request(&[], &["a", "--prefix"]), found("a", "b", &[]));
        assert_eq!(request(&[], &["", "--prefix"]), found("\0", "\0", &[]));
        let echo = ["echo", "-n", "--"];
        assert_eq!(request(&[], &["a", "--", "echo", "-n", "--"]), found("a", "", &echo));
        assert_eq!(request(&[], &["a", "--rev", "3", "b", "--", "x"]), found("a", "b", &["x"]));
        assert_eq!(request(&[key], &[]), found("k", "", &[]));
        assert_eq!(request(&[key, end], &["--", "echo"]), found("k", "l", &["echo"]));
        let ours = ("BRAIDCTL_WATCH_KEY", "o");
        assert_eq!(request(&[key, ours], &[]), found("o", "", &[]));
        assert_eq!(request(&[("ETCDCTL_WATCH_KEY", "")], &["a"]), found("a", "", &[]));
    }

    #[test]
    fn what_cannot_be_watched_is_told_in_etcdctls_words() {
        let key = ("ETCDCTL_WATCH_KEY", "k");
        for (variables, line, text) in [
            (&[][..], &[][..], "bad number of arguments"),
            (&[], &["a", "b", "c"], "bad number of arguments"),
            (&[], &["a", "--"], SEPARATOR_ALONE),
            (&[key], &["a"], ENVIRONMENT_CONFLICT),
            (&[key], &["a", "--", "echo"], ENVIRONMENT_CONFLICT),
            (&[], &["a", "b", "--prefix"], "`range_end` and `--prefix` are mutually exclusive"),
            (
                &[("ETCDCTL_WATCH_RANGE_END", "l")],
                &["a"],
                "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"l\"",
            ),
        ] {
            let failure = request(variables, line).expect_err(text);
            assert_eq!(failure, Failure::bad_arguments(text), "{line:?}");
        }
    }

    #[test]
    fn flags_become_fields() {
        let watch = watch(&["a", "--rev=7", "--prev-kv", "--progress-notify"]);
        let expected = pb::WatchCreateRequest {
            key: "a".into(),
            start_revision: 7,
            prev_kv: true,
            progress_notify: true,
            ..Default::default()
        };
        assert_eq!(watch.request(&["a".into()]), Ok(expected));
    }
}
