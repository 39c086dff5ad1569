//! SIGINT and SIGTERM as something to wait for, for commands that have to tidy up.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use async_io::Async;
use futures_lite::FutureExt;

use super::exit::{self, Failure};

/// The signals, from now on. They no longer end the program by themselves; programs that it starts
/// are not affected.
pub struct Signals(Async<OwnedFd>);

impl Signals {
    /// Has to come before anything that starts a thread, which would be ended in our place.
    pub fn take() -> Result<Signals, Failure> {
        let open = || {
            let mut set = MaybeUninit::uninit();
            // SAFETY: `sigemptyset` initializes the set before anything reads it; the old mask is
            // not asked for; a descriptor that signalfd returns is nobody else's.
            let file = unsafe {
                libc::sigemptyset(set.as_mut_ptr());
                libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
                libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
                libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
                match libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                    -1 => return Err(io::Error::last_os_error()),
                    file => OwnedFd::from_raw_fd(file),
                }
            };
            Async::new(file)
        };
        open().map(Signals).map_err(|error| Failure::new(exit::IO, format!("signals: {error}")))
    }

    /// Awaits `wanted`; returns `None` if a signal comes first.
    pub async fn or_none<T>(&self, wanted: impl Future<Output = T>) -> Option<T> {
        let interrupted = async {
            self.next().await;
            None
        };
        async { Some(wanted.await) }.or(interrupted).await
    }

    /// Waits for one of them.
    async fn next(&self) {
        let one = self.0.read_with(|file| {
            let mut signal = MaybeUninit::<libc::signalfd_siginfo>::uninit();
            let size = size_of::<libc::signalfd_siginfo>();
            // SAFETY: the buffer has the size that is said; it is not read here.
            match unsafe { libc::read(file.as_raw_fd(), signal.as_mut_ptr().cast(), size) } {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
        // A descriptor that cannot be read would be as good as a signal: tidy up and go.
        let _ = one.await;
    }
}
