//! Locks and elections, over gRPC and over frames.

use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::or;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use prost::Message;

use super::frames::{Client, error, get, put};
use super::grpc::{Ended, call, ended, frame, request, with_client, with_client_async};
use super::*;
use crate::protocol::Method;
use crate::protocol::frame::Flags;
use crate::protocol::pb::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use crate::protocol::pb::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use crate::protocol::pb::{etcdserverpb as pb, grpc::health::v1 as health};
use crate::protocol::status::Status;

const LOCK: &str = "/v3lockpb.Lock/Lock";
const UNLOCK: &str = "/v3lockpb.Lock/Unlock";
const CAMPAIGN: &str = "/v3electionpb.Election/Campaign";
const LEADER: &str = "/v3electionpb.Election/Leader";
const PROCLAIM: &str = "/v3electionpb.Election/Proclaim";
const RESIGN: &str = "/v3electionpb.Election/Resign";
const OBSERVE: &str = "/v3electionpb.Election/Observe";
const RANGE: &str = "/etcdserverpb.KV/Range";

fn lock(name: &'static str, lease: i64) -> LockRequest {
    LockRequest { name: name.into(), lease }
}

fn campaign(lease: i64, value: &'static str) -> CampaignRequest {
    CampaignRequest { name: "e".into(), lease, value: value.into() }
}

async fn start(
    client: &SendRequest<Bytes>,
    path: &str,
    message: &impl Message,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut client = client.clone().ready().await.expect("room");
    let head = request(path).body(()).expect("a request");
    let (response, mut body) = client.send_request(head, false).expect("sent");
    body.send_data(frame(message), true).expect("sent");
    (response, body)
}

/// How many keys there are below `prefix`.
async fn keys(client: &SendRequest<Bytes>, prefix: &str) -> Vec<Bytes> {
    let mut range = get(prefix);
    range.range_end = Bytes::from(format!("{prefix}\u{7F}"));
    let reply: pb::RangeResponse = call(client, RANGE, &range).await.message();
    reply.kvs.into_iter().map(|kv| kv.key).collect()
}

/// Waits until there are as many.
async fn until_keys(client: &SendRequest<Bytes>, prefix: &str, count: usize) {
    while keys(client, prefix).await.len() != count {
        async_io::Timer::after(Duration::from_millis(1)).await;
    }
}

fn status(ended: &Ended) -> Status {
    Status::new(ended.code, ended.text.clone())
}

#[test]
fn a_lock_is_held_by_one_and_then_by_the_next() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let first: LockResponse = call(&client, LOCK, &lock("l", 0x1F)).await.message();
        assert_eq!(first.key, "l/1f");
        assert_eq!(first.header.expect("a header").revision, 2);
        // Whoever has it gets it again, and takes no second place.
        let again: LockResponse = call(&client, LOCK, &lock("l", 0x1F)).await.message();
        assert_eq!((&again.key[..], again.header.expect("a header").revision), (&b"l/1f"[..], 2));
        let (second, _body) = start(&client, LOCK, &lock("l", 0x20)).await;
        until_keys(&client, "l/", 2).await;
        let (third, _body) = start(&client, LOCK, &lock("l", 0x21)).await;
        until_keys(&client, "l/", 3).await;
        let unlock = UnlockRequest { key: first.key };
        let unlocked: UnlockResponse = call(&client, UNLOCK, &unlock).await.message();
        let revision = unlocked.header.expect("a header").revision;
        let second: LockResponse = ended(second).await.message();
        assert_eq!(second.key, "l/20");
        assert!(second.header.expect("a header").revision >= revision);
        // What is not there is unlocked already.
        let unlocked: UnlockResponse = call(&client, UNLOCK, &unlock).await.message();
        assert_eq!(unlocked.header.expect("a header").revision, revision);
        let unlock = UnlockRequest { key: second.key };
        call(&client, UNLOCK, &unlock).await;
        let third: LockResponse = ended(third).await.message();
        assert_eq!(third.key, "l/21");
        assert_eq!(keys(&client, "l/").await, ["l/21"]);
        // Without a lease one is granted.
        let own: LockResponse = call(&client, LOCK, &lock("own", 0)).await.message();
        assert_eq!(own.key, "own/3e8");
    });
    rig.stop();
}

