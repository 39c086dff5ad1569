//! Random worlds: writes, mail in any order, slow clients, compactions, epochs.

use super::world::{INTERVAL, World, create, range};
use crate::types::{Blob, Revision, WatchCreate, WatchId, WatchRequest, WatchStream};

const KEYS: [&str; 7] = ["a", "b", "ba", "bb", "c", "d", "e"];

#[test]
fn whatever_the_order_everybody_is_told_everything_once() {
    for seed in 0..300 {
        let mut world = World::new(1 + (seed % 4) as u16, seed * 7919 + 13);
        world.visits = [1, 3, 1000][seed as usize % 3];
        // Large ones fill the rooms of streams and push one another out of what is recent.
        let bytes = [5, 100_000, 900_000][seed as usize / 3 % 3];
        world.value = Blob::from(vec![b'v'; bytes]);
        for _ in 0..400 {
            step(&mut world);
        }
        world.settle();
        let World { clients, line, stable, .. } = &mut world;
        for client in clients.values_mut() {
            client.forget_progress();
            client.assert_owed_nothing(line, *stable);
        }
        let streams: Vec<WatchStream> = clients.keys().copied().collect();
        streams.into_iter().for_each(|stream| world.close(stream));
        for at in 0..world.shards.len() {
            while !world.shards[at].asks.is_empty() {
                world.serve(at);
            }
        }
        world.write(&KEYS.map(|key| (key, false)));
        let told = world.shards.iter().map(|shard| shard.told.len()).sum::<usize>();
        assert_eq!(told, 0, "nobody wants anything any more");
        let counts = world.hub.counts();
        assert_eq!((counts.streams, counts.watchers, counts.unsynced), (0, 0, 0));
    }
}

fn step(world: &mut World) {
    let shards = world.shards.len() as u64;
    match world.draw(40) {
        0..=7 => write(world),
        8..=12 => {
            let pending = world.newest.0 - world.stable.0;
            world.stable = Revision(world.stable.0 + world.draw(pending as u64 + 1) as i64);
        }
        13..=19 => {
            let at = world.draw(shards) as usize;
            world.serve(at);
        }
        20..=22 => {
            let at = world.draw(shards) as usize;
            world.deliver(at);
        }
        23..=27 => world.advance(),
        28 => {
            let below = world.stable.0 - world.compacted.0.max(0) + 1;
            if world.draw(3) == 0 {
                let by = world.draw(below as u64) as i64;
                world.compacted = Revision(world.compacted.0.max(0) + by);
            }
        }
        29 => {
            if world.draw(3) == 0 {
                let pending = world.newest.0 - world.stable.0;
                let cut = world.stable.0 + world.draw(pending as u64 + 1) as i64;
                world.change_epoch(Revision(cut));
            }
        }
        30 => world.tick(INTERVAL / 3),
        31 => {
            if world.clients.len() < 4 {
                world.open();
            } else if world.draw(4) == 0 {
                let stream = stream(world).expect("there are some");
                world.close(stream);
            }
        }
        32..=34 => {
            if let Some(stream) = stream(world) {
                world.drain(stream);
            }
        }
        _ => {
            if let Some(stream) = stream(world) {
                request(world, stream);
            }
        }
    }
}

fn stream(world: &mut World) -> Option<WatchStream> {
    let streams: Vec<_> = world.clients.keys().copied().collect();
    (!streams.is_empty()).then(|| streams[world.draw(streams.len() as u64) as usize])
}

fn write(world: &mut World) {
    let count = 1 + world.draw(3) * world.draw(2);
    let mut changes: Vec<(&str, bool)> = Vec::new();
    for _ in 0..count {
        let key = KEYS[world.draw(7) as usize];
        if changes.iter().all(|(other, _)| *other != key) {
            changes.push((key, world.draw(4) == 0));
        }
    }
    // A revision changes something.
    if changes.iter().all(|(_, deletes)| *deletes) {
        changes[0].1 = false;
    }
    world.write(&changes);
}

fn request(world: &mut World, stream: WatchStream) {
    let ids = world.clients[&stream].ids();
    let request = match world.draw(8) {
        0 | 1 if !ids.is_empty() => {
            WatchRequest::Cancel(ids[world.draw(ids.len() as u64) as usize])
        }
        2 => WatchRequest::Cancel(WatchId(77)),
        3 => WatchRequest::Progress,
        _ => WatchRequest::Create(draw_create(world)),
    };
    world.ask(stream, request);
}

fn draw_create(world: &mut World) -> WatchCreate {
    let key = KEYS[world.draw(7) as usize];
    let end = ["", "", "\0", "bb", "d", "a"][world.draw(6) as usize];
    let start = match world.draw(8) {
        0..=3 => 0,
        4 => world.draw(world.newest.0 as u64 + 4) as i64,
        5 => world.draw(world.stable.0 as u64 + 1) as i64,
        6 => world.compacted.0.max(-1),
        _ => world.stable.0 + 1,
    };
    let filter = world.draw(6);
    WatchCreate {
        id: WatchId([0, 0, 0, 3, -7][world.draw(5) as usize]),
        progress_notify: world.draw(2) == 0,
        prev_kv: world.draw(2) == 0,
        no_put: filter == 0,
        no_delete: filter == 1,
        ..create(range(key, end), start)
    }
}
