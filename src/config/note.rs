//! Notes: log lines that reading the configuration makes, as values.
//!
//! There is no logger yet while flags are read, so lines travel with the result and are written by
//! whoever has one (`observe::log`).

use std::panic::Location;

use super::level::LogLevel;

/// A value in a log line.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    Text(String),
    Texts(Vec<String>),
    Integer(i64),
    Unsigned(u64),
    Real(f64),
    Flag(bool),
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> FieldValue {
        FieldValue::Text(text.to_string())
    }
}

impl From<String> for FieldValue {
    fn from(text: String) -> FieldValue {
        FieldValue::Text(text)
    }
}

/// One log line without its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub level: LogLevel,
    pub message: String,
    pub fields: Vec<(&'static str, FieldValue)>,
    /// The source line that made the note.
    pub caller: &'static Location<'static>,
}

impl Note {
    /// Makes a note at `level`; its caller is where this is called.
    #[track_caller]
    pub fn new(level: LogLevel, message: impl Into<String>) -> Note {
        let caller = Location::caller();
        Note { level, message: message.into(), fields: Vec::new(), caller }
    }

    /// Makes a note at level info.
    #[track_caller]
    pub fn info(message: impl Into<String>) -> Note {
        Note::new(LogLevel::Info, message)
    }

    /// Makes a note at level warn.
    #[track_caller]
    pub fn warn(message: impl Into<String>) -> Note {
        Note::new(LogLevel::Warn, message)
    }

    /// Returns the note with one more field.
    pub fn with(mut self, key: &'static str, value: impl Into<FieldValue>) -> Note {
        self.fields.push((key, value.into()));
        self
    }
}
