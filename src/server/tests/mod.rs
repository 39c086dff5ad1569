//! Connections against a core that is a map: real executors, real sockets.

mod budget;
mod concurrency;
mod frames;
mod gets;
mod grpc;
mod http1;
mod http2;
mod hub;
mod speed;
mod stalls;
mod streams;
mod turns;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::budget::Budget;
use crate::member::{Answer, PointRead, Service, Ticket, Visit};
use crate::protocol::convert::{HeaderFields, RequestLimits};
use crate::rt::{
    AcceptSettings, Acceptor, ExecutorSettings, Executors, Inbox, InboxSender, Listener,
    ListenerOptions, Notify,
};
use crate::types::{
    AlarmReply, ClusterId, CompareOperand, CoreId, DeleteRangeReply, KeyRange, KeyValue,
    LeaseGrantReply, LeaseId, LeaseKeepAliveReply, LeaseRevokeReply, MemberId, Nanos, Op, OpReply,
    PutReply, PutRequest, RangeReply, RangeRequest, Refusal, Reply, Request, Revision, SortOrder,
    SortTarget, StatusReply, Term, TxnReply, TxnRequest, WatchReply, WatchRequest, WatchStream,
};

/// What happens in a core, for tests to look at.
#[derive(Default)]
struct Seen {
    cancelled: Vec<Ticket>,
    /// Requests answered by each turn that had any.
    turns: Vec<usize>,
    /// Requests that are never answered.
    stalled: usize,
    /// The most that connections have held when a turn began.
    held_max: usize,
    /// Keys told of by each look-up.
    looked_up: Vec<usize>,
    ranges: Vec<RangeRequest>,
    streams_closed: usize,
    streams_open: usize,
    /// Streams that wait to learn that they have to end.
    streams_waiting: usize,
    /// Bytes of events that streams have been told and not given back.
    events_bytes: usize,
    /// The most of one stream there has been.
    events_bytes_max: usize,
}

/// A core that is a map. Keys that begin with `stall` are never answered; ones that begin with
/// `now` at once; all others by the next turn. Only those that begin with `look` can be looked up.
struct Fake {
    kvs: BTreeMap<Vec<u8>, KeyValue>,
    revision: i64,
    waiting: Vec<(Ticket, Request)>,
    late: Vec<(Ticket, Request)>,
    stalled: Vec<(Ticket, Option<Nanos>)>,
    alarms: Vec<crate::types::Alarm>,
    leader: u64,
    hub: hub::Hub,
    /// By id: seconds granted.
    leases: BTreeMap<i64, i64>,
    seen: Arc<Mutex<Seen>>,
}

impl Fake {
    fn new(seen: Arc<Mutex<Seen>>) -> Fake {
        Fake {
            kvs: BTreeMap::new(),
            revision: 1,
            waiting: Vec::new(),
            late: Vec::new(),
            stalled: Vec::new(),
            alarms: Vec::new(),
            leader: 1,
            hub: hub::Hub::default(),
            leases: BTreeMap::new(),
            seen,
        }
    }

    fn turn(&mut self, now: Nanos) -> Vec<(Ticket, Answer)> {
        self.hub.turn();
        let slow = |(_, request): &_| *request == Request::LeaseKeepAlive { id: SLOW_LEASE };
        let (late, waiting): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(slow);
        let waiting = waiting.into_iter().chain(std::mem::replace(&mut self.late, late));
        let waiting: Vec<_> = waiting.collect();
        let mut answers: Vec<_> = waiting
            .into_iter()
            .map(|(ticket, request)| (ticket, self.carry_out(request)))
            .collect();
        let (late, stalled) =
            self.stalled.drain(..).partition(|(_, deadline)| deadline.is_some_and(|at| at <= now));
        self.stalled = stalled;
        let late: Vec<(Ticket, Option<Nanos>)> = late;
        answers.extend(late.iter().map(|(ticket, _)| (*ticket, Err(Refusal::DeadlineExceeded))));
        if !answers.is_empty() {
            self.seen.lock().expect("no panic").turns.push(answers.len());
        }
        answers
    }

    /// What watch streams are told in this turn.
    fn tell(&mut self) -> Vec<(WatchStream, WatchReply)> {
        let told = self.hub.tell();
        let (sum, max) = self.hub.events_bytes();
        let mut seen = self.seen.lock().expect("no panic");
        seen.events_bytes = sum;
        seen.events_bytes_max = seen.events_bytes_max.max(max);
        told
    }

