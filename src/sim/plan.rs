//! The plan of a seed, drawn once, so that seeds differ in kind and not only in order.

use std::sync::Arc;

use super::streams::Habits;
use crate::chance::Chance;
use crate::limits::READ_SLICE_KEYS;
use crate::member::{Identity, LeaseConfig, MemberConfig};
use crate::types::{ClusterId, Member, MemberId};
use crate::watch::WatchLimits;

/// Sizes, speeds and faults of one simulation.
#[derive(Clone, Debug)]
pub struct Plan {
    pub config: Arc<MemberConfig>,
    pub shards: u16,
    /// Set if every life has as many; otherwise they are drawn for each.
    pub cores: Option<u16>,
    pub sessions: usize,
    /// How likely the next step is a core's, the disk's, a client's, the clock's.
    pub weights: [u64; 4],
    /// One step in so many is a crash, a change of the disk's fullness, a failed write, a client
    /// that leaves; 0 is never.
    pub crash_every: u64,
    pub full_every: u64,
    pub fail_every: u64,
    pub cancel_every: u64,
    /// One request in so many has a deadline.
    pub deadline_every: u64,
    /// One start in so many finds the disk harmed.
    pub harm_every: u64,
    /// Time passes for a busy member, too: one step in so many is a tick.
    pub busy_steps_per_tick: u64,
    /// One step in so many the process is paused.
    pub pause_every: u64,
    pub watchers: Habits,
    /// Batches of mail that wait for a core at most, from each other one.
    pub mailbox_batches: usize,
    /// Bytes that clients may hold; the connections that they come over.
    pub budget_bytes: usize,
    pub connections: usize,
}

/// Nanoseconds between two ticks of a core.
pub const TICK: u64 = 100_000_000;

impl Plan {
    /// Draws a plan, but for what is given.
    pub fn draw(chance: &mut Chance, cores: Option<u16>, shards: Option<u16>) -> Plan {
        let drawn = chance.pick(&[1, 2, 2, 3, 3, 4, 5, 8]);
        let shards = shards.unwrap_or(drawn);
        let segment_bytes = chance.pick(&[64 << 10, 64 << 10, 128 << 10, 256 << 10]);
        let config = MemberConfig {
            identity: Identity {
                cluster: ClusterId(0xb1a1d),
                member: MemberId(7),
                shards,
                salt: 0x5a17,
            },
            member: Member { id: 7, name: "sim".to_owned(), ..Member::default() },
            election_ticks: 10,
            request_timeout: chance.pick(&[7_000_000_000, 7_000_000_000, 1_000_000_000]),
            quota: 0,
            quota_shown: 0,
            segment_bytes,
            batch_bytes_max: chance.pick(&[1 << 10, 4 << 10, 32 << 10]),
            checkpoint_log_bytes: chance.pick(&[16 << 10, 64 << 10, 256 << 10]),
            watch_limits: limits(chance),
            read_slice_keys: chance.pick(&[1, 2, 7, READ_SLICE_KEYS]),
            watch_progress_interval: chance.pick(&[2 * TICK, 10 * TICK]),
            leases: LeaseConfig { ttl_min: 1, ..LeaseConfig::default() },
        };
        let slow_disk = chance.one_in(4);
        Plan {
            config: Arc::new(config),
            shards,
            cores,
            sessions: chance.within(1, 16) as usize,
            weights: [
                chance.within(4, 12),
                if slow_disk { 1 } else { chance.within(2, 12) },
                chance.within(1, 8),
                u64::from(chance.one_in(4)),
            ],
            crash_every: chance.pick(&[0, 100, 300, 1000, 1000]),
            full_every: chance.pick(&[0, 0, 400]),
            fail_every: chance.pick(&[0, 0, 1000]),
            cancel_every: chance.pick(&[0, 40, 200]),
            deadline_every: chance.pick(&[0, 10]),
            harm_every: chance.pick(&[0, 2, 4]),
            busy_steps_per_tick: chance.pick(&[300, 300, 60, 25]),
            pause_every: chance.pick(&[0, 0, 300]),
            watchers: Habits::draw(chance),
            mailbox_batches: chance.pick(&[1, 2, 1 << 10]),
            budget_bytes: chance.pick(&[100_000, 300_000, 1 << 30, 1 << 30]),
            connections: chance.within(1, 12) as usize,
        }
    }
}

/// Little room, so that it fills.
fn limits(chance: &mut Chance) -> WatchLimits {
    WatchLimits {
        stream_bytes: chance.pick(&[200, 1000, 10_000, 4 << 20]),
        recent_events: chance.pick(&[1, 8, 64, 1 << 14]),
        reply_revisions: chance.pick(&[1, 3, 20, 1000]),
        history_visits: chance.pick(&[1, 5, 50, 4096]),
    }
}
