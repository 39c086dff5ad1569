//! The reactor: it waits for sockets, wake-ups and timers of one executor.
//!
//! One epoll instance per executor, everything in it edge-triggered and registered once. A socket
//! remembers what the kernel last said of it; a read that brought less than was asked for has
//! emptied it, so the next one waits for the next edge without asking the kernel again. That is one
//! wait, one `recv` and one `send` for everything that came at once, and no system call to arm
//! anything.
//!
//! Invariant: a flag is cleared only after the kernel has been asked, and set only here, between
//! the turns of tasks: so no edge is lost between asking and clearing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

use super::notify::Waiter;
use crate::types::Nanos;

/// Events that one wait takes at most; the rest come with the next.
const EVENTS_MAX: usize = 256;

/// The sockets, bells and timers of one executor.
pub(super) struct Reactor {
    epoll: OwnedFd,
    sources: RefCell<Slab<Source>>,
    /// By when they are due, and a number of their own.
    timers: RefCell<BTreeMap<(Nanos, u64), Waker>>,
    timers_made: Cell<u64>,
    /// Tasks that go on after the next look at the sockets.
    after_poll: RefCell<Vec<Waker>>,
    events: RefCell<Vec<libc::epoll_event>>,
}

#[derive(Clone)]
enum Source {
    Socket(Rc<Readiness>),
    Bell(Rc<dyn Fn()>),
}

/// A source in a reactor until it is dropped, which must be before its descriptor is closed.
pub(super) struct Registration {
    reactor: Rc<Reactor>,
    key: usize,
    fd: RawFd,
}

/// The readiness of a socket, and the wakers that wait for it.
#[derive(Default)]
pub(super) struct Readiness {
    readable: Direction,
    writable: Direction,
    /// The peer has ended its side, or the connection is broken. No further edge need come, so
    /// from here on only the kernel's word counts.
    ended: Cell<bool>,
    /// Nothing can be read or written any more.
    broken: Direction,
}

#[derive(Default)]
struct Direction {
    ready: Cell<bool>,
    waiter: Waiter,
}

impl Direction {
    fn set(&self) {
        self.ready.set(true);
        self.waiter.wake();
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ready.get() {
            return Poll::Ready(());
        }
        self.waiter.remember(cx);
        Poll::Pending
    }
}

impl Readiness {
    /// Polls until a read may bring something.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.readable.poll(cx)
    }

    /// Polls until a write may be taken.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.writable.poll(cx)
    }

    /// A read brought less than was asked for: nothing is left, unless the end is.
    pub(super) fn is_drained(&self) {
        self.readable.ready.set(self.ended.get());
    }

    /// A read would block.
    pub(super) fn blocks_reads(&self) {
        self.readable.ready.set(false);
    }

    /// A write would block.
    pub(super) fn blocks_writes(&self) {
        self.writable.ready.set(false);
    }

    /// Polls until the connection is broken or both of its sides have ended, whatever is unread.
    pub(super) fn poll_broken(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.broken.poll(cx)
    }

    fn take(&self, events: u32) {
        const ENDS: i32 = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
        let has = |wanted: i32| events & wanted as u32 != 0;
        if has(ENDS) {
            self.ended.set(true);
        }
        if has(libc::EPOLLIN | ENDS) {
            self.readable.set();
        }
        if has(libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) {
            self.writable.set();
        }
        if has(libc::EPOLLHUP | libc::EPOLLERR) {
            self.broken.set();
        }
    }
}

