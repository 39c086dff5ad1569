//! Counts of the requests that a core has evaluated, by kind, for metrics.

use crate::types::Tally;

/// Requests that a core has evaluated and, unless they were refused, carried out. What runs in a
/// round is a txn, and counts on the core of the leader, which runs it; so do decisions of the
/// control group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub puts: Tally,
    pub deletes: Tally,
    pub txns: Tally,
    pub compactions: Tally,
    pub alarms: Tally,
    pub grants: Tally,
    pub revokes: Tally,
}
