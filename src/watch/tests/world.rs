//! The world around a hub: shards that keep all that happened in a list, mail that takes its time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::client::Client;
use crate::chance::Chance;
use crate::types::placement::shard_of;
use crate::types::{
    Blob, CoreId, Epoch, Event, KeyRange, KeyValue, LeaseId, Nanos, Revision, ShardId, Sub,
    WatchCreate, WatchRequest, WatchStream,
};
use crate::watch::{
    Compacted, HistoryAsk, HistoryPart, Hub, HubConfig, HubEffects, HubMessage, Interest, WatchAsk,
    WatchLimits,
};

pub const CORE: CoreId = CoreId(3);
/// Between two notifications of progress.
pub const INTERVAL: u64 = 1000;

pub struct World {
    pub hub: Hub,
    pub shards: Vec<Shard>,
    /// Everything that happened, in order.
    pub line: Vec<Arc<Event>>,
    pub newest: Revision,
    pub stable: Revision,
    pub compacted: Revision,
    pub epoch: Epoch,
    pub clients: BTreeMap<WatchStream, Client>,
    pub now: Nanos,
    /// A shard looks at so many changes of its history at a time.
    pub visits: usize,
    /// What values weigh.
    pub value: Blob,
    chance: Chance,
}

pub struct Shard {
    interest: Interest,
    events: Vec<Arc<Event>>,
    pub asks: VecDeque<WatchAsk>,
    pub told: VecDeque<HubMessage>,
}

impl World {
    pub fn new(shards: u16, seed: u64) -> World {
        let mut world = World::before_an_epoch(shards, seed);
        world.hub.opened(world.epoch, Revision(1));
        world.advance();
        world
    }

    /// The hub has been told of no epoch yet.
    pub fn before_an_epoch(shards: u16, seed: u64) -> World {
        let limits = WatchLimits::default();
        let config = HubConfig { shards, seed, progress_interval: INTERVAL, limits };
        let shard = || Shard {
            interest: Interest::new(seed),
            events: Vec::new(),
            asks: VecDeque::new(),
            told: VecDeque::new(),
        };
        World {
            hub: Hub::new(config),
            shards: (0..shards).map(|_| shard()).collect(),
            line: Vec::new(),
            newest: Revision(1),
            stable: Revision(1),
            compacted: Revision(-1),
            epoch: Epoch(1),
            clients: BTreeMap::new(),
            now: Nanos(0),
            visits: 1000,
            value: Blob::from(&b"value"[..]),
            chance: Chance::new(seed),
        }
    }

    pub fn draw(&mut self, below: u64) -> u64 {
        self.chance.below(below)
    }

    /// One revision: each key is put, or deleted if it is there and `true` says so. It is pending.
    pub fn write(&mut self, changes: &[(&str, bool)]) -> Revision {
        self.newest = self.newest.next();
        let revision = self.newest;
        let mut by_shard: BTreeMap<u16, Vec<Arc<Event>>> = BTreeMap::new();
        for (sub, (key, deletes)) in changes.iter().enumerate() {
            let before = self.line.iter().rev().find(|event| &event.key[..] == key.as_bytes());
            let prev = before.and_then(|event| event.put.clone());
            if *deletes && prev.is_none() {
                continue;
            }
            let blob = Blob::from(key.as_bytes());
            let put = (!deletes).then(|| KeyValue {
                key: blob.clone(),
                value: self.value.clone(),
                create: prev.as_ref().map_or(revision.0, |kv| kv.create),
                modified: revision.0,
                version: prev.as_ref().map_or(1, |kv| kv.version + 1),
                lease: LeaseId::NONE,
            });
            let event = Arc::new(Event::new(revision, Sub(sub as u32), blob, put, prev));
            self.line.push(Arc::clone(&event));
            by_shard.entry(self.shard_of(key.as_bytes())).or_default().push(event);
        }
        for (shard, events) in by_shard {
            let epoch = self.epoch;
            let shard = &mut self.shards[usize::from(shard)];
            let after = shard.events.last().map_or(Revision(0), |event| event.revision);
            let wanted = |event: &&Arc<Event>| !shard.interest.cores_of(&event.key).is_empty();
            let told: Vec<_> = events.iter().filter(wanted).cloned().collect();
            shard.events.extend(events);
            if !told.is_empty() {
                shard.told.push_back(HubMessage::Events { epoch, after, events: told });
            }
        }
        revision
    }

    fn shard_of(&self, key: &[u8]) -> u16 {
        shard_of(key, self.shards.len() as u16).0
    }

    /// A shard takes its oldest ask.
    pub fn serve(&mut self, at: usize) {
        let (compacted, visits) = (self.compacted, self.visits);
        let shard = &mut self.shards[at];
        let Some(ask) = shard.asks.pop_front() else { return };
        match ask {
            WatchAsk::Add { topic, keys } => {
                shard.interest.add(keys, CORE);
                let newest = shard.events.last().map_or(Revision(1), |event| event.revision);
                let epoch = self.epoch;
                shard.told.push_back(HubMessage::Added { topic, epoch, newest });
            }
            WatchAsk::Drop { keys } => shard.interest.drop(&keys, CORE),
            WatchAsk::History(ask) => {
                let fetch = ask.fetch;
                let part = shard.history(&ask, compacted, visits);
                shard.told.push_back(HubMessage::History { fetch, part });
            }
        }
    }

