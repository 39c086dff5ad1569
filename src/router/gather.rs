//! Calls that need something from several shards.

use std::collections::BTreeMap;

use super::merge::Merge;
use crate::line::message::CompareShare;
use crate::line::routed::owners;
use crate::shard::{Ask, ReadPart, ReadPartReply, ShardReply};
use crate::types::txn::{self, Path, PathOp};
use crate::types::{
    Answer, Blob, DefragmentReply, Discarded, HashKvReply, HashReply, LeaseId, OpReply, RangeReply,
    RangeRequest, Refusal, Reply, Revision, ShardId, ShardSet, TxnRequest,
};

/// The step to take after a part came in.
pub(super) enum Step {
    Wait,
    Answer(Answer),
    Ask(Vec<(ShardId, Ask)>),
    /// Every part of a read is here.
    Merge,
    /// The shards have said what keys the lease has; the leader says the rest.
    Leader(LeaseId),
}

/// A range, or a txn that only reads, over several shards at one revision.
#[derive(Debug)]
pub(super) struct GatherRead {
    what: What,
    at: Revision,
    missing: ShardSet,
    compares: Vec<Vec<CompareShare>>,
    /// The operations to read: known at once, or after the compares.
    path: Option<Path>,
    parts: Vec<Vec<RangeReply>>,
    /// A compaction overtook some part.
    overtaken: bool,
    /// The replies that were read before it began again.
    stale: Vec<RangeReply>,
}

#[derive(Debug)]
enum What {
    Range(RangeRequest),
    Txn(TxnRequest),
}

impl GatherRead {
    pub fn range(request: RangeRequest) -> GatherRead {
        // Outside a txn, negatives are the latest too.
        let revision = request.revision.max(0);
        GatherRead::of(What::Range(RangeRequest { revision, ..request }))
    }

    pub fn txn(request: TxnRequest) -> GatherRead {
        GatherRead::of(What::Txn(request))
    }

    fn of(what: What) -> GatherRead {
        GatherRead {
            what,
            at: Revision::EMPTY,
            missing: ShardSet::EMPTY,
            compares: Vec::new(),
            path: None,
            parts: Vec::new(),
            overtaken: false,
            stale: Vec::new(),
        }
    }

    /// Begins (again) at `stable`.
    pub fn begin(&mut self, stable: Revision, shards: u16) -> Result<(), Refusal> {
        self.at = stable;
        self.overtaken = false;
        self.compares.clear();
        self.path = None;
        match &self.what {
            What::Range(range) => {
                let path = Path::of(PathOp::Range(range.clone()));
                self.set_path(path)?;
            }
            What::Txn(txn) => {
                let compares = txn::compares(txn);
                self.compares = vec![Vec::new(); compares.len()];
                if compares.is_empty() {
                    let path = txn::choose(txn, &[]);
                    self.set_path(path)?;
                }
            }
        }
        self.missing = self.asked(shards);
        Ok(())
    }

    fn set_path(&mut self, path: Path) -> Result<(), Refusal> {
        let parts = path.ops.iter().map(|_| Vec::new()).collect();
        self.stale.extend(std::mem::replace(&mut self.parts, parts).into_iter().flatten());
        for op in &path.ops {
            let PathOp::Range(range) = op else { unreachable!("it only reads") };
            if range.revision > self.at.0 {
                return Err(Refusal::FutureRevision);
            }
        }
        self.path = Some(path);
        Ok(())
    }

    /// The shards that have a part in what is asked now.
    fn asked(&self, shards: u16) -> ShardSet {
        let ranges = self.ranges_asked();
        ranges.into_iter().fold(ShardSet::EMPTY, |all, range| all.union(owners(range, shards)))
    }

    fn ranges_asked(&self) -> Vec<&crate::types::KeyRange> {
        match (&self.path, &self.what) {
            (Some(path), _) => path
                .ops
                .iter()
                .map(|op| match op {
                    PathOp::Range(range) => &range.range,
                    _ => unreachable!("it only reads"),
                })
                .collect(),
            (None, What::Txn(txn)) => {
                txn::compares(txn).into_iter().map(|compare| &compare.range).collect()
            }
            (None, What::Range(_)) => unreachable!("the path of a range is known"),
        }
    }

