//! One connection of either protocol, as the session drives it.

use std::fmt;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::BytesMut;

use super::frames::FramesWire;
use super::grpc::GrpcWire;
use crate::protocol::Method;

/// The protocol of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Protocol {
    /// Braid's own, `proto/FRAMES.md`.
    Frames,
    /// Any server of etcd's API.
    Grpc,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Frames => "frames",
            Protocol::Grpc => "grpc",
        })
    }
}

/// The connection is gone, and why. What was under way on it has an unknown outcome.
#[derive(Clone, Debug)]
pub(super) struct Lost(pub(super) String);

impl Lost {
    pub(super) fn new(reason: impl Into<String>) -> Lost {
        Lost(reason.into())
    }
}

/// One request's end: a message, or a gRPC code and its text. On a stream, one of its messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) slot: u32,
    pub(super) result: Result<&'a [u8], (u32, &'a str)>,
    /// Nothing follows in this slot. A stream may end without a message: an empty one.
    pub(super) ends: bool,
}

/// The connections of one client, over which requests go.
///
/// Frames have one connection per core of the server, and a request goes to that of the core that
/// owns its key; gRPC has one.
pub(super) enum Wires {
    Frames {
        wires: Vec<FramesWire>,
        /// Position in `wires` for each shard.
        shards: Vec<usize>,
    },
    Grpc(Box<GrpcWire>),
}

impl Wires {
    /// Connects; `outstanding` requests will be under way at most.
    pub(super) async fn connect(
        protocol: Protocol,
        address: SocketAddr,
        outstanding: u32,
    ) -> Result<Wires, Lost> {
        match protocol {
            Protocol::Frames => Wires::connect_frames(address, outstanding).await,
            Protocol::Grpc => Ok(Wires::Grpc(Box::new(GrpcWire::connect(address).await?))),
        }
    }

    async fn connect_frames(address: SocketAddr, outstanding: u32) -> Result<Wires, Lost> {
        let (first, hello) = FramesWire::connect(address, Some(0)).await?;
        if outstanding > hello.requests_max {
            return Err(Lost::new(format!(
                "{address} takes {} requests at once on a connection, not {outstanding}",
                hello.requests_max
            )));
        }
        if hello.shard_cores.is_empty() || hello.shard_cores.iter().any(|&c| c >= hello.cores) {
            return Err(Lost::new(format!("{address}: the hello places shards nowhere")));
        }
        let mut wires = vec![first];
        for core in 1..hello.cores {
            wires.push(FramesWire::connect(address, Some(core)).await?.0);
        }
        let shards = hello.shard_cores.iter().map(|&core| core as usize).collect();
        Ok(Wires::Frames { wires, shards })
    }

    /// Whether a request for `key` can be written now, and to which connection.
    pub(super) fn place(&self, key: &[u8]) -> Option<usize> {
        match self {
            Wires::Frames { wires, shards } => {
                let shard = crate::types::placement::shard_of(key, shards.len() as u16);
                let wire = shards[usize::from(shard.0)];
                wires[wire].has_room().then_some(wire)
            }
            Wires::Grpc(wire) => wire.has_room().then_some(0),
        }
    }

    /// Counts the connections.
    pub(super) fn places(&self) -> usize {
        match self {
            Wires::Frames { wires, .. } => wires.len(),
            Wires::Grpc(_) => 1,
        }
    }

    /// The connection that is nearest to `key`.
    pub(super) fn nearest(&self, key: &[u8]) -> usize {
        match self {
            Wires::Frames { shards, .. } => {
                let shard = crate::types::placement::shard_of(key, shards.len() as u16);
                shards[usize::from(shard.0)]
            }
            Wires::Grpc(_) => 0,
        }
    }

    /// Whether anything can be written to this connection now.
    pub(super) fn has_room(&self, place: usize) -> bool {
        match self {
            Wires::Frames { wires, .. } => wires[place].has_room(),
            Wires::Grpc(wire) => wire.has_room(),
        }
    }

    /// One more message of the stream of this slot, which the first one opens. A slot is used on
    /// one connection only, and not for unary requests.
    pub(super) fn stream(
        &mut self,
        place: usize,
        slot: u32,
        method: Method,
        write: impl FnOnce(&mut BytesMut),
    ) {
        match self {
            Wires::Frames { wires, .. } => wires[place].stream(slot, method, write),
            Wires::Grpc(wire) => wire.stream(slot, method, write),
        }
    }

    pub(super) fn send(
        &mut self,
        place: usize,
        slot: u32,
        method: Method,
        write: impl FnOnce(&mut BytesMut),
    ) {
        match self {
            Wires::Frames { wires, .. } => wires[place].send(slot, method, write),
            Wires::Grpc(wire) => wire.send(slot, method, write),
        }
    }

    /// Reads once from every connection that has something; whether any had.
    pub(super) fn poll_answers(
        &mut self,
        cx: &mut Context<'_>,
        mut each: impl FnMut(Answer<'_>),
    ) -> Result<bool, Lost> {
        let mut read = false;
        let mut judge = |polled: Poll<Result<(), Lost>>| match polled {
            Poll::Ready(result) => {
                read = true;
                result
            }
            Poll::Pending => Ok(()),
        };
        match self {
            Wires::Frames { wires, .. } => {
                for wire in wires {
                    judge(wire.poll_answers(cx, &mut each))?;
                }
            }
            Wires::Grpc(wire) => judge(wire.poll_answers(cx, &mut each))?,
        }
        Ok(read)
    }

    /// Sends what is written, as far as the sockets take it.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        let judge = |polled| match polled {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        };
        match self {
            Wires::Frames { wires, .. } => {
                wires.iter_mut().try_for_each(|wire| judge(wire.poll_flush(cx)))
            }
            Wires::Grpc(wire) => judge(wire.poll_flush(cx)),
        }
    }
}
