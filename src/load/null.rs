//! A server that answers everything at once with the same answers: what remains is the generator,
//! the kernel and the loopback. It speaks frames and gRPC on one port, on one thread.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use prost::Message;
use rustc_hash::FxHashMap;

use super::affinity::Cpus;
use super::hpack;
use super::http2::{self, FrameHead, HEAD_BYTES, flag, kind, setting};
use crate::limits::CONNECTION_REQUESTS_MAX;
use crate::protocol::Method;
use crate::protocol::frame::{
    CONNECTION_STREAM, Flags, HEADER_BYTES, Header, Opcode, PREFACE, PROTOCOL_VERSION,
    encode_frame, encode_message,
};
use crate::protocol::grpc::PREFIX_BYTES;
use crate::protocol::pb::braidpb::HelloReply;
use crate::protocol::pb::etcdserverpb as pb;
use crate::protocol::pb::mvccpb::KeyValue;
use crate::rt::{
    self, AcceptSettings, Accepted, Acceptor, Inbox, InboxSender, Listener, ListenerOptions,
    TcpStream,
};
use crate::types::placement::PLACEMENT_SEED;

/// Connections at most, and those that wait to be taken.
const CONNECTIONS_MAX: usize = 1 << 16;
const WAITING_MAX: usize = 1 << 10;
/// Bytes of a value in an answer.
const VALUE_BYTES: usize = 256;
/// What a client of gRPC may send ahead, and after how much it may send more.
const WINDOW_BYTES: u32 = 1 << 30;
const WINDOW_STEP: u32 = 1 << 24;

/// Listens; from here on clients can connect.
pub(super) struct Null {
    acceptor: Acceptor,
    inbox: Inbox<Accepted>,
    pub(super) address: SocketAddr,
}

impl Null {
    pub(super) fn bind(address: SocketAddr) -> Result<Null, String> {
        let listener = Listener::bind(address, ListenerOptions::default());
        let listener = listener.map_err(|error| error.to_string())?;
        let address = listener.address();
        let (sender, inbox): (InboxSender<Accepted>, _) =
            Inbox::new(WAITING_MAX).map_err(|error| error.to_string())?;
        let settings = AcceptSettings { open_max: CONNECTIONS_MAX };
        let acceptor = Acceptor::start(vec![listener], vec![sender], settings);
        let acceptor = acceptor.map_err(|error| error.to_string())?;
        Ok(Null { acceptor, inbox, address })
    }

    /// Serves for ever.
    pub(super) fn serve(self, cpus: Cpus) -> Result<(), String> {
        let Null { acceptor, inbox, .. } = self;
        let body = move || async move {
            cpus.apply(0);
            let Ok(inbox) = inbox.open() else { return };
            loop {
                let Accepted { fd, open, .. } = inbox.receive().await;
                rt::spawn(async move {
                    let _open = open;
                    // A connection that ends badly is the client's business.
                    if let Ok(stream) = TcpStream::from_fd(fd) {
                        let _ = converse(stream).await;
                    }
                })
                .detach();
            }
        };
        let settings = rt::ExecutorSettings { name: "null".to_owned(), spin: Duration::ZERO };
        let executors = rt::start(&settings, vec![body]).map_err(|error| error.to_string())?;
        let ended = executors.join().map_err(|error| error.to_string());
        acceptor.stop();
        ended
    }
}

async fn converse(stream: TcpStream) -> io::Result<()> {
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let mut speech = None;
    let answers = Answers::new();
    while stream.read(&mut input).await? > 0 {
        if speech.is_none() && input.len() >= http2::PREFACE.len() {
            speech = Some(if input.starts_with(&PREFACE) {
                input.advance(PREFACE.len());
                Speech::Frames
            } else {
                input.advance(http2::PREFACE.len());
                Speech::Grpc(Box::new(GrpcSide::new(&mut output)))
            });
        }
        match &mut speech {
            None => {}
            Some(Speech::Frames) => answer_frames(&answers, &mut input, &mut output),
            Some(Speech::Grpc(side)) => side.answer(&answers, &mut input, &mut output)?,
        }
        stream.write_all(&output).await?;
        output.clear();
    }
    Ok(())
}

enum Speech {
    Frames,
    Grpc(Box<GrpcSide>),
}

/// The same answer to every request of a method.
struct Answers {
    put: Vec<u8>,
    range: Vec<u8>,
    delete: Vec<u8>,
    txn: Vec<u8>,
    hello: HelloReply,
}

impl Answers {
    fn new() -> Answers {
        let header =
            Some(pb::ResponseHeader { cluster_id: 1, member_id: 1, revision: 2, raft_term: 1 });
        let kv = KeyValue {
            key: "k".into(),
            create_revision: 2,
            mod_revision: 2,
            version: 1,
            value: vec![b'v'; VALUE_BYTES].into(),
            ..Default::default()
        };
        let range = pb::RangeResponse { header, kvs: vec![kv], more: false, count: 1 };
        let delete = pb::DeleteRangeResponse { header, deleted: 1, ..Default::default() };
        let txn = pb::TxnResponse { header, succeeded: true, ..Default::default() };
        Answers {
            put: pb::PutResponse { header, ..Default::default() }.encode_to_vec(),
            range: range.encode_to_vec(),
            delete: delete.encode_to_vec(),
            txn: txn.encode_to_vec(),
            hello: HelloReply {
                protocol_version: PROTOCOL_VERSION,
                braid_version: "null".to_owned(),
                cores: 1,
                shards: 1,
                hash_seed: PLACEMENT_SEED,
                shard_cores: vec![0],
                payload_bytes_max: 1 << 30,
                requests_max: CONNECTION_REQUESTS_MAX as u32,
                ..Default::default()
            },
        }
    }

