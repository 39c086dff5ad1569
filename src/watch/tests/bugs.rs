//! Bugs that etcd has had, by the number of its issue, and what a hub must do instead; then its
//! peculiarities that clients rely on.

use super::world::{INTERVAL, World, create, range};
use crate::limits::{WATCH_FETCHES_MAX, WATCH_REQUESTS_MAX, WATCH_STREAM_BYTES_MAX};
use crate::types::{
    Blob, Revision, WatchCreate, WatchEvents, WatchId, WatchReply, WatchRequest, WatchStream,
};
use crate::watch::{HubEffects, WatchAsk};

impl World {
    /// Shards and hub talk until nothing is under way; nothing becomes stable by that.
    fn talk(&mut self) {
        for _ in 0..200 {
            for at in 0..self.shards.len() {
                while !self.shards[at].asks.is_empty() {
                    self.serve(at);
                }
            }
            self.advance();
        }
    }

    /// Writes, and all of it is stable and told.
    fn put(&mut self, key: &str) -> Revision {
        let revision = self.write(&[(key, false)]);
        self.stable = revision;
        self.talk();
        revision
    }

    /// What a stream was told since this was last asked, in short.
    fn said(&mut self, stream: WatchStream) -> Vec<String> {
        let replies = &mut self.clients.get_mut(&stream).expect("open").replies;
        std::mem::take(replies).iter().map(short).collect()
    }
}

fn short(reply: &WatchReply) -> String {
    match reply {
        WatchReply::Created { id, revision } => format!("{} lives at {revision}", id.0),
        WatchReply::Refused { reason, .. } => format!("refused: {reason:?}"),
        WatchReply::Events(WatchEvents { id, revision, events, .. }) => {
            let of = |e: &crate::types::Event| {
                let sign = if e.put.is_some() { "" } else { "-" };
                format!(" {}{sign}{}", e.revision, String::from_utf8_lossy(&e.key))
            };
            let events: String = events.iter().map(|event| of(event)).collect();
            format!("{} at {revision}:{events}", id.0)
        }
        WatchReply::Progress { id, revision } => format!("{} progress {revision}", id.0),
        WatchReply::Canceled { id, compacted: Some(at), .. } => format!("{} lost at {at}", id.0),
        WatchReply::Canceled { id, .. } => format!("{} ended", id.0),
        WatchReply::Ended(why) => format!("ended: {why:?}"),
    }
}

fn all() -> WatchCreate {
    create(range("\0", "\0"), 0)
}

/// Each took a look into history of its own, for which all watchers of the range were gone through.
#[test]
fn watchers_that_start_one_behind_the_other_share_their_looks_into_history() {
    const WATCHERS: i64 = 300;
    let mut world = World::new(2, 1);
    for _ in 0..WATCHERS {
        world.put("k");
    }
    let stream = world.watch(create(range("k", ""), WATCHERS));
    for start in (2..WATCHERS).rev() {
        world.ask(stream, WatchRequest::Create(create(range("k", ""), start)));
    }
    world.talk();
    let replies = std::mem::take(&mut world.clients.get_mut(&stream).expect("open").replies);
    let mut told = vec![0; WATCHERS as usize];
    for reply in &replies {
        if let WatchReply::Events(events) = reply {
            told[events.id.0 as usize] += events.events.len() as i64;
        }
    }
    // The first watcher starts at 300, of 301; each one later a revision before.
    assert!((0..WATCHERS - 1).all(|id| told[id as usize] == id + 2), "{told:?}");
    let looks = world.hub.fetched;
    assert!(looks <= 2 + WATCH_FETCHES_MAX as u64, "{looks} looks");
    assert!(world.hub.queued.is_empty() && world.hub.queue.is_empty());
}

