//! One thread's stream of requests: planned, written, and judged by their answers.
//!
//! A read is judged by what it brings: the key must be one that was asked for, and the value one
//! that was put there (see [`values`](super::values)). One answer in `Verify::every` is looked at
//! like this.

use std::ops;
use std::sync::Arc;

use bytes::BytesMut;
use xxhash_rust::xxh3::xxh3_64;

use super::keys::{Chooser, KeyForm, prefix_end};
use super::null::NULL_KEY;
use super::protobuf::{self, Guarded, Range};
use super::streaming::Facts;
use super::values::{Values, Verdict};
use super::workload::{Action, Family, Step, Workload};
use crate::chance::Chance;
use crate::protocol::Method;

/// A request as few numbers; everything else about it follows from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Planned {
    /// Position in the workload's steps.
    pub(super) step: u16,
    key: u64,
    /// Chooses the value.
    seed: u64,
    /// The mod revision that a guarded write expects, if it expects any.
    guard: Option<u64>,
    removes: bool,
}

/// The content of an answer that is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Hit,
    /// The key was not there, or the guard did not hold.
    Miss,
    /// What was read is not what was asked for, or not what was put.
    Wrong,
}

/// Which answers to reads are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verify {
    /// One in so many; 0 is none.
    pub(super) every: u32,
    /// A value that no run of this program can have put is an error, and not somebody else's.
    pub(super) strict: bool,
}

/// A change that the server has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    Put {
        key: &'a [u8],
        value_hash: u64,
    },
    Delete {
        key: &'a [u8],
    },
    /// Some keys from start to end, or the one key if there is no end; which ones is not known.
    DeleteRange {
        start: &'a [u8],
        end: &'a [u8],
    },
}

/// Writes a [`Pattern`] with this key in it.
fn write_pattern(workload: &Workload, step: &Step, end: &[u8], key: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let range = Range { key, ..Range::default() };
    let value = vec![0; workload.families[step.family].value_bytes];
    match step.action {
        Action::Put => protobuf::put(&mut out, key, &value),
        Action::Txn => protobuf::put_op(&mut out, key, &value),
        Action::Get => range.write(&mut out),
        Action::GetSerializable => Range { serializable: true, ..range }.write(&mut out),
        Action::Range => Range { end, limit: workload.limit, ..range }.write(&mut out),
        Action::Delete => protobuf::delete(&mut out, key),
        Action::Prefix | Action::Sort | Action::DeletePrefix | Action::Cas | Action::LeaseGrant => {
            out.extend_from_slice(key)
        }
    }
    if matches!(step.action, Action::Put | Action::Txn) {
        out.truncate(out.len() - value.len());
    }
    out.to_vec()
}

pub(super) struct Source {
    workload: Arc<Workload>,
    choosers: Vec<Chooser>,
    /// Per family, for guarded writes: the mod revision of each key as last seen, [`UNKNOWN`], and
    /// [`BUSY`] beside it while a write of a key that has one owner is under way.
    revisions: Vec<Vec<u64>>,
    /// Per step, what all its requests have in common.
    patterns: Vec<Pattern>,
    values: Values,
    chance: Chance,
    weights: u64,
    end: Vec<u8>,
    /// A value that is about to be written.
    value: BytesMut,
    verify: Verify,
    until_verify: u32,
    verified: u64,
    foreign: u64,
}

/// No revision that a server gives.
const UNKNOWN: u64 = 1 << 62;
const BUSY: u64 = 1 << 63;
/// Keys that are looked at for one whose last write is over.
const FREE_LOOKS_MAX: u32 = 64;

/// A request up to its value, with some key in it; only the key's digits change.
///
/// Of requests that are not alike beyond their keys it is the key alone.
struct Pattern {
    bytes: Vec<u8>,
    key: ops::Range<usize>,
    /// Which key that is.
    number: u64,
    /// From one key of a txn to the next: distinct as long as there are as many as it has.
    stride: u64,
}

impl Pattern {
    fn new(workload: &Workload, step: &Step, ends: &[Vec<u8>]) -> Pattern {
        let family = &workload.families[step.family];
        let blank = family.form.blank();
        let write = |key: &[u8]| write_pattern(workload, step, &ends[step.family], key);
        let bytes = write(&blank);
        // The position at which two differ that have nothing but their length in common.
        let (low, high) = (write(&vec![0; blank.len()]), write(&vec![0xff; blank.len()]));
        let start = low.iter().zip(&high).position(|(low, high)| low != high);
        let start = start.expect("no key is empty");
        let stride = (family.keys / workload.txn_keys.max(1)).max(1);
        Pattern { bytes, key: start..start + blank.len(), number: 0, stride }
    }

