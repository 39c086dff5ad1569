//! The types that every room shares: requests, replies, events and numbers as the core sees them.
//!
//! None of them comes from prost, and none of them does I/O. `protocol` converts messages at the
//! edge, by moving their bytes; `store`, `line`, `shard`, `control` and `router` use these types
//! only.
//!
//! | file | what |
//! |---|---|
//! | `ids` | newtypes for every number that could be swapped for another |
//! | `blob` | a shared, immutable byte string: keys and values at rest and in answers |
//! | `logged` | how much a write adds to a log at most |
//! | `placement` | which shard a key lives on: an on-disk constant |
//! | `prefetch` | a hint to the processor |
//! | `range` | key ranges with etcd's conventions |
//! | `request`, `reply` | what a client may ask, and the answers to it |
//! | `runs` | putting keys in order in slices of bounded work |
//! | `event`, `watch` | changes as watchers get them; requests and replies of a watch stream |
//! | `request_queue` | requests that wait, any of which may be cancelled |
//! | `refusal` | every refusal: one value, for which `protocol::status` has one text and one gRPC code |
//! | `txn` | a txn flattened into compares and a linear list of operations, and put together again |

mod blob;
mod event;
mod ids;
mod log;
mod logged;
mod origin;
pub mod placement;
mod prefetch;
mod range;
mod refusal;
mod reply;
mod request;
mod request_queue;
mod runs;
mod shard_set;
mod tally;
pub mod txn;
mod watch;

pub use blob::{Blob, Stamp};
pub use event::Event;
pub use ids::{
    Attempt, ClusterId, CoreId, Epoch, GroupId, LeaseId, LogIndex, MemberId, Nanos, Revision,
    ShardId, Sub, Term,
};
pub use log::{EntryKind, HardState, LogEntry, Note};
pub use logged::LOGGED_OVERHEAD_BYTES;
pub use origin::{Origin, Ticket};
pub use prefetch::prefetch;
pub use range::{KeyRange, RangeEnd};
pub use refusal::Refusal;
pub use reply::{
    AlarmReply, Answer, CompactReply, DefragmentReply, DeleteRangeReply, HashKvReply, HashReply,
    KeyValue, KeyView, LeaseGrantReply, LeaseKeepAliveReply, LeaseLeasesReply, LeaseRevokeReply,
    LeaseTimeToLiveReply, Member, MemberListReply, OpReply, PutReply, RangeReply, Reply,
    StatusReply, TxnReply,
};
pub use request::{
    Alarm, AlarmAction, AlarmKind, AlarmRequest, CompactRequest, Compare, CompareOperand,
    CompareOperator, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseTimeToLiveRequest,
    Op, PutRequest, RangeFilters, RangeRequest, Request, SortOrder, SortTarget, TxnRequest,
};
pub use request_queue::{Cancellable, RequestQueue};
pub use runs::{Discarded, KeyOrder, Runs};
pub use shard_set::ShardSet;
pub use tally::{Spread, Tally};
pub use watch::{
    WatchCreate, WatchEvents, WatchId, WatchRefusal, WatchReply, WatchRequest, WatchStream,
};