/// #15220: a notification of progress overtook events that it covers.
#[test]
fn progress_never_overtakes_events() {
    let mut world = World::new(2, 1);
    let stream = world.watch(WatchCreate { progress_notify: true, ..all() });
    world.talk();
    world.said(stream);
    // Pending, then stable, with the event still on its way: a tick sees the old position.
    world.write(&[("a", false)]);
    world.stable = world.newest;
    world.tick(2 * INTERVAL);
    world.tick(2 * INTERVAL);
    assert_eq!(world.said(stream), ["0 progress 1", "0 progress 1"]);
    world.ask(stream, WatchRequest::Progress);
    assert!(world.said(stream).is_empty(), "it waits for what is stable when it was asked");
    world.talk();
    assert_eq!(world.said(stream), ["0 at 2: 2a", "-1 progress 2"]);
}

/// #15271: a watch went back in time. A new epoch voids what an old one had told above its cut,
/// also what is still on its way.
#[test]
fn a_new_epoch_takes_back_what_was_not_stable() {
    let mut world = World::new(2, 1);
    let stream = world.watch(all());
    world.talk();
    world.put("a");
    world.write(&[("a", false), ("b", false)]);
    world.write(&[("c", false)]);
    let late = world.shards.iter().position(|shard| !shard.told.is_empty()).expect("some told");
    world.deliver(1 - late);
    world.change_epoch(Revision(2));
    world.talk();
    world.write(&[("d", false)]);
    world.stable = world.newest;
    world.talk();
    assert_eq!(world.said(stream), ["0 lives at 1", "0 at 2: 2a", "0 at 3: 3d"]);
}

/// #17247: an event was told twice. Here: while a watcher goes over from history to live.
#[test]
fn from_history_to_live_nothing_is_told_twice_or_missed() {
    for visits in [1, 2, 1000] {
        let mut world = World::new(3, 1);
        world.visits = visits;
        for key in ["a", "b", "c", "d"] {
            world.put(key);
        }
        let stream = world.watch(create(range("\0", "\0"), 2));
        for key in ["a", "b", "c", "d", "e"].iter().cycle().take(40) {
            // A write in between every step of the catching up.
            world.write(&[(key, false)]);
            world.stable = world.newest;
            (0..3).for_each(|at| world.serve(at));
            world.advance();
        }
        world.settle();
        let told = world.said(stream);
        assert!(told[0].starts_with("0 lives at") && told.len() > 3, "{told:?}");
        world.clients[&stream].assert_owed_nothing(&world.line, world.stable);
    }
}

/// #17529: events were lost when a stream was starved. One that takes nothing costs what its room
/// holds, then nothing; when it takes again it is told everything.
#[test]
fn a_starved_stream_misses_nothing_and_costs_its_room() {
    let mut world = World::new(2, 1);
    world.value = Blob::from(vec![b'v'; 300_000]);
    let slow = world.watch(WatchCreate { prev_kv: false, ..all() });
    let other = world.open();
    world.ask(other, WatchRequest::Create(all()));
    world.talk();
    for _ in 0..200 {
        world.put("a");
        world.drain(other);
    }
    let taken = world.clients[&slow].bytes;
    assert!((WATCH_STREAM_BYTES_MAX..WATCH_STREAM_BYTES_MAX + 400_000).contains(&taken));
    assert_eq!(world.hub.counts().unsynced, 1, "the slow one; the other has missed nothing");
    world.ask(slow, WatchRequest::Progress);
    world.tick(2 * INTERVAL);
    world.talk();
    world.settle();
    let told = world.said(slow);
    assert!(told.iter().all(|line| !line.contains("progress")), "it was behind when it asked");
    assert_eq!(world.hub.counts().unsynced, 0);
    let client = world.clients.get_mut(&slow).expect("open");
    client.forget_progress();
    client.assert_owed_nothing(&world.line, world.stable);
}

/// #18089, #19179: an event was missing at the compact revision. What begins there is whole.
#[test]
fn a_watch_from_the_compact_revision_gets_it_and_one_below_is_lost() {
    let mut world = World::new(2, 1);
    world.put("a");
    world.write(&[("a", true)]);
    world.stable = world.newest;
    world.put("b");
    world.compacted = Revision(3);
    let at = world.watch(create(range("a", ""), 3));
    let below = world.watch(create(range("a", ""), 2));
    world.talk();
    assert_eq!(world.said(at), ["0 lives at 4", "0 at 4: 3-a"]);
    assert_eq!(world.said(below), ["0 lives at 4", "0 lost at 3"]);
}

