//! Programs that a command runs: of a watch, for every event; of a lock, while it is held.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};

use super::exit;
use crate::gotext;

/// Why a program was not run to a good end.
#[derive(Debug, PartialEq, Eq)]
pub struct ProgramError {
    /// As Go's `os/exec` says it.
    pub text: String,
    /// The exit code, if it is the program's own.
    pub code: u8,
}

/// Runs a program to its end: our output is its output, its input is empty.
pub fn run(words: &[OsString], variables: &[(&str, OsString)]) -> Result<(), ProgramError> {
    let (program, arguments) = words.split_first().expect("a program has a name");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    // SAFETY: between fork and exec, `listen_to_all_signals` only makes system calls.
    unsafe { command.pre_exec(listen_to_all_signals) };
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(ended(status)),
        Err(error) => Err(ProgramError { text: unstarted(program, &error), code: exit::ERROR }),
    }
}

/// Undoes for the program what [`super::signals`] does to us.
fn listen_to_all_signals() -> io::Result<()> {
    let mut none = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initializes the set before it is read; the old mask is not asked for.
    let failed = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut())
    };
    match failed {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

fn ended(status: ExitStatus) -> ProgramError {
    if let Some(code) = status.code() {
        let text = format!("exit status {code}");
        return ProgramError { text, code: u8::try_from(code).unwrap_or(u8::MAX) };
    }
    let signal = status.signal().unwrap_or_default();
    let core = if status.core_dumped() { " (core dumped)" } else { "" };
    ProgramError { text: format!("signal: {}{core}", signal_name(signal)), code: u8::MAX }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGQUIT => "quit",
        libc::SIGABRT => "aborted",
        libc::SIGKILL => "killed",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGPIPE => "broken pipe",
        libc::SIGALRM => "alarm clock",
        libc::SIGTERM => "terminated",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

fn unstarted(program: &OsStr, error: &io::Error) -> String {
    let by_path = program.as_bytes().contains(&b'/');
    if by_path {
        let why = error.to_string().to_lowercase();
        let why = why.split(" (os error").next().unwrap_or_default();
        return format!("fork/exec {}: {why}", program.to_string_lossy());
    }
    let quoted = gotext::quote(program.as_bytes());
    match error.kind() {
        io::ErrorKind::NotFound => format!("exec: {quoted}: executable file not found in $PATH"),
        _ => format!("exec: {quoted}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_words(words: &[&str]) -> Result<(), ProgramError> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        run(&words, &[("BRAID_CHILD_TEST", "x y".into())])
    }

    #[test]
    fn the_end_of_a_program_is_told_as_go_does() {
        let trouble = |text: &str, code| Err(ProgramError { text: text.to_owned(), code });
        assert_eq!(run_words(&["true"]), Ok(()));
        assert_eq!(run_words(&["sh", "-c", "exit 3"]), trouble("exit status 3", 3));
        assert_eq!(run_words(&["sh", "-c", "kill -KILL $$"]), trouble("signal: killed", 255));
        let missing = "exec: \"no-such-program\": executable file not found in $PATH";
        assert_eq!(run_words(&["no-such-program", "a"]), trouble(missing, 1));
        let missing = "fork/exec ./no-such: no such file or directory";
        assert_eq!(run_words(&["./no-such"]), trouble(missing, 1));
    }

    #[test]
    fn signals_that_we_wait_for_still_end_the_program() {
        let taken = std::thread::spawn(|| {
            let _signals = super::super::signals::Signals::take().expect("signals");
            run_words(&["sh", "-c", "kill -INT $$; exit 3"])
        });
        let interrupted = ProgramError { text: "signal: interrupt".to_owned(), code: 255 };
        assert_eq!(taken.join().expect("a thread"), Err(interrupted));
    }

    #[test]
    fn the_program_has_our_variables_and_no_input() {
        let script = "test \"$BRAID_CHILD_TEST\" = 'x y' && ! read line";
        assert_eq!(run_words(&["sh", "-c", script]), Ok(()));
    }
}