    fn set(&mut self, form: &KeyForm, number: u64) {
        if self.number != number {
            form.patch(number, &mut self.bytes[self.key.clone()]);
            self.number = number;
        }
    }

    fn key(&self) -> &[u8] {
        &self.bytes[self.key.clone()]
    }
}

impl Source {
    /// The source of thread `thread` of `threads`.
    pub(super) fn new(
        workload: Arc<Workload>,
        values: Values,
        (seed, verify): (u64, Verify),
        thread: usize,
        threads: usize,
    ) -> Source {
        let families = workload.families.iter();
        let choosers = families
            .clone()
            .map(|family| Chooser::new(family.distribution, family.keys, thread, threads))
            .collect();
        let guarded =
            |at| workload.steps.iter().any(|step| step.action == Action::Cas && step.family == at);
        let revisions = families
            .clone()
            .enumerate()
            .map(|(at, family)| {
                let unseen = if family.owned { UNKNOWN } else { 0 };
                vec![unseen; if guarded(at) { family.keys as usize } else { 0 }]
            })
            .collect();
        let ends: Vec<_> =
            families.map(|family| prefix_end(family.form.prefix().as_bytes())).collect();
        let weights = workload.steps.iter().map(|step| u64::from(step.weight)).sum();
        let chance = Chance::new(crate::chance::mix(seed) ^ thread as u64);
        let steps = workload.steps.iter();
        let patterns = steps.map(|step| Pattern::new(&workload, step, &ends)).collect();
        let end = Vec::new();
        Source {
            workload,
            choosers,
            revisions,
            patterns,
            values,
            chance,
            weights,
            end,
            value: BytesMut::new(),
            verify,
            until_verify: verify.every,
            verified: 0,
            foreign: 0,
        }
    }

    /// What was verified, if anything was to be.
    pub(super) fn facts(&self) -> Facts {
        let mut facts = Facts::new();
        let reads = self.workload.steps.iter().any(|step| step.action.reads());
        if reads && self.verify.every > 0 {
            facts.insert("values verified".to_owned(), self.verified as f64);
            if self.foreign > 0 {
                facts.insert("values of other programs".to_owned(), self.foreign as f64);
            }
        }
        facts
    }

    /// The next request.
    pub(super) fn plan(&mut self) -> Planned {
        let step = self.choose_step();
        let family = self.workload.steps[step].family;
        let mut key = self.choosers[family].next(&mut self.chance);
        let seed = self.chance.number();
        let mut planned = Planned { step: step as u16, key, seed, guard: None, removes: false };
        if self.workload.steps[step].action == Action::Cas {
            let Family { owned, deletes, .. } = self.workload.families[family];
            // Who owns a key waits for one write of it before the next.
            for _ in 0..FREE_LOOKS_MAX {
                if self.revisions[family][key as usize] & BUSY == 0 {
                    break;
                }
                key = self.choosers[family].next(&mut self.chance);
            }
            let seen = self.revisions[family][key as usize] & !BUSY;
            planned.key = key;
            planned.guard = (seen != UNKNOWN).then_some(seen);
            planned.removes =
                deletes > 0 && seen > 0 && seen != UNKNOWN && seed.is_multiple_of(deletes);
            if owned {
                self.revisions[family][key as usize] |= BUSY;
            }
        }
        planned
    }

    fn choose_step(&mut self) -> usize {
        if self.workload.steps.len() == 1 {
            return 0;
        }
        let mut at = self.chance.below(self.weights);
        let reached = self.workload.steps.iter().position(|step| {
            let weight = u64::from(step.weight);
            let here = at < weight;
            at = at.saturating_sub(weight);
            here
        });
        reached.expect("the weights sum up")
    }

    /// The key that decides where the request goes.
    pub(super) fn route(&mut self, planned: &Planned) -> &[u8] {
        self.set_key(planned, 0).key()
    }

    pub(super) fn method(&self, planned: &Planned) -> Method {
        match self.workload.steps[usize::from(planned.step)].action {
            Action::Put => Method::Put,
            Action::Get | Action::GetSerializable | Action::Range => Method::Range,
            Action::Prefix | Action::Sort => Method::Range,
            Action::Delete | Action::DeletePrefix => Method::DeleteRange,
            Action::Cas | Action::Txn => Method::Txn,
            Action::LeaseGrant => Method::LeaseGrant,
        }
    }