    /// The hub takes the oldest word of a shard.
    pub fn deliver(&mut self, at: usize) {
        let Some(told) = self.shards[at].told.pop_front() else { return };
        let mut effects = HubEffects::default();
        self.hub.receive(ShardId(at as u16), told, &mut effects);
        self.take(effects);
    }

    /// As a core's turn: looks at stable, takes all mail, tells.
    pub fn advance(&mut self) {
        let stable = self.stable;
        for at in 0..self.shards.len() {
            while !self.shards[at].told.is_empty() {
                self.deliver(at);
            }
        }
        let mut effects = HubEffects::default();
        self.hub.advance(stable, &mut effects);
        self.take(effects);
    }

    /// Nothing is under way any more: everything is stable and told, clients take everything.
    pub fn settle(&mut self) {
        self.stable = self.newest;
        for _ in 0..2000 {
            for at in 0..self.shards.len() {
                while !self.shards[at].asks.is_empty() {
                    self.serve(at);
                }
            }
            self.advance();
            let streams: Vec<_> = self.clients.keys().copied().collect();
            streams.into_iter().for_each(|stream| self.drain(stream));
            let idle = self.shards.iter().all(|shard| shard.asks.is_empty());
            if idle && !self.hub.is_stirred() && self.hub.waits_for().is_none() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// The epoch ends; the next one inherits up to `cut`.
    pub fn change_epoch(&mut self, cut: Revision) {
        assert!(cut >= self.stable);
        self.epoch = Epoch(self.epoch.0 + 1);
        self.newest = cut;
        self.line.retain(|event| event.revision <= cut);
        for shard in &mut self.shards {
            shard.events.retain(|event| event.revision <= cut);
        }
        self.hub.opened(self.epoch, cut);
    }

    pub fn tick(&mut self, nanos: u64) {
        self.now = Nanos(self.now.0 + nanos);
        let entropy = self.draw(u64::MAX >> 33);
        let mut effects = HubEffects::default();
        self.hub.tick(self.now, entropy, &mut effects);
        self.take(effects);
    }

    pub fn open(&mut self) -> WatchStream {
        let stream = self.hub.open(self.now);
        self.clients.insert(stream, Client::default());
        stream
    }

    pub fn close(&mut self, stream: WatchStream) {
        self.clients.remove(&stream);
        let mut effects = HubEffects::default();
        self.hub.close(stream, &mut effects);
        assert!(effects.replies.is_empty());
        self.take(effects);
    }

    pub fn ask(&mut self, stream: WatchStream, request: WatchRequest) {
        let mut effects = HubEffects::default();
        self.clients.get_mut(&stream).expect("open").asks(&request, self.stable);
        self.hub.ask(stream, request, self.stable, &mut effects);
        self.take(effects);
    }

    /// The client takes all that it was given.
    pub fn drain(&mut self, stream: WatchStream) {
        let bytes = std::mem::take(&mut self.clients.get_mut(&stream).expect("open").bytes);
        self.hub.sent(stream, bytes);
    }

    fn take(&mut self, effects: HubEffects) {
        for (shard, ask) in effects.asks {
            self.shards[usize::from(shard.0)].asks.push_back(ask);
        }
        for (stream, reply) in effects.replies {
            let client = self.clients.get_mut(&stream).expect("nothing is told to a closed stream");
            client.told(reply, &self.line, self.stable, self.compacted);
        }
    }

    /// A stream with one watcher, which has been told that it lives.
    pub fn watch(&mut self, create: WatchCreate) -> WatchStream {
        let stream = self.open();
        self.ask(stream, WatchRequest::Create(create));
        stream
    }
}

impl Shard {
    fn history(
        &self,
        ask: &HistoryAsk,
        compacted: Revision,
        visits: usize,
    ) -> Result<HistoryPart, Compacted> {
        if ask.after.0 + 1 < compacted.0 {
            return Err(Compacted(compacted));
        }
        let above = self.events.iter().filter(|e| e.revision > ask.after && e.revision <= ask.to);
        let mut part = HistoryPart { events: Vec::new(), through: ask.to };
        let mut last = ask.after;
        for (visited, event) in above.enumerate() {
            if visited >= visits && event.revision != last {
                part.through = last;
                break;
            }
            last = event.revision;
            if ask.keys.contains(&event.key) {
                part.events.push(Arc::clone(event));
            }
        }
        Ok(part)
    }
}

pub fn range(key: &str, end: &str) -> KeyRange {
    KeyRange::from_api(Bytes::from(key.to_owned()), Bytes::from(end.to_owned()))
}

pub fn create(range: KeyRange, start: i64) -> WatchCreate {
    WatchCreate { prev_kv: true, ..WatchCreate::of(range, start) }
}
