//! One connection: what it speaks, and to whom that goes.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;

use super::Delivery;
use super::frames::Wish;
use super::front::Front;
use super::settings::ListenerKind;
use super::{frames, grpc, http1};
use crate::protocol::frame::{FrameFault, Protocol, Sniffed, encode_close, sniff};
use crate::rt::{self, InboxFull, OpenConnection, TcpStream};

/// The time that a connection may be silent before it has sent the first bytes of a protocol.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves `delivery` in a task of its own.
pub(super) fn spawn(front: &Rc<Front>, delivery: Delivery) {
    if front.closing().is_raised() {
        return;
    }
    let front = front.clone();
    rt::spawn(async move {
        let _open = front.connection_opened();
        // An error of the socket: the peer is gone, there is nobody to tell.
        let serving = serve(&front, delivery);
        let dropped = async {
            front.dropping().wait().await;
            Ok(())
        };
        if let Err(error) = futures_lite::future::or(serving, dropped).await {
            tracing::debug!(%error, "connection lost");
        }
    })
    .detach();
}

async fn serve(front: &Rc<Front>, delivery: Delivery) -> io::Result<()> {
    let (stream, mut input, open, kind) = match delivery {
        Delivery::Accepted(accepted) => {
            let kind = front.settings.listeners[accepted.listener];
            (Rc::new(TcpStream::from_fd(accepted.fd)?), BytesMut::new(), accepted.open, kind)
        }
        Delivery::HandedOver(handed) => {
            let stream = Rc::new(TcpStream::from_fd(handed.fd)?);
            return speak_frames(front, stream, handed.input, handed.open).await;
        }
    };
    let Some(protocol) = first_bytes(front, &stream, &mut input).await? else {
        return Ok(());
    };
    match (protocol, kind) {
        (Protocol::Frames, ListenerKind::Client | ListenerKind::ClientWithoutHttp) => {
            speak_frames(front, stream, input, open).await
        }
        (Protocol::Http2, ListenerKind::Client | ListenerKind::ClientWithoutHttp) => {
            let attended = front.attend(&stream);
            grpc::serve(front, stream, attended.pulse(), input).await
        }
        (Protocol::Http1, ListenerKind::Client | ListenerKind::ClientHttp) => {
            let attended = front.attend(&stream);
            http1::serve(front, stream, attended.pulse(), input, http1::Site::Client).await
        }
        (Protocol::Http1, ListenerKind::Metrics) => {
            let attended = front.attend(&stream);
            http1::serve(front, stream, attended.pulse(), input, http1::Site::Metrics).await
        }
        // TLS on a plain port, HTTP on a port without it, HTTP/2 on one for metrics.
        _ => Ok(()),
    }
}

/// Reads until the protocol is known. `None`: the client left, was silent for too long, or speaks
/// nothing we know.
async fn first_bytes(
    front: &Front,
    stream: &TcpStream,
    input: &mut BytesMut,
) -> io::Result<Option<Protocol>> {
    let reading = async {
        loop {
            match sniff(input) {
                Sniffed::Protocol(protocol) => return Ok(Some(protocol)),
                Sniffed::Unknown => {
                    let mut close = BytesMut::new();
                    encode_close(&mut close, &FrameFault::Preface);
                    stream.write_all(&close).await?;
                    return Ok(None);
                }
                Sniffed::More => {}
            }
            if stream.read(input).await? == 0 {
                return Ok(None);
            }
        }
    };
    let closing = async {
        front.closing().wait().await;
        Ok(None)
    };
    let reading = futures_lite::future::or(reading, closing);
    rt::within(FIRST_BYTES_TIMEOUT, reading).await.unwrap_or(Ok(None))
}

async fn speak_frames(
    front: &Rc<Front>,
    stream: Rc<TcpStream>,
    input: BytesMut,
    open: OpenConnection,
) -> io::Result<()> {
    let attended = front.attend(&stream);
    let wanted = frames::serve(front, stream, attended.pulse(), input, Wish::Granted).await?;
    drop(attended);
    let Some(hand_over) = wanted else {
        return Ok(());
    };
    let inbox = &front.cores[usize::from(hand_over.core.0)];
    let open = open.moved(hand_over.core);
    let handed = HandedOver { fd: hand_over.fd, input: hand_over.input, open };
    let Err(InboxFull(unsent)) = inbox.send_from(handed) else {
        return Ok(());
    };
    // That core is busy. The hello tells the client which one it got instead.
    let _open = unsent.open.moved(front.core);
    let stream = Rc::new(TcpStream::from_fd(unsent.fd)?);
    let attended = front.attend(&stream);
    frames::serve(front, stream, attended.pulse(), unsent.input, Wish::Passed).await.map(drop)
}

/// A connection that speaks frames on its way to the core that its hello asks for.
#[derive(Debug)]
pub struct HandedOver {
    pub(super) fd: std::os::fd::OwnedFd,
    /// Everything that was read, from the preface on.
    pub(super) input: BytesMut,
    pub(super) open: OpenConnection,
}