    /// The pattern of the request with key `index` in it; only txns have more than one.
    fn set_key(&mut self, planned: &Planned, index: u64) -> &Pattern {
        let step = &self.workload.steps[usize::from(planned.step)];
        let family = &self.workload.families[step.family];
        let pattern = &mut self.patterns[usize::from(planned.step)];
        let number = match planned.key + index * pattern.stride {
            number if number < family.keys => number,
            above => above % family.keys,
        };
        pattern.set(&family.form, number);
        pattern
    }

    fn value_bytes(&self, planned: &Planned) -> usize {
        let step = &self.workload.steps[usize::from(planned.step)];
        self.workload.families[step.family].value_bytes
    }

    /// Appends the request's message.
    pub(super) fn write(&mut self, planned: &Planned, out: &mut BytesMut) {
        self.set_key(planned, 0);
        let length = self.value_bytes(planned);
        let limit = self.workload.limit;
        let step = &self.workload.steps[usize::from(planned.step)];
        let pattern = &self.patterns[usize::from(planned.step)];
        let key = pattern.key();
        match step.action {
            Action::Get | Action::GetSerializable | Action::Range | Action::Delete => {
                out.extend_from_slice(&pattern.bytes);
            }
            Action::Put => {
                out.extend_from_slice(&pattern.bytes);
                self.values.write(key, planned.seed, length, out);
            }
            Action::Txn => {
                for index in 0..self.workload.txn_keys {
                    let pattern = self.set_key(planned, index);
                    out.extend_from_slice(&pattern.bytes);
                    let seed = planned.seed.wrapping_add(index);
                    let key = self.patterns[usize::from(planned.step)].key();
                    self.values.write(key, seed, length, out);
                }
            }
            Action::Prefix | Action::Sort | Action::DeletePrefix => {
                let shared = shared(key, self.workload.prefix_digits, &mut self.end);
                let end = &self.end;
                match step.action {
                    Action::DeletePrefix => protobuf::delete_range(out, shared, end),
                    action => {
                        let by_change = action == Action::Sort;
                        Range { key: shared, end, limit, by_change, ..Range::default() }.write(out);
                    }
                }
            }
            Action::Cas => {
                self.value.clear();
                self.values.write(key, planned.seed, length, &mut self.value);
                let change = match planned.removes {
                    true => Guarded::Delete,
                    false => Guarded::Put(&self.value),
                };
                protobuf::compare_and_set(out, key, planned.guard, change);
            }
            Action::LeaseGrant => protobuf::lease_grant(out, self.workload.lease_ttl),
        }
    }

    /// Judges an answer, and remembers what guarded writes need to know.
    pub(super) fn learn(&mut self, planned: &Planned, answer: &[u8]) -> Found {
        let step = &self.workload.steps[usize::from(planned.step)];
        let hit = match step.action {
            Action::Put | Action::Txn | Action::LeaseGrant => true,
            action if action.reads() => match protobuf::has_key_value(answer) {
                true if self.verify.every > 0 => return self.verify_one(planned, answer),
                has => has,
            },
            Action::Delete | Action::DeletePrefix => protobuf::deleted(answer) > 0,
            _ => {
                let succeeded = protobuf::succeeded(answer);
                let seen = match (succeeded, planned.removes) {
                    (true, true) => 0,
                    (true, false) => protobuf::revision(answer),
                    (false, _) => protobuf::revision_read(answer),
                };
                self.revisions[step.family][planned.key as usize] = seen;
                succeeded
            }
        };
        if hit { Found::Hit } else { Found::Miss }
    }

    /// The request has ended without an answer that says anything: what it has done is not known.
    pub(super) fn ended(&mut self, planned: &Planned) {
        let step = &self.workload.steps[usize::from(planned.step)];
        if step.action == Action::Cas && self.workload.families[step.family].owned {
            self.revisions[step.family][planned.key as usize] = UNKNOWN;
        }
    }

    /// Verifies the answer to a read, if its turn has come.
    fn verify_one(&mut self, planned: &Planned, answer: &[u8]) -> Found {
        self.until_verify -= 1;
        if self.until_verify > 0 {
            return Found::Hit;
        }
        self.until_verify = self.verify.every;
        match self.fault(planned, answer) {
            Some(_) => Found::Wrong,
            None => Found::Hit,
        }
    }

    /// What is wrong with an answer, in words.
    pub(super) fn wrong(&mut self, planned: &Planned, answer: &[u8]) -> String {
        self.fault(planned, answer).unwrap_or_default()
    }

