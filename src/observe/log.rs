//! The log: a tracing layer in front of a bounded queue, a thread behind it that writes.
//!
//! Code says `tracing::info!(..)`; what has no fixed shape comes as a [`Note`]. A line that finds
//! the queue full is dropped and counted: the log never makes a core wait.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::process::ExitCode;

use time::{OffsetDateTime, UtcOffset};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::line::{LogLine, Message};
use crate::config::{Exit, LogFormat, LogLevel, LogOutput, LogSettings, Note};
use crate::limits;

/// The running log. What it still holds is written when it is dropped.
pub struct Log {
    lines: Lines,
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

impl Log {
    /// Opens the outputs and makes the log the process's.
    ///
    /// The local time zone is read here, so this comes before other threads are started; with
    /// others running the zone cannot be read safely and is UTC.
    pub fn start(settings: &LogSettings) -> io::Result<Log> {
        let mut outputs = Outputs::default();
        for output in &settings.outputs {
            outputs.open(output)?;
        }
        let log = Log::over(outputs, settings);
        // Only a test starts a second one, and it keeps the first.
        let _ = tracing::subscriber::set_global_default(log.subscriber());
        Ok(log)
    }

    /// Returns a log that is not yet anybody's.
    fn over(outputs: impl Write + Send + 'static, settings: &LogSettings) -> Log {
        let (queue, writer) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(limits::LOG_LINES_MAX)
            .thread_name("braid-log")
            .finish(outputs);
        let dropped = queue.error_counter();
        let zone = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
        let lines = Lines { queue, format: settings.format, level: settings.level, zone };
        Log { lines, dropped, _writer: writer }
    }

    fn subscriber(&self) -> impl Subscriber + use<> {
        tracing_subscriber::registry().with(filter(self.lines.level)).with(self.lines.clone())
    }

    /// Writes a line that came as a value.
    pub fn note(&self, note: &Note) {
        if note.level >= self.lines.level {
            self.lines.write(&LogLine::of_note(self.lines.format, self.lines.now(), note));
        }
    }

    /// Returns the counter of dropped lines, which goes on counting.
    pub fn lines_dropped(&self) -> LinesDropped {
        LinesDropped(self.dropped.clone())
    }
}

/// Counts the lines that were dropped because the queue was full.
#[derive(Clone, Debug)]
pub struct LinesDropped(ErrorCounter);

impl LinesDropped {
    /// Returns the number of lines dropped so far.
    pub fn count(&self) -> u64 {
        self.0.dropped_lines() as u64
    }
}

/// Prints what an [`Exit`] has to say; the code is for `main` to return.
pub fn leave(exit: &Exit) -> ExitCode {
    print!("{}", exit.stdout);
    eprint!("{}", exit.stderr);
    for note in &exit.notes {
        note_at_once(note);
    }
    ExitCode::from(exit.code)
}

/// Writes a line to stderr, now: before there is a log, and when there is no time for one.
pub fn note_at_once(note: &Note) {
    let line = LogLine::of_note(LogFormat::Json, OffsetDateTime::now_utc(), note);
    // Nobody is left to tell if this fails.
    let _ = io::stderr().write_all(&line);
}

/// Makes panics log lines from now on, written at once, before the process ends.
pub fn note_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let message = payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|text| text.to_string()))
            .unwrap_or_else(|| "panic".to_string());
        let thread = std::thread::current();
        let mut note = Note::new(LogLevel::Panic, message)
            .with("thread", thread.name().unwrap_or("unnamed"))
            .with("stacktrace", std::backtrace::Backtrace::capture().to_string());
        if let Some(location) = panic.location() {
            note = note.with("location", location.to_string());
        }
        note_at_once(&note);
    }));
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::DPanic | LogLevel::Panic | LogLevel::Fatal => LevelFilter::OFF,
    }
}

/// The layer that makes lines of events.
#[derive(Clone)]
struct Lines {
    queue: NonBlocking,
    format: LogFormat,
    level: LogLevel,
    zone: UtcOffset,
}

impl Lines {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc().to_offset(self.zone)
    }

    fn write(&self, line: &[u8]) {
        // The queue takes or drops; it does not fail.
        let _ = self.queue.clone().write_all(line);
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            Level::DEBUG | Level::TRACE => LogLevel::Debug,
        };
        let mut message = Message::default();
        event.record(&mut message);
        let caller = metadata.file().zip(metadata.line());
        let mut line = LogLine::begin(self.format, level, self.now(), caller, &message.0);
        event.record(&mut line);
        self.write(&line.finish());
    }
}

/// The outputs of the log; each takes every line.
#[derive(Default)]
struct Outputs {
    stderr: bool,
    stdout: bool,
    files: Vec<File>,
}

impl Outputs {
    fn open(&mut self, output: &LogOutput) -> io::Result<()> {
        match output {
            LogOutput::Stderr => self.stderr = true,
            LogOutput::Stdout => self.stdout = true,
            LogOutput::File(path) => {
                let file =
                    OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
                        let path = path.display();
                        io::Error::new(error.kind(), format!("--log-outputs {path}: {error}"))
                    })?;
                self.files.push(file);
            }
        }
        Ok(())
    }
}

