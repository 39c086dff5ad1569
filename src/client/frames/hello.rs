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

/// Sends the preface and our hello and waits for the server's; an error says why in words. What
/// follows the server's hello stays in `input`.
pub(super) async fn exchange(
    socket: &Socket,
    input: &mut BytesMut,
    purpose: &Purpose,
) -> Result<HelloReply, String> {
    let request = HelloRequest {
        protocol_version: PROTOCOL_VERSION,
        token: purpose.token.as_deref().unwrap_or_default().to_owned(),
        core: purpose.core,
        client: concat!("braid/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let mut output = BytesMut::from(&PREFACE[..]);
    encode_message(&mut output, CONNECTION_STREAM, Opcode::Hello, Flags::NONE, &request);
    socket.write_all(&output).await.map_err(|error| error.to_string())?;
    let decoder = Decoder::new(HELLO_BYTES_MAX);
    let mut piece = vec![0; READ_BYTES];
    loop {
        match decoder.decode(input) {
            Ok(Some(frame)) => return judge(frame),
            Ok(None) => {}
            // The likeliest stranger is an HTTP/2 server that saw no HTTP/2.
            Err(fault) => return Err(format!("the server does not speak frames ({fault})")),
        }
        match socket.read(&mut piece).await {
            Ok(0) => {
                let why = "the server closed the connection before its hello: it may not speak \
                           frames, only gRPC";
                return Err(why.to_owned());
            }
            Ok(count) => input.extend_from_slice(&piece[..count]),
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn judge(frame: Frame) -> Result<HelloReply, String> {
    match Opcode::from_u8(frame.header.opcode) {
        Some(Opcode::Hello) if frame.header.stream == CONNECTION_STREAM => {
            let hello = HelloReply::decode(frame.payload)
                .map_err(|error| format!("the server's hello is no message: {error}"))?;
            match hello.protocol_version {
                PROTOCOL_VERSION => Ok(hello),
                version => Err(format!(
                    "the server speaks version {version} of frames, not {PROTOCOL_VERSION}"
                )),
            }
        }
        Some(Opcode::Close) => Err(decode_error(frame.payload).message.into_owned()),
        _ => Err(format!("opcode {:#04x} came before the server's hello", frame.header.opcode)),
    }
}
