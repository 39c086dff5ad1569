//! Listeners, and the thread that accepts from them and deals the sockets out to the cores.
//!
//! One socket per address, without SO_REUSEPORT unless asked for: a second server on the same port
//! must be refused, not served half of the connections. So one thread accepts for all cores; it
//! gives each connection to the core with the fewest open ones, round robin among equals. A core
//! that does not take what it was given, because it is busy, is passed over for the next one.
//!
//! Open files are bounded: beyond `open_max` connections nothing is accepted and clients wait in
//! the kernel's backlog until one closes. When the system runs out of descriptors all the same, the
//! thread says so and tries again after a pause that doubles.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::inbox::{InboxFull, InboxSender};
use crate::limits::ACCEPTS_PER_TURN;
use crate::types::CoreId;

/// Connections that wait in the kernel, as Go asks for.
const BACKLOG: i32 = 4096;
/// The interval at which the thread looks again while it is at `open_max` or every inbox is full.
const FULL_PAUSE: Duration = Duration::from_millis(20);
/// Pause after the system refused a descriptor: first and longest.
const REFUSED_PAUSE_MIN: Duration = Duration::from_millis(10);
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Socket options of a listener.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListenerOptions {
    /// `--socket-reuse-port`: other processes may listen on the same port.
    pub reuse_port: bool,
}

/// A bound and listening socket.
///
/// SO_REUSEADDR is always set, as Go does: on Linux it lets a restarted server bind while old
/// connections are in TIME_WAIT and does not let two servers share a port
/// (so `--socket-reuse-address` has nothing left to do).
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

/// The text is Go's: `listen tcp 127.0.0.1:2379: bind: address already in use`.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    call: &'static str,
    error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListenError { address, call, error } = self;
        let text = match error.raw_os_error() {
            Some(libc::EADDRINUSE) => "address already in use".to_owned(),
            Some(libc::EACCES) => "permission denied".to_owned(),
            Some(libc::EADDRNOTAVAIL) => "cannot assign requested address".to_owned(),
            _ => error.to_string(),
        };
        write!(f, "listen tcp {address}: {call}: {text}")
    }
}

impl std::error::Error for ListenError {}

impl Listener {
    /// Binds `address` and listens.
    pub fn bind(address: SocketAddr, options: ListenerOptions) -> Result<Listener, ListenError> {
        let failed = |call| move |error| ListenError { address, call, error };
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
            .map_err(failed("socket"))?;
        socket.set_reuse_address(true).map_err(failed("setsockopt"))?;
        socket.set_reuse_port(options.reuse_port).map_err(failed("setsockopt"))?;
        if address.is_ipv6() {
            let only_v6 = !address.ip().is_unspecified();
            socket.set_only_v6(only_v6).map_err(failed("setsockopt"))?;
        }
        socket.bind(&address.into()).map_err(failed("bind"))?;
        socket.listen(BACKLOG).map_err(failed("listen"))?;
        socket.set_nonblocking(true).map_err(failed("fcntl"))?;
        Ok(Listener { socket: socket.into() })
    }

    /// Returns the address that it listens on, with the port that was chosen for port 0.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }
}

/// A connection on its way to a core.
#[derive(Debug)]
pub struct Accepted {
    pub fd: OwnedFd,
    /// Position of its listener among those given to [`Acceptor::start`].
    pub listener: usize,
    pub open: OpenConnection,
}

/// Counts as one open connection of a core until it is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    counts: Arc<Counts>,
    core: usize,
}

#[derive(Debug)]
struct Counts {
    cores: Vec<AtomicUsize>,
    next: AtomicUsize,
}