/// #20221: a watch from a future revision was told of progress and of what came before it.
#[test]
fn a_watch_from_the_future_is_told_nothing_before() {
    let mut world = World::new(2, 1);
    world.put("a");
    let start = WatchCreate { progress_notify: true, ..create(range("a", ""), 5) };
    let stream = world.watch(start);
    world.talk();
    for _ in 0..2 {
        world.put("a");
        world.tick(2 * INTERVAL);
        world.ask(stream, WatchRequest::Progress);
        world.talk();
    }
    assert_eq!(world.said(stream), ["0 lives at 2"]);
    world.clients.get_mut(&stream).expect("open").forget_progress();
    world.put("a");
    world.put("b");
    world.ask(stream, WatchRequest::Progress);
    world.talk();
    assert_eq!(world.said(stream), ["0 at 5: 5a", "-1 progress 6"]);
}

/// etcd: the revision after the present one counts as the future.
#[test]
fn the_next_revision_is_the_future() {
    let mut world = World::new(1, 1);
    let stream = world.watch(create(range("a", ""), 2));
    world.talk();
    world.ask(stream, WatchRequest::Progress);
    world.talk();
    assert_eq!(world.said(stream), ["0 lives at 1"]);
    world.clients.get_mut(&stream).expect("open").forget_progress();
    world.put("b");
    world.ask(stream, WatchRequest::Progress);
    world.talk();
    assert_eq!(world.said(stream), ["-1 progress 2"]);
}

/// A watcher created while writes are pending must not miss one that the shards told nobody of.
#[test]
fn a_watcher_lives_only_when_what_was_pending_is_stable() {
    let mut world = World::new(2, 1);
    world.write(&[("a", false)]);
    let stream = world.watch(create(range("a", ""), 0));
    world.talk();
    assert!(world.said(stream).is_empty());
    assert_eq!(world.hub.waits_for(), Some(Revision(2)), "its core sleeps until then");
    world.stable = Revision(2);
    world.talk();
    world.put("a");
    assert_eq!(world.said(stream), ["0 lives at 2", "0 at 3: 3a"]);
}

/// What it waits for may be void before it is stable.
#[test]
fn a_watcher_does_not_wait_for_what_a_new_epoch_takes_back() {
    for answered in [false, true] {
        let mut world = World::new(1, 1);
        world.write(&[("a", false)]);
        let stream = world.watch(create(range("a", ""), 0));
        world.serve(0);
        if answered {
            world.talk();
        }
        world.change_epoch(Revision(1));
        world.talk();
        assert_eq!(world.said(stream), ["0 lives at 1"]);
        world.put("a");
        assert_eq!(world.said(stream), ["0 at 2: 2a"]);
    }
}

#[test]
fn requests_of_a_stream_are_answered_in_order() {
    let mut world = World::new(3, 1);
    let stream = world.open();
    let id = |id| WatchCreate { id: WatchId(id), ..all() };
    world.ask(stream, WatchRequest::Create(id(1)));
    world.ask(stream, WatchRequest::Create(all()));
    world.ask(stream, WatchRequest::Create(all())); // Takes 2, for 1 is in use.
    world.ask(stream, WatchRequest::Create(id(2)));
    world.ask(stream, WatchRequest::Create(create(range("b", "a"), 0)));
    world.ask(stream, WatchRequest::Create(create(range("a", ""), -1)));
    world.ask(stream, WatchRequest::Cancel(WatchId(9)));
    world.ask(stream, WatchRequest::Cancel(WatchId(1)));
    world.ask(stream, WatchRequest::Create(id(1)));
    world.ask(stream, WatchRequest::Create(all()));
    world.ask(stream, WatchRequest::Progress);
    world.talk();
    let expected = [
        "1 lives at 1",
        "0 lives at 1",
        "2 lives at 1",
        "refused: DuplicateId",
        "refused: EmptyRange",
        "refused: Compacted",
        "1 ended",
        "1 lives at 1",
        "3 lives at 1",
        "-1 progress 1",
    ];
    assert_eq!(world.said(stream), expected);
}

