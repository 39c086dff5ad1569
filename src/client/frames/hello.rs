//! The first frame of either side.

use bytes::BytesMut;
use prost::Message;

use super::READ_BYTES;
use crate::client::socket::Socket;
use crate::client::transport::Purpose;
use crate::protocol::frame::{
    CONNECTION_STREAM, Decoder, Flags, Frame, Opcode, PREFACE, PROTOCOL_VERSION, decode_error,
    encode_message,
};
use crate::protocol::pb::braidpb::{HelloReply, HelloRequest};

/// Payload bytes of a hello at most; the first bytes of other protocols, read as a length, are far
/// above it.
const HELLO_BYTES_MAX: usize = 64 << 10;

/// Why there is no connection, in words.
pub(super) enum Refusal {
    /// It may go better another time.
    Failed(String),
    /// The server took the connection and gave no answer, and may be of another protocol.
    Silent(String),
    /// There is a server, and it speaks something else.
    Foreign(String),
}

/// Sends the preface and our hello and waits for the server's. What follows the server's hello
/// stays in `input`.
pub(super) async fn exchange(
    socket: &Socket,
    input: &mut BytesMut,
    purpose: &Purpose,
) -> Result<HelloReply, Refusal> {
    // One that knows no frames may end the connection at their first bytes.
    let lost = |error: std::io::Error| Refusal::Silent(error.to_string());
    let request = HelloRequest {
        protocol_version: PROTOCOL_VERSION,
        token: purpose.token.as_deref().unwrap_or_default().to_owned(),
        core: purpose.core,
        client: concat!("braid/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let mut output = BytesMut::from(&PREFACE[..]);
    encode_message(&mut output, CONNECTION_STREAM, Opcode::Hello, Flags::NONE, &request);
    socket.write_all(&output).await.map_err(lost)?;
    let decoder = Decoder::new(HELLO_BYTES_MAX);
    let mut piece = vec![0; READ_BYTES];
    loop {
        match decoder.decode(input) {
            Ok(Some(frame)) => return judge(frame),
            Ok(None) => {}
            // The likeliest stranger is an HTTP/2 server that saw no HTTP/2.
            Err(fault) => {
                let why = format!("the server does not speak frames ({fault})");
                return Err(Refusal::Foreign(why));
            }
        }
        match socket.read(&mut piece).await {
            Ok(0) => {
                let why = "the server closed the connection before its hello: it may not speak \
                           frames, only gRPC";
                return Err(Refusal::Silent(why.to_owned()));
            }
            Ok(count) => input.extend_from_slice(&piece[..count]),
            Err(error) => return Err(lost(error)),
        }
    }
}

fn judge(frame: Frame) -> Result<HelloReply, Refusal> {
    match Opcode::from_u8(frame.header.opcode) {
        Some(Opcode::Hello) if frame.header.stream == CONNECTION_STREAM => {
            let hello = HelloReply::decode(frame.payload).map_err(|error| {
                Refusal::Foreign(format!("the server's hello is no message: {error}"))
            })?;
            match hello.protocol_version {
                PROTOCOL_VERSION => Ok(hello),
                version => Err(Refusal::Foreign(format!(
                    "the server speaks version {version} of frames, not {PROTOCOL_VERSION}"
                ))),
            }
        }
        Some(Opcode::Close) => {
            Err(Refusal::Failed(decode_error(frame.payload).message.into_owned()))
        }
        _ => {
            let opcode = frame.header.opcode;
            Err(Refusal::Foreign(format!("opcode {opcode:#04x} came before the server's hello")))
        }
    }
}