impl Counts {
    fn total(&self) -> usize {
        self.cores.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Returns the cores, those with the fewest connections first; among equals the next in turn.
    fn fewest_first(&self) -> Vec<usize> {
        let cores = self.cores.len();
        let first = self.next.load(Ordering::Relaxed);
        let mut order: Vec<usize> = (0..cores).map(|offset| (first + offset) % cores).collect();
        order.sort_by_key(|&core| self.cores[core].load(Ordering::Relaxed));
        order
    }

    /// Counts a connection that `core` was given.
    fn dealt_to(&self, core: usize) {
        self.next.store((core + 1) % self.cores.len(), Ordering::Relaxed);
    }

    fn open(self: &Arc<Counts>, core: usize) -> OpenConnection {
        self.cores[core].fetch_add(1, Ordering::Relaxed);
        OpenConnection { counts: self.clone(), core }
    }
}

impl OpenConnection {
    /// Moves the connection's count to another core.
    pub fn moved(self, core: CoreId) -> OpenConnection {
        self.counts.open(usize::from(core.0))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.counts.cores[self.core].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bounds of an acceptor.
#[derive(Clone, Copy, Debug)]
pub struct AcceptSettings {
    /// Connections at most; beyond it clients wait.
    pub open_max: usize,
}

impl AcceptSettings {
    /// etcd's rule: of the files that may be open, 150 are for the server itself.
    pub fn for_files(open_files_max: u64) -> AcceptSettings {
        const RESERVED: u64 = 150;
        let open_max = open_files_max.saturating_sub(RESERVED).max(1);
        AcceptSettings { open_max: usize::try_from(open_max).unwrap_or(usize::MAX) }
    }
}

/// The thread that accepts. Dropping it stops and joins the thread and closes the listeners.
pub struct Acceptor {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
}

struct Stop {
    asked: AtomicBool,
    wake: std::os::unix::net::UnixStream,
}

impl Acceptor {
    /// Starts to accept; `cores[i]` is the inbox of core `i`.
    pub fn start<M: From<Accepted> + Send + 'static>(
        listeners: Vec<Listener>,
        cores: Vec<InboxSender<M>>,
        settings: AcceptSettings,
    ) -> io::Result<Acceptor> {
        assert!(
            !listeners.is_empty() && !cores.is_empty(),
            "something to accept, someone to serve"
        );
        let counts = Arc::new(Counts {
            cores: cores.iter().map(|_| AtomicUsize::new(0)).collect(),
            next: AtomicUsize::new(0),
        });
        let (wake, woken) = std::os::unix::net::UnixStream::pair()?;
        let stop = Arc::new(Stop { asked: AtomicBool::new(false), wake });
        let accepting =
            Accepting { listeners, cores, settings, counts: counts.clone(), stop: stop.clone() };
        let thread = thread::Builder::new()
            .name("braid-accept".to_owned())
            .spawn(move || accepting.run(&woken))?;
        Ok(Acceptor { stop, thread: Some(thread), counts })
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> usize {
        self.counts.total()
    }

    /// Stops accepting and closes the listeners. Open connections stay.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stop.asked.store(true, Ordering::Release);
            // Wakes the thread from `poll`; there is nothing else that could go wrong.
            let _ = self.stop.wake.shutdown(std::net::Shutdown::Both);
            thread.join().expect("the accept thread does not panic");
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.halt();
    }
}

/// The state of the thread.
struct Accepting<M> {
    listeners: Vec<Listener>,
    cores: Vec<InboxSender<M>>,
    settings: AcceptSettings,
    counts: Arc<Counts>,
    stop: Arc<Stop>,
}

impl<M: From<Accepted>> Accepting<M> {
    fn run(&self, woken: &std::os::unix::net::UnixStream) {
        let ready = |events| {
            move |fd: &dyn AsRawFd| libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
        };
        let mut polled: Vec<libc::pollfd> = vec![ready(libc::POLLIN)(woken)];
        polled.extend(self.listeners.iter().map(|one| ready(libc::POLLIN)(&one.socket)));
        let mut refused_pause = REFUSED_PAUSE_MIN;
        while !self.stopped() {
            if self.counts.total() >= self.settings.open_max {
                poll(&mut polled[..1], Some(FULL_PAUSE));
                continue;
            }
            poll(&mut polled, None);
            for index in 0..self.listeners.len() {
                if polled[index + 1].revents == 0 {
                    continue;
                }
                match self.accept_ready(index, &mut polled[..1]) {
                    Ok(()) => refused_pause = REFUSED_PAUSE_MIN,
                    Err(error) => {
                        let address = self.listeners[index].address();
                        let pause = refused_pause.as_millis() as u64;
                        tracing::warn!(%address, %error, pause_ms = pause, "cannot accept");
                        poll(&mut polled[..1], Some(refused_pause));
                        refused_pause = (refused_pause * 2).min(REFUSED_PAUSE_MAX);
                    }
                }
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.asked.load(Ordering::Acquire)
    }

    /// Accepts what waits at one listener, as far as its turn goes. An error is the system's: out
    /// of files or memory.
    fn accept_ready(&self, listener: usize, stop: &mut [libc::pollfd]) -> io::Result<()> {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.counts.total() >= self.settings.open_max || self.stopped() {
                break;
            }
            let fd = match self.listeners[listener].socket.accept() {
                Ok((stream, _)) => {
                    // A peer that vanished without a word is noticed within minutes. That the
                    // socket refuses is no reason to refuse the connection.
                    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive());
                    OwnedFd::from(stream)
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(()),
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        return Err(error);
                    }
                    // Errors of the one connection that was to be accepted; it is gone.
                    _ => continue,
                },
            };
            self.deal(fd, listener, stop);
        }
        Ok(())
    }

