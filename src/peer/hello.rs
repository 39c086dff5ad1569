//! The first words of a connection between members.
//!
//! ```text
//! hello  = magic 8 | oldest u16 | newest u16 | entry format u16 | cluster u64 | from u64 |
//!          to u64 | shards u16 | incarnation u64 | purpose u8 | core u16
//! reply  = magic 8 | 0 u8 | protocol u16 | entry format u16                       welcome
//!        | magic 8 | 1 u8 | kind u8 | two numbers u64, which the kind gives a meaning
//! ```
//!
//! A member whose disk was wiped comes back under its old id with another incarnation: it has
//! voted, and forgot. Letting it vote again could elect two leaders in one term, so it is refused.

use std::fmt;
use std::ops::RangeInclusive;

use bytes::{BufMut, Bytes};

use super::cursor::{BadPeerBytes, Cursor};
use crate::limits::{CORES_MAX, SHARDS_MAX};
use crate::types::{ClusterId, CoreId, MemberId};

const MAGIC: [u8; 8] = *b"\xB7PEER\r\n\x01";

/// Versions of what members say to one another that this program speaks.
pub const PROTOCOL: RangeInclusive<u16> = 1..=1;

/// The newest format of log entries that this program reads.
pub const ENTRY_FORMAT: u16 = 2;

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Votes, the control group and the line, never behind appends (C14).
    Control,
    /// Appends of the groups that this core of the sender has.
    Core(CoreId),
}

/// The greeting of the member that connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub protocol: RangeInclusive<u16>,
    pub entry_format: u16,
    pub cluster: ClusterId,
    pub from: MemberId,
    /// Whom it wants to talk to.
    pub to: MemberId,
    pub shards: u16,
    /// A number that was drawn when its data directory was made.
    pub incarnation: u64,
    pub purpose: Purpose,
}

/// The answer to a greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloReply {
    Welcome(Welcome),
    Refused(HelloRefusal),
}

/// The terms on which both go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    pub protocol: u16,
    /// Nobody of the two writes a newer one.
    pub entry_format: u16,
}

/// Why two members do not talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloRefusal {
    /// The one that was called is another member.
    NotMe { called: MemberId, me: MemberId },
    /// It belongs to another cluster.
    WrongCluster { theirs: ClusterId, ours: ClusterId },
    /// It speaks no version that the called one speaks.
    Protocol { theirs: u16, ours: u16 },
    /// It has another number of shards.
    Shards { theirs: u16, ours: u16 },
    /// It is no member of the cluster, and never was one that is known.
    Unknown { member: MemberId },
    /// It was a member and is none any more.
    Removed { member: MemberId },
    /// Its id has voted, and its data directory is a new one.
    Wiped { member: MemberId },
}

impl fmt::Display for HelloRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HelloRefusal::NotMe { called, me } => write!(
                f,
                "member {:x} was called, but member {:x} listens there: check --initial-cluster \
                 and --initial-advertise-peer-urls",
                called.0, me.0
            ),
            HelloRefusal::WrongCluster { theirs, ours } => write!(
                f,
                "the member that connects is of cluster {:x}, the one that listens of cluster \
                 {:x}: check --initial-cluster-token and the data directory",
                theirs.0, ours.0
            ),
            HelloRefusal::Protocol { theirs, ours } => write!(
                f,
                "the member that connects speaks version {theirs} at most, the one that listens \
                 {ours}: upgrade one minor version at a time"
            ),
            HelloRefusal::Shards { theirs, ours } => write!(
                f,
                "the member that connects has {theirs} shards, the one that listens {ours}: start \
                 all members of a new cluster with the same --shards"
            ),
            HelloRefusal::Unknown { member } => {
                write!(f, "member {:x} is not a member of the cluster", member.0)
            }
            HelloRefusal::Removed { member } => {
                write!(f, "member {:x} was removed from the cluster", member.0)
            }
            HelloRefusal::Wiped { member } => write!(
                f,
                "member {:x} has voted and its data directory is a new one: remove the member and \
                 add it again under a new id",
                member.0
            ),
        }
    }
}

impl std::error::Error for HelloRefusal {}

