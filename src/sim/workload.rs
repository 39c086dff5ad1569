//! The requests of the clients: few keys, so that they meet, and values that nobody writes twice.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::chance::Chance;
use crate::types::{
    Answer, CompactRequest, Compare, CompareOperand, CompareOperator, DeleteRangeRequest,
    HashKvRequest, KeyRange, KeyValue, LeaseGrantRequest, LeaseId, LeaseTimeToLiveRequest, Op,
    OpReply, PutRequest, RangeFilters, RangeRequest, Reply, Request, SortOrder, SortTarget,
    TxnRequest,
};

/// How one simulation's clients behave: drawn once from the seed.
#[derive(Clone, Debug)]
pub struct Workload {
    /// By kind of request; see [`Workload::request`].
    weights: [u64; 13],
    /// One put in so many is attached to a lease, or keeps the one it has; 0 is none.
    attach_every: u64,
    prefixes: u64,
    keys_per_prefix: u64,
    value_bytes_max: u64,
    /// The versions of keys that clients have seen: modification and value.
    seen: BTreeMap<Vec<u8>, (i64, Bytes)>,
    /// Leases that clients were granted or have asked for, the newest last.
    leases: VecDeque<LeaseId>,
    /// The last number that a client chose.
    chosen: i64,
}

/// The line as a client may know it.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The highest header of any answer.
    pub newest: i64,
    pub compacted: i64,
}

/// The operations that a txn has so far: none may change a key that another one changes, but for a
/// nested txn that deletes what an earlier one beside it has put.
#[derive(Default)]
struct Drawn {
    /// With the depth.
    puts: Vec<(Bytes, u32)>,
    deletes: Vec<KeyRange>,
}

const PREFIXES: [&str; 3] = ["a/", "b/", "c/"];
/// Bytes of a value at most: all that sessions can have waiting fits one segment.
const VALUE_BYTES_MAX: [u64; 4] = [16, 16, 100, 600];
/// Leases that clients go on using.
const LEASES_MAX: usize = 6;

impl Workload {
    /// Draws a workload.
    pub fn draw(chance: &mut Chance) -> Workload {
        let mut weights = [12, 3, 2, 8, 8, 1, 1, 1, 2, 1, 3, 1, 1];
        for weight in &mut weights {
            *weight = *weight * chance.pick(&[0, 1, 1, 2, 4]) + u64::from(chance.one_in(2));
        }
        weights[0] += 1;
        let has_leases = chance.one_in(2);
        if has_leases {
            weights[8] += 1;
        } else {
            weights[8..].fill(0);
        }
        Workload {
            weights,
            attach_every: if has_leases { chance.pick(&[1, 2, 5]) } else { 0 },
            prefixes: chance.within(1, PREFIXES.len() as u64),
            keys_per_prefix: chance.within(1, 12),
            value_bytes_max: chance.pick(&VALUE_BYTES_MAX),
            seen: BTreeMap::new(),
            leases: VecDeque::new(),
            chosen: 1000,
        }
    }

    /// A request for the call numbered `id`, which its values carry.
    pub fn request(&mut self, chance: &mut Chance, id: u64, known: Known) -> Request {
        let mut value = Value { id, nth: 0, bytes_max: self.value_bytes_max };
        match chance.weighed(&self.weights) {
            0 => Request::Put(self.put(chance, &mut value)),
            1 => Request::DeleteRange(DeleteRangeRequest {
                range: KeyRange::single(self.key(chance)),
                prev_kv: chance.one_in(2),
            }),
            2 => {
                let range = self.range(chance);
                Request::DeleteRange(DeleteRangeRequest { range, prev_kv: chance.one_in(2) })
            }
            3 => {
                let mut drawn = Drawn::default();
                Request::Txn(self.txn(chance, 0, &mut drawn, &mut value, known))
            }
            4 => Request::Range(self.read(chance, known)),
            5 => {
                let back = chance.below(40) as i64;
                let revision = known.newest - back + i64::from(chance.one_in(20)) * 100;
                let revision = revision.max(known.compacted + i64::from(!chance.one_in(10)));
                Request::Compact(CompactRequest {
                    revision: revision.max(1),
                    physical: chance.one_in(2),
                })
            }
            6 => {
                let old = chance.one_in(3);
                Request::HashKv(HashKvRequest { revision: self.revision(chance, known, old) })
            }
            8 => Request::LeaseGrant(self.grant(chance)),
            9 => Request::LeaseRevoke { id: self.lease(chance) },
            10 => Request::LeaseKeepAlive { id: self.lease(chance) },
            11 => Request::LeaseTimeToLive(LeaseTimeToLiveRequest {
                id: self.lease(chance),
                keys: chance.one_in(2),
            }),
            12 => Request::LeaseLeases,
            _ => match chance.below(4) {
                0 => Request::Defragment,
                1 => Request::Hash,
                _ => Request::Status,
            },
        }
    }

