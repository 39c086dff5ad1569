//! Servers as processes: started on free ports and a data directory under `target/tmp`, waited for
//! by their ready line, stopped, killed, looked at from outside.
//!
//! Shared by the drivers of this folder; each uses its own part.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server that is not ready by then never will be; a loaded machine needs far less.
const READY_WAIT_MAX: Duration = Duration::from_secs(60);
/// A server that was asked to stop and has not by then is stuck.
const STOP_WAIT_MAX: Duration = Duration::from_secs(30);
const READY_LINE: &str = "ready to serve client requests";

/// Which server is under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    Braid,
    /// An etcd 3.7.1 at this path.
    Etcd(PathBuf),
}

impl Program {
    fn path(&self) -> &Path {
        match self {
            Program::Braid => Path::new(env!("CARGO_BIN_EXE_braid")),
            Program::Etcd(path) => path,
        }
    }
}

/// How a server that did not become ready ended.
#[derive(Debug)]
pub struct Refused {
    pub status: ExitStatus,
    /// Everything it wrote to standard output and standard error.
    pub output: String,
}

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub client_port: u16,
    log: PathBuf,
    /// The server's when it was started on a directory of its own.
    _directory: Option<TempDir>,
}

impl Server {
    /// Starts on a fresh data directory.
    pub fn start(program: &Program, flags: &[&str]) -> Server {
        let directory = scratch();
        let mut server = Server::start_in(program, &directory.path().join("d"), flags);
        server._directory = Some(directory);
        server
    }

    /// As [`Server::start`], with these variables in its environment.
    pub fn start_with(program: &Program, flags: &[&str], environment: &[(&str, &str)]) -> Server {
        let directory = scratch();
        let data = directory.path().join("d");
        let started = Server::launch(program, &data, flags, environment);
        let mut server = started.unwrap_or_else(|refused| panic!("no start: {refused:?}"));
        server._directory = Some(directory);
        server
    }

    /// Starts on this data directory, which need not exist yet.
    pub fn start_in(program: &Program, data: &Path, flags: &[&str]) -> Server {
        match Server::try_start_in(program, data, flags) {
            Ok(server) => server,
            Err(refused) => panic!("the server did not start: {refused:?}"),
        }
    }

    /// As [`Server::start_in`]; what a server says that does not start is part of the interface.
    pub fn try_start_in(program: &Program, data: &Path, flags: &[&str]) -> Result<Server, Refused> {
        Server::launch(program, data, flags, &[])
    }

    fn launch(
        program: &Program,
        data: &Path,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Server, Refused> {
        let (client, peer) = (free_port(), free_port());
        let mut all = port_flags(client, peer);
        all.push(format!("--data-dir={}", data.display()));
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let log = data.with_extension("log");
        let (child, output) = launch(program, &all, environment, &log);
        let mut server = Server { child, client_port: client, log: output, _directory: None };
        match server.wait_until_ready() {
            Ok(()) => Ok(server),
            Err(status) => Err(Refused { status, output: server.output() }),
        }
    }

    fn wait_until_ready(&mut self) -> Result<(), ExitStatus> {
        let deadline = Instant::now() + READY_WAIT_MAX;
        loop {
            if self.output().contains(READY_LINE) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().expect("wait for the server") {
                return Err(status);
            }
            assert!(Instant::now() < deadline, "not ready:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// `host:port` for clients.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the server has written to standard output and standard error.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("the server's log")).into_owned()
    }

    /// Whether the process still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("wait for the server").is_none()
    }

    /// SIGKILL: as a power cut to the process, without the disk's part.
    pub fn kill(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        self.child.wait().expect("wait for the killed server");
    }

    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.pid()).expect("a pid fits");
        // SAFETY: kill has no memory effects; the child has not been waited for, so the pid is its.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "signal {signal}: {}", std::io::Error::last_os_error());
    }

