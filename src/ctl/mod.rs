//! `braidctl`: etcdctl's commands, arguments, output and exit codes, for Braid and for etcd.
//!
//! ```text
//!  arguments ─▶ arguments (clap, cobra's habits) ─▶ one command ─▶ client ─▶ cluster
//!  environment ─▶ globals ─────────────────────────▶    │
//!                                                       ▼
//!                                        output: simple, fields, json, protobuf, table
//! ```
//!
//! Each command has one file with its flags, the request that they make, and the call. A command
//! prints an `output::Answer`, or many if it goes on (`watch` and its like). Each file of `output`
//! knows one format and nothing of commands, so every byte of them is tested without a server. `go`
//! has the text forms of Go's standard library, which are part of etcdctl's output.
//!
//! Flags and arguments follow etcdctl 3.7, with differences on purpose: unknown subcommands of a
//! group are an error, a bad value in the environment is an error, a third word after `watch` is an
//! error, and everything about TLS and DNS discovery is refused by name instead of being ignored.
//! `lock` and `elect` end their lease when they end, and what `lock` tells its program goes before
//! what the environment says. `make-mirror --rev` keeps the prefix, and the first copy goes in
//! txns. `-w protobuf` has the whole answer about a lease.

mod alarm;
mod arguments;
mod child;
mod compaction;
mod completion;
mod defrag;
mod del;
mod elect;
mod endpoint;
mod exit;
mod get;
mod globals;
mod inspect;
mod lease;
mod lock;
mod member;
mod mirror;
mod output;
mod put;
mod session;
mod signals;
mod txn;
mod version;
mod watch;
mod words;

use std::ffi::OsString;
use std::io::Write;

pub use exit::Failure;

use arguments::{Command, Parsed};
use session::Session;

/// Runs one command line (the program's name first) and returns the exit code.
pub fn main(arguments: Vec<OsString>, environment: Vec<(OsString, OsString)>) -> u8 {
    match run(arguments, environment) {
        Ok(()) => 0,
        Err(failure) => {
            if let Some(message) = &failure.message {
                eprintln!("Error: {message}");
            }
            failure.code
        }
    }
}

fn run(arguments: Vec<OsString>, environment: Vec<(OsString, OsString)>) -> Result<(), Failure> {
    let surroundings = watch::WatchEnvironment::of(&arguments, &environment);
    let (globals, command) = match arguments::parse(arguments, environment)? {
        Parsed::Run(globals, command) => (globals, command),
        Parsed::Print(text) => return print(text.as_bytes()),
    };
    let session = || Session::new(&globals);
    match command {
        Command::Get(get) => get.run(&session()?),
        Command::Put(put) => put.run(&session()?),
        Command::Del(del) => del.run(&session()?),
        Command::Txn(txn) => txn.run(&session()?),
        Command::Compaction(compaction) => compaction.run(&session()?),
        Command::Alarm(alarm) => alarm.run(&session()?),
        Command::Defrag(defrag) => defrag.run(&session()?),
        Command::Endpoint(endpoint) => endpoint.run(&session()?),
        Command::Member(member) => member.run(&session()?),
        Command::Watch(watch) => watch.run(&session()?, &surroundings),
        Command::Lease(lease) => lease.run(&session()?),
        Command::Lock(lock) => lock.run(&session()?),
        Command::Elect(elect) => elect.run(&session()?),
        Command::MakeMirror(mirror) => mirror.run(&session()?),
        Command::Inspect(inspect) => inspect.run(&session()?.printer),
        Command::Completion(completion) => completion.run(),
        Command::Options => print(globals::listing().as_bytes()),
        Command::Version => print(version::text().as_bytes()),
    }
}

/// Writes to standard output. A reader that has closed it is not our failure.
fn print(bytes: &[u8]) -> Result<(), Failure> {
    write(bytes).map(|_| ())
}

/// Prints as [`print()`] does, for commands that go on afterwards: without a reader they end.
fn print_next(bytes: &[u8]) -> Result<(), Failure> {
    match write(bytes)? {
        true => Ok(()),
        false => Err(Failure::silent(exit::INTERRUPTED)),
    }
}

/// Whether somebody reads it.
fn write(bytes: &[u8]) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(exit::IO, format!("standard output: {error}"))),
    }
}
