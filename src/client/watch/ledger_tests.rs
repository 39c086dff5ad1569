//! The books of a watch stream, entry by entry.

use super::*;
use crate::protocol::pb::mvccpb;

fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..Default::default() })
}

fn create(key: &'static str, start_revision: i64) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { key: key.into(), start_revision, ..Default::default() }
}

fn created(watch_id: i64, revision: i64) -> pb::WatchResponse {
    pb::WatchResponse { header: header(revision), watch_id, created: true, ..Default::default() }
}

fn events(watch_id: i64, revisions: &[i64]) -> pb::WatchResponse {
    let event = |revision: &i64| mvccpb::Event {
        kv: Some(mvccpb::KeyValue { mod_revision: *revision, ..Default::default() }),
        ..Default::default()
    };
    pb::WatchResponse {
        header: header(100),
        watch_id,
        events: revisions.iter().map(event).collect(),
        ..Default::default()
    }
}

/// What the ledger wants to send, in short.
fn sent(ledger: &mut Ledger) -> Vec<String> {
    let request = std::iter::from_fn(|| ledger.next_request());
    let short = request.map(|request| match request.request_union.expect("a request") {
        RequestUnion::CreateRequest(create) => {
            format!("{}@{}", String::from_utf8_lossy(&create.key), create.start_revision)
        }
        RequestUnion::CancelRequest(cancel) => format!("cancel {}", cancel.watch_id),
        RequestUnion::ProgressRequest(_) => "progress".to_owned(),
    });
    short.collect()
}

fn updates(ledger: &mut Ledger) -> Vec<(WatcherId, Update)> {
    std::iter::from_fn(|| ledger.next_update()).collect()
}

/// A ledger with one watcher, created at revision 7 as the server's 0.
fn one(start_revision: i64) -> (Ledger, WatcherId) {
    let mut ledger = Ledger::default();
    let id = ledger.watch(create("a", start_revision));
    assert_eq!(sent(&mut ledger), [format!("a@{start_revision}")]);
    ledger.take(created(0, 7));
    let header = header(7).expect("some");
    assert_eq!(updates(&mut ledger), [(id, Update::Created(header))]);
    (ledger, id)
}

#[test]
fn a_watcher_resumes_after_what_it_has_handed_out() {
    for (start, resumed) in [(0, "a@8"), (3, "a@3"), (50, "a@50")] {
        let (mut ledger, _) = one(start);
        ledger.stream_lost();
        assert_eq!(sent(&mut ledger), [resumed], "before the first event");
        ledger.take(created(9, 20));
        assert_eq!(updates(&mut ledger), [], "a creation is told once");
        ledger.take(events(9, &[60, 61, 61]));
        ledger.stream_lost();
        assert_eq!(sent(&mut ledger), ["a@62"]);
    }
}

#[test]
fn progress_moves_the_start_and_never_back() {
    let (mut ledger, id) = one(0);
    ledger.take(pb::WatchResponse { header: header(30), ..Default::default() });
    assert_eq!(updates(&mut ledger), [(id, Update::Progress(header(30).expect("some")))]);
    let of_all = pb::WatchResponse { watch_id: -1, header: header(40), ..Default::default() };
    ledger.take(of_all.clone());
    assert_eq!(updates(&mut ledger), [(id, Update::Progress(header(40).expect("some")))]);
    ledger.take(pb::WatchResponse { header: header(35), ..of_all });
    ledger.stream_lost();
    assert_eq!(sent(&mut ledger), ["a@41"]);
}

#[test]
fn fragments_are_handed_out_together_or_not_at_all() {
    let (mut ledger, id) = one(0);
    let part = pb::WatchResponse { fragment: true, ..events(0, &[9, 9]) };
    ledger.take(part.clone());
    assert_eq!(updates(&mut ledger), []);
    ledger.stream_lost();
    assert_eq!(sent(&mut ledger), ["a@8"], "half a revision is nothing");
    ledger.take(created(0, 9));
    ledger.take(part);
    ledger.take(events(0, &[9, 10]));
    assert_eq!(updates(&mut ledger), [(id, Update::Events(events(0, &[9, 9, 9, 10])))]);
}

