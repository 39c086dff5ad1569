//! Every bound of the system in one place. A full queue is an ordinary answer to the client.

/// Shards at most; a round names its participants in one 128-bit set.
pub const SHARDS_MAX: usize = 128;

/// Cores at most.
pub const CORES_MAX: usize = 128;

/// Bytes of one log entry at most, but for a single request, or the shares of one round, that are
/// larger by themselves.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Bytes of log entries per group that are proposed and not yet committed. What would exceed it
/// waits before a revision is taken for it, and goes alone if it is larger by itself; the waiting
/// requests are bounded by [`CORE_REQUESTS_MAX`].
pub const UNCOMMITTED_BYTES_MAX: usize = 16 << 20;

/// Requests that the connections of one core may have under way. One more is answered
/// "too many requests".
pub const CORE_REQUESTS_MAX: usize = 1 << 17;

/// Requests that one connection may have under way; above it the connection is not read from.
pub const CONNECTION_REQUESTS_MAX: usize = 1 << 14;

/// Streams of HTTP/2 that one connection may have open; further ones are refused, unprocessed. Like
/// etcd, a member tells nobody of it, so it is more than a client needs.
pub const CONNECTION_STREAMS_MAX: u32 = 1 << 16;
const _: () = assert!(CONNECTION_STREAMS_MAX as usize >= CONNECTION_REQUESTS_MAX);

/// Answer bytes that a connection may owe its client; above it the connection is not read from.
pub const CONNECTION_OUTPUT_BYTES_MAX: usize = 4 << 20;

/// Bytes of requests that are not all there which a gRPC connection may have sent, unless a single
/// one may be larger; beyond it a request is refused.
pub const CONNECTION_PARTIAL_BYTES_MAX: usize = 64 << 20;

/// Work that a connection may cause its core before all others have a turn: bytes that are read,
/// and [`FRAME_WORK`] for each frame. It takes about 100 µs.
pub const CONNECTION_TURN_WORK: usize = 256 << 10;
/// The work that one frame counts as, beside its bytes, in [`CONNECTION_TURN_WORK`].
pub const FRAME_WORK: usize = 128;

/// Bytes that are read and thrown away of a client that was refused, before its connection is
/// closed whether or not it has heard why.
pub const LINGER_BYTES_MAX: usize = 4 << 20;

/// Bytes that one call sends at most; what a socket takes beyond waits until others had a turn.
pub const WRITE_BYTES_MAX: usize = 512 << 10;

/// Connections that are accepted from one listener, or taken over by one core, before others have
/// a turn.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Bytes that one connection may hold in requests that are not answered, beginnings of messages and
/// answers that are not sent, or twice its largest message if that is more; above it the connection
/// is not read from.
pub const CONNECTION_BYTES_MAX: usize = 24 << 20;

/// Bytes that the reads of one connection which are under way may gather, going by what its last
/// ones came to; and what one is supposed to come to at first.
pub const CONNECTION_GATHERED_BYTES_MAX: usize = 16 << 20;
/// Bytes that a connection's first read counts as, in [`CONNECTION_GATHERED_BYTES_MAX`].
pub const READ_BYTES_SUPPOSED: usize = 1 << 20;

/// Bytes that a connection is charged for a call that has a task of its own, or for one of gRPC.
pub const CALL_BYTES: usize = 1 << 10;

/// The default limit of the connections' budget is the machine's memory (or the control group's)
/// divided by this.
pub const BUDGET_MEMORY_PARTS: u64 = 8;
/// By default it is never less than this.
pub const BUDGET_BYTES_MIN: usize = 32 << 20;
/// And it cannot be asked to be less than this.
pub const BUDGET_ASKED_BYTES_MIN: usize = 1 << 20;
/// The interval at which connections that wait for room in the budget are looked at, in
/// milliseconds.
pub const BUDGET_PAUSE_MILLIS: u64 = 5;
/// Bytes that a connection within its share is read at a time, even if less is left of the share.
pub const SHARE_READ_BYTES_MIN: usize = 4 << 10;

/// Looks that a connection with the slow pass (see `budget`) has for the rest of its message, and
/// as many again for each [`PASS_PATIENCE_BYTES`] of it, while its like are quick enough. They are
/// one second.
pub const PASS_LOOKS: u32 = 200;
/// Looks that it has at least, after many that were too slow.
pub const PASS_LOOKS_MIN: u32 = 10;
/// Bytes of a message's rest for which the slow pass lasts longer.
pub const PASS_PATIENCE_BYTES: usize = 1 << 20;
/// Bytes of a message's rest that wait in the socket, if they are not all, to get the slow pass. A
/// socket of which nothing is read takes 64 KiB at least.
pub const PASS_UNREAD_BYTES_MIN: usize = 16 << 10;
/// Connections that are asked at once whether they want a pass.
pub const PASS_ASKS_MAX: usize = 64;
/// Bytes that a core takes from the member's budget, or gives back, at a time, at least.
pub const BUDGET_PORTION_BYTES_MIN: usize = 1 << 10;
/// Bytes that a core takes from the member's budget, or gives back, at a time, at most.
pub const BUDGET_PORTION_BYTES_MAX: usize = 1 << 20;
/// Bytes that each connection may hold at least when the budget is full.
pub const BUDGET_SHARE_BYTES_MIN: usize = 16 << 10;

