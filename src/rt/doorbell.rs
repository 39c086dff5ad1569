//! Wake-up of an executor from any thread, or from anything that can write an eventfd.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, mem};

use super::executor::local;
use super::notify::Notify;
use super::reactor::Registration;

/// The receiving end, on the executor that is to be woken: every ring notifies its [`Notify`].
///
/// The executor waits for the eventfd as it waits for sockets, so a ring wakes it when it sleeps.
/// Rings that come before the executor has taken the last one cost no system call.
pub struct Doorbell {
    shared: Arc<Shared>,
    _registration: Registration,
}

/// The sending end; clone it to any thread.
#[derive(Clone)]
pub struct Ringer {
    shared: Arc<Shared>,
}

struct Shared {
    /// Set from the first ring until the executor has taken it.
    rung: AtomicBool,
    eventfd: OwnedFd,
}

/// A doorbell that is not yet on an executor: made where its ringers are dealt out, opened there.
pub(super) struct Parts(Arc<Shared>);

impl Parts {
    pub(super) fn new() -> io::Result<Parts> {
        let eventfd = eventfd()?;
        Ok(Parts(Arc::new(Shared { rung: AtomicBool::new(false), eventfd })))
    }

    pub(super) fn ringer(&self) -> Ringer {
        Ringer { shared: self.0.clone() }
    }

    pub(super) fn open(self, notify: Rc<Notify>) -> io::Result<Doorbell> {
        Doorbell::on(self, Rc::new(move || notify.notify()))
    }
}

impl Doorbell {
    /// Makes a doorbell whose rings notify `notify`, a `Notify` of the calling executor.
    pub fn new(notify: Rc<Notify>) -> io::Result<Doorbell> {
        Parts::new()?.open(notify)
    }

    /// Returns a doorbell of the calling executor whose rings call `rung`.
    pub(super) fn on(parts: Parts, rung: Rc<dyn Fn()>) -> io::Result<Doorbell> {
        let shared = parts.0;
        let taken = shared.clone();
        let take = move || {
            // From here on a ring writes the eventfd again. The swap reads the last ring, so what
            // its ringer handed over before is seen by whoever `rung` wakes.
            taken.rung.swap(false, Ordering::SeqCst);
            rung();
        };
        let registration = local().reactor.bell(&shared.eventfd, Rc::new(take))?;
        Ok(Doorbell { shared, _registration: registration })
    }

    /// Returns a sending end.
    pub fn ringer(&self) -> Ringer {
        Ringer { shared: self.shared.clone() }
    }
}

/// The eventfd, for an io_uring to which it is to be registered.
impl AsRawFd for Doorbell {
    fn as_raw_fd(&self) -> RawFd {
        self.shared.eventfd.as_raw_fd()
    }
}

impl Ringer {
    /// Wakes the executor. Everything that this thread wrote before is visible to it then.
    pub fn ring(&self) {
        if self.shared.rung.swap(true, Ordering::SeqCst) {
            return;
        }
        // SAFETY: the descriptor lives as long as `shared`.
        let fd = unsafe { BorrowedFd::borrow_raw(self.shared.eventfd.as_raw_fd()) };
        // SAFETY: as above, and `ManuallyDrop` leaves it open.
        let mut file = mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd.as_raw_fd()) });
        // Only an overflow of the 64-bit counter could block or fail, and one ring adds 1.
        file.write_all(&1u64.to_ne_bytes()).expect("an eventfd can be written");
    }
}

fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed; the result is checked and owned by nobody else.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}