#[test]
fn creations_are_answered_in_their_order_and_limited_in_number() {
    let mut ledger = Ledger::default();
    let ids: Vec<WatcherId> = (0..100).map(|_| ledger.watch(create("k", 5))).collect();
    ledger.request_progress();
    assert_eq!(sent(&mut ledger).len(), limits::CLIENT_WATCH_CREATIONS_MAX);
    for (wire, id) in ids.iter().enumerate() {
        ledger.take(created(wire as i64 + 1000, 7));
        assert_eq!(updates(&mut ledger), [(*id, Update::Created(header(7).expect("some")))]);
        let expected: &[&str] = match wire {
            0..67 => &["k@5"],
            67 => &["k@5", "progress"],
            _ => &[],
        };
        assert_eq!(sent(&mut ledger), expected, "after {wire}");
    }
    ledger.take(events(1042, &[8]));
    assert_eq!(updates(&mut ledger), [(ids[42], Update::Events(events(1042, &[8])))]);
}

#[test]
fn a_refused_creation_is_that_of_its_turn() {
    let mut ledger = Ledger::default();
    let bad = ledger.watch(create("bad", 1));
    let good = ledger.watch(create("good", 1));
    assert_eq!(sent(&mut ledger).len(), 2);
    let refusal = pb::WatchResponse {
        watch_id: -1,
        canceled: true,
        cancel_reason: "mvcc: watcher range is empty".to_owned(),
        ..created(0, 7)
    };
    ledger.take(refusal.clone());
    ledger.take(created(0, 7));
    assert_eq!(
        updates(&mut ledger),
        [(bad, Update::Canceled(refusal)), (good, Update::Created(header(7).expect("some"))),]
    );
    assert_eq!(ledger.len(), 1);
    ledger.stream_lost();
    assert_eq!(sent(&mut ledger), ["good@1"]);
}

#[test]
fn a_cancelled_watcher_says_nothing_more() {
    let (mut ledger, id) = one(0);
    ledger.take(events(0, &[8]));
    assert!(ledger.cancel(id) && !ledger.cancel(id));
    assert_eq!(updates(&mut ledger), []);
    assert_eq!(sent(&mut ledger), ["cancel 0"]);
    ledger.take(events(0, &[9]));
    ledger.take(pb::WatchResponse { watch_id: 0, canceled: true, ..Default::default() });
    assert_eq!(updates(&mut ledger), []);
    // One that the server has not named yet is cancelled when it does; one that it has not heard
    // of is not even asked for.
    let asked = ledger.watch(create("b", 1));
    assert_eq!(sent(&mut ledger), ["b@1"]);
    let unasked = ledger.watch(create("c", 1));
    assert!(ledger.cancel(asked) && ledger.cancel(unasked));
    ledger.take(created(4, 7));
    assert_eq!(sent(&mut ledger), ["cancel 4"]);
    assert_eq!(updates(&mut ledger), []);
    ledger.stream_lost();
    assert_eq!(sent(&mut ledger), [""; 0]);
}

#[test]
fn a_watcher_that_the_server_ends_is_gone() {
    let (mut ledger, id) = one(3);
    let compacted = pb::WatchResponse { canceled: true, compact_revision: 5, ..Default::default() };
    ledger.take(compacted.clone());
    assert_eq!(updates(&mut ledger), [(id, Update::Canceled(compacted))]);
    assert_eq!(ledger.len(), 0);
    ledger.take(events(0, &[8]));
    assert_eq!(updates(&mut ledger), []);
}

#[test]
fn answers_that_nobody_has_asked_for_are_passed_over() {
    let (mut ledger, _) = one(0);
    ledger.take(created(5, 9));
    ledger.take(events(77, &[9]));
    ledger.take(pb::WatchResponse { watch_id: 77, canceled: true, ..Default::default() });
    assert_eq!(updates(&mut ledger), []);
    assert_eq!(ledger.len(), 1);
}
