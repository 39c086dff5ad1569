//! SIGTERM and SIGINT, taken by one thread; and ending by them.

use std::io;
use std::mem::MaybeUninit;
use std::process::ExitCode;
use std::sync::mpsc::Sender;
use std::thread;

use super::Event;

const TAKEN: [i32; 2] = [libc::SIGTERM, libc::SIGINT];

/// Returns the signal's name, as etcd logs it.
pub(super) fn name(signal: i32) -> &'static str {
    if signal == libc::SIGINT { "interrupt" } else { "terminated" }
}

fn set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initializes the set before anything reads it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in TAKEN {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// Keeps the signals from this thread and those that it starts.
pub(super) fn block() {
    let set = set();
    // SAFETY: the set is valid; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Starts the thread that takes the signals.
pub(super) fn forward(events: Sender<Event>) -> io::Result<()> {
    thread::Builder::new().name("braid-signals".to_owned()).spawn(move || {
        let set = set();
        loop {
            let mut signal = 0;
            // SAFETY: both point to live values.
            if unsafe { libc::sigwait(&raw const set, &raw mut signal) } != 0 {
                continue;
            }
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Ends the process by `signal`, as whoever sent it expects; as process 1, which no signal ends by
/// default, with success.
pub(super) fn end_by(signal: i32) -> ExitCode {
    if std::process::id() == 1 {
        return ExitCode::SUCCESS;
    }
    let set = set();
    // SAFETY: plain calls; the default action ends the process once the signal is let through.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        // To this thread alone: the one that waits for signals would take it otherwise.
        libc::raise(signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
    ExitCode::SUCCESS
}
