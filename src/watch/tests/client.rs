//! A client of a watch stream that holds everything it is told against what happened (R8).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::types::{
    Event, Revision, WatchCreate, WatchEvents, WatchId, WatchRefusal, WatchReply, WatchRequest,
};

#[derive(Default)]
pub struct Client {
    /// What has not been answered, with what was stable then.
    asked: VecDeque<(WatchRequest, Revision)>,
    watchers: BTreeMap<WatchId, Watcher>,
    /// Numbers of watchers that were cancelled before they were created.
    next_id: i64,
    /// Numbers in use as the server sees them.
    used: Vec<WatchId>,
    pub replies: Vec<WatchReply>,
    /// Taken and not acknowledged.
    pub bytes: usize,
}

pub struct Watcher {
    create: WatchCreate,
    start: Revision,
    /// Everything up to here was told.
    told: Revision,
    compacted: bool,
    /// Its client has cancelled it, and not been answered.
    is_ending: bool,
}

impl Watcher {
    fn wants(&self, event: &Event) -> bool {
        let filtered = if event.put.is_some() { self.create.no_put } else { self.create.no_delete };
        self.create.range.contains(&event.key) && !filtered && event.revision >= self.start
    }

    fn missing(&self, line: &[Arc<Event>], through: Revision) -> Vec<Arc<Event>> {
        let untold = line.iter().filter(|e| e.revision > self.told && e.revision <= through);
        untold.filter(|event| self.wants(event)).cloned().collect()
    }
}

impl Client {
    /// The client asks; what the server decides at once is decided here too.
    pub fn asks(&mut self, request: &WatchRequest, stable: Revision) {
        let mut request = request.clone();
        match &mut request {
            WatchRequest::Create(create) => {
                let is_refused = create.start < 0 || create.range.is_empty();
                if !is_refused && create.id == WatchId(0) {
                    while self.used.contains(&WatchId(self.next_id)) {
                        self.next_id += 1;
                    }
                    create.id = WatchId(self.next_id);
                    self.next_id += 1;
                    self.used.push(create.id);
                } else if !is_refused && !self.used.contains(&create.id) {
                    self.used.push(create.id);
                } else {
                    create.fragment = true; // Stands for "to be refused" here.
                }
            }
            WatchRequest::Cancel(id) => {
                let Some(at) = self.used.iter().position(|used| used == id) else { return };
                self.used.swap_remove(at);
                // From now on it may be told nothing, unless it still is to be created.
                if let Some(watcher) = self.watchers.get_mut(id) {
                    watcher.is_ending = true;
                }
            }
            WatchRequest::Progress => {}
        }
        self.asked.push_back((request, stable));
    }