impl Hello {
    /// The bytes, which are the first of the connection.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.put_u16_le(*self.protocol.start());
        out.put_u16_le(*self.protocol.end());
        out.put_u16_le(self.entry_format);
        out.put_u64_le(self.cluster.0);
        out.put_u64_le(self.from.0);
        out.put_u64_le(self.to.0);
        out.put_u16_le(self.shards);
        out.put_u64_le(self.incarnation);
        let (purpose, core) = match self.purpose {
            Purpose::Control => (0, CoreId(0)),
            Purpose::Core(core) => (1, core),
        };
        out.put_u8(purpose);
        out.put_u16_le(core.0);
        out
    }

    /// The whole of `bytes` as a greeting.
    pub fn decode(bytes: Bytes) -> Result<Hello, BadPeerBytes> {
        let mut rest = Cursor(bytes);
        take_magic(&mut rest)?;
        let protocol = rest.short("the protocol")?..=rest.short("the protocol")?;
        if protocol.is_empty() || *protocol.start() == 0 {
            return Err(BadPeerBytes::Field("the protocol"));
        }
        let hello = Hello {
            protocol,
            entry_format: rest.short("the entry format")?,
            cluster: ClusterId(rest.number("the cluster")?),
            from: MemberId(rest.number("the sender")?),
            to: MemberId(rest.number("the receiver")?),
            shards: rest.short("the shards")?,
            incarnation: rest.number("the incarnation")?,
            purpose: match (rest.byte("the purpose")?, rest.short("the core")?) {
                (0, 0) => Purpose::Control,
                (1, core) if usize::from(core) < CORES_MAX => Purpose::Core(CoreId(core)),
                _ => return Err(BadPeerBytes::Field("the purpose")),
            },
        };
        if hello.from == MemberId(0) || hello.from == hello.to {
            return Err(BadPeerBytes::Field("the sender"));
        }
        if !(1..=SHARDS_MAX).contains(&usize::from(hello.shards)) {
            return Err(BadPeerBytes::Field("the shards"));
        }
        rest.end()?;
        Ok(hello)
    }

    /// Returns the answer of the member whose own greeting would be `mine`, as far as the two
    /// greetings tell. Who is a member, and with which incarnation, is the control group's to say.
    pub fn answer(&self, mine: &Hello) -> Result<Welcome, HelloRefusal> {
        let (theirs, ours) = (self, mine);
        if theirs.cluster != ours.cluster {
            return Err(HelloRefusal::WrongCluster { theirs: theirs.cluster, ours: ours.cluster });
        }
        if theirs.to != ours.from {
            return Err(HelloRefusal::NotMe { called: theirs.to, me: ours.from });
        }
        let protocol = (*theirs.protocol.end()).min(*ours.protocol.end());
        if protocol < (*theirs.protocol.start()).max(*ours.protocol.start()) {
            let (theirs, ours) = (*theirs.protocol.end(), *ours.protocol.end());
            return Err(HelloRefusal::Protocol { theirs, ours });
        }
        if theirs.shards != ours.shards {
            return Err(HelloRefusal::Shards { theirs: theirs.shards, ours: ours.shards });
        }
        Ok(Welcome { protocol, entry_format: theirs.entry_format.min(ours.entry_format) })
    }
}

impl HelloReply {
    /// The bytes, which are the first that who connected reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let (kind, one, two) = match self {
            HelloReply::Welcome(Welcome { protocol, entry_format }) => {
                out.put_u8(0);
                out.put_u16_le(*protocol);
                out.put_u16_le(*entry_format);
                return out;
            }
            HelloReply::Refused(refusal) => match *refusal {
                HelloRefusal::NotMe { called, me } => (1, called.0, me.0),
                HelloRefusal::WrongCluster { theirs, ours } => (2, theirs.0, ours.0),
                HelloRefusal::Protocol { theirs, ours } => (3, theirs.into(), ours.into()),
                HelloRefusal::Shards { theirs, ours } => (4, theirs.into(), ours.into()),
                HelloRefusal::Unknown { member } => (5, member.0, 0),
                HelloRefusal::Removed { member } => (6, member.0, 0),
                HelloRefusal::Wiped { member } => (7, member.0, 0),
            },
        };
        out.put_u8(1);
        out.put_u8(kind);
        out.put_u64_le(one);
        out.put_u64_le(two);
        out
    }

    /// The whole of `bytes` as an answer to a greeting.
    pub fn decode(bytes: Bytes) -> Result<HelloReply, BadPeerBytes> {
        let mut rest = Cursor(bytes);
        take_magic(&mut rest)?;
        let reply = match rest.byte("the answer")? {
            0 => HelloReply::Welcome(Welcome {
                protocol: rest.short("the protocol")?,
                entry_format: rest.short("the entry format")?,
            }),
            1 => HelloReply::Refused(refusal(&mut rest)?),
            _ => return Err(BadPeerBytes::Field("the answer")),
        };
        rest.end()?;
        Ok(reply)
    }
}

fn refusal(rest: &mut Cursor) -> Result<HelloRefusal, BadPeerBytes> {
    let kind = rest.byte("the refusal")?;
    let (one, two) = (rest.number("the refusal")?, rest.number("the refusal")?);
    let short = |number| u16::try_from(number).map_err(|_| BadPeerBytes::Field("the refusal"));
    Ok(match (kind, two) {
        (1, _) => HelloRefusal::NotMe { called: MemberId(one), me: MemberId(two) },
        (2, _) => HelloRefusal::WrongCluster { theirs: ClusterId(one), ours: ClusterId(two) },
        (3, _) => HelloRefusal::Protocol { theirs: short(one)?, ours: short(two)? },
        (4, _) => HelloRefusal::Shards { theirs: short(one)?, ours: short(two)? },
        (5, 0) => HelloRefusal::Unknown { member: MemberId(one) },
        (6, 0) => HelloRefusal::Removed { member: MemberId(one) },
        (7, 0) => HelloRefusal::Wiped { member: MemberId(one) },
        _ => return Err(BadPeerBytes::Field("the refusal")),
    })
}

fn take_magic(rest: &mut Cursor) -> Result<(), BadPeerBytes> {
    match rest.bytes(MAGIC.len(), "the magic")? == MAGIC[..] {
        true => Ok(()),
        false => Err(BadPeerBytes::Field("the magic")),
    }
}