    /// Waits for the end of a process that was told to stop.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + STOP_WAIT_MAX;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the server") {
                return status;
            }
            assert!(Instant::now() < deadline, "still running:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM, and the signal the process then died of (or none, when it exited by itself).
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal(libc::SIGTERM);
        self.wait().signal()
    }

    /// Resident bytes of the process.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).expect("size").parse().expect("number");
        kib << 10
    }

    /// Time the process has spent on processors, user and system.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("stat");
        // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
        let after_name = stat.rsplit_once(')').expect("name").1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks: u64 =
            fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
        // SAFETY: sysconf reads a constant of the system.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Duration::from_millis(ticks * 1000 / u64::try_from(per_second).expect("positive"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(20).collect();
            eprintln!("the server's last lines, newest first:\n{}", tail.join("\n"));
        }
    }
}

/// Runs the program to its end with exactly these arguments.
pub fn run_to_end(program: &Program, flags: &[&str]) -> std::process::Output {
    let mut command = Command::new(program.path());
    command.args(flags).stdin(Stdio::null());
    without_etcd_variables(&mut command);
    command.output().expect("run the server")
}

/// A directory that goes when it is dropped.
pub fn scratch() -> TempDir {
    tempfile::Builder::new()
        .prefix("server-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a temporary directory")
}

/// The flags that put a single member on these two ports.
pub fn port_flags(client: u16, peer: u16) -> Vec<String> {
    vec![
        "--name=m".to_owned(),
        format!("--listen-client-urls=http://127.0.0.1:{client}"),
        format!("--advertise-client-urls=http://127.0.0.1:{client}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
        format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
        format!("--initial-cluster=m=http://127.0.0.1:{peer}"),
    ]
}

fn launch(
    program: &Program,
    flags: &[String],
    environment: &[(&str, &str)],
    log: &Path,
) -> (Child, PathBuf) {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent).expect("the directory of the log");
    }
    // Append mode: both streams write whole lines to the end.
    fs::write(log, "").expect("create the server's log");
    let output = File::options().append(true).open(log).expect("open the server's log");
    let mut command = Command::new(program.path());
    command
        .args(flags)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a second handle of the log"))
        .stderr(output);
    without_etcd_variables(&mut command);
    command.envs(environment.iter().copied());
    let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program.path().display()));
    (child, log.to_owned())
}

/// A variable of the developer's shell must not change what is tested.
fn without_etcd_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETCD_") {
            command.env_remove(name);
        }
    }
}

/// A port that nobody listens on, below the range that the kernel hands to outgoing connections,
/// and never handed out twice by this process.
pub fn free_port() -> u16 {
    static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    const LOWEST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let first = std::process::id().wrapping_mul(131) % u32::from(COUNT);
    for step in 0..u32::from(COUNT) {
        let offset = u16::try_from((first + step) % u32::from(COUNT)).expect("below COUNT");
        let port = LOWEST + offset;
        if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.insert(port);
            return port;
        }
    }
    panic!("no free port");
}

/// Status code and body of a GET over HTTP/1.
pub fn http_get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("send the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let code = head.split(' ').nth(1).expect("a code").parse().expect("a number");
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    (code, if is_chunked { whole(body) } else { body.to_owned() })
}

/// A body that came in chunks, as etcd's long ones do.
fn whole(mut chunks: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, rest) = chunks.split_once("\r\n").expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size in hex");
        if size == 0 {
            return body;
        }
        body.push_str(&rest[..size]);
        chunks = rest[size..].strip_prefix("\r\n").expect("the end of a chunk");
    }
}

/// What the drivers run against: braid, or the etcd at `BRAID_CASES_ETCD`, which proves them.
pub fn program() -> Program {
    match std::env::var_os("BRAID_CASES_ETCD") {
        Some(path) => Program::Etcd(path.into()),
        None => Program::Braid,
    }
}

impl Program {
    pub fn is_etcd(&self) -> bool {
        matches!(self, Program::Etcd(_))
    }
}

/// A new seed for every run; `BRAID_SEED` repeats one. It is printed, so that a failure can be.
pub fn seed() -> u64 {
    let seed = match std::env::var("BRAID_SEED") {
        Ok(text) => text.parse().expect("BRAID_SEED is a number"),
        Err(_) => std::collections::hash_map::RandomState::new().hash_one(std::process::id()),
    };
    eprintln!("BRAID_SEED={seed}");
    seed
}