    fn fault(&mut self, planned: &Planned, answer: &[u8]) -> Option<String> {
        let action = self.workload.steps[usize::from(planned.step)].action;
        self.set_key(planned, 0);
        let asked = self.patterns[usize::from(planned.step)].key();
        for (key, value) in protobuf::key_values(answer) {
            if key == NULL_KEY {
                continue;
            }
            let is_asked = match action {
                Action::Get | Action::GetSerializable => key == asked,
                Action::Range => key >= asked,
                _ => key.starts_with(&asked[..asked.len() - self.workload.prefix_digits]),
            };
            if !is_asked {
                let (asked, key) = (asked.escape_ascii(), key.escape_ascii());
                return Some(format!("{asked} was asked for, and {key} came"));
            }
            let verdict = self.values.verify(key, value);
            match verdict {
                Verdict::Good => self.verified += 1,
                Verdict::Short => {}
                Verdict::Foreign if !self.verify.strict => self.foreign += 1,
                Verdict::Foreign | Verdict::Wrong => {
                    let (key, length) = (key.escape_ascii(), value.len());
                    return Some(format!("{key} has {length} bytes that were never put there"));
                }
            }
        }
        None
    }

    /// Says every change that the answer acknowledges.
    pub(super) fn changes(&mut self, planned: &Planned, mut each: impl FnMut(Change<'_>)) {
        let length = self.value_bytes(planned);
        let (count, removes) = match self.workload.steps[usize::from(planned.step)].action {
            Action::Put => (1, false),
            Action::Txn => (self.workload.txn_keys, false),
            Action::Delete => (1, true),
            Action::Cas => (1, planned.removes),
            Action::Get | Action::GetSerializable | Action::Range => (0, false),
            Action::Prefix | Action::Sort | Action::LeaseGrant => (0, false),
            // Which keys they were is not known: `arguments` refuses it together with `--acks`.
            Action::DeletePrefix => (0, true),
        };
        for index in 0..count {
            let key = self.set_key(planned, index).key();
            if removes {
                each(Change::Delete { key });
                continue;
            }
            let key = self.patterns[usize::from(planned.step)].key();
            self.value.clear();
            self.values.write(key, planned.seed.wrapping_add(index), length, &mut self.value);
            each(Change::Put { key, value_hash: xxh3_64(&self.value) });
        }
    }
}

/// What a key shares with those that differ in its last digits only; the end of all of them goes to
/// `end`.
fn shared<'a>(key: &'a [u8], open_digits: usize, end: &mut Vec<u8>) -> &'a [u8] {
    let shared = &key[..key.len() - open_digits];
    end.clear();
    end.extend_from_slice(shared);
    if let Some(last) = end.last_mut() {
        // A digit or a letter of the prefix: there is a byte above it.
        *last += 1;
    }
    shared
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::workload::tests::shape;
    use super::*;
    use crate::protocol::pb::etcdserverpb as pb;
    use crate::protocol::pb::mvccpb::KeyValue;

    fn source(text: &str) -> Source {
        let workload = Workload::parse(text, &shape()).expect(text);
        let values = Values::new(16 << 10);
        let verify = Verify { every: 1, strict: true };
        Source::new(Arc::new(workload), values, (1, verify), 0, 1)
    }

    fn written<M: Message + Default>(source: &mut Source, planned: &Planned) -> M {
        let mut out = BytesMut::new();
        source.write(planned, &mut out);
        M::decode(out.freeze()).expect("protobuf")
    }

    #[test]
    fn mixtures_keep_their_weights() {
        let mut source = source("put=1,get=9");
        let puts = (0..10_000).filter(|_| source.plan().step == 0).count();
        assert!((900..1100).contains(&puts), "{puts}");
    }

    #[test]
    fn a_txn_has_distinct_keys() {
        let mut source = source("txn");
        let planned = source.plan();
        let txn: pb::TxnRequest = written(&mut source, &planned);
        let keys: std::collections::BTreeSet<_> = txn
            .success
            .iter()
            .map(|op| match op.request.as_ref().expect("a request") {
                pb::request_op::Request::RequestPut(put) => put.key.clone(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(keys.len(), 4);
        let mut acknowledged = Vec::new();
        source.changes(&planned, |change| match change {
            Change::Put { key, .. } => acknowledged.push(key.to_vec()),
            other => panic!("{other:?} is no put"),
        });
        assert!(acknowledged.iter().all(|key| keys.contains(&key[..])), "{acknowledged:?}");
    }

    #[test]
    fn a_prefix_leaves_its_last_digits_open() {
        let mut source = source("prefix");
        let planned = Planned { key: 199, ..Planned::default() };
        let range: pb::RangeRequest = written(&mut source, &planned);
        assert_eq!(range.key, "load/000000001");
        assert_eq!(range.range_end, "load/000000002");
    }

    #[test]
    fn guarded_writes_learn_the_revision() {
        let mut source = source("cas");
        let planned = Planned { key: 5, ..Planned::default() };
        let header = Some(pb::ResponseHeader { revision: 70, ..Default::default() });
        let done = pb::TxnResponse { header, succeeded: true, ..Default::default() };
        assert_eq!(source.learn(&planned, &done.encode_to_vec()), Found::Hit);
        assert_eq!(source.revisions[0][5], 70);
        let refused = pb::TxnResponse { header, succeeded: false, ..Default::default() };
        assert_eq!(source.learn(&planned, &refused.encode_to_vec()), Found::Miss);
        assert_eq!(source.revisions[0][5], 0);
    }

    fn read(key: &str, value: &[u8]) -> Vec<u8> {
        let kv = KeyValue {
            key: key.to_owned().into(),
            value: value.to_vec().into(),
            ..Default::default()
        };
        pb::RangeResponse { kvs: vec![kv], ..Default::default() }.encode_to_vec()
    }

    /// Any answer was as good as another.
    #[test]
    fn a_read_must_bring_what_was_put() {
        let mut puts = source("put");
        let planned = puts.plan();
        let put: pb::PutRequest = written(&mut puts, &planned);
        let key = std::str::from_utf8(&put.key).expect("text").to_owned();
        let mut gets = source("get");
        let get = Planned { key: planned.key, ..Planned::default() };
        let asked: pb::RangeRequest = written(&mut gets, &get);
        assert_eq!(asked.key, put.key);
        assert_eq!(gets.learn(&get, &read(&key, &put.value)), Found::Hit);
        assert_eq!(gets.learn(&get, &pb::RangeResponse::default().encode_to_vec()), Found::Miss);
        let mut changed = put.value.to_vec();
        changed[50] ^= 1;
        for (key, value, why) in [
            (&*key, &changed[..], "never put there"),
            (&*key, &put.value[1..], "never put there"),
            ("load/strange", &put.value[..], "came"),
        ] {
            let answer = read(key, value);
            assert_eq!(gets.learn(&get, &answer), Found::Wrong, "{why}");
            assert!(gets.wrong(&get, &answer).contains(why));
        }
        // Somebody else's value is an error only where nobody else writes.
        gets.verify.strict = false;
        assert_eq!(gets.learn(&get, &read(&key, b"what another program has put")), Found::Hit);
        assert_eq!(
            (gets.facts()["values verified"], gets.facts()["values of other programs"]),
            (1.0, 1.0)
        );
        gets.verify = Verify { every: 3, strict: true };
        gets.until_verify = 3;
        let wrong = read(&key, &changed);
        let found: Vec<Found> = (0..6).map(|_| gets.learn(&get, &wrong)).collect();
        assert_eq!(found.iter().filter(|&&found| found == Found::Wrong).count(), 2, "{found:?}");
    }

    #[test]
    fn an_owner_of_a_key_never_meets_its_own_writes() {
        let mut source = source("kubernetes:5");
        let mut under_way: Vec<Planned> = Vec::new();
        let header = Some(pb::ResponseHeader { revision: 9, ..Default::default() });
        let done = pb::TxnResponse { header, succeeded: true, ..Default::default() };
        let mut guarded = 0;
        for _ in 0..2000 {
            let planned = source.plan();
            if source.workload.steps[usize::from(planned.step)].action != Action::Cas {
                continue;
            }
            let family =
                |planned: &Planned| source.workload.steps[usize::from(planned.step)].family;
            let meets = under_way
                .iter()
                .any(|other| other.key == planned.key && family(other) == family(&planned));
            assert!(!meets, "{planned:?}");
            guarded += u32::from(planned.guard == Some(9));
            under_way.push(planned);
            if under_way.len() > 2 {
                let over = under_way.remove(0);
                assert_eq!(source.learn(&over, &done.encode_to_vec()), Found::Hit);
            }
        }
        assert!(guarded > 100, "{guarded}");
    }

    #[test]
    fn acknowledged_values_are_those_that_were_sent() {
        let mut source = source("put");
        let planned = source.plan();
        let put: pb::PutRequest = written(&mut source, &planned);
        let mut changes = 0;
        source.changes(&planned, |change| {
            let expected = Change::Put { key: &put.key, value_hash: xxh3_64(&put.value) };
            assert_eq!(change, expected);
            changes += 1;
        });
        assert_eq!(changes, 1);
    }
}
