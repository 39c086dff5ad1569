//! `watch -i`: watchers on demand, one line of standard input each.
//!
//! ```text
//!  watch [flags] [key] [range_end] [-- program …]    another watcher
//!  progress                                          of all of them
//! ```
//!
//! Flags on the command line do not count here, only those of the line.

use std::ffi::OsString;
use std::io::BufRead;
use std::os::unix::ffi::OsStringExt;

use futures_lite::FutureExt;
use futures_lite::future::block_on;

use super::show::Reader;
use super::{Watch, WatchEnvironment, dangling, watching};
use crate::ctl::arguments::watch_line;
use crate::ctl::exit::{self, Failure};
use crate::ctl::session::Session;
use crate::ctl::words::words;
use crate::protocol::pb::etcdserverpb as pb;

/// A command of the interactive watch.
#[derive(Debug)]
enum InteractiveCommand {
    Watch(pb::WatchCreateRequest, Vec<OsString>),
    Progress,
    /// A line that is passed over; why.
    Nothing(String),
}

pub(super) fn run(session: &Session, environment: &WatchEnvironment) -> Result<(), Failure> {
    let lines = lines()?;
    block_on(async {
        let mut reader = Reader::new(watching(session).await?);
        loop {
            let input = async {
                let line = lines.recv().await;
                Ok(Some(line.unwrap_or_else(|_| Err("EOF".to_owned()))))
            };
            let output = async { reader.turn(session).await.map(|_| None) };
            let Some(line) = input.or(output).await? else { continue };
            let line =
                line.map_err(|why| invalid(&format!("error reading watch request line: {why}")))?;
            match asked(&line, environment)? {
                InteractiveCommand::Watch(request, command) => reader.watch(request, command),
                InteractiveCommand::Progress => reader.request_progress(),
                InteractiveCommand::Nothing(why) => eprintln!("{why}"),
            }
        }
    })
}

/// Reads standard input by lines. Reading blocks, so a thread does it, one line ahead at most.
fn lines() -> Result<async_channel::Receiver<Result<String, String>>, Failure> {
    let (sender, receiver) = async_channel::bounded(1);
    let read = move || {
        for line in std::io::stdin().lock().split(b'\n') {
            let line = match line {
                Ok(bytes) => String::from_utf8(bytes).map_err(|_| {
                    "the line is not UTF-8; write other bytes as \\xNN in quotes".to_owned()
                }),
                Err(error) => Err(error.to_string()),
            };
            if sender.send_blocking(line).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("braidctl-input".to_owned()).spawn(read);
    thread.map_err(|error| Failure::new(exit::IO, format!("standard input: {error}")))?;
    Ok(receiver)
}

fn invalid(why: &str) -> Failure {
    Failure::new(exit::INVALID_INPUT, why)
}

/// Reads one line. What cannot be parsed at all ends the program, as it does etcdctl.
fn asked(line: &str, environment: &WatchEnvironment) -> Result<InteractiveCommand, Failure> {
    let words = words(line).ok_or_else(|| invalid("invalid syntax"))?;
    let Some((first, rest)) = words.split_first() else {
        let why = format!("Invalid command: {line} (watch and progress supported)");
        return Ok(InteractiveCommand::Nothing(why));
    };
    match &first[..] {
        b"progress" => return Ok(InteractiveCommand::Progress),
        b"watch" => {}
        _ => {
            return Ok(InteractiveCommand::Nothing(format!(
                "Invalid command {line} (only support watch)"
            )));
        }
    }
    if rest.is_empty() && environment.key.is_none() {
        let why = "command type or key is not provided";
        return Ok(InteractiveCommand::Nothing(format!("Invalid command {line} ({why})")));
    }
    let rest: Vec<OsString> = rest.iter().cloned().map(OsString::from_vec).collect();
    let watch: Watch = watch_line(rest.iter().cloned())?;
    let environment = WatchEnvironment {
        key: environment.key.clone(),
        range_end: environment.range_end.clone(),
        dangling: dangling(&rest),
    };
    let words = watch.words(&environment)?;
    match watch.request(&words) {
        Ok(request) => Ok(InteractiveCommand::Watch(request, watch.command)),
        Err(why) => Ok(InteractiveCommand::Nothing(format!("Invalid command {line} ({why})"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> Result<InteractiveCommand, Failure> {
        asked(line, &WatchEnvironment::default())
    }

    #[test]
    fn lines_ask_for_watchers_and_progress() {
        let Ok(InteractiveCommand::Watch(request, command)) =
            ask(r#"watch "a b" --rev 5 --prev-kv --prefix -- echo "x y""#)
        else {
            panic!("a watcher");
        };
        assert_eq!((&request.key[..], &request.range_end[..]), (&b"a b"[..], &b"a c"[..]));
        assert_eq!((request.start_revision, request.prev_kv), (5, true));
        assert_eq!(command, ["echo", "x y"]);
        assert!(matches!(ask("progress"), Ok(InteractiveCommand::Progress)));
        let around = WatchEnvironment { key: Some("k".into()), ..Default::default() };
        let Ok(InteractiveCommand::Watch(request, _)) = asked("watch --prev-kv", &around) else {
            panic!("a watcher of the environment's key");
        };
        assert_eq!(request.key, "k");
    }

    #[test]
    fn what_a_line_lacks_is_told_in_etcdctls_words() {
        for (line, text) in [
            ("foo", "Invalid command foo (only support watch)"),
            ("", "Invalid command:  (watch and progress supported)"),
            ("watch", "Invalid command watch (command type or key is not provided)"),
            (
                "watch a b --prefix",
                "Invalid command watch a b --prefix \
                 (`range_end` and `--prefix` are mutually exclusive)",
            ),
        ] {
            let Ok(InteractiveCommand::Nothing(why)) = ask(line) else { panic!("{line}") };
            assert_eq!(why, text);
        }
        for (line, text) in [
            ("watch --bogus", "unknown flag: --bogus"),
            ("watch --prefix", "bad number of arguments"),
            ("watch a --", super::super::SEPARATOR_ALONE),
        ] {
            assert_eq!(ask(line).expect_err(line), Failure::bad_arguments(text));
        }
        assert_eq!(ask(r#"watch "\q""#).expect_err("no escape"), invalid("invalid syntax"));
    }
}
