//! Wake-up of an executor from any thread, or from anything that can write an eventfd.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, mem};

use super::notify::Notify;
use super::task::{Task, spawn};

/// The receiving end, on the executor that is to be woken: every ring notifies its [`Notify`].
///
/// The eventfd is read by an io_uring read that is always under way, so a ring wakes a parked
/// executor. Rings that come before the executor has taken the last one cost no system call.
pub struct Doorbell {
    shared: Arc<Shared>,
    _reader: Task<()>,
}

/// The sending end; clone it to any thread.
#[derive(Clone)]
pub struct Ringer {
    shared: Arc<Shared>,
}

struct Shared {
    /// Set from the first ring until the executor has read the eventfd.
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
        Doorbell::on(self.0, notify)
    }
}

impl Doorbell {
    /// A doorbell whose rings notify `notify`, a `Notify` of the calling executor.
    pub fn new(notify: Rc<Notify>) -> io::Result<Doorbell> {
        Parts::new()?.open(notify)
    }

    fn on(shared: Arc<Shared>, notify: Rc<Notify>) -> io::Result<Doorbell> {
        // The reader has a descriptor of its own: glommio closes what it is given.
        let file = shared.eventfd.try_clone()?.into_raw_fd();
        let rung = shared.clone();
        let reader = spawn(async move {
            // SAFETY: the descriptor was just duplicated and belongs to nobody else.
            let file = unsafe { glommio::io::BufferedFile::from_raw_fd(file) };
            loop {
                let read = file.read_at(0, mem::size_of::<u64>()).await;
                read.expect("an eventfd can be read");
                // From here on a ring writes the eventfd again. What was handed over before (the swap
                // reads the last ring, so it synchronizes with it) is
                // seen by whoever `notify` wakes.
                rung.rung.swap(false, Ordering::SeqCst);
                super::executor::active();
                notify.notify();
            }
        });
        Ok(Doorbell { shared, _reader: reader })
    }

    /// A sending end.
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
        // SAFETY: the descriptor lives as long as `shared`, and `ManuallyDrop` leaves it open.
        let fd = unsafe { BorrowedFd::borrow_raw(self.shared.eventfd.as_raw_fd()) };
        let mut file = mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd.as_raw_fd()) });
        // Only an overflow of the 64-bit counter could block or fail, and one ring adds 1.
        file.write_all(&1u64.to_ne_bytes()).expect("an eventfd can be written");
    }
}

fn eventfd() -> io::Result<OwnedFd> {
    // Blocking on purpose: io_uring answers EAGAIN on a non-blocking one instead of waiting.
    // SAFETY: no pointer is passed; the result is checked and owned by nobody else.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}
