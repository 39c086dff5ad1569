//! Newtypes for the numbers of the system; none of them can be passed for another.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// One of the `S` hash partitions of the keyspace.
    ShardId(u16)
}
number! {
    /// A Raft group: 0 is the control group, `i + 1` replicates shard `i`.
    GroupId(u16)
}
number! {
    /// One pinned executor thread of a member, counted from 0.
    CoreId(u16)
}
number! {
    /// A process of the cluster (etcd's member ID).
    MemberId(u64)
}
number! {
    /// etcd's cluster ID.
    ClusterId(u64)
}
number! {
    /// The number of an epoch: the index of its `Epoch` entry in the control group's log.
    Epoch(u64)
}
number! {
    /// Raft leadership number of one group.
    Term(u64)
}
number! {
    /// Position in one group's Raft log.
    LogIndex(u64)
}
number! {
    /// etcd's main revision: one per mutating request, cluster-wide. The empty store is at 1.
    Revision(i64)
}
number! {
    /// The ordinal of an operation in its txn. Changes of one revision are ordered by it, then by
    /// key: no operation changes a key twice.
    Sub(u32)
}
number! {
    /// Nanoseconds on the member's monotonic clock; the runtime or the simulator supplies it.
    Nanos(u64)
}
number! {
    /// etcd's lease ID; 0 is no lease.
    LeaseId(i64)
}

/// One try to win every shard group: by the leader of the control group in `term`, who counts its
/// tries. A later one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The term of the control group.
    pub term: Term,
    pub number: u64,
}

impl GroupId {
    /// Members, leases, auth, alarms and epochs live here.
    pub const CONTROL: GroupId = GroupId(0);

    /// Returns the group that replicates `shard`.
    pub fn of(shard: ShardId) -> GroupId {
        GroupId(shard.0 + 1)
    }

    /// Returns the shard this group replicates; `None` for the control group.
    pub fn shard(self) -> Option<ShardId> {
        self.0.checked_sub(1).map(ShardId)
    }
}

impl Revision {
    /// The revision of a store that nobody has written to.
    pub const EMPTY: Revision = Revision(1);
    /// Above every revision: "the newest state, pending changes included".
    pub const NEWEST: Revision = Revision(i64::MAX);

    /// Returns the revision after this one.
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl LeaseId {
    /// Not attached to any lease.
    pub const NONE: LeaseId = LeaseId(0);
}