    /// A client sees an answer.
    pub fn saw(&mut self, answer: &Answer) {
        match answer {
            Ok(Reply::Range(reply)) => reply.kvs.iter().for_each(|kv| self.saw_key(kv)),
            Ok(Reply::LeaseGrant(reply)) => self.know(reply.id),
            Ok(Reply::Put(reply)) => reply.prev_kv.iter().for_each(|kv| self.saw_key(kv)),
            Ok(Reply::Txn(reply)) => {
                for op in &reply.responses {
                    if let OpReply::Range(range) = op {
                        range.kvs.iter().for_each(|kv| self.saw_key(kv));
                    }
                }
            }
            _ => {}
        }
    }

    fn saw_key(&mut self, kv: &KeyValue) {
        let value = Bytes::copy_from_slice(&kv.value);
        self.seen.insert(kv.key.to_vec(), (kv.modified, value));
    }

    fn know(&mut self, lease: LeaseId) {
        if !self.leases.contains(&lease) {
            self.leases.push_back(lease);
        }
        while self.leases.len() > LEASES_MAX {
            self.leases.pop_front();
        }
    }

    /// A lease that somebody has, or had, or (rarely) that nobody has.
    fn lease(&self, chance: &mut Chance) -> LeaseId {
        if self.leases.is_empty() || chance.one_in(20) {
            return LeaseId(500 + chance.below(3) as i64);
        }
        self.leases[chance.slot(self.leases.len())]
    }

    fn grant(&mut self, chance: &mut Chance) -> LeaseGrantRequest {
        let ttl = chance.pick(&[0, 1, 1, 2, 3, 5]);
        let ttl = if chance.one_in(40) { 9_000_000_001 } else { ttl };
        let id = match chance.below(6) {
            0..3 => LeaseId::NONE,
            3 => self.lease(chance),
            _ => {
                self.chosen += 1;
                self.know(LeaseId(self.chosen));
                LeaseId(self.chosen)
            }
        };
        LeaseGrantRequest { id, ttl }
    }

    /// Draws the range of a watcher.
    pub fn watched(&self, chance: &mut Chance) -> KeyRange {
        self.key_or_range(chance)
    }

    fn key(&self, chance: &mut Chance) -> Bytes {
        let prefix = PREFIXES[chance.below(self.prefixes) as usize];
        Bytes::from(format!("{prefix}{:02}", chance.below(self.keys_per_prefix)))
    }

    fn range(&self, chance: &mut Chance) -> KeyRange {
        match chance.below(4) {
            0 => KeyRange::all(),
            1 => {
                let prefix = PREFIXES[chance.below(self.prefixes) as usize];
                let end = prefix.replace('/', "0");
                KeyRange::from_api(Bytes::from(prefix), Bytes::from(end))
            }
            _ => KeyRange::from_api(self.key(chance), self.key(chance)),
        }
    }

    fn key_or_range(&self, chance: &mut Chance) -> KeyRange {
        if chance.one_in(2) { KeyRange::single(self.key(chance)) } else { self.range(chance) }
    }

    fn revision(&self, chance: &mut Chance, known: Known, old: bool) -> i64 {
        let span = (known.newest - known.compacted.max(1)).max(1) as u64;
        if old { (known.newest - chance.below(span + 3) as i64).max(1) } else { 0 }
    }

    fn put(&self, chance: &mut Chance, value: &mut Value) -> PutRequest {
        let ignore_value = chance.one_in(12);
        let value = if ignore_value { Bytes::new() } else { value.next(chance) };
        let mut put = PutRequest::of(self.key(chance), value);
        put.prev_kv = chance.one_in(3);
        put.ignore_value = ignore_value;
        if chance.one_in(self.attach_every) {
            put.ignore_lease = chance.one_in(8);
            put.lease = if put.ignore_lease { LeaseId::NONE } else { self.lease(chance) };
        }
        put
    }

