//! The command line as a whole: commands, cobra's habits on top of clap, errors in etcdctl's words.
//!
//! Cobra's habits: a unique beginning of a command's name is enough, flags may follow positional
//! arguments, the last of a repeated flag counts, a switch takes `=true` and `=false`, and the
//! value of a flag may begin with a dash.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::alarm::Alarm;
use super::compaction::Compaction;
use super::completion::Completion;
use super::defrag::Defrag;
use super::del::Del;
use super::elect::Elect;
use super::endpoint::Endpoint;
use super::exit::{self, Failure};
use super::get::Get;
use super::globals::{self, Globals};
use super::inspect::Inspect;
use super::lease::Lease;
use super::lock::Lock;
use super::member::Member;
use super::mirror::MakeMirror;
use super::put::Put;
use super::txn::Txn;
use super::watch::Watch;
use crate::gotext;

/// A command line client for Braid and etcd.
#[derive(Parser, Debug)]
#[command(
    name = "braidctl",
    disable_version_flag = true,
    after_help = "Use \"braidctl options\" for the flags that any command takes."
)]
struct Arguments {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Gets the key or a range of keys
    Get(Box<Get>),
    /// Puts the given key into the store
    Put(Put),
    /// Removes the specified key or range of keys [key, range_end)
    Del(Del),
    /// Processes all the requests of standard input in one transaction
    Txn(Txn),
    /// Watches events stream on keys or prefixes
    Watch(Watch),
    /// Lease related commands
    Lease(Lease),
    /// Acquires a named lock
    Lock(Lock),
    /// Observes and participates in leader election
    Elect(Elect),
    /// Makes a mirror at the destination cluster
    MakeMirror(Box<MakeMirror>),
    /// Compacts the event history
    Compaction(Compaction),
    /// Alarm related commands
    Alarm(Alarm),
    /// Defragments the storage of the members with given endpoints
    Defrag(Defrag),
    /// Endpoint related commands
    Endpoint(Endpoint),
    /// Membership related commands
    Member(Member),
    /// Describes a data directory offline: groups, segments, checkpoints, damage
    Inspect(Inspect),
    /// Prints a completion script for the shell
    Completion(Completion),
    /// Shows the flags that any command takes
    Options,
    /// Prints the version of braidctl
    Version,
}

/// A line of a txn.
#[derive(Parser, Debug)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct OpLine {
    #[command(subcommand)]
    op: Op,
}

/// A line of an interactive watch.
#[derive(Parser, Debug)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct WatchLine {
    #[command(flatten)]
    watch: Watch,
}

/// An operation in a txn: the command lines of `get`, `put` and `del`.
#[derive(Subcommand, Debug)]
pub enum Op {
    Get(Box<Get>),
    Put(Put),
    Del(Del),
}

/// The parsed command line.
pub enum Parsed {
    Run(Box<Globals>, Command),
    /// Help, which is no failure.
    Print(String),
}

/// Returns the command line as clap knows it, for parsing and for completion scripts.
pub fn command() -> clap::Command {
    relaxed(Arguments::command())
}

/// Parses arguments (the program's name first) and takes from the environment what they leave out.
pub fn parse(
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
) -> Result<Parsed, Failure> {
    let mut matches = match command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => match help(&error) {
            Some(text) => return Ok(Parsed::Print(text)),
            None => return Err(failure(&error)),
        },
    };
    let from_environment = globals::from_environment(&matches, &environment)?;
    if !from_environment.is_empty() {
        let mut all = arguments;
        all.splice(1..1, from_environment);
        matches = command().try_get_matches_from(all).map_err(|error| {
            let failure = failure(&error);
            Failure { message: failure.message.map(|why| format!("environment: {why}")), ..failure }
        })?;
    }
    let arguments =
        Arguments::from_arg_matches_mut(&mut matches).map_err(|error| failure(&error))?;
    Ok(Parsed::Run(Box::new(arguments.globals), arguments.command))
}

/// Parses one operation of a txn; what is wrong with it is not told, as etcdctl does not.
pub fn op(words: impl IntoIterator<Item = OsString>) -> Option<Op> {
    let mut matches = relaxed(OpLine::command()).try_get_matches_from(words).ok()?;
    OpLine::from_arg_matches_mut(&mut matches).ok().map(|line| line.op)
}