#[test]
fn what_cannot_be_done_is_told_in_etcds_words() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let unlock = UnlockRequest { key: Bytes::new() };
        let told = status(&call(&client, UNLOCK, &unlock).await);
        assert_eq!(told, Status::new(2, "etcdserver: key is not provided"));
        let leader = LeaderRequest { name: "e".into() };
        let told = status(&call(&client, LEADER, &leader).await);
        assert_eq!(told, Status::new(2, "election: no leader"));
        let nobody = ProclaimRequest { leader: None, value: "v".into() };
        let told = status(&call(&client, PROCLAIM, &nobody).await);
        assert_eq!(told, Status::new(2, "\"leader\" field must be provided"));
        let told = status(&call(&client, RESIGN, &ResignRequest { leader: None }).await);
        assert_eq!(told, Status::new(2, "\"leader\" field must be provided"));
        let gone = LeaderKey { name: "e".into(), key: "e/1".into(), rev: 9, lease: 1 };
        let proclaim = ProclaimRequest { leader: Some(gone.clone()), value: "v".into() };
        let told = status(&call(&client, PROCLAIM, &proclaim).await);
        assert_eq!(told, Status::new(2, "election: not leader"));
        let resign = ResignRequest { leader: Some(gone) };
        let _: ResignResponse = call(&client, RESIGN, &resign).await.message();
        let large = CampaignRequest { value: vec![0; 3 << 19].into(), ..campaign(1, "") };
        let told = status(&call(&client, CAMPAIGN, &large).await);
        assert_eq!(told, Status::new(2, "etcdserver: request is too large"));
    });
    rig.stop();
}

#[test]
fn whoever_leaves_while_waiting_leaves_nothing_behind() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let held: LockResponse = call(&client, LOCK, &lock("l", 1)).await.message();
        let leader: CampaignResponse = call(&client, CAMPAIGN, &campaign(1, "a")).await.message();
        // By resetting the stream.
        let (_, mut body) = start(&client, LOCK, &lock("l", 2)).await;
        let (_, mut other) = start(&client, CAMPAIGN, &campaign(2, "b")).await;
        until_keys(&client, "l/", 2).await;
        until_keys(&client, "e/", 2).await;
        body.send_reset(h2::Reason::CANCEL);
        other.send_reset(h2::Reason::CANCEL);
        until_keys(&client, "l/", 1).await;
        until_keys(&client, "e/", 1).await;
        // By its deadline.
        let mut ready = client.clone().ready().await.expect("room");
        let head = request(LOCK).header("grpc-timeout", "50m").body(()).expect("a request");
        let (response, mut body) = ready.send_request(head, false).expect("sent");
        body.send_data(frame(&lock("l", 3)), true).expect("sent");
        let told = status(&ended(response).await);
        assert_eq!(told, Status::new(4, "context deadline exceeded"));
        until_keys(&client, "l/", 1).await;
        // By its connection, in a storm.
        with_client_async(&rig, async |other| {
            let mut waiting = Vec::new();
            for lease in 10..60 {
                waiting.push(start(&other, LOCK, &lock("l", lease)).await);
            }
            until_keys(&client, "l/", 51).await;
        })
        .await;
        until_keys(&client, "l/", 1).await;
        // Those who had it still have it.
        assert_eq!(keys(&client, "l/").await, [held.key]);
        assert_eq!(keys(&client, "e/").await, [leader.leader.expect("a key").key]);
        // Some had not begun to watch when they left.
        rig.until(|seen| seen.streams_open == 0);
    });
    // No watch stream is left over.
    let (mut client, _) = Client::connect(&rig, None);
    client.ask(1, Method::Put, &put("now", b""));
    assert_eq!(rig.seen[0].lock().expect("no panic").streams_open, 0);
    rig.stop();
}

#[test]
fn a_waiter_whose_lease_ends_is_told_so() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        for id in [1, 2] {
            let grant = pb::LeaseGrantRequest { id, ttl: 9 };
            call(&client, "/etcdserverpb.Lease/LeaseGrant", &grant).await;
        }
        let held: LockResponse = call(&client, LOCK, &lock("l", 1)).await.message();
        let (waiting, _body) = start(&client, LOCK, &lock("l", 2)).await;
        until_keys(&client, "l/", 2).await;
        let revoke = pb::LeaseRevokeRequest { id: 2 };
        call(&client, "/etcdserverpb.Lease/LeaseRevoke", &revoke).await;
        call(&client, UNLOCK, &UnlockRequest { key: held.key }).await;
        let told = status(&ended(waiting).await);
        assert_eq!(told, Status::new(2, "mutex: session is expired"));
    });
    rig.stop();
}

async fn observed(body: &mut RecvStream) -> (String, String, i64) {
    let piece = body.data().await.expect("a leader").expect("data");
    body.flow_control().release_capacity(piece.len()).expect("window");
    let reply = LeaderResponse::decode(&piece[5..]).expect("a message");
    let kv = reply.kv.expect("a key");
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(&kv.key), text(&kv.value), reply.header.expect("a header").revision)
}