    fn of(&self, method: Option<Method>) -> &[u8] {
        match method {
            Some(Method::Range) => &self.range,
            Some(Method::DeleteRange) => &self.delete,
            Some(Method::Txn) => &self.txn,
            _ => &self.put,
        }
    }
}

fn answer_frames(answers: &Answers, input: &mut BytesMut, output: &mut BytesMut) {
    while let Some(bytes) = input.first_chunk::<HEADER_BYTES>() {
        let header = Header::decode(bytes);
        let length = HEADER_BYTES + header.length as usize;
        if input.len() < length {
            return;
        }
        input.advance(length);
        if header.stream == CONNECTION_STREAM {
            if header.opcode == Opcode::Hello.as_u8() {
                let (opcode, hello) = (Opcode::Hello, &answers.hello);
                encode_message(output, CONNECTION_STREAM, opcode, Flags::NONE, hello);
            }
            continue;
        }
        let answer = answers.of(Method::from_opcode(header.opcode));
        encode_frame(output, header.stream, header.opcode, Flags::END, |payload| {
            payload.extend_from_slice(answer);
        });
    }
}

/// The server's end of one HTTP/2 connection, as little of it as a client of ours needs.
struct GrpcSide {
    decoder: hpack::Decoder,
    encoder: hpack::Encoder,
    asked: FxHashMap<u32, Option<Method>>,
    received: u32,
}

/// `:status: 200` in HPACK's static table.
const STATUS_200: u8 = 8;

impl GrpcSide {
    fn new(output: &mut BytesMut) -> GrpcSide {
        http2::put_settings(
            output,
            &[(setting::INITIAL_WINDOW_SIZE, WINDOW_BYTES), (setting::MAX_FRAME_SIZE, 1 << 20)],
        );
        http2::put_window_update(output, 0, WINDOW_BYTES - http2::WINDOW_DEFAULT as u32);
        GrpcSide {
            decoder: hpack::Decoder::default(),
            encoder: hpack::Encoder::new(),
            asked: FxHashMap::default(),
            received: 0,
        }
    }

    fn answer(
        &mut self,
        answers: &Answers,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> io::Result<()> {
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        while let Some(bytes) = input.first_chunk::<HEAD_BYTES>() {
            let head = FrameHead::decode(bytes);
            let Some(payload) = input[HEAD_BYTES..].get(..head.length) else { break };
            match head.kind {
                kind::HEADERS => {
                    let mut method = None;
                    let block = http2::unpadded(&head, payload).ok_or_else(broken)?;
                    let decoded = self.decoder.decode(block, |name, value| {
                        if name == b":path" {
                            let path = std::str::from_utf8(value).ok();
                            method = path.and_then(|path| Method::from_path(path).ok());
                        }
                    });
                    decoded.map_err(|hpack::BadBlock| broken())?;
                    self.asked.insert(head.stream, method);
                }
                kind::DATA => {
                    self.received += head.length as u32;
                    if head.flags & flag::END_STREAM != 0 {
                        let method = self.asked.remove(&head.stream).flatten();
                        self.write(answers.of(method), head.stream, output);
                    }
                }
                kind::SETTINGS if head.flags & flag::ACK == 0 => {
                    http2::put_head(output, 0, kind::SETTINGS, flag::ACK, 0);
                }
                _ => {}
            }
            input.advance(HEAD_BYTES + head.length);
        }
        if self.received >= WINDOW_STEP {
            http2::put_window_update(output, 0, std::mem::take(&mut self.received));
        }
        Ok(())
    }

    fn write(&mut self, answer: &[u8], stream: u32, output: &mut BytesMut) {
        self.block(stream, flag::END_HEADERS, output, |encoder, out| {
            hpack::Encoder::indexed(out, STATUS_200);
            encoder.repeated(out, "content-type", "application/grpc");
        });
        http2::put_head(output, PREFIX_BYTES + answer.len(), kind::DATA, 0, stream);
        output.put_u8(0);
        output.put_u32(answer.len() as u32);
        output.extend_from_slice(answer);
        self.block(stream, flag::END_HEADERS | flag::END_STREAM, output, |encoder, out| {
            encoder.repeated(out, "grpc-status", "0");
        });
    }

    fn block(
        &mut self,
        stream: u32,
        flags: u8,
        output: &mut BytesMut,
        write: impl FnOnce(&mut hpack::Encoder, &mut BytesMut),
    ) {
        let start = output.len();
        output.put_bytes(0, HEAD_BYTES);
        write(&mut self.encoder, output);
        let length = output.len() - start - HEAD_BYTES;
        let head = http2::head(length, kind::HEADERS, flags, stream);
        output[start..start + HEAD_BYTES].copy_from_slice(&head);
    }
}
