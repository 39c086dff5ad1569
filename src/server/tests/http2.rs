//! gRPC by HTTP/2 that is written by hand: what stands in one read, and what is cut anywhere.

use std::io::{Read, Write};
use std::thread;

use bytes::BytesMut;
use prost::Message;

use super::frames::{get, put};
use super::grpc::{PUT, RANGE, call, frame, http2, with_client};
use super::*;
use crate::http2::frame::{self, FrameHead, HEAD_BYTES, PREFACE, flag, kind};
use crate::http2::hpack::{Decoder, Encoder, indexes};
use crate::limits::{CONNECTION_TURN_WORK, FRAME_WORK};
use crate::member::MULTI_GET_MAX;
use crate::observe::CoreMetrics;
use crate::protocol::Method;
use crate::protocol::pb::etcdserverpb as pb;

const MIB: usize = 1 << 20;

/// A client that writes what it is told to.
struct Client {
    stream: TcpStream,
    encoder: Encoder,
    decoder: Decoder,
    next: u32,
    /// Windows for all that ever comes.
    pending: Vec<u8>,
    input: Vec<u8>,
}

/// How a call ended.
#[derive(Debug, Default, Clone)]
struct Outcome {
    message: Vec<u8>,
    status: Option<u32>,
}

impl Outcome {
    fn reply<M: Message + Default>(&self) -> M {
        assert_eq!((self.status, self.message[0]), (Some(0), 0), "{self:?}");
        M::decode(&self.message[5..]).expect("a message")
    }
}

impl Client {
    fn connect(rig: &Rig) -> Client {
        let mut hello = BytesMut::from(PREFACE);
        frame::put_settings(&mut hello, &[(frame::setting::INITIAL_WINDOW_SIZE, 1 << 30)]);
        frame::put_window_update(&mut hello, 0, 1 << 30);
        Client {
            stream: rig.connect(),
            encoder: Encoder::default(),
            decoder: Decoder::default(),
            next: 1,
            pending: hello.to_vec(),
            input: Vec::new(),
        }
    }

    /// Writes headers, and takes the next stream for them.
    fn open(&mut self, path: &'static str) -> u32 {
        let mut block = BytesMut::new();
        Encoder::indexed(&mut block, indexes::METHOD_POST);
        Encoder::indexed(&mut block, indexes::SCHEME_HTTP);
        self.encoder.repeated(&mut block, ":path", path);
        self.encoder.repeated(&mut block, "content-type", "application/grpc");
        let stream = self.next;
        self.next += 2;
        self.pending.extend(http2(kind::HEADERS, flag::END_HEADERS, stream, &block));
        stream
    }

    fn ask(&mut self, path: &'static str, message: &impl Message) -> u32 {
        let stream = self.open(path);
        let body = frame_of(message);
        let last = body.len().div_ceil(16_384) - 1;
        for (number, piece) in body.chunks(16_384).enumerate() {
            let flags = if number == last { flag::END_STREAM } else { 0 };
            self.pending.extend(http2(kind::DATA, flags, stream, piece));
        }
        stream
    }

    fn flush(&mut self) {
        self.stream.write_all(&std::mem::take(&mut self.pending)).expect("write");
    }

