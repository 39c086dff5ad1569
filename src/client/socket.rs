//! Dialling an endpoint, and the one socket type both protocols run on.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::Async;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt};
use tokio::io::ReadBuf;

use super::endpoint::{Address, Endpoint};
use super::{Error, expiry};

/// A connected stream.
pub(super) enum Socket {
    Tcp(Async<TcpStream>),
    Unix(Async<UnixStream>),
}

impl Socket {
    /// Connects by the deadline; a name with several addresses is tried in their order.
    pub(super) async fn dial(
        endpoint: &Endpoint,
        deadline: Option<Instant>,
    ) -> Result<Socket, Error> {
        let late = async {
            expiry(deadline).await;
            Err(io::Error::new(io::ErrorKind::TimedOut, "dialling timed out"))
        };
        connect(&endpoint.address).or(late).await.map_err(|error| Error::Connect {
            endpoint: endpoint.text.clone(),
            reason: error.to_string(),
        })
    }
}

impl Socket {
    /// Reads some bytes; none is the end. Reading and writing may go on at the same time.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).read(buffer).await,
            Socket::Unix(stream) => (&mut &*stream).read(buffer).await,
        }
    }

    pub(super) async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).write_all(bytes).await,
            Socket::Unix(stream) => (&mut &*stream).write_all(bytes).await,
        }
    }
}

async fn connect(address: &Address) -> io::Result<Socket> {
    let (host, port) = match address {
        Address::Unix { path } => {
            return Ok(Socket::Unix(Async::<UnixStream>::connect(path).await?));
        }
        Address::Tcp { host, port } => (host, *port),
    };
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in resolve(host, port).await? {
        match Async::<TcpStream>::connect(address).await {
            Ok(stream) => {
                // Without it small requests wait for delayed acknowledgements: 43 ms each.
                stream.get_ref().set_nodelay(true)?;
                return Ok(Socket::Tcp(stream));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Name resolution blocks, so it gets a thread of its own; numeric addresses need none.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let (sender, receiver) = async_channel::bounded(1);
    let host = host.to_owned();
    std::thread::Builder::new().name("braid-resolve".to_owned()).spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // The dial may have timed out meanwhile: then nobody wants the answer.
        let _ = sender.send_blocking(found);
    })?;
    receiver.recv().await.map_err(io::Error::other)?
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_close(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_close(cx),
        }
    }
}

/// A [`Socket`] with tokio's traits, which is what `h2` asks for; no tokio runtime is involved.
pub(super) struct TokioSocket(pub(super) Socket);

impl tokio::io::AsyncRead for TokioSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = Pin::new(&mut self.get_mut().0);
        match socket.poll_read(cx, buffer.initialize_unfilled()) {
            Poll::Ready(Ok(count)) => {
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl tokio::io::AsyncWrite for TokioSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_close(cx)
    }
}