    fn carry_out(&mut self, request: Request) -> Answer {
        match request {
            Request::Put(put) => {
                self.revision += 1;
                self.put(&put);
                Ok(Reply::Put(PutReply { revision: Revision(self.revision), prev_kv: None }))
            }
            Request::DeleteRange(delete) => {
                let deleted = self.delete(&delete.range);
                let revision = Revision(self.revision);
                Ok(Reply::DeleteRange(DeleteRangeReply { revision, deleted, prev_kvs: Vec::new() }))
            }
            Request::Txn(txn) => Ok(Reply::Txn(self.txn(&txn))),
            Request::Range(range) => {
                self.seen.lock().expect("no panic").ranges.push(range.clone());
                Ok(Reply::Range(self.range(&range)))
            }
            Request::Alarm(_) => {
                let revision = Revision(self.revision);
                Ok(Reply::Alarm(AlarmReply { revision, alarms: self.alarms.clone() }))
            }
            Request::Status => Ok(Reply::Status(Box::new(StatusReply {
                revision: Revision(self.revision),
                db_size: 0,
                db_size_in_use: 0,
                db_size_quota: 0,
                leader: MemberId(self.leader),
                raft_term: 2,
                raft_index: 1,
                raft_applied_index: 1,
                errors: Vec::new(),
                is_learner: false,
            }))),
            Request::LeaseGrant(grant) => {
                let id = if grant.id.0 == 0 { 1000 + self.leases.len() as i64 } else { grant.id.0 };
                let (revision, id, ttl) = (Revision(self.revision), LeaseId(id), grant.ttl);
                if self.leases.insert(id.0, ttl).is_some() {
                    return Err(Refusal::LeaseExist);
                }
                Ok(Reply::LeaseGrant(LeaseGrantReply { revision, id, ttl }))
            }
            Request::LeaseRevoke { id } => {
                self.leases.remove(&id.0).ok_or(Refusal::LeaseNotFound)?;
                let attached = self.kvs.values().filter(|kv| kv.lease == id);
                let keys: Vec<_> = attached.map(|kv| kv.key.to_vec()).collect();
                for key in keys {
                    self.delete(&KeyRange::single(key.into()));
                }
                Ok(Reply::LeaseRevoke(LeaseRevokeReply { revision: Revision(self.revision) }))
            }
            // An id below 0 cannot be kept alive.
            Request::LeaseKeepAlive { id } if id.0 < 0 => Err(Refusal::NoLeader),
            Request::LeaseKeepAlive { id } => {
                let ttl = self.leases.get(&id.0).copied().unwrap_or(0);
                let revision = Revision(self.revision);
                Ok(Reply::LeaseKeepAlive(LeaseKeepAliveReply { revision, id, ttl }))
            }
            other => Err(Refusal::Unimplemented(format!("the fake has no {other:?}"))),
        }
    }
}

impl Fake {
    fn put(&mut self, put: &PutRequest) {
        let key = put.key.to_vec();
        // What a test sets the member's state with.
        match &key[..] {
            b"set/alarm" => self.alarms.push(crate::types::Alarm {
                member: MemberId(1),
                kind: match &put.value[..] {
                    b"CORRUPT" => crate::types::AlarmKind::Corrupt,
                    _ => crate::types::AlarmKind::NoSpace,
                },
            }),
            b"set/leader" => self.leader = u64::from(put.value[0] - b'0'),
            _ => {}
        }
        let prev = self.kvs.get(&key).cloned();
        let kv = KeyValue {
            key: key[..].into(),
            value: put.value[..].into(),
            create: prev.as_ref().map_or(self.revision, |prev| prev.create),
            modified: self.revision,
            version: prev.as_ref().map_or(1, |prev| prev.version + 1),
            lease: put.lease,
        };
        self.kvs.insert(key, kv.clone());
        self.hub.changed(Revision(self.revision), kv.key.clone(), Some(kv), prev);
    }

    fn delete(&mut self, range: &KeyRange) -> i64 {
        let covered = self.kvs.keys().filter(|key| range.contains(key));
        let keys: Vec<Vec<u8>> = covered.cloned().collect();
        self.revision += i64::from(!keys.is_empty());
        for key in &keys {
            let prev = self.kvs.remove(key);
            self.hub.changed(Revision(self.revision), key[..].into(), None, prev);
        }
        keys.len() as i64
    }