impl Write for Outputs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // An output that fails (a closed pipe, a full disk) must not keep lines from the others.
        if self.stderr {
            let _ = io::stderr().write_all(line);
        }
        if self.stdout {
            let _ = io::stdout().write_all(line);
        }
        for file in &mut self.files {
            let _ = file.write_all(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.stdout {
            let _ = io::stdout().flush();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn settings(level: LogLevel) -> LogSettings {
        LogSettings { level, format: LogFormat::Json, outputs: Vec::new() }
    }

    /// What is written while `speak` runs under a log of that level.
    fn written(level: LogLevel, speak: impl FnOnce(&Log)) -> Vec<serde_json::Value> {
        let memory = Memory::default();
        let log = Log::over(memory.clone(), &settings(level));
        tracing::subscriber::with_default(log.subscriber(), || speak(&log));
        drop(log);
        let bytes = memory.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn events_become_lines() {
        let lines = written(LogLevel::Info, |_| {
            tracing::debug!("unheard");
            tracing::info!(count = 3, "start time" = "now", ok = true, shape = ?(1, 2), "said");
            tracing::error!(error = %"why", "failed {}", 7);
        });
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["level"], "info");
        assert_eq!(lines[0]["msg"], "said");
        assert_eq!(lines[0]["count"], 3);
        assert_eq!(lines[0]["start time"], "now");
        assert_eq!(lines[0]["ok"], true);
        assert_eq!(lines[0]["shape"], "(1, 2)");
        assert!(lines[0]["caller"].as_str().unwrap().starts_with("observe/log.rs:"));
        assert_eq!(lines[0]["message"], serde_json::Value::Null);
        assert_eq!(lines[1]["msg"], "failed 7");
        assert_eq!(lines[1]["error"], "why");
    }

    /// An output that takes no line until the test lets it.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Let go by being dropped.
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_find_the_queue_full_are_counted() {
        let (stuck, taking) = std::sync::mpsc::channel();
        let log = Log::over(Stuck(taking), &settings(LogLevel::Info));
        let dropped = log.lines_dropped();
        assert_eq!(dropped.count(), 0);
        // One is being written, and the queue holds its most.
        for _ in 0..limits::LOG_LINES_MAX + 10 {
            log.note(&Note::info("a line"));
        }
        assert!((9..=10).contains(&dropped.count()), "{} are dropped", dropped.count());
        drop(stuck);
    }

    #[test]
    fn notes_are_held_to_the_level_too() {
        let lines = written(LogLevel::Error, |log| {
            log.note(&Note::warn("unheard"));
            log.note(&Note::new(LogLevel::Fatal, "heard"));
            tracing::warn!("unheard");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "fatal");
        let silent = written(LogLevel::Fatal, |_| tracing::error!("unheard"));
        assert!(silent.is_empty());
    }

    #[test]
    fn slow_requests_have_etcds_fields() {
        use std::time::Duration;

        use super::super::slow::{RequestStats, slow_apply, slow_request};

        let lines = written(LogLevel::Warn, |_| {
            slow_request(&RequestStats {
                took: Duration::from_millis(350),
                remote: "127.0.0.1:1",
                method: "/etcdserverpb.KV/Range",
                request_count: 0,
                request_bytes: 3,
                response_count: 1,
                response_bytes: 9,
                request: "key:\"a\" ",
            });
            let steps = [("evaluate", Duration::from_millis(150))];
            let (took, expected) = (Duration::from_millis(150), Duration::from_millis(100));
            slow_apply(took, expected, "key:\"a\"", Some(7), None, &steps);
            slow_apply(took, expected, "key:\"a\"", None, Some("why"), &[]);
        });
        let keys = |line: &serde_json::Value| -> Vec<String> {
            line.as_object().unwrap().keys().skip(4).cloned().collect()
        };
        assert_eq!(lines[0]["msg"], "request stats");
        assert_eq!(lines[0]["time spent"], "350ms");
        assert_eq!(
            keys(&lines[0]),
            [
                "start time",
                "time spent",
                "remote",
                "response type",
                "request count",
                "request size",
                "response count",
                "response size",
                "request content",
            ]
        );
        assert_eq!(lines[1]["msg"], "apply request took too long");
        assert_eq!(lines[1]["response"], "size:7");
        assert_eq!(
            keys(&lines[1]),
            ["took", "expected-duration", "prefix", "request", "response", "steps"]
        );
        assert_eq!(lines[2]["error"], "why");
        assert_eq!(lines[2]["steps"], serde_json::Value::Null);
    }

    #[test]
    fn a_file_is_appended_to_and_a_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        for text in ["one\n", "two\n"] {
            let mut outputs = Outputs::default();
            outputs.open(&LogOutput::File(path.clone())).unwrap();
            outputs.write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        let error =
            Outputs::default().open(&LogOutput::File(folder.path().to_path_buf())).unwrap_err();
        assert!(error.to_string().starts_with("--log-outputs "), "{error}");
    }
}
