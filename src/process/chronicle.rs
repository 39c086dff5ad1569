//! What a member does by itself, as log lines: compactions, checkpoints, alarms, leases that expire.
//!
//! Nothing here is on the path of a request. Each core compares what it has counted with what it
//! had counted a beat before; what concerns the member as a whole is the lead core's to tell. The
//! lines are etcd's where etcd has one.

use std::sync::Arc;

use super::metrics::Figures;
use crate::config::gotext::{GoDuration, bytes};
use crate::member::{Core, Shared};
use crate::types::{Alarm, ShardId};

/// So many leases that end within a beat are worth a line.
const EXPIRED_IN_BULK: u64 = 100;

/// What one core has told so far.
pub(super) struct Chronicle {
    /// Checkpoints by shard.
    checkpoints: Vec<(ShardId, u64)>,
    /// On the lead's core.
    member: Option<MemberChronicle>,
}

struct MemberChronicle {
    /// The newest compaction target that was told to begin, and to be finished.
    compaction_begun: i64,
    compaction_told: i64,
    versions_compacted: u64,
    alarms: Arc<[Alarm]>,
    leases_expired: u64,
}

impl Chronicle {
    /// What was there before this core began is no news.
    pub fn new(core: &Core, shared: &Shared) -> Chronicle {
        let restored = core.shards().iter().map(|shard| shard.store().compacted()).max();
        let compacted = restored.unwrap_or(-1).max(shared.compacted());
        let member = (core.id() == shared.lead_core()).then(|| MemberChronicle {
            compaction_begun: compacted,
            compaction_told: compacted,
            versions_compacted: 0,
            alarms: Arc::from([]),
            leases_expired: 0,
        });
        Chronicle { checkpoints: checkpoints(core), member }
    }

    /// Tells what has happened since the last beat; the core has published its figures.
    pub fn beat(&mut self, core: &Core, shared: &Shared, figures: &Figures) {
        for (known, now) in self.checkpoints.iter_mut().zip(checkpoints(core)) {
            if now.1 > known.1 {
                let applied = core.shards().iter().find(|shard| shard.id() == now.0);
                let index = applied.map_or(0, |shard| shard.applied().0);
                tracing::info!(shard = now.0.0, "snapshot-index" = index, "saved snapshot");
            }
            *known = now;
        }
        if let Some(member) = &mut self.member {
            member.beat(core, shared, figures);
        }
    }
}

fn checkpoints(core: &Core) -> Vec<(ShardId, u64)> {
    core.shard_counters().map(|(shard, counters)| (shard, counters.checkpoints)).collect()
}

impl MemberChronicle {
    fn beat(&mut self, core: &Core, shared: &Shared, figures: &Figures) {
        self.tell_compaction(core, shared, figures);
        let alarms = shared.alarms();
        tell_alarms(&self.alarms, &alarms);
        self.alarms = alarms;
        if let Some(leases) = core.lease_counters() {
            let expired = leases.expired - self.leases_expired;
            if expired >= EXPIRED_IN_BULK {
                tracing::info!(count = expired, "revoked expired leases");
            }
            self.leases_expired = leases.expired;
        }
    }

    fn tell_compaction(&mut self, core: &Core, shared: &Shared, figures: &Figures) {
        let target = shared.compacted();
        if target > self.compaction_begun {
            self.compaction_begun = target;
            figures.note_compaction();
            tracing::info!(revision = target, "compact tree index");
        }
        let cores = figures.cores();
        // Of several that one sweep has finished, the last one is told.
        let done = cores.iter().map(|core| core.compacted_to.get()).min().unwrap_or(0) as i64;
        if done <= self.compaction_told || done > self.compaction_begun {
            return;
        }
        self.compaction_told = done;
        let began = cores.iter().map(|core| core.compaction_began.get()).min().unwrap_or(0);
        let ended = cores.iter().map(|core| core.compaction_ended.get()).max().unwrap_or(0);
        let nanos = ended.saturating_sub(began);
        let own = figures.core(usize::from(core.id().0));
        own.compaction_duration.observe(nanos);
        let versions = cores.iter().map(|core| core.compacted_versions.get()).sum::<u64>();
        let sizes = shared.sizes();
        tracing::info!(
            "compact-revision" = done,
            took = %GoDuration(i64::try_from(nanos).unwrap_or(i64::MAX)),
            "number-of-keys-compacted" = versions.saturating_sub(self.versions_compacted),
            "current-db-size-bytes" = sizes.held,
            "current-db-size" = bytes(sizes.held),
            "current-db-size-in-use-bytes" = sizes.in_use,
            "current-db-size-in-use" = bytes(sizes.in_use),
            "finished scheduled compaction"
        );
        self.versions_compacted = versions;
    }
}

/// What was raised and what was disarmed. etcd 3.7 says nothing of either; before, it said this.
fn tell_alarms(before: &[Alarm], now: &[Alarm]) {
    for alarm in now.iter().filter(|alarm| !before.contains(alarm)) {
        let from = format!("{:x}", alarm.member.0);
        tracing::warn!(alarm = alarm.kind.name(), from, "alarm raised");
    }
    for alarm in before.iter().filter(|alarm| !now.contains(alarm)) {
        let from = format!("{:x}", alarm.member.0);
        tracing::info!(alarm = alarm.kind.name(), from, "alarm disarmed");
    }
}
