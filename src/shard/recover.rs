//! A shard from what the disk holds.

use std::collections::VecDeque;
use std::sync::Arc;

use super::account::Account;
use super::delete::Deleting;
use super::job::Jobs;
use super::reads::Reads;
use super::state::ShardState;
use super::watch::Publication;
use super::{LeaseIds, Shard, ShardCounters, Switches};
use crate::limits::SHARD_READ_BYTES_MAX;
use crate::line::Sequencer;
use crate::replica::{Found, RecoverError, ReplicaConfig, recover};
use crate::types::{LogIndex, Note, RequestQueue, ShardId};
use crate::wal::ReadDisk;

/// The settings of a shard's recovery.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    pub shard: ShardId,
    pub replica: ReplicaConfig,
    /// Log bytes after which it takes a checkpoint.
    pub checkpoint_log_bytes: u64,
    /// Keys that its reads visit in a turn: see [`crate::limits::READ_SLICE_KEYS`].
    pub read_slice_keys: usize,
}

/// A shard, and what its files hold.
#[derive(Debug)]
pub struct RecoveredShard {
    pub shard: Shard,
    pub found: Found,
    pub account: Account,
}

/// Why a shard cannot be recovered.
pub type RecoveryError = RecoverError;

impl Shard {
    /// Reads the group's files: the newest good checkpoint, then what the log has committed. The
    /// rest of the log comes through Raft once the group is led.
    pub fn recover(
        config: &Recovery,
        sequencer: &Arc<Sequencer>,
        disk: &dyn ReadDisk,
        warnings: &mut Vec<String>,
    ) -> Result<RecoveredShard, RecoverError> {
        let mut state = ShardState::new(config.shard);
        let recovered = recover(&config.replica, disk, &mut state)?;
        warnings.extend(recovered.warnings);
        let jobs = Jobs::of(&state.store, recovered.replica.log_bytes());
        let publication = Publication::new(config.replica.salt, state.store.newest());
        let checkpointed = recovered.checkpoint.map_or(LogIndex(0), |header| header.index);
        let account = state.account.take().expect("it was begun with the shard");
        let shard = Shard {
            id: config.shard,
            state,
            replica: recovered.replica,
            sequencer: Arc::clone(sequencer),
            switches: Switches::default(),
            leases: LeaseIds::default(),
            lane: None,
            frozen: None,
            stalled: None,
            owes: false,
            compaction: None,
            gathering: false,
            leading: false,
            inbox: RequestQueue::default(),
            releases: VecDeque::new(),
            reads: Reads::new(config.read_slice_keys, SHARD_READ_BYTES_MAX),
            deleting: Deleting::default(),
            proposals: VecDeque::new(),
            proposed_bytes: 0,
            applied: recovered.applied,
            checkpointed,
            checkpoint_log_bytes: config.checkpoint_log_bytes,
            jobs,
            publication,
            counters: ShardCounters::default(),
        };
        Ok(RecoveredShard { shard, found: recovered.found, account })
    }

    /// Now and then, when nothing is going on: seals the log, tries again what a full disk refused.
    /// With `note`, the log says at its next occasion what is durable on the member; at once if it
    /// `insists`.
    pub fn idle(&mut self, note: Option<&Note>, insists: bool) {
        self.jobs.idle();
        self.replica.retry();
        if let Some(note) = note {
            self.replica.note(note);
            if insists {
                self.replica.write_note();
            }
        }
        self.replica.seal();
    }
}
