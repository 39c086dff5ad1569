//! The configuration. etcd's names of flags, variables and file keys are known here and nowhere
//! deeper.
//!
//! ```text
//!  command line ──┐
//!  ETCD_* ────────┼──▶ Raw: one value for each flag ──check──▶ Config: what the program runs on
//!  YAML file ─────┘      (table: form, default, standing)  └──▶ notes: lines for the log
//! ```
//!
//! All of etcd's flags, variables and YAML keys are read, with its syntax, its rules and its texts.
//! A flag whose feature is not there yet is refused by name, and only when it is set to something
//! other than its default; a flag that tunes a part of etcd that Braid does not have is accepted.
//! [`table`] says which is which.
//!
//! With a configuration file, flags and variables are not read. Without one, a variable sets what
//! the command line does not, and both at once are fatal.
//!
//! Reading is a function of its arguments: it has no clock, knows the machine only by [`Machine`],
//! and reads files only through the function that is handed in. It prints and logs nothing;
//! [`Exit`] and [`Parsed::notes`] say what should be printed and logged.
//!
//! | file | what |
//! |---|---|
//! | `table` | every flag: form, default, what Braid makes of it |
//! | `command_line`, `environment`, `file` | the three sources |
//! | `raw` | one value for each flag, before any rule |
//! | `check` | every rule, once: makes a [`Config`] of raw settings |
//! | `derived` | [`Config`] |
//! | `bootstrap`, `ids` | a new member's identity |
//! | `gates`, `url`, `level` | feature gates, URLs, log levels |
//! | `note`, `exit`, `help` | notes for the log, the end of the process, the text of `--help` |

mod bootstrap;
mod check;
mod command_line;
mod derived;
mod environment;
mod exit;
mod file;
pub mod gates;
pub mod help;
pub mod ids;
mod level;
mod machine;
mod note;
mod raw;
pub mod table;
pub mod url;

#[cfg(test)]
mod tests;

pub use bootstrap::{ClusterState, Identity, Initial, Resolve};
pub use derived::{
    Allowed, Config, HttpAccess, Keepalive, Layout, Listen, Listener, LogFormat, LogOutput,
    LogSettings, Quota, RequestBounds, Timing,
};
pub use exit::Exit;
pub use level::LogLevel;
pub use machine::{Machine, look_up};
pub use note::{FieldValue, Note};

use std::ffi::OsString;
use std::io;

use check::Source;
use raw::Raw;

/// A configuration to run on, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub config: Config,
    /// Notes for the log, in order, that come before anything else.
    pub notes: Vec<Note>,
}

/// Reads the configuration.
///
/// `arguments` come without the program's name. `read_file` is called once at most, for
/// `--config-file`.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    read_file: impl FnOnce(&str) -> io::Result<Vec<u8>>,
    machine: &Machine,
) -> Result<Parsed, Exit> {
    let arguments = texts_of(arguments)?;
    let running = Note::info("Running: ").with("args", FieldValue::Texts(arguments.clone()));
    match read(&arguments, environment, read_file, machine) {
        Ok(mut parsed) => {
            parsed.notes.push(running);
            Ok(parsed)
        }
        Err(mut exit) => {
            // Before the line that says why; what cannot be read is not running.
            if exit.error().is_some() {
                exit.notes.insert(exit.notes.len() - 1, running);
            }
            if exit.error() == Some(check::ADVERTISE_MISSING) {
                let line = Note::warn("advertise client URLs are not set");
                exit.notes.push(line.with("error", check::ADVERTISE_MISSING));
            }
            Err(exit)
        }
    }
}

fn texts_of(arguments: impl IntoIterator<Item = OsString>) -> Result<Vec<String>, Exit> {
    arguments
        .into_iter()
        .map(|argument| {
            argument.into_string().map_err(|argument| {
                Exit::usage(format!("argument is not UTF-8: {}\n", argument.to_string_lossy()))
            })
        })
        .collect()
}

fn read(
    arguments: &[String],
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    read_file: impl FnOnce(&str) -> io::Result<Vec<u8>>,
    machine: &Machine,
) -> Result<Parsed, Exit> {
    // A variable that is not UTF-8 is none of ours: neither our names nor our values can be.
    let environment: Vec<(String, String)> = environment
        .into_iter()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut raw = Raw::default();
    command_line::read(arguments, &mut raw)?;
    if raw.flag("version") {
        return Err(Exit::print(help::version()));
    }
    let mut notes = Vec::new();
    let file = match raw.text("config-file") {
        "" => environment::lookup(&environment, "ETCD_CONFIG_FILE").map(str::to_string),
        path => Some(path.to_string()),
    };
    let source = match file {
        Some(path) => {
            raw = Raw::default();
            read_file(&path)
                .map_err(|error| format!("open {path}: {error}"))
                .and_then(|bytes| file::read(&bytes, &mut raw))
                .map_err(|why| Exit::refused(Vec::new(), why))?;
            notes.push(
                Note::info(
                    "loaded server configuration, other configuration command line flags and \
                     environment variables will be ignored if provided",
                )
                .with("path", path),
            );
            Source::File
        }
        None => {
            environment::read(&environment, &mut raw, &mut notes)?;
            Source::Flags
        }
    };
    let checked = check::check(&raw, source, machine, &mut notes);
    notes.extend(check::deprecations(&raw));
    match checked {
        Ok(config) => Ok(Parsed { config, notes }),
        Err(why) => Err(Exit::refused(notes, why)),
    }
}