    /// Returns the requests to send to each shard now.
    pub fn asks(&self, shards: u16) -> Vec<(ShardId, Ask)> {
        let mut parts: BTreeMap<ShardId, ReadPart> = BTreeMap::new();
        let empty = || ReadPart { at: self.at, compares: Vec::new(), ranges: Vec::new() };
        match (&self.path, &self.what) {
            (Some(path), _) => {
                for (position, op) in path.ops.iter().enumerate() {
                    let PathOp::Range(range) = op else { unreachable!("it only reads") };
                    for shard in owners(&range.range, shards).iter() {
                        let part = parts.entry(shard).or_insert_with(empty);
                        part.ranges.push((txn::sub(position), range.part()));
                    }
                }
            }
            (None, What::Txn(txn)) => {
                for (number, compare) in (0..).zip(txn::compares(txn)) {
                    for shard in owners(&compare.range, shards).iter() {
                        let part = parts.entry(shard).or_insert_with(empty);
                        part.compares.push((number, compare.clone()));
                    }
                }
            }
            (None, What::Range(_)) => unreachable!("the path of a range is known"),
        }
        parts.into_iter().map(|(shard, part)| (shard, Ask::Part(part))).collect()
    }

    /// Takes a shard's part.
    pub fn take(
        &mut self,
        shard: ShardId,
        part: Result<ReadPartReply, Refusal>,
        stable: Revision,
        shards: u16,
    ) -> Step {
        assert!(self.missing.remove(shard), "a shard answered twice");
        match part {
            Ok(part) => {
                for (number, share) in part.compares {
                    self.compares[number as usize].push(share);
                }
                for (sub, range) in part.ranges {
                    self.parts[sub.0 as usize].push(range);
                }
            }
            Err(Refusal::Compacted) => self.overtaken = true,
            Err(other) => return Step::Answer(Err(other)),
        }
        if !self.missing.is_empty() {
            return Step::Wait;
        }
        if self.overtaken {
            return self.again(stable, shards);
        }
        if self.path.is_none() {
            return self.read_path(shards);
        }
        Step::Merge
    }

    /// Starts again at a newer stable, unless an old revision was asked for.
    fn again(&mut self, stable: Revision, shards: u16) -> Step {
        let asks_old = self
            .path
            .iter()
            .flat_map(|path| &path.ops)
            .any(|op| matches!(op, PathOp::Range(range) if range.revision != 0));
        if asks_old {
            return Step::Answer(Err(Refusal::Compacted));
        }
        match self.begin(stable, shards) {
            Ok(()) => Step::Ask(self.asks(shards)),
            Err(refusal) => Step::Answer(Err(refusal)),
        }
    }

    /// Every compare is answered: read what the branches ask for, at the same revision.
    fn read_path(&mut self, shards: u16) -> Step {
        let What::Txn(txn) = &self.what else { unreachable!("a range has no compares") };
        let holds: Vec<bool> = self
            .compares
            .iter()
            .map(|shares| CompareShare::combine(shares.iter().copied()))
            .collect();
        let path = txn::choose(txn, &holds);
        if let Err(refusal) = self.set_path(path) {
            return Step::Answer(Err(refusal));
        }
        self.missing = self.asked(shards);
        if self.missing.is_empty() {
            return Step::Merge;
        }
        Step::Ask(self.asks(shards))
    }

    /// The merge of the parts, once every part of the path is here.
    pub fn merge(&mut self, run_keys: usize) -> Merge {
        let path = self.path.as_ref().expect("the path is read");
        let parts = std::mem::take(&mut self.parts).into_iter();
        let parts = parts.map(|parts| parts.into_iter().map(OpReply::Range).collect());
        Merge::new(path.ops.iter().zip(parts), run_keys)
    }

    /// The answer, from the replies to the operations of the path.
    pub fn answer(&mut self, mut replies: Vec<OpReply>) -> Reply {
        let path = self.path.take().expect("the path is read");
        match &self.what {
            What::Range(_) => {
                let Some(OpReply::Range(mut reply)) = replies.pop() else {
                    unreachable!("one range")
                };
                reply.revision = self.at;
                Reply::Range(reply)
            }
            What::Txn(_) => Reply::Txn(path.assemble(replies, self.at)),
        }
    }

    /// The shards that have not answered yet.
    pub fn missing(&self) -> ShardSet {
        self.missing
    }

    /// Nobody wants it any more.
    pub fn discard(self, discarded: &mut Discarded) {
        let parts = self.parts.into_iter().flatten().chain(self.stale);
        parts.for_each(|part| discarded.put(part.kvs));
    }
}

/// Something from every shard that concerns no keys.
#[derive(Debug)]
pub(super) struct Gather {
    what: Whole,
    missing: ShardSet,
    hash: u32,
    /// The compact revisions that the shards' hashes hold for: they must agree.
    compacted: Option<i64>,
    disagreed: bool,
    refused: Option<Refusal>,
    keys: Vec<Blob>,
}

