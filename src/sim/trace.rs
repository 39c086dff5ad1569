//! The trace of a run: one number, and lines if they are to be read.

use std::collections::VecDeque;
use std::fmt::Write;

use crate::member::Mail;
use crate::types::{Answer, CoreId, GroupId, Ticket, WatchReply, WatchStream};
use crate::wal::{DiskOp, DiskOutcome, OpId};

/// The digest of every effect so far: equal seeds must give equal digests.
#[derive(Debug, Default)]
pub struct Trace {
    digest: u64,
    step: u64,
    /// The last events, if they are kept.
    lines: Option<VecDeque<String>>,
}

/// Events that are kept.
const LINES_MAX: usize = 100_000;

impl Trace {
    /// One that keeps the last events as lines.
    pub fn kept() -> Trace {
        Trace { lines: Some(VecDeque::new()), ..Trace::default() }
    }

    /// A new step begins.
    pub fn step(&mut self, step: u64) {
        self.step = step;
    }

    /// The step it is at.
    pub fn at(&self) -> u64 {
        self.step
    }

    /// The number that the run comes to.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The last events.
    pub fn lines(&self) -> impl Iterator<Item = &String> {
        self.lines.iter().flatten()
    }

    /// Takes a number in.
    pub fn number(&mut self, number: u64) {
        self.digest = (self.digest.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// Takes bytes in.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(u64::from(crc32fast::hash(bytes)));
        self.number(bytes.len() as u64);
    }

    /// Tells of an event, in words that are made only when they are kept.
    pub fn record(&mut self, words: impl FnOnce() -> String) {
        let step = self.step;
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(format!("{step:>7} {}", words()));
        }
    }

    /// An operation goes to the disk.
    pub fn disk(&mut self, core: usize, group: GroupId, id: OpId, op: &DiskOp) {
        self.number(u64::from(group.0));
        self.number(id.0);
        let mut words = String::new();
        match op {
            DiskOp::WriteBatch { path, offset, buffer } => {
                self.bytes(path.as_bytes());
                self.number(*offset);
                self.bytes(buffer.as_slice());
                if self.lines.is_some() {
                    let _ = write!(words, "write {path} at {offset}, {} bytes", buffer.len());
                }
            }
            DiskOp::AppendTemporary { path, offset, bytes } => {
                self.number(*offset);
                self.bytes(bytes);
                if self.lines.is_some() {
                    let _ = write!(words, "append {path} at {offset}, {} bytes", bytes.len());
                }
            }
            other => {
                let shown = format!("{other:?}");
                self.bytes(shown.as_bytes());
                words = shown;
            }
        }
        self.record(|| format!("core {core}: disk {}: {words}", id.0 & 0xff_ffff));
    }

    /// An operation ended.
    pub fn ended(&mut self, group: GroupId, id: OpId, outcome: &DiskOutcome) {
        self.number(u64::from(group.0) << 32 | 1);
        self.number(id.0);
        let done = matches!(outcome, DiskOutcome::Done(_));
        self.number(u64::from(done));
        self.record(|| format!("disk: group {group}: {} ended, done: {done}", id.0 & 0xff_ffff));
    }

    /// A core sends mail.
    pub fn mail(&mut self, core: usize, to: CoreId, mail: &Mail) {
        self.number((core as u64) << 16 | u64::from(to.0));
        if self.lines.is_some() {
            self.record(|| format!("core {core} ▶ {to}: {mail:?}"));
        }
    }

    /// A client reads what its watch stream is told.
    pub fn watched(&mut self, core: usize, stream: WatchStream, reply: &WatchReply) {
        let shown = format!("{reply:?}");
        self.number((core as u64) << 32 | 2);
        self.number(stream.0);
        self.bytes(shown.as_bytes());
        self.record(|| format!("core {core}: stream {} is told: {shown}", stream.0));
    }

    /// A client is answered.
    pub fn answer(&mut self, ticket: Ticket, answer: &Answer) {
        let shown = format!("{answer:?}");
        self.number(ticket.0);
        self.bytes(shown.as_bytes());
        self.record(|| format!("answer {}: {shown}", ticket.0));
    }
}
