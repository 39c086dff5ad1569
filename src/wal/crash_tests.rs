//! The log and the checkpoints against a simple model, over random lives with crashes in them.
//!
//! A life appends, replaces, votes, takes checkpoints, truncates, is sent checkpoints that are
//! ahead of it, and is cut short at any point, with every operation in flight done in part. The
//! next life recovers from what is left. It must find one of the states the model went through, in
//! the order it did, none older than what was reported persisted.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::fake::{FakeDisk, OWNER};
use super::*;
use crate::chance::Chance;
use crate::types::{EntryKind, HardState, LogEntry, LogIndex, Revision, Term};

/// Segments of 15 blocks, batches of two blocks at most.
fn config() -> Config {
    Config::with_sizes(OWNER, 60 << 10, 7000)
}

/// What a group must find again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    /// Index to (term, bytes); without gaps from 1.
    entries: BTreeMap<u64, (u64, Bytes)>,
    hard: HardState,
}

impl State {
    fn last(&self) -> u64 {
        self.entries.last_key_value().map_or(0, |last| *last.0)
    }

    fn put(&mut self, entry: &LogEntry) {
        self.entries.split_off(&entry.index.0);
        self.entries.insert(entry.index.0, (entry.term.0, entry.data.clone()));
    }
}

struct Life {
    disk: FakeDisk,
    log: Log,
    checkpoints: Checkpoints,
    flying: VecDeque<(OpId, DiskOp)>,
    /// The newest state, and the ones since the last persisted, each with the ticket whose last
    /// step it is; 0 for steps in between.
    state: State,
    steps: VecDeque<(u64, State)>,
    ticket: u64,
    /// A checkpoint from elsewhere, being written: its state.
    sent: Option<State>,
    /// The state of the one being written.
    written: State,
    published: u64,
}

/// The state up to `index`, as the chunks of a checkpoint.
fn chunks(state: &State, index: u64) -> Vec<Bytes> {
    let chunk = |(_, (term, data)): (&u64, &(u64, Bytes))| {
        let mut bytes = term.to_le_bytes().to_vec();
        bytes.extend_from_slice(data);
        Bytes::from(bytes)
    };
    state.entries.range(..=index).map(chunk).collect()
}