/// Parses a line of an interactive watch, without its first word.
pub fn watch_line(words: impl IntoIterator<Item = OsString>) -> Result<Watch, Failure> {
    let parsed = relaxed(WatchLine::command())
        .try_get_matches_from(words)
        .and_then(|mut matches| WatchLine::from_arg_matches_mut(&mut matches));
    parsed.map(|line| line.watch).map_err(|error| Failure::bad_arguments(reason(&error)))
}

fn relaxed(command: clap::Command) -> clap::Command {
    without_absent(command)
        .infer_subcommands(true)
        .args_override_self(true)
        .mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_value("false")
                .default_missing_value("true")
                .hide_default_value(true)
                .hide_possible_values(true)
                .value_name("BOOL")
                .value_parser(gotext::strconv::parse_bool),
            ArgAction::Set | ArgAction::Append if !arg.is_positional() => {
                arg.allow_hyphen_values(true)
            }
            _ => arg,
        })
        .mut_subcommands(|below| relaxed(below).disable_help_subcommand(true))
}

/// Flags whose feature is not there yet are one line below a command's help, not among its flags.
fn without_absent(command: clap::Command) -> clap::Command {
    let absent =
        command.get_arguments().filter(|arg| globals::is_absent(arg) && !arg.is_hide_set());
    let names: Vec<String> =
        absent.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect();
    if names.is_empty() {
        return command;
    }
    let note = format!("Not there yet, and refused: {}", names.join(" "));
    command.after_help(note).mut_args(|arg| match globals::is_absent(&arg) {
        true => arg.hide(true),
        false => arg,
    })
}

/// Returns the help that was asked for; a group without its command shows what there is.
fn help(error: &clap::Error) -> Option<String> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Some(error.render().to_string())
        }
        ErrorKind::MissingSubcommand => {
            let path = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            let mut group = &mut command();
            group.build();
            for name in path.split_whitespace().skip(1) {
                group = group.find_subcommand_mut(name)?;
            }
            Some(group.render_help().to_string())
        }
        _ => None,
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    }
}

fn failure(error: &clap::Error) -> Failure {
    let message = reason(error);
    Failure::new(exit::ERROR, format!("{message}\nRun 'braidctl --help' for usage."))
}

/// Returns a parse error in etcdctl's words where it has some.
fn reason(error: &clap::Error) -> String {
    let argument = text(error, ContextKind::InvalidArg).unwrap_or_default();
    // "--limit <LIMIT>" and "--write-out <FORMAT>" as clap shows them.
    let flag = argument.split_whitespace().next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => format!("unknown flag: {flag}"),
        ErrorKind::InvalidSubcommand => {
            let name = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("unknown command {} for \"braidctl\"", gotext::quote(name))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            match text(error, ContextKind::InvalidValue).unwrap_or_default() {
                "" if std::error::Error::source(error).is_none() => {
                    format!("flag needs an argument: {flag}")
                }
                value => {
                    let why = std::error::Error::source(error)
                        .map_or_else(|| first_line(error), ToString::to_string);
                    let value = gotext::quote(value);
                    format!("invalid argument {value} for \"{flag}\" flag: {why}")
                }
            }
        }
        _ => first_line(error),
    }
}

