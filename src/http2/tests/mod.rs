//! A connection against a client that is written by hand.

mod attacks;
mod oracle;
mod rules;
mod windows;

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::frame::{self, FrameHead, HEAD_BYTES, PREFACE, Reason, flag, kind, setting};
use super::hpack::{Decoder, Field};
use super::*;
use crate::types::Nanos;

/// A header list as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Listed(Vec<(String, String)>);

impl Heads for Listed {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.0.push((text(name), text(value)));
    }
}

const CONFIG: Config = Config {
    streams_max: 100,
    tells_streams_max: true,
    stream_window: 100_000,
    connection_window: 200_000,
    header_list_bytes_max: 16 << 10,
    ping_interval_min: Duration::from_secs(5),
};

/// `:method POST`, `:scheme http`, `:path /` of the static table.
const CALL: &[u8] = &[0x83, 0x86, 0x84];

const OK: Fields<'_> = Fields {
    status: Some(200),
    fields: &[Field { name: "content-type", value: "application/grpc", comes_again: true }],
    kept: Some(0),
};
const DONE: Fields<'_> = Fields {
    status: None,
    fields: &[Field { name: "grpc-status", value: "0", comes_again: true }],
    kept: Some(1),
};

/// A frame of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// The event of a frame, with the bytes that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Saw {
    Nothing,
    Request(u32, Vec<u8>, bool),
    Data(u32, Vec<u8>, bool),
    Reset(u32, Option<u32>),
}

/// A server's connection and its client. What the owner keeps with a stream is its number.
struct Rig {
    server: Connection<Listed, u32>,
    /// Frames that were taken, and what else was visited.
    work: usize,
    decoder: Decoder,
    lists: Vec<Listed>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame::head(payload.len(), kind, flags, stream).to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// Headers that open a stream, whose body follows.
fn open(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS, stream, CALL)
}

/// A whole request.
fn request(stream: u32, body: &[u8]) -> Vec<u8> {
    [open(stream), frame(kind::DATA, flag::END_STREAM, stream, body)].concat()
}

fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::put_settings(&mut out, settings);
    out.to_vec()
}

fn window_update(stream: u32, more: u32) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::put_window_update(&mut out, stream, more);
    out.to_vec()
}

fn reset(stream: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

impl Rig {
    /// Its client has said hello with these settings.
    fn with(told: &[(u16, u32)]) -> Rig {
        let mut rig = Rig::silent();
        rig.take(PREFACE).expect("the preface");
        rig.take(&settings(told)).expect("settings");
        rig.told();
        rig
    }

    fn new() -> Rig {
        Rig::with(&[])
    }

    /// Nothing has come.
    fn silent() -> Rig {
        let (server, decoder) = (Connection::new(CONFIG), Decoder::default());
        Rig { server, work: 0, decoder, lists: Vec::new() }
    }

    /// Everything that is in `input`, which has nothing but whole frames.
    fn take(&mut self, mut input: &[u8]) -> Result<Vec<Saw>, Broken> {
        let mut saw = Vec::new();
        while !input.is_empty() {
            let taken = self.server.take(input)?.expect("whole frames");
            assert!(taken.work > 0 && taken.bytes > 0);
            self.work += taken.work;
            saw.push(match taken.event {
                Event::Nothing => Saw::Nothing,
                Event::Request { stream, head, body, ends } => {
                    self.lists.push(head);
                    self.server.set_call(stream, stream).expect("open");
                    Saw::Request(stream, input[body].to_vec(), ends)
                }
                Event::Data { stream, body, ends } => Saw::Data(stream, input[body].to_vec(), ends),
                Event::Reset { stream, call } => Saw::Reset(stream, call),
            });
            input = &input[taken.bytes..];
        }
        Ok(saw)
    }

    /// The reason for which the connection has to end.
    fn breaks(&mut self, input: &[u8]) -> Reason {
        let broken = self.take(input).expect_err("a broken rule");
        broken.reason
    }

    /// What the server says next, all of which leaves.
    fn told(&mut self) -> Vec<Told> {
        self.server.fill(usize::MAX);
        let mut rest = self.server.output();
        let bytes = rest.len();
        let mut told = Vec::new();
        while let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
            let FrameHead { length, kind, flags, stream } = FrameHead::decode(head);
            let (payload, after) = after.split_at(length);
            told.push(Told { kind, flags, stream, payload: payload.to_vec() });
            rest = after;
        }
        assert!(rest.is_empty(), "half a frame");
        self.server.sent(bytes);
        told
    }

    /// The header list of a block that the server has sent. Blocks are to be read in order.
    fn list(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let mut list = Listed::default();
        self.decoder.decode(block, |name, value| list.field(name, value)).expect("a block");
        list.0
    }
}

/// Bytes of DATA on a stream.
fn data_of(told: &[Told], stream: u32) -> Vec<u8> {
    let of = told.iter().filter(|one| one.kind == kind::DATA && one.stream == stream);
    of.flat_map(|one| one.payload.clone()).collect()
}

fn resets(told: &[Told]) -> Vec<(u32, Reason)> {
    let of = told.iter().filter(|one| one.kind == kind::RST_STREAM);
    of.map(|one| (one.stream, Reason(frame::word(&one.payload).expect("a word")))).collect()
}
