//! Hostile bytes on the client port: the server stays alive, keeps serving others, and holds no
//! more memory than it should.
//!
//! Each test has a server and a witness, a well-behaved client that reads its own writes all the
//! while. After every attack the server must be alive, the witness must get on, and the resident
//! memory must be below a generous bound.

mod common;
mod hostile {
    pub mod floods;
    pub mod frames;
    pub mod http;
    pub mod sizes;
    pub mod streams;
    pub mod victim;
    pub mod work;
}
mod wire;

use hostile::victim::Victim;

#[test]
fn frames_of_a_hostile_peer() {
    if common::program().is_etcd() {
        return;
    }
    let mut victim = Victim::start();
    victim.survives("random bytes", hostile::frames::random_bytes);
    victim.survives("a first byte of no protocol", hostile::frames::bad_magic);
    victim.survives("truncated frames", hostile::frames::truncated);
    victim.survives("every bit of a frame flipped", hostile::frames::bit_flips);
    victim.survives("lengths above the limit", hostile::frames::oversized);
    victim.survives("breaches of the protocol", hostile::frames::breaches);
    victim.survives("payloads that are no message", hostile::frames::garbage_messages);
    victim.survives("a preface byte by byte", hostile::frames::trickle);
    victim.survives("silent connections", hostile::frames::silent_connections);
    victim.survives("connections that come and go", hostile::frames::churn);
    victim.survives("claims of long payloads", hostile::frames::claims);
    victim.survives("requests whose answers nobody reads", hostile::frames::unread_answers);
    victim.survives("pings whose answers nobody reads", hostile::frames::unread_pings);
    victim.stops_as_asked();
}

#[test]
fn streams_of_a_hostile_peer() {
    if common::program().is_etcd() {
        return;
    }
    let mut victim = Victim::start();
    victim.survives("garbage on watch streams", hostile::streams::garbage);
    victim.survives("a million watchers asked for", hostile::streams::endless_creates);
    victim.survives("messages after the last word", hostile::streams::after_the_last_word);
    victim.survives("a storm of cancels", hostile::streams::cancel_storm);
    victim.survives("a watcher that never reads", hostile::streams::unread_events);
    victim.survives("keep-alives that nobody reads", hostile::streams::unread_keep_alives);
    victim.survives("locks that nobody waits for", hostile::streams::left_locks);
    victim.stops_as_asked();
}

#[test]
fn heavy_requests_of_a_hostile_peer() {
    if common::program().is_etcd() {
        return;
    }
    let mut victim = Victim::start();
    victim.survives("txns of range deletes", hostile::work::range_deletes);
    victim.survives("resets with all streams open", hostile::work::resets);
    victim.survives("every request cancelled", hostile::work::cancels);
    victim.survives("hashes that nobody waits for", hostile::work::left_hashes);
    victim.survives("streamed ranges of the past", hostile::work::old_range_streams);
    victim.survives("streams that come and go", hostile::work::streams_that_come_and_go);
    let behind = hostile::work::watchers_one_behind_the_other;
    victim.survives("watchers one behind the other", behind);
    victim.survives("compactions one after the other", hostile::work::compactions);
    victim.stops_as_asked();
}

#[test]
fn floods_of_a_hostile_peer() {
    if common::program().is_etcd() {
        return;
    }
    let mut victim = Victim::start();
    victim.survives("a flood of pings", hostile::floods::pings);
    victim.survives("a flood of answers to pings", hostile::floods::ping_answers);
    victim.survives("a flood of cancels", hostile::floods::cancels);
    victim.survives("a flood of gets", hostile::floods::gets);
    victim.survives("a flood of large puts", hostile::floods::large_puts);
    victim.survives("a flood of HTTP/2 PING ACKs", hostile::floods::http2_ping_acks);
    victim.survives("a flood of HTTP/2 PRIORITY", hostile::floods::http2_priorities);
    victim.survives("a flood of unknown HTTP/2 frames", hostile::floods::http2_unknown_frames);
    victim.survives("a flood of HTTP/2 SETTINGS", hostile::floods::http2_settings);
    victim.survives("a flood of HTTP/1 requests", hostile::floods::http1_requests);
    victim.stops_as_asked();
}

#[test]
fn memory_of_hostile_peers() {
    if common::program().is_etcd() {
        return;
    }
    let budget = format!("--connection-memory-bytes={}", hostile::floods::BUDGET_BYTES);
    let mut victim = Victim::start_with(&[&budget]);
    victim.survives("puts of 1 MB without a pause", hostile::floods::pipelined_puts);
    victim.stops_as_asked();
}

/// Fails in about a third of its runs: messages larger than a share then wait until the connections
/// that were left with half a message are found to be dead.
#[test]
fn memory_of_hostile_peers_that_leave_in_the_middle() {
    if common::program().is_etcd() {
        return;
    }
    let budget = format!("--connection-memory-bytes={}", hostile::floods::BUDGET_BYTES);
    let mut victim = Victim::start_with(&[&budget]);
    victim.survives("frames that are begun", hostile::floods::begun_frames);
    victim.survives("gRPC bodies that are begun", hostile::floods::begun_bodies);
    victim.survives("large answers that nobody reads", hostile::floods::unread_answers);
    victim.survives("range streams that nobody reads", hostile::floods::unread_range_streams);
    victim.stops_as_asked();
}

#[test]
fn http_of_a_hostile_peer() {
    let mut victim = Victim::start();
    victim.survives("HTTP/2 frames of random bytes", hostile::http::random_frames);
    victim.survives("rapid reset", hostile::http::rapid_reset);
    victim.survives("streams without an end", hostile::http::many_streams);
    victim.survives("endless CONTINUATION", hostile::http::continuation_flood);
    victim.survives("a large header list", hostile::http::large_headers);
    victim.survives("a header table bomb", hostile::http::table_bomb);
    victim.survives("SETTINGS flood", hostile::http::settings_flood);
    victim.survives("PING flood", hostile::http::ping_flood);
    victim.survives("empty DATA flood", hostile::http::empty_data);
    victim.survives("PRIORITY and WINDOW_UPDATE flood", hostile::http::priority_flood);
    victim.survives("answers without window", hostile::http::no_window);
    victim.survives("gRPC messages that lie", hostile::http::lying_messages);
    victim.survives("a slow preface", hostile::http::slow_preface);
    victim.survives("HTTP/1 garbage", hostile::http::http1_garbage);
    victim.survives("an HTTP/1 header without an end", hostile::http::http1_endless_header);
    victim.stops_as_asked();
}

#[test]
fn sizes_of_a_hostile_peer() {
    let mut victim = Victim::start();
    victim.survives("a txn that keeps large values", hostile::sizes::kept_values);
    victim.survives("deletes of large keys", hostile::sizes::large_deletes);
    victim.survives("a refusal deep in a txn", hostile::sizes::refused_deep_in_a_txn);
    victim.stops_as_asked();
    let mut victim = Victim::start_with(&["--max-request-bytes=10485760"]);
    victim.survives("puts of many megabytes", hostile::sizes::puts_of_many_megabytes);
    victim.stops_as_asked();
}

#[test]
fn the_largest_request_is_put_watched_read_and_found_again() {
    if !common::program().is_etcd() {
        hostile::sizes::the_largest_request_is_carried_through();
        hostile::sizes::a_larger_limit_is_refused();
    }
}
