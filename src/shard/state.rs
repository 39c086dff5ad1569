//! The state of a shard that its log comes to; replay, replication and evaluation share it.
//!
//! Applying cannot fail. An entry that cannot be applied is damage that no checksum saw, and ends
//! the process naming group and index.

use std::collections::VecDeque;

use super::account::Account;
use super::entry::{self, Body, Change, Stamp};
use super::job::COMPACTED_BYTES;
use crate::replica::Restore;
use crate::store::Store;
use crate::types::{EntryKind, Epoch, GroupId, LogEntry, LogIndex, Revision, ShardId, ShardSet};
use crate::wal::CheckpointHeader;

pub(super) struct ShardState {
    shard: ShardId,
    pub store: Store,
    /// The newest epoch whose `Open` is applied, and its cut.
    pub opened: Option<(Epoch, Revision)>,
    /// Every revision here above the stable that is known, with who takes part in it.
    pub tail: VecDeque<Tailed>,
    /// The highest stable that the committed log records.
    pub known: Revision,
    /// A checkpoint holds everything up to here: replay skips it.
    pub covered: Revision,
    /// While a checkpoint is read: what it as a whole is good for.
    compacted: i64,
    /// While the files are read: what they hold.
    pub account: Option<Account>,
}

impl std::fmt::Debug for ShardState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "State up to {} by shard {}", self.store.newest(), self.shard)
    }
}

/// A revision of the tail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tailed {
    pub revision: Revision,
    pub index: LogIndex,
    pub participants: ShardSet,
}

/// The kind of an applied entry, for the caller that has more to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// Changes, or something void.
    Changes,
    Opened {
        epoch: Epoch,
        cut: Revision,
    },
    Compacted {
        revision: Revision,
        rises: bool,
    },
}

impl ShardState {
    /// Returns the state of a shard without a log.
    pub fn new(shard: ShardId) -> ShardState {
        ShardState {
            shard,
            store: Store::new(),
            opened: None,
            tail: VecDeque::new(),
            known: Revision::EMPTY,
            covered: Revision::EMPTY,
            compacted: -1,
            account: Some(Account::new(shard)),
        }
    }

    /// Applies a committed entry that was not evaluated here.
    pub fn apply(&mut self, entry: &LogEntry) -> Applied {
        if entry.data.is_empty() || entry.kind == EntryKind::Membership {
            return Applied::Changes;
        }
        let (stamp, body) =
            entry::decode(&entry.data).unwrap_or_else(|bad| self.damage(entry, bad.0));
        if stamp.term != entry.term {
            return Applied::Changes; // It was proposed in another term: void.
        }
        match body {
            Body::Open { cut } => self.open(stamp, cut),
            _ if self.opened.is_none_or(|(epoch, _)| epoch != stamp.epoch) => Applied::Changes,
            Body::Compact { revision } => {
                let rises = revision.0 > self.store.compacted();
                if rises {
                    self.store.set_compaction(revision);
                }
                Applied::Compacted { revision, rises }
            }
            Body::Changes(body) => {
                self.known = self.known.max(stamp.stable);
                if let Some(account) = &mut self.account {
                    account.record(stamp.stable);
                }
                for operation in body.operations(stamp.stable) {
                    let operation = operation.unwrap_or_else(|bad| self.damage(entry, bad.0));
                    self.change(entry, operation);
                }
                Applied::Changes
            }
        }
    }