/// Messages of a client on one of its streams that are not taken yet, and their bytes; above either
/// a connection that speaks frames is not read from.
pub const STREAM_MESSAGES_MAX: usize = 1 << 10;
/// Bytes of the messages that a stream holds at most, beside [`STREAM_MESSAGES_MAX`].
pub const STREAM_MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Keep-alives of one stream that are under way; above it the stream's messages are not taken.
pub const STREAM_KEEPALIVES_MAX: usize = 1 << 10;

/// Streams that a connection that speaks frames remembers to have ended before their client did.
pub const STREAMS_ENDED_MAX: usize = 1 << 10;

/// Cross-shard requests waiting for the coordinator. One more is answered "too many requests".
pub const ROUND_QUEUE_MAX: usize = 1 << 14;

/// Requests that one round may carry.
pub const ROUND_REQUESTS_MAX: usize = 256;

/// Looks at keys that a round may take for requests that then have to wait for a later one, and how
/// many more for each look at a request that it carries: so the work of finding out who may share a
/// round is in proportion to the requests.
pub const ROUND_LOOKS_FREE: usize = 512;
/// Further looks that a round may take for each look at a request that it carries: see
/// [`ROUND_LOOKS_FREE`].
pub const ROUND_LOOKS_FACTOR: usize = 4;

/// Batches of messages in one mailbox between two cores.
pub const MAILBOX_BATCHES_MAX: usize = 1 << 10;

/// The highest `--max-request-bytes`: a request of that size has been put, read, watched and
/// recovered (`tests/hostile/sizes.rs`). Its value is in memory several times while it is on its
/// way.
pub const REQUEST_BYTES_MAX: usize = 128 << 20;

/// Payload bytes of a frame beyond `--max-request-bytes`: etcd's allowance for gRPC.
pub const REQUEST_OVERHEAD_BYTES: usize = 512 << 10;

/// Levels of nested txns in a request, the outermost counted. etcd's own bound is that each level
/// takes from the budget of `--max-txn-ops`; prost stops at about 50.
pub const TXN_DEPTH_MAX: usize = 40;

/// Operations and compares of a txn with all that is nested in it, both branches, or four times
/// `--max-txn-ops` if that is more. etcd bounds each level only, which lets a small request unfold
/// to a hundred times its size in memory.
pub const TXN_OPS_TOTAL_MAX: usize = 1 << 14;

/// Keys that one slice of compaction visits before traffic goes on.
pub const COMPACTION_SLICE_KEYS: usize = 256;

/// Keys that the reads, the sorts and the merges of a core visit in one turn, each of these three:
/// about 100 µs of a core. What is left of them goes on in the next turn.
pub const READ_SLICE_KEYS: usize = 512;

/// Bytes that the reads under way of one shard may hold in keys that they have found; beyond it the
/// newer of those that hold more than their share wait. The oldest goes on, whatever it takes.
pub const SHARD_READ_BYTES_MAX: usize = 64 << 20;

/// Bytes that one slice of a checkpoint writes before traffic goes on.
pub const CHECKPOINT_SLICE_BYTES: usize = 64 << 10;

/// Bytes of a checkpoint that may wait for the disk, beyond one chunk.
pub const CHECKPOINT_BUFFER_BYTES_MAX: usize = 1 << 20;

/// Log bytes of a group after which it takes a checkpoint, at most.
pub const CHECKPOINT_LOG_BYTES: u64 = 512 << 20;

/// A checkpoint of a shard is due when its log has so many times the bytes of its state, but not
/// before this part of [`CHECKPOINT_LOG_BYTES`].
pub const CHECKPOINT_LOG_RATIO: u64 = 16;

/// Log bytes of the control group after which it takes a checkpoint, besides what its leases take.
pub const CONTROL_LOG_BYTES: u64 = 8 << 20;

/// Bytes of one log segment at most; see `wal::segments`.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Bytes of records after which a batch of the log takes no more. An entry of up to four times as
/// many is still one write; a larger one goes into the log in parts.
pub const LOG_BATCH_BYTES_MAX: usize = 1 << 20;