#[derive(Clone, Copy, Debug)]
enum Whole {
    Hash { at: Revision },
    HashKv { at: Revision, latest: bool },
    Defragment,
    LeaseKeys(LeaseId),
}

impl Gather {
    pub fn hash(at: Revision, shards: u16) -> Gather {
        Gather::of(Whole::Hash { at }, shards)
    }

    /// `latest`: the caller asked for the newest revision, whichever that is.
    pub fn hash_kv(at: Revision, latest: bool, shards: u16) -> Gather {
        Gather::of(Whole::HashKv { at, latest }, shards)
    }

    pub fn defragment(shards: u16) -> Gather {
        Gather::of(Whole::Defragment, shards)
    }

    pub fn lease_keys(lease: LeaseId, shards: u16) -> Gather {
        Gather::of(Whole::LeaseKeys(lease), shards)
    }

    fn of(what: Whole, shards: u16) -> Gather {
        let missing = ShardSet::all(shards);
        Gather {
            what,
            missing,
            hash: 0,
            compacted: None,
            disagreed: false,
            refused: None,
            keys: Vec::new(),
        }
    }

    /// Whether it is a defragmentation, which writes checkpoints and takes its time.
    pub fn is_defragment(&self) -> bool {
        matches!(self.what, Whole::Defragment)
    }

    /// The shards that have not replied yet.
    pub fn missing(&self) -> ShardSet {
        self.missing
    }

    /// Takes the keys that the shards have sent, in order.
    pub fn take_keys(&mut self) -> Vec<Blob> {
        self.keys.sort_unstable();
        std::mem::take(&mut self.keys)
    }

    pub fn ask(&self) -> Ask {
        match self.what {
            Whole::Hash { at } | Whole::HashKv { at, .. } => Ask::Hash { at },
            Whole::Defragment => Ask::Defragment,
            Whole::LeaseKeys(lease) => Ask::LeaseKeys { lease },
        }
    }

    pub fn take(
        &mut self,
        shard: ShardId,
        reply: ShardReply,
        stable: Revision,
        shards: u16,
    ) -> Step {
        assert!(self.missing.remove(shard), "a shard answered twice");
        match reply {
            ShardReply::Hash(Ok((hash, compacted))) => {
                self.hash = self.hash.wrapping_add(hash);
                self.disagreed |= self.compacted.is_some_and(|other| other != compacted);
                self.compacted = Some(compacted);
            }
            ShardReply::Hash(Err(refusal)) => self.refused = Some(refusal),
            ShardReply::Defragmented => {}
            ShardReply::LeaseKeys(mut keys) => self.keys.append(&mut keys),
            // The epoch is over, and with it what the shard saw.
            ShardReply::Answer(Err(refusal)) => self.refused = Some(refusal),
            ShardReply::Answer(Ok(_)) | ShardReply::Part(_) => unreachable!("not asked for"),
        }
        if !self.missing.is_empty() {
            return Step::Wait;
        }
        let overtaken = self.refused == Some(Refusal::Compacted);
        let again = match self.what {
            // A compaction is on its way through the shards: ask again, it will be everywhere.
            what if self.disagreed && self.refused.is_none() => Some(what),
            Whole::Hash { .. } if overtaken => Some(Whole::Hash { at: stable }),
            Whole::HashKv { latest: true, .. } if overtaken => {
                Some(Whole::HashKv { at: stable, latest: true })
            }
            _ => None,
        };
        if let Some(what) = again {
            *self = Gather::of(what, shards);
            let ask = self.ask();
            return Step::Ask(ShardSet::all(shards).iter().map(|s| (s, ask.clone())).collect());
        }
        if let Some(refusal) = self.refused.take() {
            return Step::Answer(Err(refusal));
        }
        if let Whole::LeaseKeys(lease) = self.what {
            return Step::Leader(lease);
        }
        Step::Answer(Ok(self.reply(stable)))
    }

    fn reply(&self, stable: Revision) -> Reply {
        let (revision, hash) = (stable, self.hash);
        match self.what {
            Whole::Hash { .. } => Reply::Hash(HashReply { revision, hash }),
            Whole::HashKv { at, .. } => Reply::HashKv(HashKvReply {
                revision,
                hash,
                compact_revision: self.compacted.unwrap_or(-1),
                hash_revision: at.0,
            }),
            Whole::Defragment => Reply::Defragment(DefragmentReply {}),
            Whole::LeaseKeys(_) => unreachable!("the leader's reply"),
        }
    }
}
