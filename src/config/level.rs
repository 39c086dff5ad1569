//! Log levels by etcd's names.

use std::fmt;

/// Lines below the configured level are not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    /// Nothing here writes such a line; as a level to filter by it silences errors too.
    DPanic,
    Panic,
    Fatal,
}

impl LogLevel {
    /// Parses etcd's name of a level.
    pub fn parse(name: &str) -> Option<LogLevel> {
        Some(match name {
            "debug" | "DEBUG" => LogLevel::Debug,
            "info" | "INFO" | "" => LogLevel::Info,
            "warn" | "WARN" | "warning" | "WARNING" => LogLevel::Warn,
            "error" | "ERROR" => LogLevel::Error,
            "dpanic" | "DPANIC" => LogLevel::DPanic,
            "panic" | "PANIC" => LogLevel::Panic,
            "fatal" | "FATAL" => LogLevel::Fatal,
            _ => return None,
        })
    }

    /// Returns etcd's name of the level.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
            LogLevel::DPanic => "dpanic",
            LogLevel::Panic => "panic",
            LogLevel::Fatal => "fatal",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for level in [
            LogLevel::Debug,
            LogLevel::Info,
            LogLevel::Warn,
            LogLevel::Error,
            LogLevel::DPanic,
            LogLevel::Panic,
            LogLevel::Fatal,
        ] {
            assert_eq!(LogLevel::parse(level.as_str()), Some(level));
        }
        assert_eq!(LogLevel::parse("verbose"), None);
        assert!(LogLevel::Debug < LogLevel::Fatal);
    }
}