fn first_line(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let line = rendered.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        std::iter::once("braidctl").chain(line.split_whitespace()).map(OsString::from).collect()
    }

    fn run(line: &str, environment: &[(&str, &str)]) -> Result<(Globals, Command), Failure> {
        let environment =
            environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        match parse(words(line), environment)? {
            Parsed::Run(globals, command) => Ok((*globals, command)),
            Parsed::Print(text) => panic!("{line}: {text}"),
        }
    }

    fn globals(line: &str) -> Globals {
        run(line, &[]).expect("a good line").0
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
        relaxed(OpLine::command()).debug_assert();
        relaxed(WatchLine::command()).debug_assert();
    }

    #[test]
    fn global_flags_stand_before_and_after_the_command() {
        for line in ["-w json get a", "get a -w json", "get -w=json a", "get a --write-out json"] {
            assert_eq!(globals(line).write_out, "json", "{line}");
        }
        assert_eq!(globals("-w json get a -w table").write_out, "table");
        assert_eq!(globals("endpoint health --endpoints a,b").endpoints, ["a", "b"]);
        assert_eq!(globals("--endpoints a get k --endpoints b,c").endpoints.last().unwrap(), "c");
        assert_eq!(globals("get a").endpoints, ["127.0.0.1:2379"]);
        assert!(globals("get a --hex").hex && !globals("get a --hex=false").hex);
    }

    #[test]
    fn the_beginning_of_a_name_is_enough() {
        for (line, expected) in [
            ("g a", "Get"),
            ("en hea", "Endpoint"),
            ("mem l", "Member"),
            ("w a", "Watch"),
            ("le l", "Lease"),
            ("ma a", "MakeMirror"),
            ("compact 5", "Compaction"),
            ("al l", "Alarm"),
        ] {
            let (_, command) = run(line, &[]).expect(line);
            assert!(format!("{command:?}").starts_with(expected), "{line}: {command:?}");
        }
        assert!(run("de a", &[]).is_err(), "defrag or del");
    }

    #[test]
    fn errors_have_etcdctls_words_and_code() {
        for (line, text) in [
            ("get --bogus", "unknown flag: --bogus"),
            ("bogus", "unknown command \"bogus\" for \"braidctl\""),
            ("e a", "unknown command \"e\" for \"braidctl\""),
            (
                "get --limit x a",
                "invalid argument \"x\" for \"--limit\" flag: \
                 strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            ("get a --limit", "flag needs an argument: --limit"),
            (
                "--dial-timeout x get a",
                "invalid argument \"x\" for \"--dial-timeout\" flag: \
                 time: invalid duration \"x\"",
            ),
            ("get a --prefix=maybe", "invalid argument \"maybe\" for \"--prefix"),
        ] {
            let failure = run(line, &[]).expect_err(line);
            let message = failure.message.expect("a message");
            assert!(failure.code == 1 && message.starts_with(text), "{line}: {message}");
        }
    }

    #[test]
    fn a_group_alone_and_help_are_printed() {
        for (line, inside) in [
            ("", "compaction"),
            ("--hex", "compaction"),
            ("endpoint", "hashkv"),
            ("--hex endpoint --cluster", "hashkv"),
            ("alarm", "disarm"),
            ("get --help", "--print-value-only"),
            ("help put", "--ignore-lease"),
            (
                "make-mirror --help",
                "\nNot there yet, and refused: --dest-cert --dest-key --dest-cacert\n",
            ),
        ] {
            let parsed = parse(words(line), vec![]).expect(line);
            let Parsed::Print(text) = parsed else { panic!("{line} is no command") };
            assert!(text.contains("Usage") && text.contains(inside), "{line}: {text}");
        }
    }

    #[test]
    fn the_environment_fills_what_the_line_leaves_out() {
        let environment = [
            ("ETCDCTL_ENDPOINTS", "a,b"),
            ("ETCDCTL_DIAL_TIMEOUT", "7s"),
            ("ETCDCTL_USER", ""),
            ("BRAIDCTL_HEX", "true"),
            ("ETCDCTL_WRITE_OUT", "table"),
            ("BRAIDCTL_WRITE_OUT", "json"),
            ("PATH", "/bin"),
        ];
        let (globals, _) = run("get a", &environment).expect("a good environment");
        assert_eq!(globals.endpoints, ["a", "b"]);
        assert_eq!(globals.dial_timeout.as_secs(), 7);
        assert!(globals.hex);
        assert_eq!(globals.write_out, "json", "our own name goes first");
    }

    #[test]
    fn flag_and_environment_at_once_are_a_conflict() {
        let failure = run("get a --endpoints c", &[("ETCDCTL_ENDPOINTS", "a")]).expect_err("both");
        assert_eq!(failure.code, 1);
        let message = failure.message.expect("a message");
        assert!(message.contains("ETCDCTL_ENDPOINTS") && message.contains("conflicting"));
        let failure = run("get a", &[("ETCDCTL_DIAL_TIMEOUT", "x")]).expect_err("no duration");
        assert!(failure.message.expect("a message").contains("--dial-timeout"));
    }
}
