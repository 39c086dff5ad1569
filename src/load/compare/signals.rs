//! Ends that come from outside: SIGINT, SIGTERM and SIGHUP ask, and whoever waits looks.
//!
//! A comparison has servers and data directories that must not stay behind, so it ends by returning
//! an error, and everything on the way is dropped. A child asks the kernel to end it with us, which
//! also holds when we are killed.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static ASKED_TO_END: AtomicBool = AtomicBool::new(false);
const LOOK_PAUSE: Duration = Duration::from_millis(5);

extern "C" fn note(_: libc::c_int) {
    ASKED_TO_END.store(true, Ordering::Relaxed);
}

/// From here on these signals only ask.
pub(in crate::load) fn catch() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only writes an atomic.
        unsafe { libc::signal(signal, note as *const () as libc::sighandler_t) };
    }
}

/// An error if somebody has asked.
pub(in crate::load) fn look() -> Result<(), String> {
    match ASKED_TO_END.load(Ordering::Relaxed) {
        true => Err("ended by a signal".to_owned()),
        false => Ok(()),
    }
}

/// Has the kernel end the program when the thread that starts it does.
pub(in crate::load) fn ends_with_us(command: &mut Command) -> &mut Command {
    // SAFETY: only a system call is made between fork and exec, and no memory is touched.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    }
}

/// Waits for a child, but not after somebody has asked to end.
pub(in crate::load) fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        look()?;
        std::thread::sleep(LOOK_PAUSE);
    }
}
