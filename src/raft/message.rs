//! Messages between replicas of a group, in an encoding of our own.
//!
//! rust-protobuf never sees bytes from the network (RUSTSEC-2024-0437). Little-endian:
//!
//! ```text
//!  offset  bytes
//!     0      1    kind, as in `KINDS`
//!     1      1    1: rejected
//!     2      2    length of the context
//!     4      4    number of entries
//!     8    12*8   to, from, term, log term, index, commit, commit term, reject hint,
//!                 attempt (control term, number), last (index, term)
//!   104      n    context
//!   then per entry, whose index is that of the message + 1, + 2, …
//!            8    term
//!            1    0: normal, 1: membership
//!            3    0
//!            4    length of the data
//!            n    data
//! ```
//!
//! A frame around it says which group it is for, and how long it is. Decoding shares the frame's
//! bytes with the entries.
//!
//! *Attempt* is set in a vote's request in a group that does not elect by itself: who has seen a
//! later one drops it (C1). *Last* is set in the answer to such a request: where the log of its
//! sender ends, so that a candidate learns who is ahead of it (C2).

use std::fmt;

use ::raft::eraftpb::{Entry, EntryType, Message as RaftMessage, MessageType};
use bytes::{Buf, BufMut, Bytes};

use crate::types::{Attempt, LogIndex, Term};

const HEADER_BYTES: usize = 104;
const ENTRY_HEADER_BYTES: usize = 16;

/// A round of reads (8 bytes) or raft-rs's word for a campaign.
const CONTEXT_BYTES_MAX: usize = 64;

/// Terms and indexes count up from 0; a larger one is damage, and raft-rs adds to them unchecked.
const NUMBER_MAX: u64 = 1 << 62;

/// Every kind that may travel; its number is its place here. Proposals, read requests and
/// transfers stay on their member, and checkpoints travel by themselves.
const KINDS: [MessageType; 9] = [
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
    MessageType::MsgTimeoutNow,
];

/// From one replica of a group to another.
#[derive(Clone, PartialEq)]
pub struct Message {
    pub(super) raft: RaftMessage,
    pub(super) attempt: Attempt,
    pub(super) last: (LogIndex, Term),
}

/// Why a message is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadMessage {
    /// It ends before it should, or goes on after.
    Length { expected: usize, found: usize },
    /// Its kind is unknown, or must not travel.
    Kind(u8),
    /// A field has a value that it cannot have.
    Field(&'static str),
    /// It is for another replica.
    NotMine { to: u64 },
    /// The leader knows this replica to hold an entry that it does not have: its log was lost.
    Lost { known: LogIndex, last: LogIndex },
}

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadMessage::Length { expected, found } => {
                write!(f, "raft message: {found} bytes where {expected} are announced")
            }
            BadMessage::Kind(kind) => write!(f, "raft message: kind {kind} is not one of ours"),
            BadMessage::Field(field) => write!(f, "raft message: {field} makes no sense"),
            BadMessage::NotMine { to } => write!(f, "raft message: meant for member {to:x}"),
            BadMessage::Lost { known, last } => write!(
                f,
                "raft message: the leader has seen entry {known} here, but the log ends at {last}: \
                 acknowledged entries were lost"
            ),
        }
    }
}

impl std::error::Error for BadMessage {}

impl Message {
    /// Raft ID of the sender.
    pub fn from(&self) -> u64 {
        self.raft.from
    }

    /// Raft ID of the receiver.
    pub fn to(&self) -> u64 {
        self.raft.to
    }

    /// Returns the sender's term.
    pub fn term(&self) -> Term {
        Term(self.raft.term)
    }

    /// Raft's own, with nothing of ours.
    pub(super) fn plain(raft: RaftMessage) -> Message {
        Message { raft, attempt: Attempt::default(), last: (LogIndex(0), Term(0)) }
    }

    /// Carries nothing that a later one of the same sender would not carry again.
    pub fn is_heartbeat(&self) -> bool {
        matches!(self.raft.msg_type, MessageType::MsgHeartbeat | MessageType::MsgHeartbeatResponse)
    }

    /// The number of bytes that `encode` adds.
    pub fn encoded_len(&self) -> usize {
        let entries = self.raft.entries.iter().map(|entry| ENTRY_HEADER_BYTES + entry.data.len());
        HEADER_BYTES + self.raft.context.len() + entries.sum::<usize>()
    }

