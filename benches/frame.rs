//! The cost of a request between the socket and the core: frame, checksum, message, and back.

use std::hint::black_box;

use braid::protocol::convert::{HeaderFields, RequestLimits, decode, encode};
use braid::protocol::frame::{Decoder, Flags, encode_frame};
use braid::protocol::method::Method;
use braid::protocol::pb::etcdserverpb as pb;
use braid::types::{
    Blob, ClusterId, KeyValue, LeaseId, MemberId, PutReply, RangeReply, Reply, Revision, Term,
};
use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;

const HEADER: HeaderFields = HeaderFields {
    cluster_id: ClusterId(0xCDF8_181E_3D2A_1B4C),
    member_id: MemberId(0x8E9E_05C5_2164_694D),
    raft_term: Term(3),
};

/// Frames in one receive buffer: what a pipelining client sends between two reads.
const PIPELINED: u32 = 64;

fn received(method: Method, message: &impl Message) -> BytesMut {
    let mut out = BytesMut::new();
    for stream in 1..=PIPELINED {
        encode_frame(&mut out, stream, method.opcode(), Flags::END, |payload| {
            message.encode(payload).expect("a BytesMut grows");
        });
    }
    out
}

fn requests(c: &mut Criterion, name: &str, method: Method, message: &impl Message) {
    let received = received(method, message);
    let decoder = Decoder::new(2 << 20);
    let limits = RequestLimits::default();
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(u64::from(PIPELINED)));
    group.bench_function(name, |b| {
        b.iter_batched_ref(
            || received.clone(),
            |input| {
                while let Some(frame) = decoder.decode(input).expect("our own frames") {
                    let method = Method::from_opcode(frame.header.opcode).expect("our own opcode");
                    let request = decode(method, frame.payload, &limits);
                    black_box(request.expect("our own request"));
                }
            },
            BatchSize::PerIteration,
        );
    });
}

fn replies(c: &mut Criterion, name: &str, method: Method, reply: &Reply) {
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(u64::from(PIPELINED)));
    let mut out = BytesMut::with_capacity(1 << 20);
    group.bench_function(name, |b| {
        b.iter(|| {
            out.clear();
            for stream in 1..=PIPELINED {
                encode_frame(&mut out, stream, method.opcode(), Flags::END, |payload| {
                    encode(&HEADER, black_box(reply), payload);
                });
            }
            black_box(&out);
        });
    });
}

fn frames(c: &mut Criterion) {
    let key = Bytes::from_static(b"/registry/pods/default/nginx-1234");
    let value = Bytes::from(vec![b'v'; 256]);
    let put = pb::PutRequest { key: key.clone(), value: value.clone(), ..Default::default() };
    let get = pb::RangeRequest { key: key.clone(), ..Default::default() };
    requests(c, "put", Method::Put, &put);
    requests(c, "get", Method::Range, &get);

    let revision = Revision(1_234_567);
    let kv = KeyValue {
        key: Blob::from(&key[..]),
        value: Blob::from(&value[..]),
        create: 1_000_000,
        modified: 1_234_567,
        version: 17,
        lease: LeaseId::NONE,
    };
    let put = Reply::Put(PutReply { revision, prev_kv: None });
    let get = Reply::Range(RangeReply { revision, kvs: vec![kv], more: false, count: 1 });
    replies(c, "put", Method::Put, &put);
    replies(c, "get", Method::Range, &get);
}

criterion_group!(benches, frames);
criterion_main!(benches);
