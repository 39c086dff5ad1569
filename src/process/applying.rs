//! Durations of applying, for metrics and for a log line when it took too long.
//!
//! A core evaluates all requests that wait in one turn, and a clock call for each would cost as
//! much as some of them. So the turn is timed, and every request in it counts with the turn's time.

use std::time::Duration;

use crate::member::Applied;
use crate::observe::slow::slow_apply;
use crate::observe::{CoreMetrics, RequestKind};
use crate::types::Tally;

/// The changes that a core had applied when its last turn ended.
pub(super) struct Applying {
    applied: Applied,
    /// `--warning-apply-duration`; 0 is off.
    slow: Duration,
}

impl Applying {
    pub fn new(slow: Duration) -> Applying {
        Applying { applied: Applied::default(), slow }
    }

    /// A turn that took `nanos` has come to `applied`.
    pub fn turn(&mut self, applied: &Applied, nanos: u64, figures: &CoreMetrics) {
        let before = std::mem::replace(&mut self.applied, *applied);
        if before == *applied {
            return;
        }
        let mut requests = 0;
        for (kind, now, before) in [
            (RequestKind::Put, applied.puts, before.puts),
            (RequestKind::DeleteRange, applied.deletes, before.deletes),
            (RequestKind::Txn, applied.txns, before.txns),
            (RequestKind::Compaction, applied.compactions, before.compactions),
            (RequestKind::Alarm, applied.alarms, before.alarms),
            (RequestKind::LeaseGrant, applied.grants, before.grants),
            (RequestKind::LeaseRevoke, applied.revokes, before.revokes),
        ] {
            let Tally { done, refused } = now.since(before);
            requests += done + refused;
            figures.apply_took(kind, Tally { done, refused }, nanos);
        }
        let took = Duration::from_nanos(nanos);
        if took >= self.slow && !self.slow.is_zero() {
            figures.slow_applies.add(requests);
            let request = format!("requests of one turn: {requests}");
            slow_apply(took, self.slow, &request, None, None, &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_counts_with_the_time_of_its_turn() {
        let figures = CoreMetrics::new(1);
        let mut applying = Applying::new(Duration::from_millis(10));
        let mut applied = Applied::default();
        applied.puts.done = 5;
        applied.txns.refused = 1;
        applying.turn(&applied, 1_000_000, &figures);
        applying.turn(&applied, 90_000_000, &figures);
        assert_eq!(figures.slow_applies.get(), 0, "a turn without requests applies nothing");
        applied.puts.done = 7;
        applying.turn(&applied, 20_000_000, &figures);
        let times = |kind: RequestKind| &figures.apply_duration[kind as usize];
        let puts = times(RequestKind::Put).success.read();
        assert_eq!((puts.count(), puts.sum), (7, 5 * 1_000_000 + 2 * 20_000_000));
        assert_eq!(times(RequestKind::Txn).failure.read().count(), 1);
        assert_eq!(times(RequestKind::Alarm).success.read().count(), 0);
        assert_eq!(figures.slow_applies.get(), 2);
    }
}