    /// Appends the message's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let m = &self.raft;
        let kind = KINDS.iter().position(|kind| *kind == m.msg_type);
        let kind = kind.expect("raft-rs sends only what may travel, forwarding being fenced off");
        out.reserve(self.encoded_len());
        out.put_u8(u8::try_from(kind).expect("few kinds"));
        out.put_u8(u8::from(m.reject));
        out.put_u16_le(u16::try_from(m.context.len()).expect("a short context"));
        out.put_u32_le(u32::try_from(m.entries.len()).expect("an append is bounded"));
        let raft =
            [m.to, m.from, m.term, m.log_term, m.index, m.commit, m.commit_term, m.reject_hint];
        let (attempt, (index, term)) = (self.attempt, self.last);
        let ours = [attempt.term.0, attempt.number, index.0, term.0];
        raft.into_iter().chain(ours).for_each(|number| out.put_u64_le(number));
        out.put_slice(&m.context);
        for entry in &m.entries {
            out.put_u64_le(entry.term);
            out.put_u8(u8::from(entry.entry_type != EntryType::EntryNormal));
            out.put_bytes(0, 3);
            out.put_u32_le(u32::try_from(entry.data.len()).expect("an entry is bounded"));
            out.put_slice(&entry.data);
        }
    }

    /// The whole of `bytes` as one message.
    pub fn decode(mut bytes: Bytes) -> Result<Message, BadMessage> {
        need(&bytes, HEADER_BYTES)?;
        let mut m = RaftMessage::default();
        let kind = bytes.get_u8();
        m.msg_type = *KINDS.get(usize::from(kind)).ok_or(BadMessage::Kind(kind))?;
        m.reject = flag(bytes.get_u8(), "the rejection")?;
        let context_len = usize::from(bytes.get_u16_le());
        let entries = bytes.get_u32_le() as usize;
        let numbers = [
            &mut m.to,
            &mut m.from,
            &mut m.term,
            &mut m.log_term,
            &mut m.index,
            &mut m.commit,
            &mut m.commit_term,
            &mut m.reject_hint,
        ];
        numbers.into_iter().for_each(|number| *number = bytes.get_u64_le());
        let attempt = Attempt { term: Term(bytes.get_u64_le()), number: bytes.get_u64_le() };
        let last = (LogIndex(bytes.get_u64_le()), Term(bytes.get_u64_le()));
        if context_len > CONTEXT_BYTES_MAX {
            return Err(BadMessage::Field("the length of the context"));
        }
        need(&bytes, context_len)?;
        m.context = bytes.split_to(context_len);
        for offset in 0..entries {
            let index = m.index.checked_add(offset as u64 + 1);
            let index = index.ok_or(BadMessage::Field("an index"))?;
            let entry = decode_entry(&mut bytes, index)?;
            m.entries.push(entry);
        }
        if bytes.is_empty() {
            Ok(Message { raft: m, attempt, last })
        } else {
            Err(BadMessage::Length { expected: 0, found: bytes.len() })
        }
    }

    /// Refuses what raft-rs would panic on, and what must not come from the network.
    pub(super) fn check(&self, me: u64, term: Term, last: LogIndex) -> Result<(), BadMessage> {
        let m = &self.raft;
        if m.to != me {
            return Err(BadMessage::NotMine { to: m.to });
        }
        if !KINDS.contains(&m.msg_type) {
            return Err(BadMessage::Kind(m.msg_type as u8));
        }
        if m.from == 0 || m.from == me {
            return Err(BadMessage::Field("the sender"));
        }
        // To raft-rs a message without a term is one of its own.
        if m.term == 0 || m.term > NUMBER_MAX {
            return Err(BadMessage::Field("the term"));
        }
        if [m.index, m.commit, m.reject_hint].into_iter().any(|index| index > NUMBER_MAX) {
            return Err(BadMessage::Field("an index"));
        }
        match m.msg_type {
            _ if self.attempt.term.0 > NUMBER_MAX || self.attempt.number > NUMBER_MAX => {
                Err(BadMessage::Field("the attempt"))
            }
            _ if self.last.0.0 > NUMBER_MAX || self.last.1 > self.term() => {
                Err(BadMessage::Field("the end of the log"))
            }
            MessageType::MsgAppend => self.check_append(),
            MessageType::MsgHeartbeat if m.commit > last.0 && m.term >= term.0 => {
                Err(BadMessage::Lost { known: LogIndex(m.commit), last })
            }
            MessageType::MsgAppendResponse if m.term == term.0 && !m.reject && m.index > last.0 => {
                Err(BadMessage::Field("an acknowledged index"))
            }
            MessageType::MsgAppendResponse if m.reject && m.reject_hint > m.index => {
                Err(BadMessage::Field("the hint of a rejection"))
            }
            _ if !m.entries.is_empty() => Err(BadMessage::Field("an entry in such a message")),
            _ => Ok(()),
        }
    }

    /// Entries follow each other and the one before them, in the terms too.
    fn check_append(&self) -> Result<(), BadMessage> {
        let m = &self.raft;
        let (mut index, mut term) = (m.index, m.log_term);
        // Only the place before the first entry has no term. To raft-rs, so has whatever lies
        // beyond the end of its log, and would match.
        if (index == 0) != (term == 0) || term > m.term {
            return Err(BadMessage::Field("the term of the entry before"));
        }
        for entry in &m.entries {
            if index.checked_add(1) != Some(entry.index) {
                return Err(BadMessage::Field("an entry's index"));
            }
            if entry.term < term.max(1) || entry.term > m.term {
                return Err(BadMessage::Field("an entry's term"));
            }
            (index, term) = (entry.index, entry.term);
        }
        Ok(())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.raft;
        write!(f, "{:?} {}→{} term {} index {}", m.msg_type, m.from, m.to, m.term, m.index)?;
        write!(f, " commit {} entries {} reject {}", m.commit, m.entries.len(), m.reject)?;
        write!(f, " attempt {}.{}", self.attempt.term, self.attempt.number)
    }
}

fn decode_entry(bytes: &mut Bytes, index: u64) -> Result<Entry, BadMessage> {
    need(bytes, ENTRY_HEADER_BYTES)?;
    let term = bytes.get_u64_le();
    let entry_type = match flag(bytes.get_u8(), "the kind of an entry")? {
        false => EntryType::EntryNormal,
        true => EntryType::EntryConfChangeV2,
    };
    if bytes.split_to(3).iter().any(|byte| *byte != 0) {
        return Err(BadMessage::Field("a reserved field"));
    }
    let len = bytes.get_u32_le() as usize;
    need(bytes, len)?;
    let data = bytes.split_to(len);
    Ok(Entry { entry_type, term, index, data, ..Entry::default() })
}

fn need(bytes: &Bytes, expected: usize) -> Result<(), BadMessage> {
    let found = bytes.len();
    if found < expected { Err(BadMessage::Length { expected, found }) } else { Ok(()) }
}

fn flag(byte: u8, what: &'static str) -> Result<bool, BadMessage> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(BadMessage::Field(what)),
    }
}