impl Life {
    fn open(disk: FakeDisk, seed: u64) -> (Life, State) {
        let mut state = State::default();
        let mut covered = 0;
        let (recovered, checkpoints) = {
            let opened = recover(&disk, config()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            assert!(opened.damaged.is_empty());
            if let Some(mut checkpoint) = opened.checkpoint {
                while let Some(chunk) = checkpoint.next_chunk().unwrap() {
                    let term = u64::from_le_bytes(chunk[..8].try_into().unwrap());
                    state.entries.insert(state.last() + 1, (term, chunk.slice(8..)));
                }
                covered = checkpoint.header().index.0;
                assert_eq!(state.last(), covered);
            }
            let mut log = opened.log;
            let mut items = Vec::new();
            while log.next_batch(&mut items).unwrap() {}
            for item in &items {
                match item {
                    Item::Entry(entry) if entry.index.0 > covered => state.put(entry),
                    Item::Restart { .. } => drop(state.entries.split_off(&(covered + 1))),
                    Item::Superseded { from } => {
                        drop(state.entries.split_off(&from.0.max(covered + 1)));
                    }
                    Item::Entry(_) | Item::HardState(_) | Item::Note(_) => {}
                }
            }
            (log.finish().unwrap(), opened.checkpoints)
        };
        state.hard = recovered.hard_state;
        assert_eq!(recovered.last.0, state.last(), "seed {seed}");
        let life = Life {
            disk,
            log: recovered.log,
            checkpoints,
            flying: VecDeque::new(),
            state: state.clone(),
            steps: VecDeque::from([(0, state.clone())]),
            ticket: 0,
            sent: None,
            written: State::default(),
            published: covered,
        };
        (life, state)
    }

    fn step(&mut self, chance: &mut Chance) {
        match chance.below(12) {
            0..=4 => self.append(chance),
            5 => self.checkpoint(chance),
            6 if self.sent.is_none() => self.receive(chance),
            7 if chance.below(8) == 0 => self.log.seal(),
            7 if chance.below(8) == 0 => self.log.give_back(),
            7 if chance.below(8) == 0 => self.log.end_giving_back(),
            _ => self.work(chance),
        }
        while let Some(op) = self.log.poll() {
            self.flying.push_back(op);
        }
        while let Some(op) = self.checkpoints.poll() {
            self.flying.push_back(op);
        }
        while self.steps.iter().skip(1).any(|step| step.0 != 0 && step.0 <= self.log.persisted()) {
            self.steps.pop_front();
        }
    }

    fn append(&mut self, chance: &mut Chance) {
        if self.sent.is_some() {
            return; // as Raft: what is sent replaces the log
        }
        let mut steps = Vec::new();
        let mut hard = self.state.hard;
        if chance.below(4) == 0 {
            hard = HardState { term: Term(hard.term.0 + 1), vote: chance.below(3), ..hard };
        }
        let uncommitted = self.state.last() - hard.commit.0;
        let replaced = if chance.below(5) == 0 { chance.below(uncommitted + 1) } else { 0 };
        let first = self.state.last() + 1 - replaced;
        // Now and then larger than a segment, so that it goes in parts.
        let most = [12_000, 900, 900, 900, 900, 150_000][chance.below(6) as usize];
        let mut entries = Vec::new();
        for index in first..first + chance.below(4) {
            let len = chance.below(most) as usize;
            let data = Bytes::from(vec![chance.number() as u8; len]);
            let kind = EntryKind::Normal;
            entries.push(LogEntry { index: LogIndex(index), term: hard.term, kind, data });
        }
        let promise = HardState { commit: self.state.hard.commit, ..hard };
        self.state.hard = promise;
        steps.push(self.state.clone());
        for entry in &entries {
            self.state.put(entry);
            steps.push(self.state.clone());
        }
        let room = self.state.last() - hard.commit.0;
        hard.commit.0 += chance.below(room + 1);
        self.state.hard = hard;
        self.ticket += 1;
        let bytes: usize = entries.iter().map(|entry| entry.data.len() + 24).sum();
        if bytes + 32 > config().batch_bytes_max {
            self.steps.extend(steps.into_iter().map(|step| (0, step)));
        }
        self.steps.push_back((self.ticket, self.state.clone()));
        self.log.append(self.ticket, &entries, Some(hard));
    }

    fn checkpoint(&mut self, chance: &mut Chance) {
        let persisted = &self.steps[0].1;
        let commit = persisted.hard.commit.0;
        if self.checkpoints.is_writing() || commit <= self.checkpoints.newest().0 {
            return;
        }
        let index = commit - chance.below(commit - self.checkpoints.newest().0);
        self.written = persisted.clone();
        self.write_checkpoint(index);
    }

    /// As a follower that is sent a checkpoint.
    fn receive(&mut self, chance: &mut Chance) {
        if self.checkpoints.is_writing() || !self.log.is_prepared() || chance.below(4) > 0 {
            return;
        }
        let mut state = self.state.clone();
        state.entries.split_off(&(state.hard.commit.0 + 1));
        state.hard = HardState { term: Term(state.hard.term.0 + 1), vote: 0, ..state.hard };
        for index in state.last() + 1..state.last() + 2 + chance.below(10) {
            let data = Bytes::from(vec![chance.number() as u8; chance.below(100) as usize]);
            state.entries.insert(index, (state.hard.term.0, data));
        }
        state.hard.commit = LogIndex(state.last());
        self.written = state.clone();
        self.write_checkpoint(state.last());
        self.sent = Some(state);
    }

    fn write_checkpoint(&mut self, index: u64) {
        let term = Term(self.written.entries[&index].0);
        self.checkpoints.begin(&CheckpointHeader {
            index: LogIndex(index),
            term,
            stable: Revision(index as i64),
            compact: Revision(0),
            opens: Vec::new(),
            attachment: Bytes::new(),
        });
        chunks(&self.written, index).iter().for_each(|chunk| self.checkpoints.push(chunk));
        self.checkpoints.finish();
    }

    /// One operation in flight ends, whichever.
    fn work(&mut self, chance: &mut Chance) {
        if self.flying.is_empty() {
            return;
        }
        let at = chance.below(self.flying.len() as u64) as usize;
        let (id, op) = self.flying.remove(at).unwrap();
        let outcome = self.disk.apply(op);
        if !id.is_checkpoint() {
            self.log.done(id, outcome).unwrap();
            return;
        }
        if let Some(end) = self.checkpoints.done(id, outcome).unwrap() {
            let CheckpointEnd::Published { index, .. } = end else { panic!("there is space") };
            self.published = index.0;
            if let Some(state) = self.sent.take() {
                self.state = state;
                self.ticket += 1;
                let (index, hard) = (LogIndex(self.state.last()), self.state.hard);
                let term = Term(self.state.entries[&index.0].0);
                self.log.restart(self.ticket, index, term, Some(hard));
                self.steps.push_back((self.ticket, self.state.clone()));
            }
            self.log.truncate(self.checkpoints.log_needed_from());
        }
    }

    fn crash(mut self, chance: &mut Chance) -> (FakeDisk, Vec<State>) {
        let mut allowed: Vec<State> = self.steps.into_iter().map(|step| step.1).collect();
        allowed.extend(self.sent.filter(|_| self.checkpoints.is_writing()));
        for (_, op) in self.flying {
            self.disk.tear(op, chance);
        }
        (self.disk, allowed)
    }
}

/// A recovered group knows what its checkpoint covers to be committed.
fn is_one_of(found: &State, allowed: &[State], covered: u64) -> bool {
    allowed.iter().any(|state| {
        let mut hard = state.hard;
        hard.commit.0 = hard.commit.0.max(covered);
        let same = |one: &HardState, other: &HardState| {
            (one.term, one.vote, one.commit) == (other.term, other.vote, other.commit)
        };
        state.entries == found.entries && same(&hard, &found.hard)
    })
}

fn lives(seed: u64, count: u64, steps: u64) {
    let mut chance = Chance::new(seed);
    let (mut life, _) = Life::open(FakeDisk::default(), seed);
    for number in 0..count {
        for _ in 0..chance.below(steps) {
            life.step(&mut chance);
        }
        let (disk, allowed) = life.crash(&mut chance);
        let (next, found) = Life::open(disk, seed);
        if !is_one_of(&found, &allowed, next.published) {
            let show = |state: &State| (state.last(), state.hard);
            let allowed: Vec<_> = allowed.iter().map(show).collect();
            panic!("seed {seed} life {number}: found {:?}, allowed {allowed:?}", show(&found));
        }
        life = next;
    }
}

#[test]
fn every_life_begins_where_the_one_before_can_have_ended() {
    for seed in 0..120 {
        lives(seed, 12, 60);
    }
}

#[test]
fn long_lives_recycle_and_recover() {
    for seed in 1000..1010 {
        lives(seed, 3, 3000);
    }
}

/// A log of three segments; its files.
fn written() -> FakeDisk {
    let mut disk = FakeDisk::default();
    let mut chance = Chance::new(5);
    let (mut life, _) = Life::open(disk.clone(), 5);
    while life.disk.files.keys().all(|path| !path.contains("00000003.seg")) {
        life.append(&mut chance);
        while let Some((id, op)) = life.log.poll() {
            let outcome = life.disk.apply(op);
            life.log.done(id, outcome).unwrap();
        }
    }
    std::mem::swap(&mut disk, &mut life.disk);
    disk
}

#[test]
fn hostile_bytes_neither_panic_nor_read_as_something_never_written() {
    let good = written();
    let entries = |disk: &FakeDisk| -> Result<Vec<Item>, OpenError> {
        let mut reader = Reader::open(disk, config(), Default::default())?;
        let mut items = Vec::new();
        while reader.next_batch(&mut items)? {}
        reader.finish()?;
        Ok(items)
    };
    let all = entries(&good).unwrap();
    let mut chance = Chance::new(11);
    let mut refused = 0;
    for _ in 0..1200 {
        let mut disk = good.clone();
        let which = chance.below(disk.files.len() as u64) as usize;
        let path = disk.files.keys().nth(which).unwrap().clone();
        let file = disk.files.get_mut(&path).unwrap();
        for _ in 0..1 + chance.below(3) {
            let at = chance.below(file.len() as u64) as usize;
            // Mostly where it hurts: in the headers.
            let at = if chance.below(4) > 0 { at / 4096 * 4096 + at % 160 } else { at };
            match chance.below(4) {
                0 => file[at] ^= 1 << chance.below(8),
                1 => file[at] = 0xff,
                2 => {
                    let end = (at + chance.below(9000) as usize).min(file.len());
                    file[at..end].fill(chance.number() as u8);
                }
                _ => file.truncate(at.max(1)),
            }
        }
        match entries(&disk) {
            Ok(items) => assert!(all.starts_with(&items), "an invented history"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 400, "{refused}");
}
