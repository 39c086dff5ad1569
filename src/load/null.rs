//! A server that answers everything at once with the same answers: what remains is the generator,
//! the kernel and the loopback. It speaks frames and gRPC on one port, on one thread.
//!
//! It has to be several times cheaper than the servers that the generator is made for, so what it
//! says twice it makes once: the frame that answers a stream, the header blocks of a call.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use prost::Message;

use super::affinity::Cpus;
use crate::http2::frame::{self, FrameHead, HEAD_BYTES, flag, kind, setting};
use crate::http2::hpack::{self, indexes};
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
/// The key of every answer to a read: nobody asks for it, and nobody verifies its value.
pub(super) const NULL_KEY: &[u8] = b"braid-load null";
/// Bytes of a value in an answer.
const VALUE_BYTES: usize = 256;
/// Bytes that a client of gRPC may send ahead, and after which it may send more.
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
        if speech.is_none() && input.len() >= frame::PREFACE.len() {
            speech = Some(if input.starts_with(&PREFACE) {
                input.advance(PREFACE.len());
                Speech::Frames(FramesSide::default())
            } else {
                input.advance(frame::PREFACE.len());
                Speech::Grpc(Box::new(GrpcSide::new(&mut output)))
            });
        }
        match &mut speech {
            None => {}
            Some(Speech::Frames(side)) => side.answer(&answers, &mut input, &mut output),
            Some(Speech::Grpc(side)) => side.answer(&answers, &mut input, &mut output)?,
        }
        stream.write_all(&output).await?;
        output.clear();
    }
    Ok(())
}

enum Speech {
    Frames(FramesSide),
    Grpc(Box<GrpcSide>),
}

/// The one answer to every request of a method.
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
            key: NULL_KEY.into(),
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

/// The server's end of one connection of frames.
#[derive(Default)]
struct FramesSide {
    /// The head of each stream's last answer: for the same opcode it is the same again.
    heads: Vec<Option<[u8; HEADER_BYTES]>>,
}

impl FramesSide {
    fn answer(&mut self, answers: &Answers, input: &mut BytesMut, output: &mut BytesMut) {
        let mut rest = &input[..];
        while let Some((bytes, after)) = rest.split_first_chunk::<HEADER_BYTES>() {
            let header = Header::decode(bytes);
            let Some(after) = after.get(header.length as usize..) else { break };
            rest = after;
            if header.stream != CONNECTION_STREAM {
                self.write(answers, &header, output);
            } else if header.opcode == Opcode::Hello.as_u8() {
                let (opcode, hello) = (Opcode::Hello, &answers.hello);
                encode_message(output, CONNECTION_STREAM, opcode, Flags::NONE, hello);
            }
        }
        let taken = input.len() - rest.len();
        input.advance(taken);
    }

    fn write(&mut self, answers: &Answers, asked: &Header, output: &mut BytesMut) {
        let answer = answers.of(Method::from_opcode(asked.opcode));
        let known = self.heads.get(asked.stream as usize).copied().flatten();
        if let Some(head) = known.filter(|head| Header::decode(head).opcode == asked.opcode) {
            output.extend_from_slice(&head);
            output.extend_from_slice(answer);
            return;
        }
        let start = output.len();
        encode_frame(output, asked.stream, asked.opcode, Flags::END, |payload| {
            payload.extend_from_slice(answer);
        });
        let at = asked.stream as usize;
        if at <= CONNECTION_REQUESTS_MAX {
            self.heads.resize(self.heads.len().max(at + 1), None);
            self.heads[at] = output[start..].first_chunk().copied();
        }
    }
}

/// The server's end of one HTTP/2 connection, as little of it as a client of ours needs.
struct GrpcSide {
    decoder: hpack::Decoder,
    encoder: hpack::Encoder,
    /// Header blocks that have come, with which table, and the method they name; few.
    known: Vec<(u64, Vec<u8>, Option<Method>)>,
    /// Calls whose request has not come whole: hardly ever more than one.
    asked: Vec<(u32, Option<Method>)>,
    /// The header blocks of every answer, once they are in the client's table.
    blocks: Option<[Vec<u8>; 2]>,
    received: u32,
}

/// Header blocks that are remembered.
const KNOWN_MAX: usize = 16;

