//! The messages between members once they have greeted each other.
//!
//! ```text
//! opcode  payload
//!      1  group u16 | message of Raft, as raft::message has it
//!      2  epoch u64 | stable i64 | count u16 | index u64 *      the leader's line
//!      3  shard u16 | control term u64 | number u64             campaign, and hand it over
//!      4  round u64                                             may you still answer reads?
//!      5  round u64 | has u8 | epoch u64 | stable i64           the answer; 0: no
//! ```

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::cursor::{BadPeerBytes, Cursor};
use crate::limits::SHARDS_MAX;
use crate::raft;
use crate::types::{Attempt, Epoch, GroupId, LogIndex, Note, Revision, ShardId, Term};

const RAFT: u8 = 1;
const LINE: u8 = 2;
const ASK: u8 = 3;
const READ_ASK: u8 = 4;
const READ_REPLY: u8 = 5;

/// From one member to another.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// From a replica of a group to another.
    Raft { group: GroupId, message: raft::Message },
    /// The leader's line: everything up to the note's stable is in the entries up to its indexes
    /// (C6).
    Line { epoch: Epoch, note: Note },
    /// From the leader of the control group: win this shard's group, in whose log you are ahead of
    /// me, and hand it over.
    Ask { shard: ShardId, attempt: Attempt },
    /// To the leader: a round of reads that waits at the sender. Numbers of one sender rise.
    ReadAsk { round: u64 },
    /// No later epoch had begun when a round that was asked for after the question ended: what was
    /// stable before it, and in which epoch. `None`: the receiver of the question does not lead.
    ReadReply { round: u64, stable: Option<(Epoch, Revision)> },
}

impl Message {
    /// The opcode of its frame.
    pub fn opcode(&self) -> u8 {
        match self {
            Message::Raft { .. } => RAFT,
            Message::Line { .. } => LINE,
            Message::Ask { .. } => ASK,
            Message::ReadAsk { .. } => READ_ASK,
            Message::ReadReply { .. } => READ_REPLY,
        }
    }

    /// Adds the payload of its frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Message::Raft { group, message } => {
                out.put_u16_le(group.0);
                message.encode(out);
            }
            Message::Line { epoch, note } => {
                out.put_u64_le(epoch.0);
                out.put_i64_le(note.stable.0);
                out.put_u16_le(u16::try_from(note.indexes.len()).expect("few groups"));
                note.indexes.iter().for_each(|index| out.put_u64_le(index.0));
            }
            Message::Ask { shard, attempt } => {
                out.put_u16_le(shard.0);
                out.put_u64_le(attempt.term.0);
                out.put_u64_le(attempt.number);
            }
            Message::ReadAsk { round } => out.put_u64_le(*round),
            Message::ReadReply { round, stable } => {
                let (epoch, revision) = stable.unwrap_or((Epoch(0), Revision(0)));
                out.put_u64_le(*round);
                out.put_u8(u8::from(stable.is_some()));
                out.put_u64_le(epoch.0);
                out.put_i64_le(revision.0);
            }
        }
    }

    /// The whole of `payload` as one message. Entries of Raft share its bytes.
    pub fn decode(opcode: u8, payload: Bytes) -> Result<Message, BadPeerBytes> {
        let mut rest = Cursor(payload);
        let message = match opcode {
            RAFT => {
                let group = GroupId(rest.short("the group")?);
                if usize::from(group.0) > SHARDS_MAX {
                    return Err(BadPeerBytes::Field("the group"));
                }
                let message = raft::Message::decode(rest.0).map_err(BadPeerBytes::Raft)?;
                return Ok(Message::Raft { group, message });
            }
            LINE => line(&mut rest)?,
            ASK => {
                let shard = ShardId(rest.short("the shard")?);
                if usize::from(shard.0) >= SHARDS_MAX {
                    return Err(BadPeerBytes::Field("the shard"));
                }
                let term = Term(rest.number("the attempt")?);
                let attempt = Attempt { term, number: rest.number("the attempt")? };
                Message::Ask { shard, attempt }
            }
            READ_ASK => Message::ReadAsk { round: rest.number("the round")? },
            READ_REPLY => {
                let round = rest.number("the round")?;
                let has = rest.byte("the answer")?;
                let epoch = Epoch(rest.number("the epoch")?);
                let revision = revision(&mut rest)?;
                let stable = match has {
                    0 if (epoch, revision) == (Epoch(0), Revision(0)) => None,
                    1 => Some((epoch, revision)),
                    _ => return Err(BadPeerBytes::Field("the answer")),
                };
                Message::ReadReply { round, stable }
            }
            other => return Err(BadPeerBytes::Opcode(other)),
        };
        rest.end()?;
        Ok(message)
    }
}

fn line(rest: &mut Cursor) -> Result<Message, BadPeerBytes> {
    let epoch = Epoch(rest.number("the epoch")?);
    let stable = revision(rest)?;
    let count = usize::from(rest.short("the number of groups")?);
    if count > SHARDS_MAX + 1 {
        return Err(BadPeerBytes::Field("the number of groups"));
    }
    let indexes = (0..count).map(|_| rest.number("an index").map(LogIndex));
    let indexes: Result<Arc<[LogIndex]>, BadPeerBytes> = indexes.collect();
    Ok(Message::Line { epoch, note: Note { stable, indexes: indexes? } })
}

fn revision(rest: &mut Cursor) -> Result<Revision, BadPeerBytes> {
    match i64::try_from(rest.number("the revision")?) {
        Ok(revision) if revision < i64::MAX => Ok(Revision(revision)),
        _ => Err(BadPeerBytes::Field("the revision")),
    }
}
