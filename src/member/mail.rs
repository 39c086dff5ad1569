//! Mail: the messages that the cores of a member send one another.

use std::sync::Arc;

use crate::line::message::{Finished, Order, Report};
use crate::router::LeadAsk;
use crate::shard::{Ask, Told};
use crate::types::{
    Alarm, Answer, CoreId, Epoch, LeaseId, Member, Nanos, Origin, Revision, ShardId,
};
use crate::watch::{WatchAsk, WatchTold};

/// One message between two cores. Between two cores they arrive in order.
#[derive(Debug)]
pub enum Mail {
    /// To the core that has the shard.
    Ask { shard: ShardId, origin: Origin, deadline: Option<Nanos>, ask: Ask },
    /// To the core that has the shard: the client of `origin` left.
    Cancel { shard: ShardId, origin: Origin },
    /// To the core whose router asked.
    Told { origin: Origin, told: Told },
    /// To the core that has the shard, from the lead.
    Order { shard: ShardId, order: Order },
    /// To the lead.
    Report(Report),
    /// To the lead.
    Lead { origin: Origin, deadline: Option<Nanos>, ask: LeadAsk },
    /// To the lead.
    CancelLead { origin: Origin },
    /// To the core whose router asked.
    Finished(Finished),
    /// To the core whose router asked.
    Decided { origin: Origin, answer: Answer },
    /// To the core that has the shard, from the hub of `core`.
    Watch { shard: ShardId, core: CoreId, ask: WatchAsk },
    /// To the core whose hub asked, or wants to know.
    Watched { shard: ShardId, told: WatchTold },
    /// From the lead to every core.
    Notice { number: u64, notice: Notice },
    /// To the lead: the core acts on notice `number` and all before it.
    Noticed { core: CoreId, number: u64 },
}

/// What the lead tells every core.
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
    /// This member has published itself: it may tell clients that it is ready.
    Ready,
}