    fn change(&mut self, entry: &LogEntry, operation: entry::Operation) {
        let entry::Operation { revision, sub, participants, change } = operation;
        if revision <= self.covered {
            return; // The checkpoint has it.
        }
        assert!(
            revision >= self.store.newest(),
            "R2: shard {}: revision {revision} after {} at index {}",
            self.shard,
            self.store.newest(),
            entry.index
        );
        match change {
            Change::Put { key, value, lease } => {
                if self.store.apply_put(revision, sub, &key, value.as_deref(), lease).is_err() {
                    self.damage(entry, "a put keeps what a key has that is not there");
                }
            }
            Change::DeleteRange { range, count } => {
                if self.store.apply_delete_range(revision, sub, &range, count).is_err() {
                    self.damage(entry, "a range delete hit another number of keys");
                }
            }
            Change::Revoke { lease, count } => {
                let applied = self.store.apply_delete_lease_keys(revision, sub, lease, count);
                if applied.is_err() {
                    self.damage(entry, "a lease that ended had another number of keys");
                }
            }
        }
        if let Some(account) = &mut self.account {
            account.add(revision, participants);
        }
        if self.tail.back().is_none_or(|tailed| tailed.revision < revision) {
            let participants = participants.unwrap_or(ShardSet::one(self.shard));
            self.tail.push_back(Tailed { revision, index: entry.index, participants });
        }
    }

    /// From this entry on, what earlier epochs logged above the cut is void.
    fn open(&mut self, stamp: Stamp, cut: Revision) -> Applied {
        if self.opened.is_some_and(|(epoch, _)| epoch >= stamp.epoch) {
            return Applied::Changes;
        }
        assert!(cut >= self.covered, "shard {}: a checkpoint goes beyond a cut", self.shard);
        self.opened = Some((stamp.epoch, cut));
        if let Some(account) = &mut self.account {
            account.open(stamp, cut);
        }
        self.known = self.known.max(stamp.stable);
        self.store.roll_back(cut);
        self.tail.retain(|tailed| tailed.revision <= cut);
        Applied::Opened { epoch: stamp.epoch, cut }
    }

    /// Forgets of the tail what is stable: it is whole everywhere.
    pub fn settle(&mut self) {
        while self.tail.front().is_some_and(|tailed| tailed.revision <= self.known) {
            self.tail.pop_front();
        }
        self.store.settle(self.known);
    }

    fn damage(&self, entry: &LogEntry, what: &str) -> ! {
        let group = GroupId::of(self.shard);
        panic!("group {group}: index {} (term {}): {what}", entry.index, entry.term);
    }
}

impl Restore for ShardState {
    fn begin(&mut self, header: &CheckpointHeader) {
        self.known = header.stable;
        self.covered = header.stable;
        self.opened = header.opens.last().copied();
        if let Some(account) = &mut self.account {
            account.cover(self.opened.map_or(Epoch(0), |(epoch, _)| epoch), header.stable);
        }
        self.compacted = header.compact.0;
    }

    fn chunk(&mut self, chunk: &[u8]) -> Result<(), String> {
        let (compacted, rest) = chunk
            .split_first_chunk::<COMPACTED_BYTES>()
            .ok_or_else(|| "a checkpoint's chunk is too short".to_owned())?;
        self.compacted = i64::from_le_bytes(*compacted);
        self.store.load_chunk(rest).map_err(|bad| bad.to_string())
    }

    fn loaded(&mut self) {
        self.store.finish_load(self.compacted);
    }

    fn committed(&mut self, entry: &LogEntry) {
        self.apply(entry);
        self.settle();
    }

    /// Accounts for what a lone member will find committed as soon as it leads.
    fn uncommitted(&mut self, entry: &LogEntry) {
        if entry.data.is_empty() || entry.kind == EntryKind::Membership {
            return;
        }
        let (stamp, body) =
            entry::decode(&entry.data).unwrap_or_else(|bad| self.damage(entry, bad.0));
        let Some(account) = self.account.as_mut().filter(|_| stamp.term == entry.term) else {
            return;
        };
        match body {
            Body::Open { cut } => account.open(stamp, cut),
            Body::Changes(body) if account.epoch == stamp.epoch => {
                account.record(stamp.stable);
                for operation in body.operations(stamp.stable).flatten() {
                    account.add(operation.revision, operation.participants);
                }
            }
            Body::Changes(_) | Body::Compact { .. } => {}
        }
    }
}
