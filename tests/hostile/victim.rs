//! The server under attack and the witness that it goes on serving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use braid::client::blocking::Client;
use braid::client::{Options, Transport};
use braid::protocol::pb::etcdserverpb as pb;

use braid::chance::Chance;

use crate::common::{self, Program, Server};
use crate::wire::{PATIENCE, Wire};

/// What a server under attack may hold more than before it, at most. An attack that is not bounded
/// sends several times that.
const GROWTH_BYTES_MAX: u64 = 400 << 20;
/// Answers that the witness must get after an attack.
const ANSWERS_MIN: u64 = 20;

/// What an attack is given.
pub struct Attack<'a> {
    pub server: &'a Server,
    pub chance: Chance,
    /// etcd speaks no frames and has other bounds; the attacks on HTTP are proven against it.
    pub is_etcd: bool,
    resident_bytes: u64,
}

impl Attack<'_> {
    pub fn wire(&self) -> Wire {
        Wire::connect(self.server.client_port)
    }

    /// To be called while the attacker's connections are still open.
    pub fn memory_is_bounded(&self) {
        self.memory_grew_at_most(GROWTH_BYTES_MAX);
    }

    /// As [`Attack::memory_is_bounded`], where an attack may have the server hold more.
    pub fn memory_grew_at_most(&self, bytes: u64) {
        if self.is_etcd {
            return;
        }
        let now = self.server.resident_bytes();
        let most = self.resident_bytes + bytes;
        assert!(now <= most, "resident bytes grew from {} to {now}", self.resident_bytes);
    }
}

pub struct Victim {
    server: Server,
    witness: Witness,
    chance: Chance,
    resident_bytes: u64,
    is_etcd: bool,
}

impl Victim {
    pub fn start() -> Victim {
        Victim::start_with(&[])
    }

    /// With these flags besides its own.
    pub fn start_with(flags: &[&str]) -> Victim {
        let program = common::program();
        let own: &[&str] = if program.is_etcd() { &[] } else { &["--shards=2"] };
        let server = Server::start(&program, &[own, flags].concat());
        let witness = Witness::start(&program, &server);
        witness.gets_on();
        let resident_bytes = server.resident_bytes();
        let chance = Chance::new(common::seed());
        Victim { server, witness, chance, resident_bytes, is_etcd: program.is_etcd() }
    }

    /// Carries out an attack and looks at the server after it.
    pub fn survives(&mut self, name: &str, attack: fn(&mut Attack)) {
        eprintln!("{name}");
        let mut given = Attack {
            server: &self.server,
            chance: Chance::new(self.chance.number()),
            is_etcd: self.is_etcd,
            resident_bytes: self.resident_bytes,
        };
        attack(&mut given);
        given.memory_is_bounded();
        assert!(self.server.is_alive(), "{name} ended the server");
        self.witness.gets_on();
    }

    /// Whatever was done to it, it stops when it is asked to.
    pub fn stops_as_asked(mut self) {
        self.witness.stop();
        assert_eq!(self.server.terminate(), Some(libc::SIGTERM));
        let output = self.server.output();
        assert!(!output.contains("panicked"), "a panic in the log:\n{output}");
    }
}

/// A client that puts and reads back, as long as it is let.
struct Witness {
    answers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    fn start(program: &Program, server: &Server) -> Witness {
        let transport = if program.is_etcd() { Transport::Grpc } else { Transport::Frames };
        let options = Options {
            transport,
            request_timeout: Some(PATIENCE),
            attempts_max: 1,
            ..Options::endpoints([server.endpoint()])
        };
        let client = Client::connect(options).expect("connect the witness");
        let (answers, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (answers.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let mut number = 0_u64;
            while !stopped.load(Ordering::SeqCst) {
                number += 1;
                read_own_write(&client, number);
                counted.fetch_add(1, Ordering::SeqCst);
                // A witness, not a load.
                thread::sleep(Duration::from_millis(1));
            }
        });
        Witness { answers, stop, thread: Some(thread) }
    }

    /// Waits for answers to requests of which most began after this call.
    fn gets_on(&self) {
        let enough = self.answers.load(Ordering::SeqCst) + ANSWERS_MIN;
        let deadline = Instant::now() + PATIENCE;
        while self.answers.load(Ordering::SeqCst) < enough {
            let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended, "the witness was let down");
            assert!(Instant::now() < deadline, "the witness waits");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the witness");
        }
    }
}

fn read_own_write(client: &Client, number: u64) {
    let (key, value) = ("witness", number.to_string());
    let put = pb::PutRequest { key: key.into(), value: value.clone().into(), ..Default::default() };
    let put = client.put(put).expect("the witness' put");
    let get = client.range(pb::RangeRequest { key: key.into(), ..Default::default() });
    let kvs = get.expect("the witness' read").kvs;
    assert_eq!(kvs.len(), 1);
    assert_eq!(kvs[0].value, value.as_bytes());
    assert_eq!(kvs[0].mod_revision, put.header.expect("a header").revision);
}
