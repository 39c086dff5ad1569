//! The log of acknowledged changes: what `braid-load check` holds the server to.
//!
//! One line per change, tabs between: revision, `P` or `D`, key, and for a put the XXH3 of the
//! value in hexadecimal. Lines are in the order in which one thread got its answers; a line that is
//! not whole (the generator was killed) is no claim.
//!
//! A line `0`, `U`, start, end is about the keys from start to end, or the one key if the end is
//! empty: they may be gone, because a delete was sent whose outcome is unknown.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::protobuf;
use super::source::{Change, Found, Planned, Source};

pub(super) struct AckLog {
    file: BufWriter<File>,
    failed: Option<io::Error>,
}

impl AckLog {
    /// The log of one thread: `path`, with the thread's number behind it from the second on.
    pub(super) fn create(path: &Path, thread: usize) -> io::Result<AckLog> {
        let file = File::create(thread_path(path, thread))?;
        Ok(AckLog { file: BufWriter::with_capacity(1 << 18, file), failed: None })
    }

    /// Notes what an answer acknowledges.
    pub(super) fn note(
        &mut self,
        source: &mut Source,
        planned: &Planned,
        found: Found,
        answer: &[u8],
    ) {
        if found != Found::Hit {
            return;
        }
        let revision = protobuf::revision(answer);
        self.write(source, planned, |file, change| match change {
            // Which of the keys it has deleted is not known.
            Change::DeleteRange { start, end } => write_doubt(file, start, end),
            change => write_line(file, revision, change),
        });
    }

    /// Notes that nobody knows whether this was done.
    pub(super) fn doubt(&mut self, source: &mut Source, planned: &Planned) {
        self.write(source, planned, |file, change| match change {
            // A put that was done all the same changes a key at a higher revision, which shows.
            Change::Put { .. } => Ok(()),
            Change::Delete { key } => write_doubt(file, key, b""),
            Change::DeleteRange { start, end } => write_doubt(file, start, end),
        });
    }

    fn write(
        &mut self,
        source: &mut Source,
        planned: &Planned,
        mut line: impl FnMut(&mut BufWriter<File>, Change<'_>) -> io::Result<()>,
    ) {
        if self.failed.is_some() {
            return;
        }
        let file = &mut self.file;
        let mut result = Ok(());
        source.changes(planned, |change| {
            let written = line(file, change);
            if written.is_err() {
                result = written;
            }
        });
        self.failed = result.err();
    }

    /// Hands everything to the system.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
    }
}

/// Returns the path of a thread's log.
pub(super) fn thread_path(path: &Path, thread: usize) -> std::path::PathBuf {
    match thread {
        0 => path.to_owned(),
        _ => {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{thread}"));
            name.into()
        }
    }
}

fn write_line(file: &mut impl Write, revision: u64, change: Change<'_>) -> io::Result<()> {
    match change {
        Change::Put { key, value_hash } => {
            write!(file, "{revision}\tP\t")?;
            file.write_all(key)?;
            writeln!(file, "\t{value_hash:016x}")
        }
        Change::Delete { key } => {
            write!(file, "{revision}\tD\t")?;
            file.write_all(key)?;
            writeln!(file)
        }
        Change::DeleteRange { start, end } => write_doubt(file, start, end),
    }
}

fn write_doubt(file: &mut impl Write, start: &[u8], end: &[u8]) -> io::Result<()> {
    write!(file, "0\tU\t")?;
    file.write_all(start)?;
    write!(file, "\t")?;
    file.write_all(end)?;
    writeln!(file)
}

/// One line, read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack<'a> {
    pub(super) revision: u64,
    pub(super) change: Change<'a>,
}

impl<'a> Ack<'a> {
    pub(super) fn parse(line: &'a str) -> Option<Ack<'a>> {
        let mut fields = line.split('\t');
        let revision = fields.next()?.parse().ok()?;
        let kind = fields.next()?;
        let key = fields.next()?.as_bytes();
        let hash = fields.next();
        let change = match (kind, hash) {
            ("P", Some(hash)) if hash.len() == 16 => {
                Change::Put { key, value_hash: u64::from_str_radix(hash, 16).ok()? }
            }
            ("D", None) => Change::Delete { key },
            ("U", Some(end)) => Change::DeleteRange { start: key, end: end.as_bytes() },
            _ => return None,
        };
        fields.next().is_none().then_some(Ack { revision, change })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let changes =
            [Change::Put { key: b"load/01", value_hash: 0xab }, Change::Delete { key: b"load/02" }];
        let doubt = Change::DeleteRange { start: b"load/0", end: b"" };
        let mut line = Vec::new();
        write_line(&mut line, 9, doubt).expect("memory");
        let text = String::from_utf8(line).expect("text");
        let parsed = Ack::parse(text.trim_end_matches('\n'));
        assert_eq!(parsed, Some(Ack { revision: 0, change: doubt }));
        for change in changes {
            let mut line = Vec::new();
            write_line(&mut line, 17, change).expect("memory");
            let text = String::from_utf8(line).expect("text");
            let line = text.strip_suffix('\n').expect("a line");
            assert_eq!(Ack::parse(line), Some(Ack { revision: 17, change }));
        }
    }

    #[test]
    fn a_line_cut_short_is_no_claim() {
        let whole = "17\tP\tload/01\t00000000000000ab";
        assert!(Ack::parse(whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(Ack::parse(&whole[..end]), None, "{end}");
        }
        for line in ["x\tP\tk\t00000000000000ab", "1\tD\tk\tk", "1\tQ\tk"] {
            assert_eq!(Ack::parse(line), None, "{line}");
        }
    }
}