impl Reactor {
    pub(super) fn new() -> io::Result<Rc<Reactor>> {
        // SAFETY: no pointer is passed; the result is checked and owned by nobody else.
        let epoll = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Rc::new(Reactor {
            epoll,
            sources: RefCell::default(),
            timers: RefCell::default(),
            timers_made: Cell::new(0),
            after_poll: RefCell::default(),
            events: RefCell::new(Vec::with_capacity(EVENTS_MAX)),
        }))
    }

    /// Watches a socket.
    pub(super) fn socket(
        self: &Rc<Reactor>,
        socket: &impl AsRawFd,
    ) -> io::Result<(Registration, Rc<Readiness>)> {
        let readiness = Rc::new(Readiness::default());
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP;
        let registration =
            self.register(socket.as_raw_fd(), events, Source::Socket(readiness.clone()))?;
        Ok((registration, readiness))
    }

    /// Calls `rung` whenever somebody has added to `eventfd`. It is never read: every addition is
    /// an edge of its own.
    pub(super) fn bell(
        self: &Rc<Reactor>,
        eventfd: &impl AsRawFd,
        rung: Rc<dyn Fn()>,
    ) -> io::Result<Registration> {
        self.register(eventfd.as_raw_fd(), libc::EPOLLIN, Source::Bell(rung))
    }

    fn register(
        self: &Rc<Reactor>,
        fd: RawFd,
        events: i32,
        source: Source,
    ) -> io::Result<Registration> {
        let key = self.sources.borrow_mut().insert(source);
        let registration = Registration { reactor: self.clone(), key, fd };
        let mut event =
            libc::epoll_event { events: (events | libc::EPOLLET) as u32, u64: key as u64 };
        // SAFETY: `event` is valid for the call.
        let result = unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(registration) }
    }

    /// Wakes `waker` at `due`; the key takes it back.
    pub(super) fn set_timer(&self, due: Nanos, waker: Waker) -> (Nanos, u64) {
        let key = (due, self.timers_made.get());
        self.timers_made.set(key.1 + 1);
        self.timers.borrow_mut().insert(key, waker);
        key
    }

    /// Forgets a timer.
    pub(super) fn clear_timer(&self, key: (Nanos, u64)) {
        let removed = self.timers.borrow_mut().remove(&key);
        drop(removed);
    }

    /// Wakes `waker` when the sockets have been looked at.
    pub(super) fn wake_after_poll(&self, waker: Waker) {
        self.after_poll.borrow_mut().push(waker);
    }

    /// Looks at sockets, bells and timers, and wakes whoever waits for them; without `at_once`
    /// sleeps until there is something. Whether anything was woken.
    pub(super) fn poll(&self, at_once: bool) -> bool {
        let yielded = std::mem::take(&mut *self.after_poll.borrow_mut());
        let wait = match at_once || !yielded.is_empty() {
            true => Some(Duration::ZERO),
            false => self.until_next_timer(),
        };
        let mut events = self.events.take();
        self.wait(wait, &mut events);
        for event in &events {
            let source = self.sources.borrow().get(event.u64 as usize).cloned();
            match source {
                Some(Source::Socket(readiness)) => readiness.take(event.events),
                Some(Source::Bell(rung)) => rung(),
                // Dropped since by a task that an earlier one of these events woke.
                None => {}
            }
        }
        let mut woken = !events.is_empty() || !yielded.is_empty();
        *self.events.borrow_mut() = events;
        woken |= self.fire_timers();
        yielded.into_iter().for_each(Waker::wake);
        woken
    }

    fn until_next_timer(&self) -> Option<Duration> {
        let next = self.timers.borrow().keys().next().map(|(due, _)| *due)?;
        Some(Duration::from_nanos(next.0.saturating_sub(super::now().0)))
    }

    fn fire_timers(&self) -> bool {
        if self.timers.borrow().is_empty() {
            return false;
        }
        let now = super::now();
        let mut fired = false;
        loop {
            let mut timers = self.timers.borrow_mut();
            let Some(first) = timers.first_entry().filter(|first| first.key().0 <= now) else {
                return fired;
            };
            let waker = first.remove();
            drop(timers);
            waker.wake();
            fired = true;
        }
    }

    fn wait(&self, timeout: Option<Duration>, events: &mut Vec<libc::epoll_event>) {
        events.clear();
        let epoll = self.epoll.as_raw_fd();
        let room = EVENTS_MAX as libc::c_int;
        let exact = matches!(timeout, Some(timeout) if !timeout.is_zero());
        // SAFETY: the events have room for EVENTS_MAX, and the timeout outlives the call.
        let count = unsafe {
            if exact && WAITS_EXACTLY.load(Ordering::Relaxed) {
                let timeout = timeout.unwrap_or_default();
                let timeout = libc::timespec {
                    tv_sec: timeout.as_secs() as libc::time_t,
                    tv_nsec: timeout.subsec_nanos().into(),
                };
                let (none, size) = (std::ptr::null::<libc::sigset_t>(), 8usize);
                let events = events.as_mut_ptr();
                let number = libc::SYS_epoll_pwait2;
                libc::syscall(number, epoll, events, room, &raw const timeout, none, size)
            } else {
                let rounded = timeout.map_or(-1, |timeout| {
                    timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as libc::c_int
                });
                libc::epoll_wait(epoll, events.as_mut_ptr(), room, rounded).into()
            }
        };
        if count >= 0 {
            // SAFETY: the kernel has written so many.
            unsafe { events.set_len(count as usize) };
            return;
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            // A kernel before 5.11: to the millisecond, then.
            Some(libc::ENOSYS) if exact => WAITS_EXACTLY.store(false, Ordering::Relaxed),
            _ => panic!("epoll refuses to wait: {error}"),
        }
    }
}

/// Whether the kernel has `epoll_pwait2`.
static WAITS_EXACTLY: AtomicBool = AtomicBool::new(true);

impl Drop for Registration {
    fn drop(&mut self) {
        let epoll = self.reactor.epoll.as_raw_fd();
        // A duplicate of the descriptor may be open elsewhere, so closing would not take it out.
        // SAFETY: no event is passed. That it is already out is no error here.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, self.fd, std::ptr::null_mut()) };
        let source = self.reactor.sources.borrow_mut().remove(self.key);
        drop(source);
    }
}
