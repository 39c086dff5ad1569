//! The server process: it starts a member from a configuration, serves, and shuts down.
//!
//! ```text
//!  main thread    directory, listeners ─▶ executors ─▶ recovered? ─▶ ready: accept ─▶ stop
//!  core 0..n                                recover their groups, then loop         ▲
//!  signal thread                                           SIGTERM, SIGINT ─────────┘
//! ```
//!
//! A member that cannot start says why in one line and exits with 1. After SIGTERM or SIGINT the
//! requests in flight are finished, and the process then ends by that signal, as etcd does.

mod applying;
mod chronicle;
mod compacting;
mod core_loop;
mod directory;
mod metrics;
mod signals;
mod start;
mod supervisor;

use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use crate::config::{Config, LogLevel, Machine, Note, parse};
use crate::member::account::{self, GroupAccount};
use crate::observe::{LinesDropped, Log, log};
use supervisor::Supervisor;

pub use directory::{Directory, DirectoryError};

/// etcd's version, which this release is a drop-in for.
pub const ETCD_VERSION: &str = "3.7.1";
/// The cluster and storage version that go with it.
pub const ETCD_CLUSTER_VERSION: &str = "3.7.0";

/// An event that the main thread waits for.
enum Event {
    /// A core has recovered its groups, or why it could not.
    Recovered(Result<Vec<GroupAccount>, String>),
    /// An epoch is open and the member has published itself.
    Ready,
    Signal(i32),
}

/// Runs the server with the process's arguments and environment.
pub fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    let machine = Machine::look();
    let parsed = match parse(arguments, std::env::vars_os(), |path| std::fs::read(path), &machine) {
        Ok(parsed) => parsed,
        Err(exit) => return log::leave(&exit),
    };
    // Before any thread is started, so that all of them leave the signals to one.
    signals::block();
    let logging = match Log::start(&parsed.config.log) {
        Ok(logging) => logging,
        Err(error) => {
            eprintln!("cannot open the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    log::note_panics();
    parsed.notes.iter().for_each(|note| logging.note(note));
    match run(parsed.config, logging.lines_dropped()) {
        Ok(signal) => {
            drop(logging);
            signals::end_by(signal)
        }
        Err(error) => {
            tracing::error!(error = %error, "cannot start the member");
            drop(logging);
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal comes, which is returned.
fn run(config: Config, lines_dropped: LinesDropped) -> Result<i32, String> {
    let files = crate::rt::raise_limits();
    crate::rt::probe().map_err(|error| error.to_string())?;
    let listeners = start::bind(&config)?;
    let (events, inbox) = mpsc::channel();
    signals::forward(events.clone()).map_err(|error| format!("cannot watch signals: {error}"))?;
    let member = start::start(&config, lines_dropped, events)?;
    let mut accounts = Vec::new();
    for _ in 0..member.cores() {
        match inbox.recv() {
            Ok(Event::Recovered(Ok(found))) => accounts.extend(found),
            Ok(Event::Recovered(Err(error))) => return Err(error),
            Ok(Event::Signal(signal)) => return Ok(signal),
            Ok(Event::Ready) | Err(_) => unreachable!("no core is ready before it is recovered"),
        }
    }
    // Before anything is written: what is missing may still be put back.
    account::check(accounts).map_err(|error| error.to_string())?;
    member.begin();
    match inbox.recv() {
        Ok(Event::Ready) => {}
        Ok(Event::Signal(signal)) => {
            member.stop(Duration::ZERO);
            return Ok(signal);
        }
        Ok(Event::Recovered(_)) | Err(_) => unreachable!("every core has recovered"),
    }
    let acceptor = member.accept(listeners, files).map_err(|error| format!("accept: {error}"))?;
    tracing::info!("published local member to cluster through raft");
    for listener in &config.listen.clients {
        tracing::info!(address = %listener.url, "ready to serve client requests");
    }
    let supervisor = Supervisor::of_environment();
    supervisor.ready();
    let signal = loop {
        if let Ok(Event::Signal(signal)) = inbox.recv() {
            break signal;
        }
    };
    tracing::info!(signal = signals::name(signal), "received signal; shutting down");
    supervisor.stopping();
    acceptor.stop();
    member.stop(config.timing.request);
    tracing::info!(name = %config.name, "closed the member");
    Ok(signal)
}

/// Ends the process at once: what it holds in memory cannot be trusted any more (D2).
fn die(what: &str) -> ! {
    let note = Note::new(LogLevel::Fatal, "the process ends").with("error", what);
    log::note_at_once(&note);
    std::process::exit(1)
}
