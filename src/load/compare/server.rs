//! A server as a process: started, looked at, stopped.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::signals;

/// A server that is not ready by then never will be.
const READY_WAIT_MAX: Duration = Duration::from_secs(60);
const STOP_WAIT_MAX: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// The line that both servers log when they are ready.
const READY_LINE: &str = "ready to serve client requests";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerKind {
    Braid,
    Etcd,
}

/// A running server. Dropped, it is killed and its directory removed.
pub(super) struct Server {
    child: Child,
    port: u16,
    folder: PathBuf,
}

/// The resources that a process has used so far, or between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) written_bytes: u64,
    /// So far, always.
    pub(super) peak_bytes: u64,
}

impl Usage {
    pub(super) fn between(before: &Usage, after: &Usage) -> Usage {
        Usage {
            cpu_seconds: after.cpu_seconds - before.cpu_seconds,
            written_bytes: after.written_bytes.saturating_sub(before.written_bytes),
            peak_bytes: after.peak_bytes,
        }
    }
}

impl Server {
    /// Starts on a fresh directory below `scratch` and waits until it serves. Neither server is
    /// told anything that weakens it; both may grow as much.
    pub(super) fn start(
        kind: ServerKind,
        program: &Path,
        scratch: &Path,
    ) -> Result<Server, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", program.display());
        let (port, peer_port) = (free_port().map_err(failed)?, free_port().map_err(failed)?);
        let name = if kind == ServerKind::Braid { "braid" } else { "etcd" };
        let folder = scratch.join(format!("{name}-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).map_err(failed)?;
        let log = File::create(folder.join("log")).map_err(failed)?;
        let peer = format!("http://127.0.0.1:{peer_port}");
        let client = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(program);
        command
            .arg("--name=m")
            .arg(format!("--data-dir={}", folder.join("data").display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=m={peer}"))
            .arg("--quota-backend-bytes=8589934592")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(variable);
            }
        }
        signals::ends_with_us(&mut command);
        let child = command.spawn().map_err(failed)?;
        let mut server = Server { child, port, folder };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + READY_WAIT_MAX;
        while !self.log().contains(READY_LINE) {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || Instant::now() > deadline {
                let log = self.log();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(format!("a server did not start; its last lines: {tail:?}"));
            }
            signals::look()?;
            std::thread::sleep(LOOK_PAUSE);
        }
        Ok(())
    }

    /// Where its data and its log are; gone with it.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn usage(&self) -> Result<Usage, String> {
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", self.child.id());
            fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
        };
        parse_usage(&read("stat")?, &read("io")?, &read("status")?)
            .ok_or_else(|| "the usage of a server cannot be read".to_owned())
    }

    /// Asks it to stop, waits, and removes what it wrote.
    pub(super) fn stop(mut self) -> Result<(), String> {
        let pid = libc::pid_t::try_from(self.child.id()).map_err(|error| error.to_string())?;
        // SAFETY: no memory is touched; the child has not been waited for, so the pid is its.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let deadline = Instant::now() + STOP_WAIT_MAX;
        while self.child.try_wait().map_err(|error| error.to_string())?.is_none() {
            if Instant::now() > deadline {
                return Err("a server did not stop".to_owned());
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn parse_usage(stat: &str, io: &str, status: &str) -> Option<Usage> {
    // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    // SAFETY: sysconf reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let number = |text: &str, name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Usage {
        cpu_seconds: ticks / per_second as f64,
        written_bytes: number(io, "write_bytes:")?,
        peak_bytes: number(status, "VmHWM:")? << 10,
    })
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A program on PATH.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_what_the_kernel_says() {
        let stat = "1 (a b) c) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        let io = "rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 4096\ncancelled_write_bytes: 0\n";
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n";
        let usage = parse_usage(stat, io, status).expect("usage");
        assert_eq!((usage.written_bytes, usage.peak_bytes), (4096, 2 << 20));
        assert!(usage.cpu_seconds > 0.0);
        assert_eq!(parse_usage("", io, status), None);
        let later = Usage { cpu_seconds: 9.0, written_bytes: 9000, peak_bytes: 1 };
        assert_eq!(Usage::between(&usage, &later).written_bytes, 9000 - 4096);
    }
}