    fn range(&self, range: &RangeRequest) -> RangeReply {
        let start = range.range.start.to_vec();
        let matching = self.kvs.range(start..).map(|(_, kv)| kv);
        let mut kvs: Vec<_> =
            matching.take_while(|kv| range.range.contains(&kv.key)).cloned().collect();
        let count = kvs.len() as i64;
        let until = range.filters.max_create;
        kvs.retain(|kv| until == 0 || kv.create <= until);
        match (range.target, range.order) {
            (SortTarget::Create, SortOrder::Ascend) => kvs.sort_by_key(|kv| kv.create),
            (SortTarget::Create, SortOrder::Descend) => kvs.sort_by_key(|kv| -kv.create),
            _ => {}
        }
        let limit = if range.limit == 0 { usize::MAX } else { range.limit as usize };
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        if range.count_only {
            kvs.clear();
        }
        RangeReply { revision: Revision(self.revision), kvs, more, count }
    }

    /// Compares of creation only, on flat branches.
    fn txn(&mut self, txn: &TxnRequest) -> TxnReply {
        let succeeded = txn.compare.iter().all(|compare| {
            let created = self.kvs.get(&compare.range.start[..]).map_or(0, |kv| kv.create);
            compare.operand == CompareOperand::Create(created)
        });
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let responses = ops.iter().map(|op| match op {
            Op::Put(put) => {
                self.revision += 1;
                self.put(put);
                OpReply::Put(PutReply::default())
            }
            Op::Range(range) => OpReply::Range(self.range(range)),
            Op::DeleteRange(delete) => {
                let deleted = self.delete(&delete.range);
                OpReply::DeleteRange(DeleteRangeReply { deleted, ..DeleteRangeReply::default() })
            }
            Op::Txn(_) => panic!("nobody here nests"),
        });
        let responses = responses.collect();
        TxnReply { revision: Revision(self.revision), succeeded, responses }
    }
}

/// Keep-alives of this lease are answered a turn late.
const SLOW_LEASE: LeaseId = LeaseId(13);

fn key_of(request: &Request) -> &[u8] {
    match request {
        Request::Put(put) => &put.key,
        Request::Range(range) => &range.range.start,
        _ => b"",
    }
}

impl Service for Fake {
    fn submit(
        &mut self,
        _now: Nanos,
        ticket: Ticket,
        request: Request,
        deadline: Option<Nanos>,
    ) -> Option<Answer> {
        let key = key_of(&request);
        if key.starts_with(b"stall") {
            self.stalled.push((ticket, deadline));
            self.seen.lock().expect("no panic").stalled += 1;
            return None;
        }
        if key.starts_with(b"now") {
            return Some(self.carry_out(request));
        }
        self.waiting.push((ticket, request));
        None
    }

    fn multi_get(&mut self, wanted: &[PointRead<'_>], visit: &mut Visit<'_>) -> usize {
        let mut told = 0;
        for wanted in wanted.iter().take_while(|wanted| wanted.key.starts_with(b"look")) {
            told += 1;
            let kv = self.kvs.get(wanted.key).map(KeyValue::view);
            if visit(Revision(self.revision), kv).is_break() {
                break;
            }
        }
        self.seen.lock().expect("no panic").looked_up.push(told);
        told
    }

    fn cancel(&mut self, ticket: Ticket) {
        self.waiting.retain(|(waiting, _)| *waiting != ticket);
        self.stalled.retain(|(stalled, _)| *stalled != ticket);
        self.seen.lock().expect("no panic").cancelled.push(ticket);
    }

    fn watch_open(&mut self, _: Nanos) -> WatchStream {
        self.seen.lock().expect("no panic").streams_open += 1;
        self.hub.open()
    }

    fn watch(&mut self, _: Nanos, stream: WatchStream, request: WatchRequest) -> bool {
        self.hub.ask(Revision(self.revision), stream, request)
    }

    fn watch_has_room(&self, stream: WatchStream) -> bool {
        self.hub.has_room(stream)
    }

    fn watch_sent(&mut self, stream: WatchStream, bytes: usize) {
        self.hub.sent(stream, bytes);
    }

    fn watch_close(&mut self, stream: WatchStream) {
        self.hub.close(stream);
        let mut seen = self.seen.lock().expect("no panic");
        seen.streams_closed += 1;
        seen.streams_open -= 1;
    }

    fn has_leader(&self) -> bool {
        self.leader != 0
    }
}

/// A member of fakes, and how to reach it.
struct Rig {
    address: SocketAddr,
    metrics: SocketAddr,
    seen: Vec<Arc<Mutex<Seen>>>,
    stops: Vec<InboxSender<Duration>>,
    executors: Executors,
    acceptor: Acceptor,
}

fn settings() -> Settings {
    Settings {
        times_methods: true,
        listeners: vec![ListenerKind::Client, ListenerKind::Metrics],
        header: HeaderFields {
            cluster_id: ClusterId(0xC1),
            member_id: MemberId(0xA1),
            raft_term: Term(2),
        },
        limits: RequestLimits::default(),
        request_bytes_max: RequestLimits::default().max_request_bytes,
        request_timeout: Duration::from_secs(7),
        election_timeout: Duration::from_millis(50),
        stall: STALL_MAX,
        slow: Duration::ZERO,
        streams_max: u32::MAX,
        keepalive: Keepalive::default(),
        versions: Versions {
            braid: "0.1.0".to_owned(),
            server: "3.7.1".to_owned(),
            cluster: "3.7.0".to_owned(),
            storage: "3.7.0".to_owned(),
        },
        shard_cores: vec![CoreId(0), CoreId(1)],
        hash_seed: 7,
        hosts: Vec::new(),
        figures: Arc::new(crate::observe::CoreMetrics::new(crate::protocol::Method::ALL.len())),
        budget: Budget::new(1 << 30, 1),
        metrics: Rc::new(|| "braid_up 1\n".to_owned()),
    }
}

impl Rig {
    fn start(cores: usize) -> Rig {
        Rig::start_with(cores, |_| {})
    }

