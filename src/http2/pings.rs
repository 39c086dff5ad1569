//! Clients that ping too often: gRPC servers send them away.
//!
//! The rule is grpc-go's: a ping less than `interval_min` after the last one is a strike, or less
//! than two hours after it while no request is under way; the third strike is one too many. Headers
//! and data that leave the socket take the strikes away, with the next ping that comes. That is
//! what lets a client measure the way: grpc-go pings after every data frame that comes while no
//! other ping is under way, dozens of times for one large message.

use std::time::Duration;

use crate::types::Nanos;

const STRIKES_MAX: u32 = 2;
/// Between pings of a client that asks for nothing.
const IDLE_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);

/// Judges the pings of one connection.
#[derive(Debug)]
pub(super) struct Pings {
    interval_min: Duration,
    /// Pings that came since the last judgement, and that nothing forgives.
    unjudged: u32,
    /// A ping that was forgiven came since the last judgement.
    pardoned: bool,
    last: Option<Nanos>,
    strikes: u32,
    /// Headers or data have left since the last ping.
    forgiving: bool,
}

impl Pings {
    pub(super) fn new(interval_min: Duration) -> Pings {
        Pings {
            interval_min,
            unjudged: 0,
            pardoned: false,
            last: None,
            strikes: 0,
            forgiving: false,
        }
    }

    /// A ping has come. Forgiven is it now and not at the judgement: what leaves in between answers
    /// a later ping.
    pub(super) fn received(&mut self) {
        if std::mem::take(&mut self.forgiving) {
            (self.strikes, self.unjudged, self.pardoned) = (0, 0, true);
        } else {
            self.unjudged = self.unjudged.saturating_add(1);
        }
    }

    /// Headers or data have left.
    pub(super) fn answered(&mut self) {
        self.forgiving = true;
    }

    /// Judges what came; `true` is one ping too many. `busy`: some request is under way.
    pub(super) fn too_many(&mut self, now: Nanos, busy: bool) -> bool {
        if std::mem::take(&mut self.pardoned) {
            self.last = Some(now);
        }
        let interval = if busy { self.interval_min } else { IDLE_INTERVAL };
        // All came at the same time, so three of them decide as many more would.
        for _ in 0..std::mem::take(&mut self.unjudged).min(STRIKES_MAX + 2) {
            let last = self.last.replace(now);
            if last.is_some_and(|last| now.0 < last.0.saturating_add(interval.as_nanos() as u64)) {
                self.strikes += 1;
            }
        }
        self.strikes > STRIKES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Nanos {
        Nanos(count * 1_000_000_000)
    }

    #[test]
    fn the_fourth_quick_ping_is_too_many_unless_something_was_sent() {
        let mut pings = Pings::new(Duration::from_secs(5));
        let mut ping = |at: u64, busy: bool, answered: bool| {
            if answered {
                pings.answered();
            }
            pings.received();
            pings.too_many(seconds(at), busy)
        };
        assert!(!ping(0, true, false));
        assert!(!ping(5, true, false), "five seconds apart is allowed");
        assert!(!ping(6, true, false) && !ping(7, true, false), "two strikes");
        assert!(!ping(8, true, true), "forgiven");
        assert!(!ping(20, false, false) && !ping(40, false, false), "idle: two strikes");
        assert!(ping(60, false, false), "the answer to a ping is no excuse");
    }

    #[test]
    fn what_leaves_between_a_ping_and_its_judgement_forgives_the_next_one() {
        let mut pings = Pings::new(Duration::from_secs(5));
        for _ in 0..100 {
            pings.received();
            pings.answered();
            assert!(!pings.too_many(seconds(1), true));
        }
    }

    #[test]
    fn a_flood_beside_answers_is_sent_away() {
        let mut pings = Pings::new(Duration::from_secs(5));
        pings.answered();
        for _ in 0..5 {
            pings.received();
        }
        assert!(pings.too_many(seconds(1), true));
    }
}
