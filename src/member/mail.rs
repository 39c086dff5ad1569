//! Mail: the messages that the cores of a member send one another.

use std::sync::Arc;

use crate::line::message::{Finished, Order, Report};
use crate::router::LeaderAsk;
use crate::shard::{Ask, ShardReply};
use crate::types::{
    Alarm, Answer, CoreId, Epoch, LeaseId, Member, Nanos, Origin, Revision, ShardId,
};
use crate::watch::{HubMessage, WatchAsk};

/// One message between two cores. Between two cores they arrive in order.
#[derive(Debug)]
pub enum Mail {
    /// To the core that has the shard.
    Ask { shard: ShardId, origin: Origin, deadline: Option<Nanos>, ask: Ask },
    /// To the core that has the shard: the client of `origin` left.
    Cancel { shard: ShardId, origin: Origin },
    /// To the core whose router asked.
    Reply { origin: Origin, reply: ShardReply },
    /// To the core that has the shard, from the leader.
    Order { shard: ShardId, order: Order },
    /// To the leader.
    Report(Report),
    /// To the leader.
    Leader { origin: Origin, deadline: Option<Nanos>, ask: LeaderAsk },
    /// To the leader.
    CancelLeader { origin: Origin },
    /// To the core whose router asked.
    Finished(Finished),
    /// To the core whose router asked.
    Decided { origin: Origin, answer: Answer },
    /// To the core that has the shard, from the hub of `core`.
    Watch { shard: ShardId, core: CoreId, ask: WatchAsk },
    /// To the core whose hub asked, or wants to know.
    Watched { shard: ShardId, message: HubMessage },
    /// From the leader to every core.
    Notice { number: u64, notice: Notice },
    /// To the leader: the core acts on notice `number` and all before it.
    Noticed { core: CoreId, number: u64 },
}

/// A notice of the leader to every core.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An epoch is open; what is held above its cut is unknown.
    Opened {
        epoch: Epoch,
        cut: Revision,
    },
    /// No epoch is open.
    Over,
    /// Before an epoch opens: the leases to which keys may be attached, and no others.
    Leases(Arc<[LeaseId]>),
    /// Leases that are granted, and leases that end.
    LeasesChanged {
        added: Arc<[LeaseId]>,
        going: Arc<[LeaseId]>,
    },
    Alarms(Arc<[Alarm]>),
    Members(Arc<[Member]>),
    /// This member has published itself: it may announce that it is ready.
    Ready,
}