    /// What became of the streams from that with the number `first` on (the first of all has 0) up
    /// to the newest, all of which end.
    fn outcomes(&mut self, first: usize) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::default(); self.next as usize / 2 - first];
        while outcomes.iter().any(|one| one.status.is_none()) {
            let (head, payload) = self.frame();
            assert!(!matches!(head.kind, kind::GOAWAY | kind::RST_STREAM), "{payload:?}");
            let Some(number) = (head.stream as usize / 2).checked_sub(first) else { continue };
            if head.stream == 0 {
                continue;
            }
            let outcome = &mut outcomes[number];
            match head.kind {
                kind::DATA => outcome.message.extend(payload),
                kind::HEADERS => {
                    let read = self.decoder.decode(&payload, |name, value| {
                        if name == b"grpc-status" {
                            let text = std::str::from_utf8(value).expect("a number");
                            outcome.status = Some(text.parse().expect("a number"));
                        }
                    });
                    read.expect("a block");
                }
                _ => {}
            }
        }
        outcomes
    }

    fn frame(&mut self) -> (FrameHead, Vec<u8>) {
        loop {
            if let Some(head) = self.input.first_chunk::<HEAD_BYTES>().map(FrameHead::decode)
                && self.input.len() >= HEAD_BYTES + head.length
            {
                let rest = self.input.split_off(HEAD_BYTES + head.length);
                let payload = self.input.split_off(HEAD_BYTES);
                self.input = rest;
                return (head, payload);
            }
            let mut piece = vec![0; 256 << 10];
            let count = self.stream.read(&mut piece).expect("read");
            assert!(count > 0, "the connection has ended");
            self.input.extend_from_slice(&piece[..count]);
        }
    }
}

fn frame_of(message: &impl Message) -> Vec<u8> {
    frame(message).to_vec()
}

/// Every shard is on the one core.
fn own_all(settings: &mut Settings) {
    settings.shard_cores = vec![CoreId(0); 2];
}

#[test]
fn gets_that_stand_together_are_looked_up_together_and_all_are_answered_once() {
    let rig = Rig::start_with(1, own_all);
    let mut client = Client::connect(&rig);
    for number in 0..30 {
        client.ask(PUT, &put(&format!("look{number}"), format!("v{number}").as_bytes()));
    }
    let large = vec![7; 100_000];
    client.ask(PUT, &put("look-large", &large));
    client.flush();
    assert!(client.outcomes(0).iter().all(|one| one.status == Some(0)));
    let before = client.next as usize / 2;
    for number in 0..40 {
        client.ask(RANGE, &get(&format!("look{number}")));
        if number % 20 == 0 {
            // What is no such get stands between them.
            client.ask(RANGE, &get("slow"));
            client.ask(PUT, &put("k", b"v"));
            client.ask(RANGE, &get("look-large"));
        }
    }
    client.flush();
    let outcomes = client.outcomes(before);
    let mut at = outcomes.iter();
    for number in 0..40 {
        let reply: pb::RangeResponse = at.next().expect("one").reply();
        let found = reply.kvs.first().map(|kv| kv.value.to_vec());
        assert_eq!(found, (number < 30).then(|| format!("v{number}").into_bytes()));
        assert_eq!(reply.header.expect("a header").raft_term, 2);
        if number % 20 == 0 {
            assert_eq!(at.next().expect("one").reply::<pb::RangeResponse>().count, 0);
            at.next().expect("one").reply::<pb::PutResponse>();
            let reply: pb::RangeResponse = at.next().expect("one").reply();
            assert_eq!(reply.kvs[0].value, large);
        }
    }
    let looked_up = rig.seen[0].lock().expect("no panic").looked_up.clone();
    let most = looked_up.iter().max().expect("some");
    assert!((9..=MULTI_GET_MAX).contains(most), "many at a time: {looked_up:?}");
    assert_eq!(looked_up.iter().sum::<usize>(), 42, "each of them once");
    rig.stop();
}

#[test]
fn requests_are_taken_however_their_bytes_are_cut() {
    let rig = Rig::start_with(1, own_all);
    let mut client = Client::connect(&rig);
    client.ask(PUT, &put("look1", b"v1"));
    client.ask(PUT, &put("now/large", &vec![7; 50_000]));
    client.ask(RANGE, &get("look1"));
    client.ask(RANGE, &get("look1"));
    client.stream.set_nodelay(true).expect("no delay");
    for piece in std::mem::take(&mut client.pending).chunks(777) {
        client.stream.write_all(piece).expect("write");
        thread::sleep(Duration::from_millis(1));
    }
    for byte in {
        client.ask(RANGE, &get("look1"));
        client.ask(PUT, &put("k", b"v"));
        std::mem::take(&mut client.pending)
    } {
        client.stream.write_all(&[byte]).expect("write");
    }
    let outcomes = client.outcomes(0);
    for one in [2, 3, 4] {
        let reply: pb::RangeResponse = outcomes[one].reply();
        assert!(reply.kvs.len() <= 1, "before or after the put");
    }
    outcomes[1].reply::<pb::PutResponse>();
    outcomes[5].reply::<pb::PutResponse>();
    rig.stop();
}

