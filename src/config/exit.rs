//! Reasons for which the program ends before it has begun, with its output and exit code.

use super::level::LogLevel;
use super::note::{FieldValue, Note};

/// The reason why settings will not do, and the exit code that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub why: String,
    pub code: u8,
}

impl From<String> for ConfigError {
    fn from(why: String) -> ConfigError {
        ConfigError { why, code: 1 }
    }
}

impl From<&str> for ConfigError {
    fn from(why: &str) -> ConfigError {
        ConfigError::from(why.to_string())
    }
}

/// The text to print, the line to log, and the exit code.
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    pub code: u8,
    pub stdout: String,
    pub stderr: String,
    /// Log lines, after what is printed; the last one says why.
    pub notes: Vec<Note>,
}

impl Exit {
    /// Exits well after `--help` and `--version`.
    pub fn print(stdout: String) -> Exit {
        Exit { code: 0, stdout, stderr: String::new(), notes: Vec::new() }
    }

    /// Exits because the command line cannot be read.
    pub fn usage(stderr: String) -> Exit {
        Exit { code: 2, stdout: String::new(), stderr, notes: Vec::new() }
    }

    /// Exits because the settings can be read and will not do.
    pub fn refused(mut notes: Vec<Note>, why: impl Into<ConfigError>) -> Exit {
        let ConfigError { why, code } = why.into();
        notes.push(Note::warn("failed to verify flags").with("error", why));
        Exit { code, stdout: String::new(), stderr: String::new(), notes }
    }

    /// Exits with a line that etcd ends with by itself.
    pub fn fatal(mut notes: Vec<Note>, last: Note) -> Exit {
        assert_eq!(last.level, LogLevel::Fatal);
        notes.push(last);
        Exit { code: 1, stdout: String::new(), stderr: String::new(), notes }
    }

    /// Returns the error of [`Exit::refused`].
    pub fn error(&self) -> Option<&str> {
        self.notes.last().and_then(|note| {
            note.fields.iter().find_map(|(key, value)| match value {
                FieldValue::Text(text) if *key == "error" => Some(text.as_str()),
                _ => None,
            })
        })
    }
}