    pub fn told(
        &mut self,
        reply: WatchReply,
        line: &[Arc<Event>],
        stable: Revision,
        compacted: Revision,
    ) {
        match &reply {
            WatchReply::Created { id, revision } => {
                let (WatchRequest::Create(create), need) = self.answered() else {
                    panic!("{reply:?} answers something else")
                };
                assert!(create.id == *id && !create.fragment, "{reply:?} to {create:?}");
                assert!(need <= *revision && *revision <= stable);
                let start = match create.start {
                    0 => revision.next(),
                    start => Revision(start),
                };
                let told = Revision(start.0 - 1);
                let ends = WatchRequest::Cancel(*id);
                let is_ending = self.asked.iter().any(|(request, _)| *request == ends);
                let watcher = Watcher { create, start, told, compacted: false, is_ending };
                self.watchers.insert(*id, watcher);
            }
            WatchReply::Refused { revision, reason } => {
                let (WatchRequest::Create(create), need) = self.answered() else {
                    panic!("{reply:?} answers something else")
                };
                assert!(create.fragment && need <= *revision && *revision <= stable);
                let expected = match () {
                    () if create.start < 0 => WatchRefusal::Compacted,
                    () if create.range.is_empty() => WatchRefusal::EmptyRange,
                    () => WatchRefusal::DuplicateId,
                };
                assert_eq!(*reason, expected);
            }
            WatchReply::Events(told) => self.events(told, line, stable, compacted),
            WatchReply::Progress { id, revision } => {
                assert!(*revision <= stable);
                if *id == WatchId::NONE {
                    assert!(matches!(self.asked.pop_front(), Some((WatchRequest::Progress, _))));
                    assert!(!self.watchers.is_empty());
                }
                for (of, watcher) in &mut self.watchers {
                    if watcher.is_ending || (*id != WatchId::NONE && id != of) {
                        continue;
                    }
                    assert!(!watcher.compacted, "{of:?} will not get there");
                    let missing = watcher.missing(line, *revision);
                    assert!(missing.is_empty(), "progress {revision} of {of:?} overtakes events");
                    assert!(watcher.start <= revision.next(), "progress before the start");
                    watcher.told = watcher.told.max(*revision);
                }
            }
            WatchReply::Canceled { id, revision, compacted: Some(at) } => {
                assert!(*at <= compacted && *revision == Revision(0));
                let watcher = self.watchers.get_mut(id).expect("a watcher that lives");
                assert!(!watcher.compacted && watcher.told.next() < *at, "{id:?} misses nothing");
                watcher.compacted = true;
            }
            WatchReply::Canceled { id, compacted: None, .. } => {
                let (request, _) = self.answered();
                assert_eq!(request, WatchRequest::Cancel(*id));
                self.watchers.remove(id).expect("a watcher that lives");
            }
            WatchReply::Ended(_) => panic!("the hub ends no stream"),
        }
        self.replies.push(reply);
    }

    fn events(
        &mut self,
        told: &WatchEvents,
        line: &[Arc<Event>],
        stable: Revision,
        compacted: Revision,
    ) {
        let watcher = self.watchers.get_mut(&told.id).expect("a watcher that lives");
        assert!(!watcher.compacted && !watcher.is_ending, "{:?} was cancelled", told.id);
        let last = told.events.last().expect("a reply holds something").revision;
        assert!(last <= told.revision && told.revision <= stable, "R3");
        let expected = watcher.missing(line, last);
        let show = |events: &[Arc<Event>]| -> Vec<String> {
            events.iter().map(|e| format!("{}.{} {:?}", e.revision, e.sub, e.key)).collect()
        };
        assert_eq!(show(&told.events), show(&expected), "{:?}", watcher.create);
        for (event, expected) in told.events.iter().zip(&expected) {
            assert_eq!(event.put, expected.put);
            let may_lack = event.revision <= compacted && event.prev.is_none();
            assert!(may_lack || event.prev == expected.prev);
        }
        let bytes: usize = told.events.iter().map(|e| e.bytes(told.prev_kv)).sum();
        assert_eq!(bytes, told.bytes);
        self.bytes += bytes;
        watcher.told = last;
    }

    /// The oldest request that is not answered, which this answers. Requests for progress may have
    /// been left without an answer.
    fn answered(&mut self) -> (WatchRequest, Revision) {
        while let Some((WatchRequest::Progress, _)) = self.asked.front() {
            self.asked.pop_front();
        }
        self.asked.pop_front().expect("an answer to nothing")
    }

    /// Requests for progress that were not answered are given up.
    pub fn forget_progress(&mut self) {
        self.asked.retain(|(request, _)| *request != WatchRequest::Progress);
    }

    pub fn ids(&self) -> Vec<WatchId> {
        self.used.clone()
    }

    /// Everything has come to rest: nothing is owed.
    pub fn assert_owed_nothing(&self, line: &[Arc<Event>], stable: Revision) {
        assert!(self.asked.is_empty(), "{:?}", self.asked);
        for (id, watcher) in &self.watchers {
            if watcher.compacted {
                continue;
            }
            let missing = watcher.missing(line, stable);
            assert!(missing.is_empty(), "{id:?} was not told {}", missing[0].revision);
        }
    }
}
