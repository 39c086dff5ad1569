//! The origin of a request: the core and the call that wait for its answer.

use super::CoreId;

/// A call that the router of `core` keeps open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub core: CoreId,
    /// The router's number of the call; never used twice while the core lives.
    pub call: u64,
    /// Which of the call's parts this is.
    pub part: u16,
}

/// A request under way, as the connections of a core number it. Chosen by `server`; never used
/// twice, and its lower half is its place: unique among the requests of that core that are not yet
/// answered or cancelled, and small, for tables have as many places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

impl Ticket {
    /// See the type.
    pub fn place(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}
