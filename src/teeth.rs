//! Rules that the simulator can leave out, to show that it notices.
//!
//! Without the feature `teeth` every rule holds and the checks compile to nothing: a served build
//! has no way to leave one out.

/// A rule of the design that this build may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// R7: a shard evaluates no write between its freeze and its thaw.
    Freeze,
    /// D1: nothing counts as persisted before its record is durable.
    PersistFirst,
    /// A batch of the log follows the one before it.
    Chain,
    /// W1: an event is in the mailboxes of those who want it before it can be stable.
    TellBefore,
    /// Stable is read before the mail that may be told of is taken.
    LookFirst,
    /// Nothing is attached to a lease that is going.
    AttachRefused,
    /// A lease is gone only when the end of its keys is stable.
    GoneAfterStable,
    /// Time in which the process was paused counts against no lease.
    PauseForgiven,
    /// D7: a start accounts for everything that was durable.
    Accounted,
}

/// Whether `rule` is left out in this process.
#[cfg(not(feature = "teeth"))]
pub const fn leaves_out(_rule: Rule) -> bool {
    false
}

#[cfg(feature = "teeth")]
static LEFT_OUT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);

/// Whether `rule` is left out in this process.
#[cfg(feature = "teeth")]
pub fn leaves_out(rule: Rule) -> bool {
    LEFT_OUT.load(std::sync::atomic::Ordering::Relaxed) & (1 << rule as u16) != 0
}

/// Leaves `rule` out from now on.
#[cfg(feature = "teeth")]
pub fn leave_out(rule: Rule) {
    LEFT_OUT.fetch_or(1 << rule as u16, std::sync::atomic::Ordering::Relaxed);
}
