//! Entries of the control group's log, and its state, byte by byte.
//!
//! ```text
//! entry = version u8 | kind u8 | body                                   integers little-endian
//! epoch   = term u64 | member u64                            kind 1; its index is the number
//! compact = revision i64                                     kind 2
//! alarm   = raise u8 | member u64 | kind u8                  kind 3
//! member  = id u64 | learner u8 | name | peer URLs | client URLs        kind 4
//! string  = length u32 | bytes;  strings = count u32 | string*
//!
//! grant   = lease i64 | ttl i64                              kind 5
//! going   = count u32 | lease i64*                           kind 6
//! gone    = count u32 | lease i64*                           kind 7
//! remains = count u32 | (lease i64 | remaining i64)*         kind 8; 0: the whole TTL again
//! ```
//!
//! A lease ends in two entries. From *going* on no key is attached to it any more, and whoever
//! leads deletes its keys; *gone* follows when their deletion is stable. Times are seconds.

use bytes::Bytes;

use crate::types::{Alarm, AlarmKind, LeaseId, Member, MemberId, Revision, Term};

const VERSION: u8 = 1;

/// A decision of the control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An epoch begins; void if it was proposed in another term.
    Epoch {
        term: Term,
        leader: MemberId,
    },
    /// History below goes, on every shard.
    Compact {
        revision: Revision,
    },
    Alarm {
        raise: bool,
        alarm: Alarm,
    },
    /// A member tells its name and URLs.
    Publish(Member),
    /// A lease begins, unless there is one of that number.
    LeaseGrant {
        id: LeaseId,
        ttl: i64,
    },
    /// Leases end: nothing is attached to them any more.
    LeaseGoing {
        ids: Vec<LeaseId>,
    },
    /// Their keys are deleted, and that is stable.
    LeaseGone {
        ids: Vec<LeaseId>,
    },
    /// The time that was left of leases, in seconds, for the next leader; 0 is the whole TTL.
    LeaseCheckpoint {
        left: Vec<(LeaseId, i64)>,
    },
}

/// Bytes that this version does not write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCommand(pub &'static str);

impl Command {
    /// The entry's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Command::Epoch { term, leader } => {
                out.push(1);
                out.extend_from_slice(&term.0.to_le_bytes());
                out.extend_from_slice(&leader.0.to_le_bytes());
            }
            Command::Compact { revision } => {
                out.push(2);
                out.extend_from_slice(&revision.0.to_le_bytes());
            }
            Command::Alarm { raise, alarm } => {
                out.extend_from_slice(&[3, u8::from(*raise)]);
                put_alarm(&mut out, alarm);
            }
            Command::Publish(member) => {
                out.push(4);
                put_member(&mut out, member);
            }
            Command::LeaseGrant { id, ttl } => {
                out.push(5);
                out.extend_from_slice(&id.0.to_le_bytes());
                out.extend_from_slice(&ttl.to_le_bytes());
            }
            Command::LeaseGoing { ids } => {
                out.push(6);
                put_leases(&mut out, ids);
            }
            Command::LeaseGone { ids } => {
                out.push(7);
                put_leases(&mut out, ids);
            }
            Command::LeaseCheckpoint { left } => {
                out.push(8);
                out.extend_from_slice(&(left.len() as u32).to_le_bytes());
                for (id, remaining) in left {
                    out.extend_from_slice(&id.0.to_le_bytes());
                    out.extend_from_slice(&remaining.to_le_bytes());
                }
            }
        }
        Bytes::from(out)
    }

    /// The weight of the entry beside others in the log: the number of changes that it holds.
    pub(super) fn weight(&self) -> u64 {
        let extra = match self {
            Command::LeaseGoing { ids } | Command::LeaseGone { ids } => ids.len(),
            Command::LeaseCheckpoint { left } => left.len(),
            _ => 0,
        };
        1 + extra as u64
    }

    /// Reads an entry.
    pub fn decode(data: &[u8]) -> Result<Command, BadCommand> {
        let mut rest = Cursor(data);
        if rest.byte()? != VERSION {
            return Err(BadCommand("a control entry of an unknown version"));
        }
        let command = match rest.byte()? {
            1 => Command::Epoch { term: Term(rest.number()?), leader: MemberId(rest.number()?) },
            2 => Command::Compact { revision: Revision(rest.number()? as i64) },
            3 => Command::Alarm { raise: rest.byte()? != 0, alarm: rest.alarm()? },
            4 => Command::Publish(rest.member()?),
            5 => Command::LeaseGrant { id: rest.lease()?, ttl: rest.number()? as i64 },
            6 => Command::LeaseGoing { ids: rest.leases()? },
            7 => Command::LeaseGone { ids: rest.leases()? },
            8 => Command::LeaseCheckpoint { left: rest.remains()? },
            _ => return Err(BadCommand("a control entry of an unknown kind")),
        };
        if rest.0.is_empty() { Ok(command) } else { Err(BadCommand("a control entry too long")) }
    }
}

