//! `braidctl`'s commands that go on: watches, leases, locks, elections and mirrors, as processes
//! against a server that is started, killed and started again.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use common::{Program, Server, program, scratch};

/// What has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// `braidctl` over one transport against one server.
#[derive(Clone)]
struct Ctl {
    endpoint: String,
    transport: &'static str,
}

impl Ctl {
    fn of(server: &Server, transport: &'static str) -> Ctl {
        Ctl { endpoint: server.endpoint(), transport }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_braidctl"));
        command.args(["--endpoints", &self.endpoint, "--transport", self.transport]).args(words);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("ETCDCTL_") || name.starts_with("BRAIDCTL_") {
                command.env_remove(name);
            }
        }
        command
    }

    fn output(&self, words: &[&str]) -> Output {
        self.command(words).stdin(Stdio::null()).output().expect("run braidctl")
    }

    /// What a command that must succeed writes.
    fn run(&self, words: &[&str]) -> String {
        let output = self.output(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn put(&self, key: &str, value: &str) {
        assert_eq!(self.run(&["put", key, value]), "OK\n");
    }

    /// A new lease, as `lease grant` names it.
    fn lease(&self, ttl: &str) -> String {
        let granted = self.run(&["lease", "grant", ttl]);
        granted.split(' ').nth(1).expect("an id").to_owned()
    }

    fn live(&self, words: &[&str]) -> RunningCommand {
        RunningCommand::start(self.command(words))
    }
}

/// A command under way, its output line by line. Dropped, it is killed.
struct RunningCommand {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl RunningCommand {
    fn start(mut command: Command) -> RunningCommand {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start braidctl");
        let output = child.stdout.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        RunningCommand { input: child.stdin.take(), child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line")
    }

    fn lines<const N: usize>(&self) -> [String; N] {
        std::array::from_fn(|_| self.line())
    }

    /// The next line does not come for a moment.
    fn assert_silent(&self) {
        let next = self.lines.recv_timeout(Duration::from_millis(300));
        assert_eq!(next, Err(RecvTimeoutError::Timeout));
    }

    fn write(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("piped"), "{line}").expect("write to braidctl");
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a pid fits");
        // SAFETY: kill has no memory effects; the child has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// How it ended, and what it wrote to standard error.
    fn end(&mut self) -> (ExitStatus, String) {
        drop(self.input.take());
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait for braidctl") {
                break status;
            }
            assert!(Instant::now() < deadline, "braidctl does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut errors = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut errors).expect("text");
        (status, errors)
    }

    fn end_with(&mut self, code: i32) -> String {
        let (status, errors) = self.end();
        assert_eq!(status.code(), Some(code), "{errors}");
        errors
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a test over every transport of the server under test, each with a server of its own.
fn over_each_transport(test: impl Fn(Ctl)) {
    for transport in transports() {
        let server = Server::start(&program(), &[]);
        test(Ctl::of(&server, transport));
    }
}

fn transports() -> &'static [&'static str] {
    match program() {
        Program::Braid => &["frames", "grpc"],
        // By default the client has to find out that there are no frames.
        Program::Etcd(_) => &["auto", "grpc"],
    }
}

/// Waits until something holds that another process brings about.
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_watch_shows_history_and_what_comes() {
    over_each_transport(|ctl| {
        ctl.put("a", "1");
        ctl.put("a", "2");
        let watch = ctl.live(&["watch", "a", "--prefix", "--rev", "2", "--prev-kv"]);
        assert_eq!(watch.lines(), ["PUT", "a", "1", "PUT", "a", "1", "a", "2"]);
        ctl.put("b", "x");
        ctl.run(&["del", "a"]);
        assert_eq!(watch.lines(), ["DELETE", "a", "2", "a", ""]);
        ctl.put("ab", "3");
        assert_eq!(watch.lines(), ["PUT", "ab", "3"]);
    });
}

#[test]
fn a_watch_that_cannot_be_ends_with_5() {
    over_each_transport(|ctl| {
        ["1", "2", "3"].iter().for_each(|value| ctl.put("a", value));
        ctl.run(&["compaction", "3"]);
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        for (words, reason) in [
            (&["watch", "a", "--rev", "2"][..], compacted),
            (&["watch", "a", "--rev=-1"], compacted),
            (&["watch", "b", "a"], "mvcc: watcher range is empty"),
        ] {
            let output = ctl.output(words);
            assert_eq!(output.status.code(), Some(5), "{words:?}");
            let expected =
                format!("watch was canceled ({reason})\nError: watch is canceled by the server\n");
            assert_eq!(String::from_utf8_lossy(&output.stderr), expected, "{words:?}");
        }
    });
}

#[test]
fn a_watch_runs_a_program_for_every_event() {
    over_each_transport(|ctl| {
        ctl.put("k 1", "v");
        let show = "echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE \
                    $ETCD_WATCH_KEY $ETCD_WATCH_VALUE";
        let watch = ctl.live(&["watch", "k", "--prefix", "--rev=2", "--", "sh", "-c", show]);
        assert_eq!(watch.lines(), ["PUT", "k 1", "v", r#"2 "PUT" "k 1" "v""#]);
        ctl.run(&["del", "k 1"]);
        assert_eq!(watch.lines(), ["DELETE", "k 1", "", r#"3 "DELETE" "k 1" """#]);
        let mut fails = ctl.live(&["watch", "k 1", "--rev=2", "--", "sh", "-c", "exit 3"]);
        let told = "command [\"sh\" \"-c\" \"exit 3\"] error (exit status 3)\n";
        assert_eq!(fails.end_with(1), told);
    });
}

#[test]
fn an_interactive_watch_takes_watchers_and_asks_for_progress() {
    over_each_transport(|ctl| {
        ctl.put("a", "1");
        ctl.put("b", "1");
        let mut watch = ctl.live(&["watch", "-i"]);
        watch.write("watch a --rev 2");
        assert_eq!(watch.lines(), ["PUT", "a", "1"]);
        watch.write(r#"watch "b" --prefix --rev 3 -- echo told"#);
        assert_eq!(watch.lines(), ["PUT", "b", "1", "told"]);
        watch.write("progress");
        assert_eq!(watch.lines(), ["progress notify: 3", "progress notify: 3"], "of each watcher");
        watch.write("nonsense");
        ctl.put("b2", "2");
        assert_eq!(watch.lines(), ["PUT", "b2", "2", "told"]);
        let errors = watch.end_with(3);
        let expected = "Invalid command nonsense (only support watch)\n\
                        Error: error reading watch request line: EOF\n";
        assert_eq!(errors, expected);
    });
}

#[test]
fn a_watch_outlives_the_server() {
    for transport in transports() {
        let directory = scratch();
        let data = directory.path().join("d");
        let proxy = Proxy::start();
        let mut server = Server::start_in(&program(), &data, &[]);
        proxy.lead_to(server.client_port);
        let through = Ctl { endpoint: proxy.endpoint(), transport };
        let watch = through.live(&["watch", "k", "--prefix", "--rev", "1"]);
        Ctl::of(&server, transport).put("k1", "a");
        assert_eq!(watch.lines(), ["PUT", "k1", "a"]);
        for round in 0..3 {
            server.kill();
            proxy.cut();
            server = Server::start_in(&program(), &data, &[]);
            let direct = Ctl::of(&server, transport);
            let (first, second) = (format!("r{round}"), format!("s{round}"));
            // Before the watcher can be back, and after it surely is.
            direct.put("k1", &first);
            proxy.lead_to(server.client_port);
            assert_eq!(watch.lines(), ["PUT", "k1", &first]);
            direct.put("k2", &second);
            assert_eq!(watch.lines(), ["PUT", "k2", &second]);
        }
        watch.assert_silent();
    }
}

#[test]
fn a_lease_is_granted_renewed_and_revoked() {
    over_each_transport(|ctl| {
        let id = ctl.lease("100");
        assert_eq!(ctl.run(&["put", "k", "v", "--lease", &id]), "OK\n");
        assert_eq!(ctl.run(&["put", "l", "v", "--lease", &id]), "OK\n");
        let left = ctl.run(&["lease", "timetolive", &id, "--keys"]);
        let granted = format!("lease {id} granted with TTL(100s), remaining(");
        assert!(left.starts_with(&granted), "{left}");
        // In any order: etcd keeps them in a table.
        let keys = left.split("attached keys([").nth(1).expect("keys");
        assert!(["k l])\n", "l k])\n"].contains(&keys), "{left}");
        assert_eq!(ctl.run(&["lease", "list"]), format!("found 1 leases\n{id}\n"));
        let renewed = format!("lease {id} keepalived with TTL(100)\n");
        assert_eq!(ctl.run(&["lease", "keep-alive", "--once", &id]), renewed);
        assert_eq!(ctl.run(&["lease", "revoke", &id]), format!("lease {id} revoked\n"));
        assert_eq!(ctl.run(&["get", "", "--prefix"]), "");
        let gone = format!("lease {id} already expired\n");
        assert_eq!(ctl.run(&["lease", "timetolive", &id]), gone);
        for (command, code, text) in [
            (
                "revoke",
                1,
                "Error: failed to revoke lease (etcdserver: requested lease not found)\n",
            ),
            ("keep-alive", 2, "Error: etcdserver: requested lease not found\n"),
        ] {
            let flags: &[&str] = if command == "revoke" { &[] } else { &["--once"] };
            let output = ctl.output(&[&["lease", command, &id], flags].concat());
            assert_eq!(output.status.code(), Some(code), "{command}");
            assert_eq!(String::from_utf8_lossy(&output.stderr), text);
        }
    });
}

#[test]
fn a_lease_lives_while_it_is_kept_alive_and_no_longer() {
    over_each_transport(|ctl| {
        let id = ctl.lease("2");
        ctl.run(&["put", "k", "v", "--lease", &id]);
        let mut keeper = ctl.live(&["lease", "keep-alive", &id]);
        let renewed = format!("lease {id} keepalived with TTL(2)");
        let started = Instant::now();
        // Thrice in its time to live, so seven renewals outlast it twice.
        for _ in 0..8 {
            assert_eq!(keeper.line(), renewed);
        }
        assert!(started.elapsed() > Duration::from_secs(4), "{:?}", started.elapsed());
        assert_eq!(ctl.run(&["get", "k"]), "k\nv\n");
        ctl.run(&["lease", "revoke", &id]);
        let last = loop {
            match keeper.line() {
                line if line == renewed => {}
                line => break line,
            }
        };
        assert_eq!(last, format!("lease {id} expired or revoked."));
        assert_eq!(keeper.end_with(0), "");
        // Left alone, the next one ends by itself.
        let id = ctl.lease("2");
        ctl.run(&["put", "k", "v", "--lease", &id]);
        until("the key of a lease that nobody renews", || ctl.run(&["get", "k"]).is_empty());
    });
}

#[test]
fn a_lock_is_held_by_one_at_a_time_and_given_back() {
    over_each_transport(|ctl| {
        let mut first = ctl.live(&["lock", "n"]);
        let [key, value] = first.lines();
        assert!(key.starts_with("n/") && value.is_empty(), "{key} {value}");
        let mut second = ctl.live(&["lock", "n", "--ttl", "60"]);
        until("the second waits", || ctl.run(&["get", "n/", "--prefix"]).lines().count() == 4);
        second.assert_silent();
        first.signal(libc::SIGTERM);
        assert_eq!(first.end_with(0), "");
        let [other, _] = second.lines();
        assert!(other.starts_with("n/") && other != key);
        // One that waits and is interrupted leaves nothing behind.
        let mut third = ctl.live(&["lock", "n"]);
        until("the third waits", || ctl.run(&["get", "n/", "--prefix"]).lines().count() == 4);
        third.signal(libc::SIGINT);
        assert_eq!(third.end_with(1), "Error: context canceled\n");
        assert_eq!(ctl.run(&["get", "n/", "--prefix", "--keys-only"]), format!("{other}\n\n"));
        second.signal(libc::SIGINT);
        assert_eq!(second.end_with(0), "");
        assert_eq!(ctl.run(&["get", "n/", "--prefix"]), "");
        assert_eq!(ctl.run(&["lease", "list"]), "found 0 leases\n");
    });
}

#[test]
fn a_lock_ends_with_its_session() {
    over_each_transport(|ctl| {
        let mut holder = ctl.live(&["lock", "n", "--ttl", "2"]);
        let [key, _] = holder.lines();
        let id = key.strip_prefix("n/").expect("the lease's number");
        ctl.run(&["lease", "revoke", id]);
        assert_eq!(holder.end_with(1), "Error: session expired\n");
        // One that dies is outlived by its lease only for the time to live.
        let mut dead = ctl.live(&["lock", "n", "--ttl", "2"]);
        dead.lines::<2>();
        dead.signal(libc::SIGKILL);
        dead.end();
        let next = ctl.live(&["lock", "n"]);
        assert_ne!(next.lines::<2>()[0], key);
    });
}

#[test]
fn a_lock_is_held_while_a_program_runs() {
    over_each_transport(|ctl| {
        let show = "echo $ETCD_LOCK_KEY $ETCD_LOCK_REV; exit 7";
        let output = ctl.output(&["lock", "n", "--", "sh", "-c", show]);
        assert_eq!(output.status.code(), Some(7));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "Error: exit status 7\n");
        let told = String::from_utf8(output.stdout).expect("text");
        assert!(told.starts_with("n/") && told.ends_with(" 2\n"), "{told}");
        assert_eq!(ctl.run(&["get", "n/", "--prefix"]), "");
        assert_eq!(ctl.run(&["lock", "n", "echo", "held"]), "held\n");
        // What it is told guards its writes.
        let compare = "printf 'create(\"%s\") = \"%s\"\\n\\nput done yes\\n\\n\\n' \
                       $ETCD_LOCK_KEY $ETCD_LOCK_REV";
        let script = ctl.run(&["lock", "n", "--", "sh", "-c", compare]);
        let mut txn = ctl.command(&["txn"]);
        txn.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut txn = txn.spawn().expect("start braidctl");
        txn.stdin.take().expect("piped").write_all(script.as_bytes()).expect("write the script");
        let answer = txn.wait_with_output().expect("the answer");
        assert_eq!(String::from_utf8_lossy(&answer.stdout), "FAILURE\n", "the lock is given back");
    });
}

#[test]
fn an_election_has_one_leader_and_observers_see_each() {
    over_each_transport(|ctl| {
        let mut observer = ctl.live(&["elect", "-l", "e"]);
        let mut first = ctl.live(&["elect", "e", "one"]);
        let [key, value] = first.lines();
        assert!(key.starts_with("e/") && value == "one");
        assert_eq!(observer.lines(), [key.clone(), "one".to_owned()]);
        let second = ctl.live(&["elect", "e", "two"]);
        until("the second stands", || ctl.run(&["get", "e/", "--prefix"]).lines().count() == 4);
        second.assert_silent();
        ctl.run(&["put", &key, "said", "--ignore-lease"]);
        assert_eq!(observer.lines(), [key, "said".to_owned()]);
        first.signal(libc::SIGINT);
        assert_eq!(first.end_with(0), "");
        let [next, value] = second.lines();
        assert_eq!(value, "two");
        assert_eq!(observer.lines(), [next, "two".to_owned()]);
        observer.signal(libc::SIGTERM);
        assert_eq!(observer.end_with(0), "");
    });
}

#[test]
fn a_mirror_copies_what_is_there_and_what_comes() {
    over_each_transport(|ctl| {
        let destination = Server::start(&program(), &[]);
        let copy = Ctl::of(&destination, ctl.transport);
        // More than one page.
        let keys: Vec<String> = (0..1100).map(|number| format!("p/{number:04}")).collect();
        for part in keys.chunks(100) {
            let ops: String = part.iter().map(|key| format!("put {key} v\n")).collect();
            txn(&ctl, &ops);
        }
        ctl.put("other", "x");
        let endpoint = copy.endpoint.clone();
        let words = ["make-mirror", &endpoint, "--prefix", "p/", "--dest-prefix", "q/"];
        let _mirror = ctl.live(&words);
        let count = || copy.run(&["get", "q/", "--prefix", "--keys-only"]).lines().count() / 2;
        until("everything is copied", || count() == 1100);
        txn(&ctl, "put p/new 1\nput p/0000 2\ndel p/0001\n");
        until("changes are copied", || copy.run(&["get", "q/new"]) == "q/new\n1\n");
        assert_eq!(copy.run(&["get", "q/0000"]), "q/0000\n2\n", "in the same txn");
        assert_eq!(copy.run(&["get", "q/0001"]), "");
        ctl.run(&["del", "p/", "--prefix"]);
        until("a delete of everything is copied", || count() == 0);
        assert_eq!(copy.run(&["get", "other"]), "");
    });
}

/// An address that is wrong does not look like a cluster without news.
#[test]
fn a_mirror_to_nobody_says_so() {
    let server = Server::start(&program(), &[]);
    let nobody = format!("127.0.0.1:{}", common::free_port());
    let ctl = Ctl::of(&server, "auto");
    let lost = Ctl { endpoint: nobody.clone(), transport: "auto" };
    for (ctl, destination) in [(&ctl, &nobody), (&lost, &ctl.endpoint)] {
        let output = ctl.output(&["make-mirror", destination]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with(&format!("Error: cannot connect to {nobody}: ")), "{said}");
    }
}

/// etcdctl's `--dial-timeout=0` and its like: no limit.
#[test]
fn a_limit_of_0_is_none() {
    let server = Server::start(&program(), &[]);
    for transport in transports().iter().copied().chain(["auto"]) {
        let ctl = Ctl::of(&server, transport);
        for flag in [
            "--dial-timeout=0",
            "--dial-timeout=-1s",
            "--keepalive-time=0",
            "--keepalive-time=-1s",
            "--keepalive-timeout=0",
        ] {
            assert_eq!(ctl.run(&[flag, "put", "a", "b"]), "OK\n", "{flag}");
            assert_eq!(ctl.run(&[flag, "get", "a"]), "a\nb\n", "{flag}");
        }
        for flag in ["--command-timeout=0", "--command-timeout=-1s"] {
            let output = ctl.output(&[flag, "get", "a"]);
            assert_eq!(output.status.code(), Some(1), "{flag}: {output:?}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.ends_with("Error: context deadline exceeded\n"), "{flag}: {said}");
        }
    }
}

#[test]
fn a_mirror_from_a_revision_that_is_gone_says_so() {
    over_each_transport(|ctl| {
        ["1", "2", "3"].iter().for_each(|value| ctl.put("a", value));
        ctl.run(&["compaction", "4"]);
        let output = ctl.output(&["make-mirror", &ctl.endpoint, "--rev", "2"]);
        assert_eq!(output.status.code(), Some(1));
        let text = "Error: etcdserver: mvcc: required revision has been compacted\n";
        assert_eq!(String::from_utf8_lossy(&output.stderr), text);
    });
}

/// One txn with these operations and nothing to compare.
fn txn(ctl: &Ctl, ops: &str) {
    let mut command = ctl.command(&["txn"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("start braidctl");
    let script = format!("\n{ops}\n\n");
    child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("write the script");
    let output = child.wait_with_output().expect("the answer");
    assert!(output.stdout.starts_with(b"SUCCESS\n"), "{output:?}");
}

/// An address that stays while the server behind it comes and goes.
struct Proxy {
    port: u16,
    target: std::sync::Arc<std::sync::Mutex<Target>>,
}

#[derive(Default)]
struct Target {
    port: Option<u16>,
    open: Vec<std::net::TcpStream>,
}

impl Proxy {
    fn start() -> Proxy {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let target = std::sync::Arc::<std::sync::Mutex<Target>>::default();
        let proxy = Proxy { port, target: target.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut target = target.lock().expect("no panic");
                let Some(port) = target.port else { continue };
                let Ok(server) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                target.open.extend([&client, &server].map(|s| s.try_clone().expect("a handle")));
                pump(&client, &server);
                pump(&server, &client);
            }
        });
        proxy
    }

    fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn lead_to(&self, port: u16) {
        self.target.lock().expect("no panic").port = Some(port);
    }

    /// Ends all connections and takes no others.
    fn cut(&self) {
        let mut target = self.target.lock().expect("no panic");
        target.port = None;
        for stream in target.open.drain(..) {
            // Already closed is as good.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn pump(from: &std::net::TcpStream, to: &std::net::TcpStream) {
    let mut from = from.try_clone().expect("a handle");
    let mut to = to.try_clone().expect("a handle");
    std::thread::spawn(move || {
        // Ends when either side does.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
