//! A TCP stream of one executor.
//!
//! Reads go through one buffer per executor and are copied from there to the end of the caller's:
//! so an idle connection owns no buffer, and none is zeroed before a read. Reading and writing take
//! `&self` and may be done by two tasks, one each.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use socket2::{Domain, Protocol, Socket, Type};

use super::executor::local;
use super::reactor::{Readiness, Registration};
use super::task::{give_way, now};
use crate::limits::WRITE_BYTES_MAX;
use crate::types::Nanos;

/// Bytes that one read takes at most.
pub const READ_BYTES_MAX: usize = 128 << 10;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES_MAX].into());
}

/// A connected socket without Nagle's delay.
pub struct TcpStream {
    readiness: Rc<Readiness>,
    /// Before the socket: it is taken out of the reactor before it is closed.
    _registration: Registration,
    socket: Socket,
    peer: SocketAddr,
    /// Since when the socket has taken nothing of what is to be sent.
    blocked: Cell<Option<Nanos>>,
}

impl TcpStream {
    /// Takes a connected socket into the calling executor.
    pub fn from_fd(fd: OwnedFd) -> io::Result<TcpStream> {
        let socket = Socket::from(fd);
        let peer = socket.peer_addr()?;
        let peer = peer.as_socket().ok_or_else(|| io::Error::other("not an IP socket"))?;
        TcpStream::of(socket, peer)
    }

    fn of(socket: Socket, peer: SocketAddr) -> io::Result<TcpStream> {
        socket.set_tcp_nodelay(true)?;
        let (registration, readiness) = local().reactor.socket(&socket)?;
        let blocked = Cell::new(None);
        Ok(TcpStream { readiness, _registration: registration, socket, peer, blocked })
    }

    /// Connects to `address`.
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let stream = TcpStream::of(socket, address)?;
        poll_fn(|cx| stream.readiness.poll_writable(cx)).await;
        match stream.socket.take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// Returns the address at the other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Duplicates the socket's descriptor, to be taken into another executor.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// Appends what has arrived to `target`; 0 is the end of the stream.
    pub async fn read(&self, target: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, target)).await
    }

    /// Hands what has arrived to `take`; 0 is the end of the stream.
    pub async fn read_with(&self, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read_with(cx, READ_BYTES_MAX, &mut take)).await
    }

    /// Polls for bytes as [`read`](TcpStream::read) waits for them.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        target: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.poll_read_with(cx, READ_BYTES_MAX, &mut |bytes| target.extend_from_slice(bytes))
    }

    /// Polls as [`read_with`](TcpStream::read_with) reads, for no more than `bytes_max` bytes.
    pub fn poll_read_with(
        &self,
        cx: &mut Context<'_>,
        bytes_max: usize,
        take: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        ready!(self.readiness.poll_readable(cx));
        READ_BUFFER.with_borrow_mut(|buffer| {
            let buffer = &mut buffer[..bytes_max.clamp(1, READ_BYTES_MAX)];
            loop {
                match receive(&self.socket, buffer) {
                    Ok(count) => {
                        // The end is read again for ever.
                        if (1..buffer.len()).contains(&count) {
                            self.readiness.is_drained();
                        }
                        take(&buffer[..count]);
                        return Poll::Ready(Ok(count));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.readiness.blocks_reads();
                        ready!(self.readiness.poll_readable(cx));
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
    }

    /// Sends some of `bytes`.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.readiness.poll_writable(cx));
            match send(&self.socket, bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readiness.blocks_writes();
                    if self.blocked.get().is_none() {
                        self.blocked.set(Some(now()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    self.blocked.set(None);
                    return Poll::Ready(result);
                }
            }
        }
    }

    /// Since when the socket has taken not one byte of what is to be sent: the peer reads nothing.
    /// `None` while nothing is, or some of it leaves.
    pub fn blocked_since(&self) -> Option<Nanos> {
        self.blocked.get()
    }

    /// Sends all of `bytes`, in one system call if they are no more than [`WRITE_BYTES_MAX`] and
    /// the socket takes them. Others have a turn between two calls that it took whole.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = &bytes[..bytes.len().min(WRITE_BYTES_MAX)];
            let count = poll_fn(|cx| self.poll_write(cx, piece)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
            if count == piece.len() && !bytes.is_empty() {
                give_way().await;
            }
        }
        Ok(())
    }

    /// Until the connection is broken or both of its sides have ended: for a task that does not
    /// read meanwhile. One task waits for it at a time.
    pub async fn broken(&self) {
        poll_fn(|cx| self.readiness.poll_broken(cx)).await;
    }

    /// Bytes that have come and are not read; 0 if the kernel does not say.
    pub fn unread_bytes(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: FIONREAD writes one int to the address that it is given.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::FIONREAD, &mut count) };
        if result < 0 { 0 } else { usize::try_from(count).unwrap_or(0) }
    }

    /// Ends both directions: reads under way return, the peer sees the end.
    pub fn shut_down(&self, how: Shutdown) {
        // That the peer is already gone is no error here.
        let _ = self.socket.shutdown(how);
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    let (start, length) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: pointer and length are those of one live slice.
    let count = unsafe { libc::recv(socket.as_raw_fd(), start, length, libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

fn send(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    let (start, length) = (bytes.as_ptr().cast(), bytes.len());
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length are those of one live slice.
    let count = unsafe { libc::send(socket.as_raw_fd(), start, length, flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