    fn read(&self, chance: &mut Chance, known: Known) -> RangeRequest {
        let old = chance.one_in(4);
        let future = i64::from(chance.one_in(60)) * 1000;
        let mut request = RangeRequest::of(self.key_or_range(chance));
        request.revision = self.revision(chance, known, old) + future;
        request.serializable = chance.one_in(4);
        if chance.one_in(3) {
            request.limit = chance.within(1, 5);
        }
        if chance.one_in(3) {
            let targets = [
                SortTarget::Key,
                SortTarget::Version,
                SortTarget::Create,
                SortTarget::Mod,
                SortTarget::Value,
            ];
            request.target = chance.pick(&targets);
            request.order = chance.pick(&[SortOrder::None, SortOrder::Ascend, SortOrder::Descend]);
        }
        request.keys_only = chance.one_in(8);
        request.count_only = chance.one_in(8);
        if chance.one_in(8) {
            let bound = known.newest - chance.below(20) as i64;
            request.filters = match chance.below(4) {
                0 => RangeFilters { min_mod: bound, ..RangeFilters::default() },
                1 => RangeFilters { max_mod: bound, ..RangeFilters::default() },
                2 => RangeFilters { min_create: bound, ..RangeFilters::default() },
                _ => RangeFilters { max_create: bound, ..RangeFilters::default() },
            };
        }
        request
    }

    fn txn(
        &self,
        chance: &mut Chance,
        depth: u32,
        drawn: &mut Drawn,
        value: &mut Value,
        known: Known,
    ) -> TxnRequest {
        let compare = (0..chance.below(3)).map(|_| self.compare(chance)).collect();
        let reads_only = chance.one_in(5);
        let mut branch = |chance: &mut Chance| {
            let count = chance.below(4);
            let mut ops = Vec::new();
            for _ in 0..count {
                ops.extend(self.op(chance, depth, drawn, value, known, reads_only));
            }
            ops
        };
        let (success, failure) = (branch(chance), branch(chance));
        TxnRequest { compare, success, failure }
    }

    fn op(
        &self,
        chance: &mut Chance,
        depth: u32,
        drawn: &mut Drawn,
        value: &mut Value,
        known: Known,
        reads_only: bool,
    ) -> Option<Op> {
        match if reads_only { 0 } else { chance.below(8) } {
            0 | 1 => {
                let mut read = self.read(chance, known);
                if read.revision > known.newest || !chance.one_in(6) {
                    read.revision = 0;
                }
                Some(Op::Range(read))
            }
            2 if depth < 2 => Some(Op::Txn(self.txn(chance, depth + 1, drawn, value, known))),
            3 => {
                let range = self.key_or_range(chance);
                let mut met = drawn.puts.iter().filter(|(key, _)| range.contains(key)).peekable();
                let meets = met.peek().is_some();
                if meets && (depth > 0 || met.any(|(_, depth)| *depth == 0)) {
                    return None;
                }
                drawn.deletes.push(range.clone());
                let delete =
                    Op::DeleteRange(DeleteRangeRequest { range, prev_kv: chance.one_in(2) });
                if !meets {
                    return Some(delete);
                }
                Some(Op::Txn(TxnRequest { success: vec![delete], ..TxnRequest::default() }))
            }
            _ => {
                let put = self.put(chance, value);
                let taken = drawn.puts.iter().any(|(key, _)| *key == put.key)
                    || drawn.deletes.iter().any(|range| range.contains(&put.key));
                if taken {
                    return None;
                }
                drawn.puts.push((put.key.clone(), depth));
                Some(Op::Put(put))
            }
        }
    }

    fn compare(&self, chance: &mut Chance) -> Compare {
        let key = self.key(chance);
        let seen = self.seen.get(&key[..]);
        let operand = match chance.below(5) {
            0 => CompareOperand::Version(chance.below(4) as i64),
            1 => CompareOperand::Create(seen.map_or(0, |(modified, _)| *modified)),
            2 if chance.one_in(2) => CompareOperand::Lease(self.lease(chance).0),
            2 => CompareOperand::Lease(0),
            3 => CompareOperand::Value(seen.map_or(Bytes::new(), |(_, value)| value.clone())),
            _ => CompareOperand::Mod(seen.map_or(0, |(modified, _)| *modified)),
        };
        let operator = chance.pick(&[
            CompareOperator::Equal,
            CompareOperator::Equal,
            CompareOperator::Less,
            CompareOperator::Greater,
            CompareOperator::NotEqual,
        ]);
        let range = if chance.one_in(5) { self.range(chance) } else { KeyRange::single(key) };
        Compare { range, operator, operand }
    }
}

/// The values of one call.
struct Value {
    id: u64,
    nth: u32,
    bytes_max: u64,
}

impl Value {
    fn next(&mut self, chance: &mut Chance) -> Bytes {
        self.nth += 1;
        let mut value = format!("{}.{}", self.id, self.nth).into_bytes();
        let bytes = chance.below(self.bytes_max + 1) as usize;
        if value.len() + 1 < bytes {
            value.push(b' ');
            value.resize(bytes, b'x');
        }
        Bytes::from(value)
    }
}

/// The call that wrote a value.
pub fn call_of(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.split('.').next()?.parse().ok()
}