pub(super) fn put_alarm(out: &mut Vec<u8>, alarm: &Alarm) {
    out.extend_from_slice(&alarm.member.0.to_le_bytes());
    out.push(match alarm.kind {
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    });
}

pub(super) fn put_member(out: &mut Vec<u8>, member: &Member) {
    out.extend_from_slice(&member.id.to_le_bytes());
    out.push(u8::from(member.is_learner));
    put_string(out, &member.name);
    for urls in [&member.peer_urls, &member.client_urls] {
        out.extend_from_slice(&(urls.len() as u32).to_le_bytes());
        urls.iter().for_each(|url| put_string(out, url));
    }
}

fn put_leases(out: &mut Vec<u8>, ids: &[LeaseId]) {
    out.extend_from_slice(&(ids.len() as u32).to_le_bytes());
    ids.iter().for_each(|id| out.extend_from_slice(&id.0.to_le_bytes()));
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BadCommand> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or(BadCommand("a control entry cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8, BadCommand> {
        Ok(self.take(1)?[0])
    }

    pub fn number(&mut self) -> Result<u64, BadCommand> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }

    pub fn count(&mut self) -> Result<usize, BadCommand> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")) as usize)
    }

    pub fn lease(&mut self) -> Result<LeaseId, BadCommand> {
        Ok(LeaseId(self.number()? as i64))
    }

    fn leases(&mut self) -> Result<Vec<LeaseId>, BadCommand> {
        // No allocation by a number that was only read: what is not there ends the loop.
        let count = self.count()?;
        (0..count).map(|_| self.lease()).collect()
    }

    fn remains(&mut self) -> Result<Vec<(LeaseId, i64)>, BadCommand> {
        let count = self.count()?;
        (0..count).map(|_| Ok((self.lease()?, self.number()? as i64))).collect()
    }

    fn string(&mut self) -> Result<String, BadCommand> {
        let count = self.count()?;
        let bytes = self.take(count)?.to_vec();
        String::from_utf8(bytes).map_err(|_| BadCommand("a text that is not UTF-8"))
    }

    pub fn alarm(&mut self) -> Result<Alarm, BadCommand> {
        let member = MemberId(self.number()?);
        let kind = match self.byte()? {
            1 => AlarmKind::NoSpace,
            2 => AlarmKind::Corrupt,
            _ => return Err(BadCommand("an alarm of an unknown kind")),
        };
        Ok(Alarm { member, kind })
    }

    pub fn member(&mut self) -> Result<Member, BadCommand> {
        let id = self.number()?;
        let is_learner = self.byte()? != 0;
        let name = self.string()?;
        let mut urls = [Vec::new(), Vec::new()];
        for list in &mut urls {
            for _ in 0..self.count()? {
                list.push(self.string()?);
            }
        }
        let [peer_urls, client_urls] = urls;
        Ok(Member { id, name, peer_urls, client_urls, is_learner })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_read_back_and_damaged_ones_are_errors() {
        let member = Member {
            id: 7,
            name: "default".into(),
            peer_urls: vec!["http://localhost:2380".into()],
            client_urls: vec!["http://a:1".into(), "http://b:2".into()],
            is_learner: true,
        };
        let alarm = Alarm { member: MemberId(9), kind: AlarmKind::NoSpace };
        for command in [
            Command::Epoch { term: Term(3), leader: MemberId(1) },
            Command::Compact { revision: Revision(-1) },
            Command::Alarm { raise: true, alarm },
            Command::Publish(member),
            Command::LeaseGrant { id: LeaseId(i64::MIN), ttl: 9_000_000_000 },
            Command::LeaseGoing { ids: vec![LeaseId(-1), LeaseId(i64::MAX)] },
            Command::LeaseGone { ids: vec![LeaseId(3)] },
            Command::LeaseGone { ids: vec![] },
            Command::LeaseCheckpoint { left: vec![(LeaseId(3), 0), (LeaseId(4), 301)] },
        ] {
            let bytes = command.encode();
            assert_eq!(Command::decode(&bytes), Ok(command));
            for length in 0..bytes.len() {
                assert!(Command::decode(&bytes[..length]).is_err());
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(Command::decode(&longer).is_err());
        }
    }

    #[test]
    fn a_count_that_is_made_up_allocates_nothing() {
        for kind in 6..=8 {
            let huge = [&[VERSION, kind][..], &u32::MAX.to_le_bytes()].concat();
            assert_eq!(Command::decode(&huge), Err(BadCommand("a control entry cut short")));
        }
    }
}
