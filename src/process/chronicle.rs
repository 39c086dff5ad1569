//! The log lines about work that no single request asked for: compactions, checkpoints, alarms and
//! leases that expire.
//!
//! Nothing here is on the path of a request. At every beat a core compares its counters with those
//! of the beat before and logs the difference; the leader's core logs everything that concerns the
//! member as a whole. The messages are etcd's where etcd has them.

use std::sync::Arc;
use std::time::Duration;

use super::metrics::Figures;
use crate::gotext::{GoDuration, bytes};
use crate::member::{Core, Shared};
use crate::types::{Alarm, ShardId};

/// The number of leases expiring within [`BULK_BEATS`] that makes one line; fewer make none.
const BULK_LEASES: u64 = 100;
const BULK_BEATS: u32 = 10;

/// The counters as of the last beat, for one core.
pub(super) struct Chronicle {
    /// Checkpoints by shard.
    checkpoints: Vec<(ShardId, u64)>,
    /// Only on the leader's core.
    member: Option<MemberChronicle>,
}

struct MemberChronicle {
    /// The newest compaction target whose beginning was logged, and whose end was.
    compaction_begun: i64,
    compaction_logged: i64,
    versions_compacted: u64,
    alarms: Arc<[Alarm]>,
    expiries: Expiries,
}

/// Leases that have expired one soon after the other.
#[derive(Default)]
struct Expiries {
    /// The number of expired leases that was counted before.
    before: u64,
    /// Beats since the first one of this bulk; 0 without one.
    beats: u32,
}

impl Expiries {
    /// A beat has passed; returns the size of a bulk that has just ended, if it is worth a line.
    fn beat(&mut self, expired: u64) -> Option<u64> {
        if expired == self.before {
            return None;
        }
        self.beats += 1;
        if self.beats < BULK_BEATS {
            return None;
        }
        self.beats = 0;
        let count = expired - std::mem::replace(&mut self.before, expired);
        (count >= BULK_LEASES).then_some(count)
    }
}

impl Chronicle {
    /// Begins with the state that was recovered, so that it is not logged as news.
    pub fn new(core: &Core, shared: &Shared) -> Chronicle {
        let restored = core.shards().iter().map(|shard| shard.store().compacted()).max();
        let compacted = restored.unwrap_or(-1).max(shared.compacted());
        let member = (core.id() == shared.leader_core()).then(|| MemberChronicle {
            compaction_begun: compacted,
            compaction_logged: compacted,
            versions_compacted: 0,
            alarms: Arc::from([]),
            expiries: Expiries::default(),
        });
        Chronicle { checkpoints: checkpoints(core), member }
    }

    /// Logs everything that has happened since the last beat; the core has published its figures.
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
        self.log_compaction(core, shared, figures);
        let alarms = shared.alarms();
        log_alarms(&self.alarms, &alarms);
        self.alarms = alarms;
        let expired = core.lease_counters().map(|leases| leases.expired);
        if let Some(count) = expired.and_then(|expired| self.expiries.beat(expired)) {
            tracing::info!(count, "revoked expired leases");
        }
    }

    fn log_compaction(&mut self, core: &Core, shared: &Shared, figures: &Figures) {
        let target = shared.compacted();
        if target > self.compaction_begun {
            self.compaction_begun = target;
            figures.note_compaction();
            tracing::info!(revision = target, "compact tree index");
        }
        let cores = figures.cores();
        // If one sweep has finished several compactions, the last one is logged.
        let done = cores.iter().map(|core| core.compacted_to.get()).min().unwrap_or(0) as i64;
        if done <= self.compaction_logged || done > self.compaction_begun {
            return;
        }
        self.compaction_logged = done;
        let began = cores.iter().map(|core| core.compaction_began.get()).min().unwrap_or(0);
        let ended = cores.iter().map(|core| core.compaction_ended.get()).max().unwrap_or(0);
        let nanos = ended.saturating_sub(began);
        let own = figures.core(usize::from(core.id().0));
        own.compaction_duration.observe(nanos);
        let versions = cores.iter().map(|core| core.compacted_versions.get()).sum::<u64>();
        let sizes = shared.sizes();
        tracing::info!(
            "compact-revision" = done,
            took = %GoDuration::from(Duration::from_nanos(nanos)),
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

/// Logs alarms that were raised or disarmed. etcd 3.7 logs neither; these are its older words.
fn log_alarms(before: &[Alarm], now: &[Alarm]) {
    for alarm in now.iter().filter(|alarm| !before.contains(alarm)) {
        let from = format!("{:x}", alarm.member.0);
        tracing::warn!(alarm = alarm.kind.name(), from, "alarm raised");
    }
    for alarm in before.iter().filter(|alarm| !now.contains(alarm)) {
        let from = format!("{:x}", alarm.member.0);
        tracing::info!(alarm = alarm.kind.name(), from, "alarm disarmed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_that_expire_together_are_one_line() {
        let mut expiries = Expiries::default();
        let bulks = |expiries: &mut Expiries, counts: &[u64]| -> Vec<u64> {
            counts.iter().filter_map(|count| expiries.beat(*count)).collect()
        };
        assert_eq!(bulks(&mut expiries, &[0; 30]), [0u64; 0]);
        let rising: Vec<u64> = (1..=10).map(|beat| beat * 15).collect();
        assert_eq!(bulks(&mut expiries, &rising), [150]);
        assert_eq!(bulks(&mut expiries, &[150; 30]), [0u64; 0], "nothing has expired since");
        assert_eq!(bulks(&mut expiries, &[180; 30]), [0u64; 0], "a few");
        assert_eq!(bulks(&mut expiries, &[180 + BULK_LEASES; 10]), [BULK_LEASES]);
    }
}