    /// Gives the connection to a core that has room for it; waits only while none has.
    fn deal(&self, mut fd: OwnedFd, listener: usize, stop: &mut [libc::pollfd]) {
        loop {
            for core in self.counts.fewest_first() {
                let open = self.counts.open(core);
                let accepted = Accepted { fd, listener, open };
                match self.cores[core].send_from(accepted) {
                    Ok(()) => return self.counts.dealt_to(core),
                    Err(InboxFull(unsent)) => fd = unsent.fd,
                }
            }
            if self.stopped() {
                return;
            }
            poll(stop, Some(FULL_PAUSE));
        }
    }
}

/// As Go sets it: a probe after 15 s of silence, every 15 s, nine times.
fn keepalive() -> TcpKeepalive {
    let period = Duration::from_secs(15);
    TcpKeepalive::new().with_time(period).with_interval(period).with_retries(9)
}

/// Waits until one of the descriptors is ready, forever without a timeout.
fn poll(polled: &mut [libc::pollfd], timeout: Option<Duration>) {
    let timeout = timeout.map_or(-1, |timeout| timeout.as_millis() as libc::c_int);
    // SAFETY: the pointer and the count are those of one live slice.
    let result = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) };
    if result < 0 {
        // Interrupted: nothing is ready, the caller looks again.
        polled.iter_mut().for_each(|one| one.revents = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::inbox::Inbox;
    use super::*;

    fn counts(open: &[usize]) -> Arc<Counts> {
        let cores = open.iter().map(|&count| AtomicUsize::new(count)).collect();
        Arc::new(Counts { cores, next: AtomicUsize::new(0) })
    }

    #[test]
    fn the_core_with_the_fewest_connections_is_next_and_equals_take_turns() {
        let counts = counts(&[2, 0, 1]);
        let mut held = Vec::new();
        let mut dealt = Vec::new();
        for _ in 0..6 {
            let core = counts.fewest_first()[0];
            held.push(counts.open(core));
            counts.dealt_to(core);
            dealt.push(core);
        }
        assert_eq!(dealt, [1, 2, 1, 2, 0, 1]);
        assert_eq!(counts.total(), 9);
        let moved = held.remove(4).moved(CoreId(1));
        assert_eq!(counts.cores[0].load(Ordering::Relaxed), 2);
        assert_eq!(counts.cores[1].load(Ordering::Relaxed), 4);
        drop((moved, held));
        assert_eq!(counts.total(), 3);
    }

    /// One busy core stopped the thread that accepts for all.
    #[test]
    fn a_core_whose_inbox_is_full_is_passed_over() {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), ListenerOptions::default());
        let listener = listener.expect("a free port");
        let address = listener.address();
        // Nobody takes anything: what an inbox has room for is all that its core gets.
        let (busy, _busy_inbox) = Inbox::<Accepted>::new(2).expect("an eventfd");
        let (other, _other_inbox) = Inbox::<Accepted>::new(8).expect("an eventfd");
        let settings = AcceptSettings { open_max: 100 };
        let acceptor = Acceptor::start(vec![listener], vec![busy, other], settings);
        let acceptor = acceptor.expect("a thread");
        let clients: Vec<_> = (0..10)
            .map(|_| std::net::TcpStream::connect(address).expect("the listener's backlog"))
            .collect();
        let open = |core: usize| acceptor.counts.cores[core].load(Ordering::Relaxed);
        while acceptor.counts.total() < clients.len() {
            thread::yield_now();
        }
        while (open(0), open(1)) != (2, 8) {
            thread::yield_now();
        }
        acceptor.stop();
    }

    #[test]
    fn a_port_in_use_is_refused_in_go_s_words() {
        let first = Listener::bind(([127, 0, 0, 1], 0).into(), ListenerOptions::default())
            .expect("a free port");
        let second = Listener::bind(first.address(), ListenerOptions::default());
        assert_eq!(
            second.expect_err("the port is taken").to_string(),
            format!("listen tcp {}: bind: address already in use", first.address())
        );
    }

    #[test]
    fn of_the_open_files_150_are_kept_for_the_server() {
        assert_eq!(AcceptSettings::for_files(1024).open_max, 874);
        assert_eq!(AcceptSettings::for_files(100).open_max, 1);
    }
}