    fn start_with(cores: usize, tune: impl Fn(&mut Settings) + Send + Clone + 'static) -> Rig {
        let listener = || {
            Listener::bind(([127, 0, 0, 1], 0).into(), ListenerOptions::default()).expect("port")
        };
        let (client, metrics) = (listener(), listener());
        let (address, metrics_address) = (client.address(), metrics.address());
        let (senders, inboxes): (Vec<_>, Vec<_>) =
            (0..cores).map(|_| Inbox::<Delivery>::new(64).expect("inbox")).unzip();
        let mut stops = Vec::new();
        let mut seen = Vec::new();
        let bodies = inboxes.into_iter().enumerate().map(|(core, inbox)| {
            let (stop, stopping) = Inbox::<Duration>::new(1).expect("inbox");
            stops.push(stop);
            let own: Arc<Mutex<Seen>> = Arc::default();
            seen.push(own.clone());
            let (tune, senders) = (tune.clone(), senders.clone());
            move || async move {
                let mut settings = settings();
                tune(&mut settings);
                let own_seen = own.clone();
                let fake = Rc::new(RefCell::new(Fake::new(own)));
                let work = Rc::new(Notify::new());
                let core = CoreId(core as u16);
                let (budget, looking) = (settings.budget.clone(), own_seen);
                let front = Front::new(core, settings, fake.clone(), work.clone(), senders);
                let inbox = inbox.open().expect("inbox");
                let receiving = crate::rt::spawn(front.clone().receive(inbox));
                let answering = front.clone();
                let turning = crate::rt::spawn(async move {
                    loop {
                        crate::rt::within(Duration::from_millis(20), work.wait()).await;
                        let held = budget.taken();
                        let mut seen = looking.lock().expect("no panic");
                        seen.held_max = seen.held_max.max(held);
                        drop(seen);
                        let answers = fake.borrow_mut().turn(crate::rt::now());
                        for (ticket, answer) in answers {
                            answering.answer(ticket, answer);
                        }
                        let told = fake.borrow_mut().tell();
                        let waiting = answering.streams_waiting();
                        let own = fake.borrow().seen.clone();
                        own.lock().expect("no panic").streams_waiting = waiting;
                        for (stream, reply) in told {
                            answering.watched(stream, reply);
                        }
                    }
                });
                let limit = stopping.open().expect("inbox").receive().await;
                front.shut_down(limit).await;
                drop((receiving, turning));
            }
        });
        let bodies: Vec<_> = bodies.collect();
        let name = ExecutorSettings { name: "rig".to_owned(), spin: Duration::ZERO };
        let executors = crate::rt::start(&name, bodies).expect("executors");
        let acceptor =
            Acceptor::start(vec![client, metrics], senders, AcceptSettings { open_max: 1000 })
                .expect("acceptor");
        Rig { address, metrics: metrics_address, seen, stops, executors, acceptor }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        stream
    }

    /// Waits until `holds` of what the cores have seen.
    fn until(&self, holds: impl Fn(&Seen) -> bool) {
        let began = std::time::Instant::now();
        while !self.seen.iter().any(|seen| holds(&seen.lock().expect("no panic"))) {
            assert!(began.elapsed() < Duration::from_secs(20), "it never came to that");
            std::thread::yield_now();
        }
    }

    /// Asks every core to stop and waits for it.
    fn stop(self) {
        self.stop_within(Duration::from_secs(20));
    }

    fn stop_within(self, limit: Duration) {
        self.acceptor.stop();
        for stop in &self.stops {
            stop.send(limit).expect("room for one");
        }
        self.executors.join().expect("no panic");
    }
}
