//! One log line, in the form of etcd's (zap's): JSON, or text for people.
//!
//! ```text
//! {"level":"info","ts":"2026-01-02T15:04:05.000001Z","caller":"config/check.rs:70","msg":"..",..}
//! 2026-01-02T15:04:05.000001Z\tinfo\tconfig/check.rs:70\t..\t{"key": "value"}
//! ```

use std::fmt;
use std::io::Write as _;

use time::{OffsetDateTime, UtcOffset};
use tracing::field::{Field, Visit};

use crate::config::{FieldValue, LogFormat, LogLevel, Note};

/// A line under way: begin, add fields, finish.
pub struct LogLine {
    bytes: Vec<u8>,
    format: LogFormat,
    fields: usize,
}

impl LogLine {
    pub fn begin(
        format: LogFormat,
        level: LogLevel,
        now: OffsetDateTime,
        caller: Option<(&str, u32)>,
        message: &str,
    ) -> LogLine {
        let mut line = LogLine { bytes: Vec::with_capacity(256), format, fields: 0 };
        let stamp = stamp(now);
        let caller = caller.map(|(file, number)| format!("{}:{number}", short(file)));
        match format {
            LogFormat::Json => {
                line.text("{\"level\":\"");
                line.text(level.as_str());
                line.text("\",\"ts\":\"");
                line.text(&stamp);
                line.text("\"");
                if let Some(caller) = caller {
                    line.text(",\"caller\":");
                    line.quoted(&caller);
                }
                line.text(",\"msg\":");
                line.quoted(message);
            }
            LogFormat::Console => {
                let caller = caller.unwrap_or_default();
                for part in [stamp.as_str(), "\t", level.as_str(), "\t", &caller, "\t"] {
                    line.text(part);
                }
                // One line stays one line, also for people.
                line.text(&message.replace('\n', "\\n"));
            }
        }
        line
    }

    /// Returns a line from a note.
    pub fn of_note(format: LogFormat, now: OffsetDateTime, note: &Note) -> Vec<u8> {
        let caller = Some((note.caller.file(), note.caller.line()));
        let mut line = LogLine::begin(format, note.level, now, caller, &note.message);
        for (key, value) in &note.fields {
            line.field(key, value);
        }
        line.finish()
    }

    pub fn field(&mut self, key: &str, value: &FieldValue) {
        self.key(key);
        match value {
            FieldValue::Text(text) => self.quoted(text),
            FieldValue::Texts(texts) => {
                self.text("[");
                for (at, text) in texts.iter().enumerate() {
                    self.text(if at > 0 { "," } else { "" });
                    self.quoted(text);
                }
                self.text("]");
            }
            FieldValue::Integer(value) => self.shown(value),
            FieldValue::Unsigned(value) => self.shown(value),
            FieldValue::Real(value) => self.real(*value),
            FieldValue::Flag(value) => self.shown(value),
        }
    }

    /// Returns the line's bytes, its end included.
    pub fn finish(mut self) -> Vec<u8> {
        if self.format == LogFormat::Json || self.fields > 0 {
            self.text("}");
        }
        self.text("\n");
        self.bytes
    }