/// etcd keeps the number of a watcher that compaction cancelled, and is silent about progress,
/// until the client cancels it.
#[test]
fn a_compacted_watcher_keeps_its_number_and_mutes_progress() {
    let mut world = World::new(2, 1);
    for _ in 0..5 {
        world.put("a");
    }
    world.compacted = Revision(5);
    let stream = world.watch(WatchCreate { id: WatchId(4), ..create(range("a", ""), 2) });
    world.ask(stream, WatchRequest::Create(all()));
    world.talk();
    assert_eq!(world.said(stream), ["4 lives at 6", "0 lives at 6", "4 lost at 5"]);
    world.ask(stream, WatchRequest::Create(WatchCreate { id: WatchId(4), ..all() }));
    world.ask(stream, WatchRequest::Progress);
    world.talk();
    assert_eq!(world.said(stream), ["refused: DuplicateId"]);
    world.clients.get_mut(&stream).expect("open").forget_progress();
    world.ask(stream, WatchRequest::Cancel(WatchId(4)));
    world.ask(stream, WatchRequest::Progress);
    world.talk();
    assert_eq!(world.said(stream), ["4 ended", "-1 progress 6"]);
}

#[test]
fn progress_comes_once_an_interval_and_only_to_the_quiet() {
    let mut world = World::new(2, 1);
    let stream = world.watch(WatchCreate { progress_notify: true, ..create(range("a", ""), 0) });
    world.ask(stream, WatchRequest::Create(create(range("b", ""), 0)));
    world.talk();
    world.said(stream);
    world.put("a");
    world.tick(INTERVAL * 12 / 10);
    assert_eq!(world.said(stream), ["0 at 2: 2a"], "it has heard something");
    world.put("c");
    world.tick(INTERVAL / 2);
    assert!(world.said(stream).is_empty());
    world.tick(INTERVAL * 7 / 10);
    assert_eq!(world.said(stream), ["0 progress 3"]);
}

#[test]
fn few_revisions_go_out_one_by_one_and_many_together() {
    let mut world = World::new(2, 1);
    let stream = world.watch(all());
    world.talk();
    world.said(stream);
    for key in ["a", "b", "c", "d"] {
        world.write(&[(key, false), ("x", false)]);
    }
    world.stable = world.newest;
    world.talk();
    let expected = ["0 at 2: 2a 2x", "0 at 3: 3b 3x", "0 at 4: 4c 4x", "0 at 5: 5d 5x"];
    assert_eq!(world.said(stream), expected);
    for key in ["a", "b", "c", "d", "e"] {
        world.write(&[(key, false)]);
    }
    world.stable = world.newest;
    world.talk();
    assert_eq!(world.said(stream), ["0 at 10: 6a 7b 8c 9d 10e"]);
}

#[test]
fn filters_leave_nothing_of_what_they_hide() {
    let mut world = World::new(2, 1);
    let stream = world.watch(WatchCreate { no_put: true, ..all() });
    world.ask(stream, WatchRequest::Create(WatchCreate { no_delete: true, ..all() }));
    world.talk();
    world.said(stream);
    world.put("a");
    world.write(&[("a", true), ("b", false)]);
    world.stable = world.newest;
    world.talk();
    assert_eq!(world.said(stream), ["1 at 2: 2a", "0 at 3: 3-a", "1 at 3: 3b"]);
}