impl GrpcSide {
    fn new(output: &mut BytesMut) -> GrpcSide {
        frame::put_settings(
            output,
            &[(setting::INITIAL_WINDOW_SIZE, WINDOW_BYTES), (setting::MAX_FRAME_SIZE, 1 << 20)],
        );
        frame::put_window_update(output, 0, WINDOW_BYTES - frame::WINDOW_DEFAULT);
        GrpcSide {
            decoder: hpack::Decoder::default(),
            encoder: hpack::Encoder::default(),
            known: Vec::new(),
            asked: Vec::new(),
            blocks: None,
            received: 0,
        }
    }

    fn answer(
        &mut self,
        answers: &Answers,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> io::Result<()> {
        let mut rest = &input[..];
        while let Some((bytes, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
            let head = FrameHead::decode(bytes);
            let Some((payload, after)) = after.split_at_checked(head.length) else { break };
            rest = after;
            match head.kind {
                kind::HEADERS => {
                    let block = &payload[frame::content(&head, payload).ok_or_else(broken)?];
                    let method = self.method(block)?;
                    self.asked.push((head.stream, method));
                }
                kind::DATA => {
                    self.received += head.length as u32;
                    if head.flags & flag::END_STREAM != 0 {
                        let at = self.asked.iter().rposition(|asked| asked.0 == head.stream);
                        let method = at.and_then(|at| self.asked.swap_remove(at).1);
                        self.write(answers.of(method), head.stream, output);
                    }
                }
                kind::SETTINGS if head.flags & flag::ACK == 0 => {
                    frame::put_head(output, 0, kind::SETTINGS, flag::ACK, 0);
                }
                _ => {}
            }
        }
        let taken = input.len() - rest.len();
        input.advance(taken);
        if self.received >= WINDOW_STEP {
            frame::put_window_update(output, 0, std::mem::take(&mut self.received));
        }
        Ok(())
    }

    /// The method that a header block names.
    fn method(&mut self, block: &[u8]) -> io::Result<Option<Method>> {
        let table = self.decoder.table();
        let mut known = self.known.iter();
        if let Some(known) = known.find(|known| known.0 == table && known.1 == block) {
            return Ok(known.2);
        }
        let mut method = None;
        let decoded = self.decoder.decode(block, |name, value| {
            if name == b":path" {
                let path = std::str::from_utf8(value).ok();
                method = path.and_then(|path| Method::from_path(path).ok());
            }
        });
        decoded.map_err(|hpack::BadBlock| broken())?;
        self.known.retain(|known| known.0 == self.decoder.table());
        if self.decoder.table() == table && self.known.len() < KNOWN_MAX {
            self.known.push((table, block.to_vec(), method));
        }
        Ok(method)
    }

    fn write(&mut self, answer: &[u8], stream: u32, output: &mut BytesMut) {
        match &self.blocks {
            Some(blocks) => put_answer(blocks, answer, stream, output),
            None => put_answer(&self.make_blocks(), answer, stream, output),
        }
    }

    /// The header blocks of the next answer; of all further ones, if they add nothing to the table.
    fn make_blocks(&mut self) -> [Vec<u8>; 2] {
        let table = self.encoder.table();
        let (mut headers, mut trailers) = (BytesMut::new(), BytesMut::new());
        hpack::Encoder::indexed(&mut headers, indexes::STATUS_200);
        self.encoder.repeated(&mut headers, "content-type", "application/grpc");
        self.encoder.repeated(&mut trailers, "grpc-status", "0");
        let blocks = [headers.to_vec(), trailers.to_vec()];
        if self.encoder.table() == table {
            self.blocks = Some(blocks.clone());
        }
        blocks
    }
}

fn put_answer(
    [headers, trailers]: &[Vec<u8>; 2],
    answer: &[u8],
    stream: u32,
    output: &mut BytesMut,
) {
    frame::put_head(output, headers.len(), kind::HEADERS, flag::END_HEADERS, stream);
    output.extend_from_slice(headers);
    frame::put_head(output, PREFIX_BYTES + answer.len(), kind::DATA, 0, stream);
    output.put_u8(0);
    output.put_u32(answer.len() as u32);
    output.extend_from_slice(answer);
    let flags = flag::END_HEADERS | flag::END_STREAM;
    frame::put_head(output, trailers.len(), kind::HEADERS, flags, stream);
    output.extend_from_slice(trailers);
}

fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
