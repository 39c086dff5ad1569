//! Can this process run here at all? Asked once, before anything else starts, because glommio
//! itself panics or exits when io_uring is missing.

use std::{fmt, fs, io};

/// glommio refuses to start an executor with less.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// The operations that the executors and the log use.
const OPERATIONS: [(u8, &str); 12] = [
    (io_uring::opcode::Nop::CODE, "NOP"),
    (io_uring::opcode::Readv::CODE, "READV"),
    (io_uring::opcode::Writev::CODE, "WRITEV"),
    (io_uring::opcode::ReadFixed::CODE, "READ_FIXED"),
    (io_uring::opcode::WriteFixed::CODE, "WRITE_FIXED"),
    (io_uring::opcode::PollAdd::CODE, "POLL_ADD"),
    (io_uring::opcode::Timeout::CODE, "TIMEOUT"),
    (io_uring::opcode::Fallocate::CODE, "FALLOCATE"),
    (io_uring::opcode::Statx::CODE, "STATX"),
    (io_uring::opcode::Read::CODE, "READ"),
    (io_uring::opcode::Write::CODE, "WRITE"),
    (io_uring::opcode::Recv::CODE, "RECV"),
];

/// The remedy, in one sentence.
#[derive(Debug)]
pub struct ProbeError(String);

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProbeError {}

/// Tries io_uring and looks at the limit on locked memory.
pub fn probe() -> Result<(), ProbeError> {
    let ring = io_uring::IoUring::new(8).map_err(|error| {
        let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        ProbeError(ring_sentence(&error, disabled.ok().as_deref().map(str::trim)))
    })?;
    let mut offered = io_uring::Probe::new();
    ring.submitter()
        .register_probe(&mut offered)
        .map_err(|error| ProbeError(ring_sentence(&error, None)))?;
    if let Some((_, name)) = OPERATIONS.iter().find(|(code, _)| !offered.is_supported(*code)) {
        return Err(ProbeError(format!(
            "the kernel's io_uring does not know {name}: run a kernel of version 5.8 or newer \
             (5.15 or newer is recommended)"
        )));
    }
    let memlock = limit(libc::RLIMIT_MEMLOCK).0;
    if memlock < MEMLOCK_BYTES_MIN {
        return Err(ProbeError(memlock_sentence(memlock)));
    }
    Ok(())
}

/// Raises the soft limits on locked memory and open files to the hard ones, as far as allowed;
/// returns how many files may be open.
pub fn raise_limits() -> u64 {
    for resource in [libc::RLIMIT_MEMLOCK, libc::RLIMIT_NOFILE] {
        let (soft, hard) = limit(resource);
        if soft < hard {
            let raised = libc::rlimit { rlim_cur: hard, rlim_max: hard };
            // SAFETY: `raised` is valid for reads. A refusal leaves the limit as it was.
            unsafe { libc::setrlimit(resource, &raw const raised) };
        }
    }
    limit(libc::RLIMIT_NOFILE).0
}

/// Returns the soft and the hard limit.
fn limit(resource: libc::__rlimit_resource_t) -> (u64, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writes.
    let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
    assert_eq!(result, 0, "resource limits cannot be read");
    (limit.rlim_cur, limit.rlim_max)
}

fn ring_sentence(error: &io::Error, disabled: Option<&str>) -> String {
    match (error.raw_os_error(), disabled) {
        (Some(libc::EPERM), Some(level @ ("1" | "2"))) => format!(
            "io_uring is switched off on this machine (kernel.io_uring_disabled is {level}): run \
             `sysctl -w kernel.io_uring_disabled=0` as root"
        ),
        (Some(libc::EPERM | libc::EACCES), _) => "io_uring is forbidden to this process, most \
             likely by the container's seccomp profile: start the container with `--security-opt \
             seccomp=unconfined` or with a profile that allows io_uring_setup, io_uring_enter and \
             io_uring_register"
            .to_owned(),
        (Some(libc::ENOSYS), _) => {
            "the kernel has no io_uring, or the container's seccomp profile \
             hides it: run a kernel of version 5.8 or newer, and allow io_uring_setup, \
             io_uring_enter and io_uring_register in the profile"
                .to_owned()
        }
        (Some(libc::ENOMEM), _) => memlock_sentence(limit(libc::RLIMIT_MEMLOCK).0),
        (Some(libc::EMFILE | libc::ENFILE), _) => {
            "no io_uring can be made because too many files are open: raise the limit with \
             `ulimit -n 65536` or LimitNOFILE=65536 in the systemd unit"
                .to_owned()
        }
        _ => {
            format!("io_uring does not work here ({error}): run a kernel of version 5.15 or newer")
        }
    }
}

fn memlock_sentence(memlock: u64) -> String {
    format!(
        "this process may lock only {} KiB of memory and io_uring needs more: raise the limit to \
         8 MiB or more with `ulimit -l 8192`, LimitMEMLOCK=8M in the systemd unit or `--ulimit \
         memlock=8388608` for a container",
        memlock >> 10
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_is_told_with_its_remedy() {
        let told =
            |code: i32, disabled| ring_sentence(&io::Error::from_raw_os_error(code), disabled);
        assert!(told(libc::EPERM, Some("2")).contains("sysctl -w kernel.io_uring_disabled=0"));
        assert!(told(libc::EPERM, Some("0")).contains("seccomp=unconfined"));
        assert!(told(libc::EPERM, None).contains("seccomp=unconfined"));
        assert!(told(libc::ENOSYS, None).contains("5.8"));
        assert!(told(libc::ENOMEM, None).contains("ulimit -l 8192"));
        assert!(told(libc::EMFILE, None).contains("ulimit -n"));
        assert!(told(libc::EINVAL, None).contains("Invalid argument"));
        assert!(memlock_sentence(64 << 10).contains("only 64 KiB"));
    }

    #[test]
    fn this_machine_can_run_it() {
        raise_limits();
        probe().expect("io_uring is needed to test at all");
    }
}
