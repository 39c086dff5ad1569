//! A member in this process: the production cores and the production conversion of messages, on a
//! disk in memory, without sockets, threads and a clock. The same cases run in milliseconds, with
//! any number of cores and shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use braid::client::{self, Error};
use braid::limits::READ_SLICE_KEYS;
use braid::member::{
    Answer, Core, Identity, LeaseConfig, MemberConfig, Nanos, Service, Shared, Ticket,
};
use braid::protocol::convert::{self, HeaderFields, RequestLimits};
use braid::protocol::pb::etcdserverpb as pb;
use braid::protocol::{Method, status};
use braid::sim::Disk;
use braid::types::{ClusterId, CoreId, Member, MemberId, RangeReply, Refusal, Reply, Term};
use braid::watch::WatchLimits;
use bytes::BytesMut;
use prost::Message;

pub struct Inside {
    disk: Disk,
    cores: Vec<Core>,
    shared: Arc<Shared>,
    limits: RequestLimits,
    /// Requests so far; each goes to the next core.
    asked: u64,
    answers: BTreeMap<u64, Answer>,
}

impl Inside {
    pub fn start(cores: u16, shards: u16, flags: &[String]) -> Inside {
        let number = |name: &str| {
            let value = flags.iter().find_map(|flag| flag.strip_prefix(name)?.strip_prefix('='));
            value.map(|value| value.parse::<i64>().expect("a number"))
        };
        let mut limits = RequestLimits::default();
        if let Some(bytes) = number("--max-request-bytes") {
            limits.max_request_bytes = bytes as usize;
        }
        if let Some(ops) = number("--max-txn-ops") {
            limits.max_txn_ops = ops as usize;
        }
        let quota = number("--quota-backend-bytes").unwrap_or(2 << 30);
        let config = Arc::new(config(shards, quota));
        let shared = Arc::new(Shared::new(cores, shards));
        let disk = Disk::default();
        let cores = (0..cores)
            .map(|core| Core::recover(&config, CoreId(core), &shared, &disk).expect("no files"))
            .collect();
        let answers = BTreeMap::new();
        let mut inside = Inside { disk, cores, shared, limits, asked: 0, answers };
        inside.cores.iter_mut().for_each(Core::start);
        inside.run();
        assert!(inside.shared.is_ready(), "a lone member opens by itself");
        inside
    }

    pub fn unary<Req, Resp>(&mut self, method: client::Method, request: &Req) -> Result<Resp, Error>
    where
        Req: Message,
        Resp: Message + Default,
    {
        let reply = self.ask(served_as(method), request).map_err(error)?;
        let mut bytes = BytesMut::new();
        convert::encode(&self.header(), &reply, &mut bytes);
        Ok(Resp::decode(bytes).expect("the server's own encoding"))
    }

    pub fn range_stream(
        &mut self,
        request: &pb::RangeRequest,
    ) -> Result<Vec<pb::RangeStreamResponse>, Error> {
        let reply = match self.ask(Method::RangeStream, request).map_err(error)? {
            Reply::Range(reply) => reply,
            other => panic!("a range is answered with {other:?}"),
        };
        // The server reads part by part; here all is read at once, and cut as the server does.
        let mut decoded = Vec::new();
        let (mut kvs, mut part_keys) = (&reply.kvs[..], 10);
        loop {
            let (part, rest) = kvs.split_at(part_keys.min(kvs.len()));
            let header = self.header();
            let part = RangeReply { kvs: part.to_vec(), ..reply.clone() };
            let mut bytes = BytesMut::new();
            convert::encode_range_part(rest.is_empty().then_some(&header), &part, &mut bytes);
            decoded.push(pb::RangeStreamResponse::decode(bytes).expect("the server's encoding"));
            if rest.is_empty() {
                return Ok(decoded);
            }
            let part_bytes = bytes_of(&part);
            if part_bytes < self.limits.max_request_bytes / 2 {
                part_keys *= 2;
            } else if part_bytes > self.limits.max_request_bytes * 2 {
                part_keys = (part_keys / 2).max(1);
            }
            kvs = rest;
        }
    }

