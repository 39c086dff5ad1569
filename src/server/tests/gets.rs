//! Gets of one key over frames, which are answered where they are read.

use prost::Message;

use super::frames::{Client, error, get, put};
use super::*;
use crate::limits::CONNECTION_OUTPUT_BYTES_MAX;
use crate::member::MULTI_GET_MAX;
use crate::protocol::frame::Flags;
use crate::protocol::method::Method;
use crate::protocol::pb::etcdserverpb as pb;

/// Every shard is on the one core.
fn own_all(settings: &mut Settings) {
    settings.shard_cores = vec![CoreId(0); 2];
}

/// What each of `streams` was told, whatever the order in which the answers come.
fn answers(client: &mut Client, streams: u32) -> Vec<Result<pb::RangeResponse, String>> {
    let mut answers: Vec<_> = (0..streams).map(|_| None).collect();
    for _ in 0..streams {
        let frame = client.frame().expect("an answer");
        let answer = match frame.header.flags.contains(Flags::ERROR) {
            true => Err(error(&frame).message.to_string()),
            false => Ok(pb::RangeResponse::decode(frame.payload).expect("a message")),
        };
        let place = &mut answers[frame.header.stream as usize - 1];
        assert!(place.replace(answer).is_none(), "one answer for each stream");
    }
    answers.into_iter().map(|answer| answer.expect("an answer")).collect()
}

fn found(answer: &Result<pb::RangeResponse, String>) -> Option<(&[u8], &[u8])> {
    let reply = answer.as_ref().expect("no refusal");
    let header = reply.header.as_ref().expect("a header");
    assert_eq!((header.cluster_id, header.member_id, header.raft_term), (0xC1, 0xA1, 2));
    assert_eq!((reply.count as usize, reply.more), (reply.kvs.len(), false));
    reply.kvs.first().map(|kv| (&kv.key[..], &kv.value[..]))
}

#[test]
fn what_stands_together_is_looked_up_together_and_everything_is_answered_once() {
    let rig = Rig::start_with(1, own_all);
    let (mut client, _) = Client::connect(&rig, None);
    for i in 0..30 {
        client.ask(1, Method::Put, &put(&format!("look{i}"), format!("v{i}").as_bytes()));
    }
    // Forty gets, the last ten of keys that are not there; between them what is no such get.
    let mut stream = 0;
    let mut next = || {
        stream += 1;
        stream
    };
    let mut expected = Vec::new();
    for i in 0..40 {
        let key = format!("look{i}");
        client.queue(next(), Method::Range, &get(&key));
        expected.push((i < 30).then(|| (key.clone(), format!("v{i}"))));
        if i == 20 {
            client.queue(next(), Method::Range, &get("slow"));
            expected.push(None);
            let limited = pb::RangeRequest { limit: 1, ..get("look3") };
            client.queue(next(), Method::Range, &limited);
            expected.push(Some(("look3".to_owned(), "v3".to_owned())));
            let serializable = pb::RangeRequest { serializable: true, ..get("look4") };
            client.queue(next(), Method::Range, &serializable);
            expected.push(Some(("look4".to_owned(), "v4".to_owned())));
        }
    }
    client.queue(next(), Method::Range, &get(""));
    client.flush();
    let mut told = answers(&mut client, stream);
    assert_eq!(told.pop(), Some(Err("etcdserver: key is not provided".to_owned())));
    for (answer, expected) in told.iter().zip(&expected) {
        let expected = expected.as_ref().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
        assert_eq!(found(answer), expected);
    }
    let looked_up = rig.seen[0].lock().expect("no panic").looked_up.clone();
    assert_eq!(looked_up.iter().sum::<usize>(), 41, "forty, and the serializable one");
    assert!(looked_up.iter().all(|&count| count <= MULTI_GET_MAX));
    rig.stop();
}

#[test]
fn keys_of_other_cores_and_streams_in_use_go_the_long_way() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    for i in 0..20 {
        client.ask(1, Method::Put, &put(&format!("look{i}"), b"v"));
    }
    for i in 0..20 {
        client.queue(i + 1, Method::Range, &get(&format!("look{i}")));
    }
    client.flush();
    assert!(answers(&mut client, 20).iter().all(|answer| found(answer).is_some()));
    let own: usize = rig.seen[0].lock().expect("no panic").looked_up.iter().sum();
    assert!((1..20).contains(&own), "shard 1 is on a core that is not here");
    // A get on a stream that waits for another answer breaks the protocol, also behind others.
    client.queue(7, Method::Range, &get("stall"));
    client.queue(8, Method::Range, &get("look1"));
    client.queue(7, Method::Range, &get("look1"));
    client.flush();
    let mut frames = std::iter::from_fn(|| client.frame());
    let close = frames.find(|frame| frame.header.stream == 0).expect("a close");
    assert!(error(&close).message.contains('7'), "{close:?}");
    rig.stop();
}

#[test]
fn a_client_that_does_not_read_is_not_looked_up_for_without_end() {
    const VALUE_BYTES: usize = 1 << 20;
    let rig = Rig::start_with(1, own_all);
    let (mut client, _) = Client::connect(&rig, None);
    client.ask(1, Method::Put, &put("look", &vec![7; VALUE_BYTES]));
    let gets = 64;
    for stream in 1..=gets {
        client.queue(stream, Method::Range, &get("look"));
    }
    client.flush();
    // Until nothing goes any more: the output is full, and so is the socket.
    rig.until(|seen| {
        seen.looked_up.iter().sum::<usize>() * VALUE_BYTES >= CONNECTION_OUTPUT_BYTES_MAX
    });
    let answers = answers(&mut client, gets);
    assert!(answers.iter().all(|a| found(a).is_some_and(|(_, value)| value.len() == VALUE_BYTES)));
    let most = CONNECTION_OUTPUT_BYTES_MAX / VALUE_BYTES + 1;
    let looked_up = rig.seen[0].lock().expect("no panic").looked_up.clone();
    assert!(looked_up.iter().all(|&count| count <= most), "{looked_up:?}");
    rig.stop();
}