/// Entries (and their bytes) that a group keeps in memory for slow followers after a checkpoint.
pub const LOG_TAIL_ENTRIES: u64 = 5000;
/// Bytes of log that a group keeps in memory at most, beside [`LOG_TAIL_ENTRIES`].
pub const LOG_CACHE_BYTES_MAX: usize = 32 << 20;

/// Bytes of frames that a client connection gathers before callers wait.
pub const CLIENT_OUTPUT_BYTES_MAX: usize = 4 << 20;

/// Messages that a stream of a client may have received and not yet taken; above it its connection
/// is not read from.
pub const CLIENT_STREAM_ANSWERS_MAX: usize = 64;

/// Creations of watchers that a client has sent on one stream and has no answer to.
pub const CLIENT_WATCH_CREATIONS_MAX: usize = 32;
const _: () = assert!(CLIENT_WATCH_CREATIONS_MAX < CLIENT_STREAM_ANSWERS_MAX);

/// Alarms that may stand at a time, whatever members they name; one more is refused. Every core
/// is told of all of them whenever one changes.
pub const ALARMS_MAX: usize = 1 << 10;

/// Entries of the control group after which it takes a checkpoint.
pub const CONTROL_LOG_ENTRIES: u64 = 10_000;

/// Leases that one entry of the control group names at most.
pub const LEASE_COMMAND_IDS_MAX: usize = 1000;

/// Leases that expire in a second at most; five times etcd's pace.
pub const LEASE_EXPIRIES_PER_SECOND: u64 = 5000;
/// Leases that expire at one tick at most.
pub const LEASE_EXPIRY_BURST: u64 = 500;

/// Leases that have expired and whose keys are not yet gone; above it no more expire.
pub const LEASES_EXPIRING_MAX: usize = 2000;

/// Leases that one turn looks at because their deadlines may have passed.
pub const LEASE_LOOKS_PER_TURN: usize = 2000;

/// Bytes that the quota counts a lease as: about what it takes in the leader's memory.
pub const LEASE_BYTES: u64 = 192;

/// Bytes that the requests of one round add to the log of a shard at most, but for a single larger
/// request.
pub const ROUND_BYTES_MAX: usize = 4 << 20;

/// Bytes of entries in one append to a follower, and of committed entries in one Ready; a single
/// entry may be larger.
pub const APPEND_BYTES_MAX: u64 = 1 << 20;
/// Bytes of committed entries that one Ready holds at most, beside [`APPEND_BYTES_MAX`].
pub const COMMITTED_BYTES_MAX: u64 = 4 << 20;

/// Appends to one follower that it has not answered.
pub const APPENDS_IN_FLIGHT_MAX: usize = 64;

// raft-rs asks for it.
const _: () = assert!(APPEND_BYTES_MAX as usize <= UNCOMMITTED_BYTES_MAX);

/// Log lines that may wait for the writing thread.
pub const LOG_LINES_MAX: usize = 1 << 14;

/// Bytes of events that a watch stream may have been given and not yet sent. Above it, watchers
/// that miss an event lag, and catch up when half of the room is free.
pub const WATCH_STREAM_BYTES_MAX: usize = 4 << 20;

/// Messages of a watch stream that wait for their turn; above it the stream is not read from.
pub const WATCH_REQUESTS_MAX: usize = 1 << 10;

/// Bytes of events after which a reply takes no further revision.
pub const WATCH_REPLY_BYTES: usize = 512 << 10;

/// Revisions in one reply of history: etcd's number.
pub const WATCH_REPLY_REVISIONS_MAX: usize = 1000;

/// Events, and their bytes, that a core keeps for watchers that have fallen a little behind.
pub const WATCH_RECENT_EVENTS_MAX: usize = 1 << 14;
/// Bytes of recent events that a hub keeps at most, beside [`WATCH_RECENT_EVENTS_MAX`].
pub const WATCH_RECENT_BYTES_MAX: usize = 16 << 20;

/// Recent events that catching up looks at in one turn of a core.
pub const WATCH_RECENT_VISITS: usize = 1 << 15;

/// Events, counted for each watcher, that a core gathers before it hands them over.
pub const WATCH_GATHERED_MAX: usize = 1 << 16;

/// Looks into history that a core has under way; watchers of the same range share one.
pub const WATCH_FETCHES_MAX: usize = 4;

/// Changes that one look into a shard's history goes over, and bytes of events that it brings.
pub const WATCH_HISTORY_VISITS: usize = 4096;
/// Bytes of events that one look into history returns at most, beside [`WATCH_HISTORY_VISITS`].
pub const WATCH_HISTORY_BYTES: usize = 512 << 10;
