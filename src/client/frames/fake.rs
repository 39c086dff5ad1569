//! A server of frames that a test scripts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use prost::Message;

use crate::client::{Options, Transport, blocking};
use crate::protocol::Status;
use crate::protocol::frame::{
    Decoder, Flags, Frame, Opcode, encode_error, encode_message, take_preface,
};
use crate::protocol::pb::braidpb::{HelloReply, HelloRequest};
use crate::types::placement::PLACEMENT_SEED;

/// The step that the script takes after a frame.
pub(in crate::client) enum Then {
    GoOn,
    Hang,
}

/// One accepted connection, as the script sees it.
pub(in crate::client) struct Peer {
    /// Counted from 0.
    pub(in crate::client) number: usize,
    pub(in crate::client) hello: HelloRequest,
    pub(in crate::client) frames: usize,
    pub(in crate::client) out: BytesMut,
}

impl Peer {
    pub(in crate::client) fn answer(&mut self, frame: &Frame, message: &impl Message) {
        self.part(frame, Flags::END, message);
    }

    pub(in crate::client) fn part(&mut self, frame: &Frame, flags: Flags, message: &impl Message) {
        let opcode = Opcode::from_u8(frame.header.opcode).expect("a known opcode");
        encode_message(&mut self.out, frame.header.stream, opcode, flags, message);
    }

    pub(in crate::client) fn refuse(&mut self, frame: &Frame, code: u32, text: &'static str) {
        let header = frame.header;
        encode_error(&mut self.out, header.stream, header.opcode, &Status::new(code, text));
    }
}

pub(in crate::client) struct Server {
    pub(in crate::client) address: SocketAddr,
    pub(in crate::client) connections: Arc<AtomicUsize>,
}

impl Server {
    /// Serves until the test's process ends.
    pub(in crate::client) fn start(
        hello: HelloReply,
        script: impl Fn(&mut Peer, Frame) -> Then + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let connections = Arc::new(AtomicUsize::new(0));
        let server = Server { address, connections: Arc::clone(&connections) };
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let (script, hello) = (Arc::clone(&script), hello.clone());
                std::thread::spawn(move || serve(stream, number, hello, &*script));
            }
        });
        server
    }

    pub(in crate::client) fn options(&self) -> Options {
        Options { transport: Transport::Frames, ..Options::endpoints([self.address.to_string()]) }
    }

    pub(in crate::client) fn client(&self) -> blocking::Client {
        blocking::Client::connect(self.options()).expect("the server is up")
    }
}

pub(in crate::client) fn hello() -> HelloReply {
    HelloReply {
        protocol_version: 1,
        cores: 1,
        shards: 1,
        hash_seed: PLACEMENT_SEED,
        shard_cores: vec![0],
        payload_bytes_max: 2 << 20,
        requests_max: 1000,
        ..Default::default()
    }
}

fn serve(
    mut stream: TcpStream,
    number: usize,
    mut reply: HelloReply,
    script: &impl Fn(&mut Peer, Frame) -> Then,
) {
    let decoder = Decoder::new(4 << 20);
    let mut input = BytesMut::new();
    let mut piece = [0; 4096];
    let mut peer: Option<Peer> = None;
    let mut preface = false;
    loop {
        preface = preface || take_preface(&mut input).expect("the preface");
        while preface && let Some(frame) = decoder.decode(&mut input).expect("a sound frame") {
            let Some(peer) = &mut peer else {
                assert_eq!((frame.header.opcode, frame.header.stream), (1, 0));
                let hello = HelloRequest::decode(frame.payload).expect("a hello");
                assert_eq!(hello.protocol_version, 1);
                reply.core = hello.core.unwrap_or(0);
                let mut out = BytesMut::new();
                encode_message(&mut out, 0, Opcode::Hello, Flags::NONE, &reply);
                stream.write_all(&out).expect("the client reads");
                peer = Some(Peer { number, hello, frames: 0, out: BytesMut::new() });
                continue;
            };
            let then = script(peer, frame);
            peer.frames += 1;
            // The client may be gone by now.
            let _ = stream.write_all(&peer.out.split());
            if matches!(then, Then::Hang) {
                return;
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => input.extend_from_slice(&piece[..count]),
        }
    }
}