#[test]
fn a_flood_of_gets_and_of_puts_takes_its_turns() {
    for (path, message) in
        [(RANGE, get("look/1").encode_to_vec()), (PUT, put("k", b"value").encode_to_vec())]
    {
        let figures = Arc::new(CoreMetrics::new(Method::ALL.len()));
        let given = figures.clone();
        let rig = Rig::start_with(1, move |settings| {
            own_all(settings);
            settings.figures = given.clone();
        });
        let mut client = Client::connect(&rig);
        let body = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
        let count = 20_000;
        for _ in 0..count {
            let stream = client.open(path);
            client.pending.extend(http2(kind::DATA, flag::END_STREAM, stream, &body));
        }
        let bytes = client.pending.len();
        let mut writing = client.stream.try_clone().expect("a second handle");
        let flood = std::mem::take(&mut client.pending);
        let sending = thread::spawn(move || writing.write_all(&flood).expect("it is read"));
        assert!(client.outcomes(0).iter().all(|one| one.status == Some(0)));
        sending.join().expect("no panic");
        let work = bytes + 2 * count * FRAME_WORK;
        let turns = (work / (CONNECTION_TURN_WORK + crate::rt::READ_BYTES_MAX)) as u64;
        let counted = figures.turns_over.get();
        assert!(turns > 10 && counted >= turns, "{counted} turns of {turns}");
        rig.stop();
    }
}

#[test]
fn calls_beyond_what_a_connection_may_hold_wait_and_are_answered_in_the_end() {
    let rig = Rig::start(1);
    let big = vec![7; MIB];
    with_client(&rig, async |client| {
        call(&client, PUT, &put("big", &big)).await;
    });
    // 60 MiB of answers, and puts behind them, for a client that reads nothing yet.
    let mut client = Client::connect(&rig);
    for _ in 0..60 {
        client.ask(RANGE, &get("big"));
    }
    for number in 0..100 {
        client.ask(PUT, &put(&format!("k{number}"), b"v"));
    }
    client.flush();
    thread::sleep(Duration::from_millis(200));
    let outcomes = client.outcomes(0);
    assert!(outcomes[..60].iter().all(|one| one.message.len() > MIB));
    assert!(outcomes.iter().all(|one| one.status == Some(0)));
    rig.stop();
}

#[test]
fn large_puts_beyond_the_budget_are_all_carried_out_and_it_ends_empty() {
    const LIMIT: usize = 8 * MIB;
    let budget = Budget::new(LIMIT, 1);
    let given = budget.clone();
    let rig = Rig::start_with(1, move |settings| settings.budget = given.clone());
    let (clients, puts) = (12, 10);
    thread::scope(|scope| {
        for number in 0..clients {
            let rig = &rig;
            scope.spawn(move || {
                let mut client = Client::connect(rig);
                for at in 0..puts {
                    // The windows let two of them through at a time.
                    client.ask(PUT, &put(&format!("{number}/{at}"), &vec![b'v'; MIB - 4096]));
                    client.flush();
                    client.outcomes(at)[0].reply::<pb::PutResponse>();
                }
            });
        }
    });
    let held = rig.seen[0].lock().expect("no panic").held_max;
    let most = LIMIT + LIMIT / 2 + clients * 256 * 1024 + 4 * MIB;
    assert!(held < most, "{held} bytes were held, of {most}");
    rig.stop();
    assert_eq!(budget.taken(), 0);
}
