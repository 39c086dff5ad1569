//! A TCP stream of one executor.
//!
//! Reads go through one buffer per executor and are copied from there to the end of the caller's:
//! so an idle connection owns no buffer, and none is zeroed before a read. Reading and writing take
//! `&self` and may be done by two tasks, one each.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use futures_lite::{AsyncRead, AsyncWrite};

/// Bytes that one read takes at most.
pub const READ_BYTES_MAX: usize = 128 << 10;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES_MAX].into());
}

/// A connected socket without Nagle's delay.
pub struct TcpStream {
    stream: RefCell<glommio::net::TcpStream>,
    peer: SocketAddr,
}

impl TcpStream {
    /// Takes a connected socket into the calling executor.
    pub fn from_fd(fd: OwnedFd) -> io::Result<TcpStream> {
        let socket = socket2::Socket::from(fd);
        socket.set_tcp_nodelay(true)?;
        let peer = socket.peer_addr()?;
        let peer = peer.as_socket().ok_or_else(|| io::Error::other("not an IP socket"))?;
        // SAFETY: the descriptor is a socket and is given up by its owner.
        let stream = unsafe { glommio::net::TcpStream::from_raw_fd(socket.into_raw_fd()) };
        Ok(TcpStream { stream: RefCell::new(stream), peer })
    }

    /// Connects to `address`.
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = glommio::net::TcpStream::connect(address).await.map_err(io::Error::from)?;
        stream.set_nodelay(true).map_err(io::Error::from)?;
        Ok(TcpStream { stream: RefCell::new(stream), peer: address })
    }

    /// The address at the other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The same socket under a descriptor of its own, to be taken into another executor.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        let stream = self.stream.borrow();
        // SAFETY: the descriptor is open as long as `stream` is.
        let fd = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and belongs to nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Appends what has arrived to `target`; 0 is the end of the stream.
    pub async fn read(&self, target: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, target)).await
    }

    /// As [`read`](TcpStream::read).
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        target: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut stream = self.stream.borrow_mut();
            let count = ready!(Pin::new(&mut *stream).poll_read(cx, buffer))?;
            super::executor::active();
            target.extend_from_slice(&buffer[..count]);
            Poll::Ready(Ok(count))
        })
    }

    /// Sends some of `bytes`.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        Pin::new(&mut *stream).poll_write(cx, bytes)
    }

    /// Sends all of `bytes`, in one system call if the socket takes them.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Ends both directions: reads under way return, the peer sees the end.
    pub fn shut_down(&self, how: Shutdown) {
        let stream = self.stream.borrow();
        let how = match how {
            Shutdown::Read => libc::SHUT_RD,
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        // SAFETY: the descriptor is open as long as `stream` is. That the peer is already gone is
        // no error here.
        unsafe { libc::shutdown(stream.as_raw_fd(), how) };
    }
}