    fn key(&mut self, key: &str) {
        match (self.format, self.fields) {
            (LogFormat::Json, _) => self.text(","),
            (LogFormat::Console, 0) => self.text("\t{"),
            (LogFormat::Console, _) => self.text(", "),
        }
        self.fields += 1;
        self.quoted(key);
        self.text(if self.format == LogFormat::Json { ":" } else { ": " });
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn quoted(&mut self, text: &str) {
        serde_json::to_writer(&mut self.bytes, text).expect("a text always has a JSON form");
    }

    fn shown(&mut self, value: &dyn fmt::Display) {
        write!(self.bytes, "{value}").expect("a vector takes every write");
    }

    /// JSON has no other numbers than finite ones.
    fn real(&mut self, value: f64) {
        if value.is_finite() {
            self.shown(&value);
        } else {
            self.quoted(&value.to_string());
        }
    }
}

/// Fields of a tracing event; its message has been taken already.
impl Visit for LogLine {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.key(field.name());
        self.real(value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.key(field.name());
        self.shown(&value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.key(field.name());
        self.shown(&value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.key(field.name());
        self.shown(&value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != "message" {
            self.key(field.name());
            self.quoted(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != "message" {
            self.key(field.name());
            self.quoted(&format!("{value:?}"));
        }
    }
}

/// The message of a tracing event.
#[derive(Default)]
pub struct Message(pub String);

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0 = value.to_string();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Go's `2006-01-02T15:04:05.000000Z0700`.
pub fn stamp(now: OffsetDateTime) -> String {
    let offset = now.offset();
    let zone = if offset == UtcOffset::UTC {
        "Z".to_string()
    } else {
        let (hours, minutes, _) = offset.as_hms();
        let sign = if offset.is_negative() { '-' } else { '+' };
        format!("{sign}{:02}{:02}", hours.unsigned_abs(), minutes.unsigned_abs())
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}{zone}",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second(),
        now.microsecond(),
    )
}

/// Returns the file and its folder: `src/config/check.rs` as `config/check.rs`.
fn short(file: &str) -> &str {
    let mut slashes = file.rmatch_indices('/');
    slashes.next();
    slashes.next().map_or(file, |(at, _)| &file[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(1_136_214_245_000_001_000).unwrap()
    }

    #[test]
    fn a_json_line_has_etcds_keys_in_etcds_order() {
        let note = Note::warn("a \"b\"\n")
            .with("name", "x\u{1}y")
            .with("args", FieldValue::Texts(vec!["a".into(), "b".into()]))
            .with("count", FieldValue::Integer(-3))
            .with("rate", FieldValue::Real(f64::NAN))
            .with("ok", FieldValue::Flag(true));
        let number = note.caller.line();
        let line = String::from_utf8(LogLine::of_note(LogFormat::Json, now(), &note)).unwrap();
        assert_eq!(
            line,
            format!(
                "{{\"level\":\"warn\",\"ts\":\"2006-01-02T15:04:05.000001Z\",\
                 \"caller\":\"observe/line.rs:{number}\",\"msg\":\"a \\\"b\\\"\\n\",\
                 \"name\":\"x\\u0001y\",\"args\":[\"a\",\"b\"],\"count\":-3,\"rate\":\"NaN\",\
                 \"ok\":true}}\n"
            )
        );
        let _: serde_json::Value = serde_json::from_str(&line).unwrap();
    }

    #[test]
    fn a_line_for_people_stays_one_line() {
        let note = Note::info("two\nlines").with("a", "b").with("c", FieldValue::Unsigned(1));
        let number = note.caller.line();
        let line = String::from_utf8(LogLine::of_note(LogFormat::Console, now(), &note)).unwrap();
        assert_eq!(
            line,
            format!(
                "2006-01-02T15:04:05.000001Z\tinfo\tobserve/line.rs:{number}\ttwo\\nlines\t\
                 {{\"a\": \"b\", \"c\": 1}}\n"
            )
        );
        let bare = LogLine::begin(LogFormat::Console, LogLevel::Error, now(), None, "m").finish();
        assert_eq!(bare, b"2006-01-02T15:04:05.000001Z\terror\t\tm\n");
    }

    #[test]
    fn stamps_name_their_zone() {
        let zone = UtcOffset::from_hms(-7, -30, 0).unwrap();
        assert_eq!(stamp(now().to_offset(zone)), "2006-01-02T07:34:05.000001-0730");
        let zone = UtcOffset::from_hms(2, 0, 0).unwrap();
        assert_eq!(stamp(now().to_offset(zone)), "2006-01-02T17:04:05.000001+0200");
        assert_eq!(short("src/lib.rs"), "src/lib.rs");
        assert_eq!(short("main.rs"), "main.rs");
        assert_eq!(short("a/b/c/d.rs"), "c/d.rs");
    }
}