    fn header(&self) -> HeaderFields {
        HeaderFields {
            cluster_id: ClusterId(1),
            member_id: MemberId(7),
            raft_term: Term(self.shared.term()),
        }
    }

    fn ask(&mut self, method: Method, request: &impl Message) -> Answer {
        let bytes = request.encode_to_vec().into();
        self.asked += 1;
        let core = self.asked as usize % self.cores.len();
        let request = match convert::decode(method, bytes, &self.limits) {
            Ok(request) => request,
            // As the server does: the quota comes before the form.
            Err(refusal) => {
                let needs_space = matches!(method, Method::Put | Method::Txn);
                let no_space = needs_space && self.cores[core].is_out_of_space();
                return Err(if no_space { Refusal::NoSpace } else { refusal });
            }
        };
        let ticket = Ticket(self.asked);
        if let Some(answer) = self.cores[core].submit(Nanos(0), ticket, request, None) {
            return answer;
        }
        self.run();
        let unanswered = || Err(Refusal::Internal("all is quiet, and there is no answer".into()));
        self.answers.remove(&self.asked).unwrap_or_else(unanswered)
    }

    /// Turns every core until nothing moves any more.
    fn run(&mut self) {
        loop {
            let mut quiet = true;
            let stable = self.shared.sequencer.stable();
            for at in 0..self.cores.len() {
                self.cores[at].look();
                quiet &= !self.cores[at].turn(Nanos(0));
                let effects = std::mem::take(self.cores[at].effects());
                quiet &= effects.mail.is_empty() && effects.disk.is_empty();
                self.answers.extend(effects.answers.into_iter().map(|(t, a)| (t.0, a)));
                for (to, mail) in effects.mail {
                    self.cores[usize::from(to.0)].receive(mail);
                }
                for (group, id, op) in effects.disk {
                    let outcome = self.disk.finish(op);
                    self.cores[at].disk_done(group, id, outcome).expect("a good disk");
                }
            }
            if quiet && self.shared.sequencer.stable() == stable {
                return;
            }
        }
    }
}

fn config(shards: u16, quota: i64) -> MemberConfig {
    let url = || vec!["http://127.0.0.1:1".to_owned()];
    MemberConfig {
        identity: Identity { cluster: ClusterId(1), member: MemberId(7), shards, salt: 0x5a17 },
        member: Member {
            id: 7,
            name: "m".into(),
            peer_urls: url(),
            client_urls: url(),
            ..Member::default()
        },
        election_ticks: 10,
        request_timeout: 7_000_000_000,
        quota: u64::try_from(quota).unwrap_or(0),
        quota_shown: quota,
        segment_bytes: 4 << 20,
        batch_bytes_max: 64 << 10,
        checkpoint_log_bytes: 8 << 20,
        read_slice_keys: READ_SLICE_KEYS,
        watch_progress_interval: 600_000_000_000,
        watch_limits: WatchLimits::default(),
        leases: LeaseConfig::default(),
    }
}

fn error(refusal: Refusal) -> Error {
    let told = status::of(&refusal);
    Error::Status { code: told.code, message: told.message.to_string() }
}

/// The client's method as the server names it.
fn served_as(method: client::Method) -> Method {
    use client::Method as Asked;
    let pairs = [
        (Asked::RANGE, Method::Range),
        (Asked::PUT, Method::Put),
        (Asked::DELETE_RANGE, Method::DeleteRange),
        (Asked::TXN, Method::Txn),
        (Asked::COMPACT, Method::Compact),
        (Asked::ALARM, Method::Alarm),
        (Asked::STATUS, Method::Status),
        (Asked::HASH, Method::Hash),
        (Asked::HASH_KV, Method::HashKv),
        (Asked::DEFRAGMENT, Method::Defragment),
        (Asked::MEMBER_LIST, Method::MemberList),
    ];
    let found = pairs.into_iter().find(|(asked, _)| *asked == method);
    found.unwrap_or_else(|| panic!("no case asks {method:?}")).1
}

/// About what the keys of a part take on the wire.
fn bytes_of(part: &RangeReply) -> usize {
    part.kvs.iter().map(|kv| kv.key.len() + kv.value.len() + 16).sum()
}
