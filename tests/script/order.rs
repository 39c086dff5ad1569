//! The promises of a watch stream, checked on everything that arrives, whatever a case is about:
//! each event once, in order, no response torn that was not to be, nothing at or below a progress
//! that had been reported, nothing of a watcher before its creation and after its end.

use std::collections::BTreeMap;

use braid::protocol::pb::etcdserverpb as pb;

/// What one stream has brought so far.
#[derive(Debug, Default)]
pub struct Order {
    watchers: BTreeMap<i64, Watcher>,
    /// What the responses broke, in words.
    broken: Vec<String>,
}

#[derive(Debug, Default)]
struct Watcher {
    /// Of its last event.
    revision: i64,
    /// Events up to here have been said to be all delivered.
    progress: i64,
    /// The header of a response whose rest is still to come.
    torn: Option<pb::ResponseHeader>,
    /// Canceled for a compaction; its id may still be cancelled, but it has nothing more to tell.
    lost: bool,
}

impl Order {
    /// Takes the next response of the stream.
    pub fn receive(&mut self, response: &pb::WatchResponse) {
        let id = response.watch_id;
        let Some(header) = &response.header else {
            self.broken.push(format!("a response of watcher {id} has no header"));
            return;
        };
        if response.created {
            self.watchers.insert(id, Watcher::default());
        } else if response.canceled || !response.events.is_empty() {
            self.known(response, header);
        } else if id == -1 {
            self.watchers.values_mut().for_each(|watcher| watcher.reached(header.revision));
        } else if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.reached(header.revision);
        } else {
            self.broken.push(format!("progress of watcher {id}, which does not exist"));
        }
        if response.canceled && response.compact_revision != 0 {
            self.watchers.entry(id).or_default().lost = true;
        } else if response.canceled {
            self.watchers.remove(&id);
        }
    }

    /// What was broken since the last call.
    pub fn broken(&mut self) -> Vec<String> {
        self.broken.drain(..).map(|what| format!("BROKEN: {what}")).collect()
    }

    fn known(&mut self, response: &pb::WatchResponse, header: &pb::ResponseHeader) {
        let id = response.watch_id;
        let Some(watcher) = self.watchers.get_mut(&id) else {
            self.broken.push(format!("a response of watcher {id}, which does not exist"));
            return;
        };
        if watcher.lost && !response.events.is_empty() {
            self.broken.push(format!("watcher {id}: events after its loss to a compaction"));
        }
        let was_torn = watcher.torn.take();
        if was_torn.as_ref().is_some_and(|torn| torn != header) {
            self.broken.push(format!("a fragment of watcher {id} has another header"));
        }
        if response.fragment {
            watcher.torn = Some(*header);
        }
        for (at, event) in response.events.iter().enumerate() {
            let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            // One revision may go on within a response and from fragment to fragment.
            let may_equal = at > 0 || was_torn.is_some();
            let last = watcher.revision;
            if revision < last || (revision == last && !may_equal) {
                self.broken.push(format!("watcher {id}: an event of {revision} after {last}"));
            }
            if revision <= watcher.progress {
                let progress = watcher.progress;
                self.broken.push(format!("watcher {id}: {revision} after progress {progress}"));
            }
            watcher.revision = revision;
        }
        let compacted = response.canceled && response.compact_revision != 0;
        if header.revision < watcher.revision && !compacted {
            self.broken.push(format!("watcher {id}: a header below its events"));
        }
    }
}

impl Watcher {
    fn reached(&mut self, revision: i64) {
        self.progress = self.progress.max(revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use braid::protocol::pb::mvccpb;

    fn response(id: i64, revision: i64, events: &[i64]) -> pb::WatchResponse {
        let event = |revision: &i64| mvccpb::Event {
            kv: Some(mvccpb::KeyValue { mod_revision: *revision, ..Default::default() }),
            ..Default::default()
        };
        pb::WatchResponse {
            header: Some(pb::ResponseHeader { revision, ..Default::default() }),
            watch_id: id,
            events: events.iter().map(event).collect(),
            ..Default::default()
        }
    }

    fn created(id: i64) -> pb::WatchResponse {
        pb::WatchResponse { created: true, ..response(id, 1, &[]) }
    }

    fn fragment(id: i64, revision: i64, events: &[i64]) -> pb::WatchResponse {
        pb::WatchResponse { fragment: true, ..response(id, revision, events) }
    }

    fn broken(responses: &[pb::WatchResponse]) -> usize {
        let mut order = Order::default();
        responses.iter().for_each(|response| order.receive(response));
        order.broken().len()
    }

    #[test]
    fn a_good_stream_passes() {
        assert_eq!(broken(&[created(0), response(0, 2, &[2, 2]), response(0, 5, &[3, 4])]), 0);
        assert_eq!(broken(&[created(0), fragment(0, 3, &[2, 3]), response(0, 3, &[3])]), 0);
        assert_eq!(broken(&[created(0), response(-1, 2, &[]), response(0, 3, &[3])]), 0);
    }

    #[test]
    fn every_break_is_seen() {
        let canceled = pb::WatchResponse { canceled: true, ..response(0, 2, &[]) };
        let lost = pb::WatchResponse { compact_revision: 2, ..canceled.clone() };
        assert_eq!(broken(&[created(0), lost.clone(), canceled.clone()]), 0);
        for (name, bad) in [
            ("not created", vec![response(0, 2, &[2])]),
            ("after its end", vec![created(0), canceled, response(0, 3, &[3])]),
            ("after its loss", vec![created(0), lost, response(0, 3, &[3])]),
            ("twice", vec![created(0), response(0, 2, &[2]), response(0, 2, &[2])]),
            ("back", vec![created(0), response(0, 3, &[3]), response(0, 3, &[2])]),
            ("back inside", vec![created(0), response(0, 3, &[3, 2])]),
            ("headers", vec![created(0), fragment(0, 2, &[2]), response(0, 3, &[3])]),
            ("low header", vec![created(0), response(0, 2, &[3])]),
            ("progress", vec![created(0), response(-1, 4, &[]), response(0, 4, &[4])]),
            ("own progress", vec![created(0), response(0, 4, &[]), response(0, 4, &[4])]),
            ("no header", vec![pb::WatchResponse { header: None, ..created(0) }]),
        ] {
            assert_eq!(broken(&bad), 1, "{name}");
        }
    }
}