/// Ten thousand that come back at once ask the shards a few times, not ten thousand times.
#[test]
fn watchers_of_one_range_share_a_look_into_history() {
    let mut world = World::new(2, 1);
    for _ in 0..20 {
        world.put("a");
    }
    for _ in 0..100 {
        world.watch(create(range("a", "b"), 2));
    }
    let mut asked = 0;
    for _ in 0..20 {
        let history = |ask: &&WatchAsk| matches!(ask, WatchAsk::History(_));
        let asks = world.shards.iter().flat_map(|shard| shard.asks.iter());
        asked += asks.filter(history).count();
        (0..2).for_each(|at| {
            while !world.shards[at].asks.is_empty() {
                world.serve(at)
            }
        });
        world.advance();
    }
    assert_eq!(asked, 2, "each shard once");
    world.settle();
    let World { clients, line, stable, .. } = &world;
    clients.values().for_each(|client| client.assert_owed_nothing(line, *stable));
}

/// Looks into history are bounded; who waits gets his turn, and one that left leaves no hole.
#[test]
fn looks_into_history_are_bounded_and_end() {
    let mut world = World::new(2, 1);
    for _ in 0..4 {
        world.put("a");
    }
    let streams: Vec<_> =
        (0..40).map(|i| world.watch(create(range("a", &format!("b{i}")), 2))).collect();
    for _ in 0..100 {
        (0..2).for_each(|at| world.serve(at));
        world.advance();
        let history = |ask: &&WatchAsk| matches!(ask, WatchAsk::History(_));
        for shard in &world.shards {
            assert!(shard.asks.iter().filter(history).count() <= WATCH_FETCHES_MAX);
        }
        if world.draw(4) == 0 && world.clients.len() > 20 {
            let gone = streams.iter().find(|s| world.clients.contains_key(s)).expect("some");
            world.close(*gone);
        }
    }
    world.settle();
    let World { clients, line, stable, .. } = &world;
    assert!(clients.len() >= 20);
    clients.values().for_each(|client| client.assert_owed_nothing(line, *stable));
}

#[test]
fn a_stream_that_asks_too_much_has_no_room() {
    let mut world = World::new(1, 1);
    let stream = world.open();
    for asked in 1..=WATCH_REQUESTS_MAX {
        let mut effects = HubEffects::default();
        let room = world.hub.ask(stream, WatchRequest::Progress, Revision(1), &mut effects);
        assert_eq!(room, asked < WATCH_REQUESTS_MAX);
    }
    assert!(!world.hub.has_room(stream));
    world.advance();
    assert!(world.hub.has_room(stream));
}

/// Before an epoch has been open nothing is known of what is stable.
#[test]
fn nothing_is_answered_before_an_epoch_is_open() {
    let mut world = World::before_an_epoch(1, 1);
    let stream = world.watch(all());
    world.talk();
    assert!(world.said(stream).is_empty() && world.hub.waits_for().is_none());
    world.hub.opened(crate::types::Epoch(2), Revision(1));
    world.talk();
    assert_eq!(world.said(stream), ["0 lives at 1"]);
}

/// A shard may serve an epoch of which this core has not been told: what it holds then counts,
/// though it is above the cut.
#[test]
fn a_shard_that_is_ahead_of_the_notice_of_an_epoch_is_waited_for() {
    let mut world = World::before_an_epoch(1, 1);
    world.epoch = crate::types::Epoch(2);
    let stream = world.watch(all());
    let pending = world.write(&[("a", false)]);
    world.shards[0].told.clear();
    world.talk();
    world.hub.opened(crate::types::Epoch(2), Revision(1));
    world.talk();
    assert!(world.said(stream).is_empty(), "{pending} would be missed");
    world.stable = pending;
    world.talk();
    assert_eq!(world.said(stream), [format!("0 lives at {pending}")]);
}

/// A core may hear of an epoch after it has looked at stable: what is in history by then is not
/// passed over.
#[test]
fn nothing_is_answered_below_the_cut() {
    let mut world = World::before_an_epoch(1, 1);
    let stream = world.watch(all());
    world.talk();
    world.hub.opened(crate::types::Epoch(2), Revision(9));
    world.talk();
    assert!(world.said(stream).is_empty());
    assert!(world.hub.waits_for().is_some_and(|at| at <= Revision(9)));
    world.stable = Revision(9);
    world.talk();
    assert_eq!(world.said(stream), ["0 lives at 9"]);
}