#[test]
fn an_election_from_candidates_to_observers() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let observe = LeaderRequest { name: "e".into() };
        let (early, _body) = start(&client, OBSERVE, &observe).await;
        let mut early = early.await.expect("headers at once").into_body();
        let first: CampaignResponse = call(&client, CAMPAIGN, &campaign(1, "a")).await.message();
        let key = first.leader.expect("a key");
        assert_eq!((&key.key[..], key.rev, key.lease), (&b"e/1"[..], 2, 1));
        assert_eq!(observed(&mut early).await, ("e/1".into(), "a".into(), 2));
        let (second, _body2) = start(&client, CAMPAIGN, &campaign(2, "b")).await;
        until_keys(&client, "e/", 2).await;
        let proclaim = ProclaimRequest { leader: Some(key.clone()), value: "aa".into() };
        let reply: ProclaimResponse = call(&client, PROCLAIM, &proclaim).await.message();
        assert_eq!(reply.header.expect("a header").revision, 4);
        assert_eq!(observed(&mut early).await, ("e/1".into(), "aa".into(), 4));
        // Campaigning again with another value proclaims it.
        let again: CampaignResponse = call(&client, CAMPAIGN, &campaign(1, "x")).await.message();
        assert_eq!(again.leader.expect("a key"), key);
        assert_eq!(observed(&mut early).await, ("e/1".into(), "x".into(), 5));
        let (late, _body3) = start(&client, OBSERVE, &observe).await;
        let mut late = late.await.expect("headers").into_body();
        assert_eq!(observed(&mut late).await, ("e/1".into(), "x".into(), 5));
        let reply: LeaderResponse = call(&client, LEADER, &observe).await.message();
        assert_eq!(reply.kv.expect("a key").value, "x");
        let resign = ResignRequest { leader: Some(key) };
        let _: ResignResponse = call(&client, RESIGN, &resign).await.message();
        let second: CampaignResponse = ended(second).await.message();
        assert_eq!(second.leader.expect("a key").key, "e/2");
        for body in [&mut early, &mut late] {
            let (key, value, _) = observed(body).await;
            assert_eq!((&*key, &*value), ("e/2", "b"));
        }
        // An observer takes nothing that was not sent.
        let nothing = async {
            async_io::Timer::after(Duration::from_millis(20)).await;
            true
        };
        let something = async {
            observed(&mut late).await;
            false
        };
        assert!(or(something, nothing).await);
        drop((early, late));
    });
    rig.stop();
}

#[test]
fn over_frames_they_are_the_same() {
    let rig = Rig::start(1);
    let (mut holder, _) = Client::connect(&rig, None);
    let (mut waiter, _) = Client::connect(&rig, None);
    let answer = holder.ask(1, Method::Lock, &lock("l", 1));
    assert_eq!(answer.header.flags, Flags::END);
    let held = LockResponse::decode(answer.payload).expect("a message");
    waiter.queue(7, Method::Lock, &lock("l", 2));
    waiter.queue(8, Method::Observe, &LeaderRequest { name: "e".into() });
    waiter.queue(9, Method::Lock, &lock("l", 3));
    waiter.flush();
    let count = |holder: &mut Client| {
        let mut range = get("l/");
        range.range_end = Bytes::from_static(b"l0");
        let answer = holder.ask(2, Method::Range, &range);
        pb::RangeResponse::decode(answer.payload).expect("a message").count
    };
    while count(&mut holder) != 3 {
        std::thread::yield_now();
    }
    waiter.say_bare(9, Method::Lock, Flags::CANCEL);
    let ended = waiter.frame().expect("an end");
    assert_eq!((ended.header.stream, error(&ended).code), (9, 1));
    while count(&mut holder) != 2 {
        std::thread::yield_now();
    }
    holder.ask(3, Method::Unlock, &UnlockRequest { key: held.key });
    let locked = waiter.frame().expect("an answer");
    assert_eq!((locked.header.stream, locked.header.flags), (7, Flags::END));
    assert_eq!(LockResponse::decode(locked.payload).expect("a message").key, "l/2");
    holder.ask(4, Method::Campaign, &campaign(1, "a"));
    let told = waiter.frame().expect("a leader");
    assert_eq!((told.header.stream, told.header.flags), (8, Flags::NONE));
    let answer = holder.ask(5, Method::HealthList, &health::HealthListRequest {});
    let list = health::HealthListResponse::decode(answer.payload).expect("a message");
    assert_eq!(list.statuses.len(), 1);
    // A candidate that waits when the server stops is told so, and its key goes.
    waiter.queue(10, Method::Campaign, &campaign(2, "b"));
    waiter.queue(11, Method::HealthWatch, &health::HealthCheckRequest::default());
    waiter.flush();
    let serving = waiter.frame().expect("a state");
    assert_eq!((serving.header.stream, &serving.payload[..]), (11, &b"\x08\x01"[..]));
    rig.stop();
    let mut ends = std::collections::BTreeMap::new();
    while let Some(frame) = waiter.frame() {
        if frame.header.flags.contains(Flags::END) {
            ends.insert(frame.header.stream, error(&frame));
        }
    }
    let stopped = Status::new(14, "etcdserver: server stopped");
    assert_eq!(ends, [8, 10, 11].map(|stream| (stream, stopped.clone())).into());
}
