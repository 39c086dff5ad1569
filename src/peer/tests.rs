//! What is sent is what is read, and whatever else comes is refused.

use bytes::Bytes;

use super::*;
use crate::raft::{Group, GroupConfig, Restored};
use crate::types::{
    Attempt, ClusterId, CoreId, Epoch, GroupId, LogIndex, MemberId, Note, Revision, ShardId, Term,
};

fn votes() -> Vec<crate::raft::Message> {
    let config = GroupConfig {
        group: GroupId(3),
        raft_id: 7,
        voters: vec![7, 8, 9],
        learners: vec![],
        elects: false,
        heartbeat_ticks: 1,
        election_ticks: 10,
    };
    let mut group = Group::new(&config, Restored::default()).expect("a new group");
    group.campaign_in(Attempt { term: Term(5), number: 2 });
    let ready = group.ready().expect("it campaigns");
    group.persisted(ready.number).messages
}

fn messages() -> Vec<Message> {
    let indexes = [LogIndex(4), LogIndex(u64::MAX), LogIndex(0)];
    let note = Note { stable: Revision(77), indexes: indexes.into() };
    let mut messages = vec![
        Message::Line { epoch: Epoch(9), note },
        Message::Line { epoch: Epoch(0), note: Note::default() },
        Message::Ask { shard: ShardId(127), attempt: Attempt { term: Term(5), number: 2 } },
        Message::ReadAsk { round: 12 },
        Message::ReadReply { round: 12, stable: Some((Epoch(9), Revision(70))) },
        Message::ReadReply { round: 13, stable: None },
    ];
    let votes = votes();
    assert_eq!(votes.len(), 2);
    let group = GroupId(3);
    messages.extend(votes.into_iter().map(|message| Message::Raft { group, message }));
    messages
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        entry_format: ENTRY_FORMAT,
        cluster: ClusterId(0xc1),
        from: MemberId(7),
        to: MemberId(8),
        shards: 4,
        incarnation: 99,
        purpose: Purpose::Core(CoreId(3)),
    }
}

fn replies() -> Vec<HelloReply> {
    let member = MemberId(u64::MAX);
    let refusals = [
        HelloRefusal::NotMe { called: MemberId(1), me: member },
        HelloRefusal::WrongCluster { theirs: ClusterId(1), ours: ClusterId(2) },
        HelloRefusal::Protocol { theirs: 1, ours: 2 },
        HelloRefusal::Shards { theirs: 1, ours: 128 },
        HelloRefusal::Unknown { member },
        HelloRefusal::Removed { member },
        HelloRefusal::Wiped { member },
    ];
    let mut replies: Vec<HelloReply> = refusals.into_iter().map(HelloReply::Refused).collect();
    replies.push(HelloReply::Welcome(Welcome { protocol: 1, entry_format: 2 }));
    replies
}

/// What is read back from every prefix and every flipped bit of `bytes`: refused, or read; whatever
/// is read has a form of its own.
fn harm<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    read: impl Fn(Bytes) -> Result<T, BadPeerBytes>,
    write: impl Fn(&T) -> Vec<u8>,
) {
    for length in 0..bytes.len() {
        let cut = read(Bytes::copy_from_slice(&bytes[..length]));
        assert!(cut.is_err(), "{length} of {} bytes are {cut:?}", bytes.len());
    }
    let longer = [bytes, &[0]].concat();
    assert!(read(longer.into()).is_err());
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[at / 8] ^= 1 << (at % 8);
        if let Ok(found) = read(Bytes::from(flipped.clone())) {
            assert_eq!(write(&found), flipped, "bit {at} of {found:?} has no meaning");
        }
    }
}

fn payload(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

#[test]
fn messages_read_back_and_damaged_ones_are_refused_without_a_panic() {
    for message in messages() {
        let (opcode, bytes) = (message.opcode(), payload(&message));
        assert_eq!(Message::decode(opcode, Bytes::from(bytes.clone())), Ok(message));
        harm(&bytes, |bytes| Message::decode(opcode, bytes), payload);
        for other in (0..=255).filter(|other| *other != opcode) {
            if let Ok(found) = Message::decode(other, Bytes::from(bytes.clone())) {
                assert_eq!((found.opcode(), payload(&found)), (other, bytes.clone()));
            }
        }
    }
    for opcode in [0, 6, 255] {
        assert_eq!(Message::decode(opcode, Bytes::new()), Err(BadPeerBytes::Opcode(opcode)));
    }
}

#[test]
fn a_number_of_groups_that_is_made_up_allocates_nothing() {
    let line = Message::Line { epoch: Epoch(1), note: Note::default() };
    let mut bytes = payload(&line);
    bytes[16..].copy_from_slice(&u16::MAX.to_le_bytes());
    let found = Message::decode(line.opcode(), Bytes::from(bytes.clone()));
    assert_eq!(found, Err(BadPeerBytes::Field("the number of groups")));
    bytes[16..].copy_from_slice(&100u16.to_le_bytes());
    let found = Message::decode(line.opcode(), Bytes::from(bytes));
    assert_eq!(found, Err(BadPeerBytes::Short("an index")));
}

#[test]
fn greetings_read_back_and_damaged_ones_are_refused_without_a_panic() {
    for hello in [hello(), Hello { purpose: Purpose::Control, ..hello() }] {
        let bytes = hello.encode();
        assert_eq!(Hello::decode(Bytes::from(bytes.clone())), Ok(hello));
        harm(&bytes, Hello::decode, Hello::encode);
    }
    for reply in replies() {
        let bytes = reply.encode();
        assert_eq!(HelloReply::decode(Bytes::from(bytes.clone())), Ok(reply));
        harm(&bytes, HelloReply::decode, HelloReply::encode);
    }
}

#[test]
fn members_that_have_nothing_to_do_with_each_other_say_why() {
    let theirs = hello();
    let ours = Hello { from: MemberId(8), to: MemberId(7), ..hello() };
    let answer = |theirs: Hello, ours: &Hello| theirs.answer(ours).map_err(|why| why.to_string());
    let welcome = Welcome { protocol: 1, entry_format: ENTRY_FORMAT };
    assert_eq!(answer(theirs.clone(), &ours), Ok(welcome));
    let older = Hello { entry_format: 1, ..ours.clone() };
    assert_eq!(answer(theirs.clone(), &older), Ok(Welcome { entry_format: 1, ..welcome }));
    let cases = [
        (Hello { cluster: ClusterId(0xc2), ..hello() }, "is of cluster c2, the one that listens"),
        (Hello { to: MemberId(9), ..hello() }, "member 9 was called, but member 8 listens"),
        (Hello { shards: 2, ..hello() }, "has 2 shards, the one that listens 4"),
        (Hello { protocol: 3..=4, ..hello() }, "speaks version 4 at most, the one that listens 1"),
    ];
    for (theirs, words) in cases {
        let why = answer(theirs, &ours).expect_err(words);
        assert!(why.contains(words), "{why}");
    }
}
