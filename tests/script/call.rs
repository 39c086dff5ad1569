//! Commands carried out: one server, one transport.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_io::Timer;
use braid::client::{Client, Error, Method, Options, Transport};
use braid::protocol::Method as Rpc;
use braid::protocol::pb::etcdserverpb as pb;
use braid::protocol::pb::v3electionpb as election;
use braid::protocol::pb::v3lockpb as lock;
use braid::protocol::status::code;
use futures_lite::future::block_on;

use super::file::CaseFile;
use super::inside::Inside;
use super::lasting::{Answer, Calls};
use super::parse::{self, Command};
use super::parse_lasting::{Concurrency, Lasting, Lease};
use super::show::Shown;

/// Far more than any command takes.
pub const COMMAND_WAIT_MAX: Duration = Duration::from_secs(20);
/// Between two reads of an `await`.
const AWAIT_PAUSE: Duration = Duration::from_millis(5);

/// A server as the cases reach it.
pub struct Target {
    reach: RefCell<Reach>,
    /// What is subtracted from revisions so that they read as on a fresh store.
    base: i64,
    live: RefCell<Live>,
}

/// What a case has under way.
#[derive(Default)]
struct Live {
    calls: Calls,
    /// Leases whose ids the server has picked, by the names that the case gave them.
    leases: BTreeMap<String, i64>,
}

/// How it is reached.
enum Reach {
    Client {
        client: Client,
        /// Kills the server, starts it again and says where it listens now.
        restart: Option<Box<dyn FnMut() -> String>>,
    },
    /// A member in this process.
    Inside(Inside),
}

impl Target {
    /// A member in this process, on a disk in memory, with these flags.
    pub fn inside(cores: u16, shards: u16, flags: &[String]) -> Target {
        Target::new(Reach::Inside(Inside::start(cores, shards, flags)))
    }

    pub fn connect(endpoint: &str, transport: Transport) -> Target {
        Target::new(Reach::Client { client: connected(endpoint, transport), restart: None })
    }

    /// A server that a case may restart: `restart` kills it, starts it again and says where it
    /// listens now. Its first call starts it.
    pub fn own(mut restart: Box<dyn FnMut() -> String>, transport: Transport) -> Target {
        let client = connected(&restart(), transport);
        Target::new(Reach::Client { client, restart: Some(restart) })
    }

    fn new(reach: Reach) -> Target {
        Target { reach: RefCell::new(reach), base: 0, live: RefCell::default() }
    }

    /// Leaves nothing of what was there but a higher revision: no key, no history, no alarm, no
    /// lease.
    pub fn clear(&mut self) {
        self.clear_leases();
        let alarms =
            self.unary::<_, pb::AlarmResponse>(Method::ALARM, &pb::AlarmRequest::default());
        for alarm in alarms.expect("list the alarms").alarms {
            let request = pb::AlarmRequest {
                action: pb::alarm_request::AlarmAction::Deactivate.into(),
                member_id: alarm.member_id,
                alarm: alarm.alarm,
            };
            let gone = self.unary::<_, pb::AlarmResponse>(Method::ALARM, &request);
            gone.expect("disarm an alarm");
        }
        let zero = bytes::Bytes::from_static(b"\0");
        // A key to delete, so that the deletion has a revision of its own to compact to.
        let put = pb::PutRequest { key: "clear".into(), ..Default::default() };
        self.unary::<_, pb::PutResponse>(Method::PUT, &put).expect("a last put");
        let all = pb::DeleteRangeRequest { key: zero.clone(), range_end: zero, prev_kv: false };
        let deleted: pb::DeleteRangeResponse =
            self.unary(Method::DELETE_RANGE, &all).expect("delete everything");
        let revision = deleted.header.expect("a header").revision;
        let compact = pb::CompactionRequest { revision, physical: true };
        self.unary::<_, pb::CompactionResponse>(Method::COMPACT, &compact).expect("compact");
        self.base = revision - 1;
    }

    fn clear_leases(&self) {
        if self.client().is_none() {
            return;
        }
        let request = pb::LeaseLeasesRequest {};
        let list = self.unary::<_, pb::LeaseLeasesResponse>(Rpc::LeaseLeases.into(), &request);
        let leases = match list {
            // A server without leases has none to clear.
            Err(error) if error.code() == code::UNIMPLEMENTED => return,
            list => list.expect("list the leases").leases,
        };
        for lease in leases {
            let request = pb::LeaseRevokeRequest { id: lease.id };
            let gone = self.unary::<_, pb::LeaseRevokeResponse>(Rpc::LeaseRevoke.into(), &request);
            // It may just have expired.
            let expired = gone.as_ref().is_err_and(|error| error.code() == code::NOT_FOUND);
            assert!(gone.is_ok() || expired, "revoke {}: {gone:?}", lease.id);
        }
    }

    /// What the file's blocks print, in order.
    pub fn run(&self, file: &CaseFile) -> Vec<Vec<String>> {
        self.live.take();
        let block = |block: &super::file::Block| {
            let commands = block.commands();
            commands.iter().flat_map(|lines| self.print(lines)).collect::<Vec<String>>()
        };
        let printed = file.blocks.iter().map(block).collect();
        // Streams and calls are left before the next case begins.
        self.live.take();
        printed
    }

    /// What one command, with the indented lines under it, prints.
    pub fn print(&self, lines: &[&str]) -> Vec<String> {
        let lines: Vec<String> = lines.iter().map(|line| self.with_ids(line)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let command = parse::command(&lines, self.base)
            .unwrap_or_else(|reason| panic!("cannot read {}: {reason}", lines[0]));
        let printed = self.answer(&command).unwrap_or_else(|error| vec![status(&error)]);
        printed.into_iter().map(|line| self.with_names(line)).collect()
    }

    /// `$NAME` is the id of a lease that the server picked, `<NAME>` the same in hexadecimal.
    fn with_ids(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (name, id) in &self.live.borrow().leases {
            line = line.replace(&format!("${name}"), &id.to_string());
            line = line.replace(&format!("<{name}>"), &format!("{id:x}"));
        }
        line
    }

    fn with_names(&self, mut line: String) -> String {
        for (name, id) in &self.live.borrow().leases {
            line = line.replace(&id.to_string(), &format!("${name}"));
            line = line.replace(&format!("{id:x}"), &format!("<{name}>"));
        }
        line
    }

    fn name_lease(&self, name: Option<&String>, id: i64) {
        let Some(name) = name else { return };
        assert!(id >= 1 << 40, "a picked id is positive and looks like no other number: {id}");
        self.live.borrow_mut().leases.insert(name.clone(), id);
    }

    fn unary<Req, Resp>(&self, method: Method, request: &Req) -> Result<Resp, Error>
    where
        Req: prost::Message,
        Resp: prost::Message + Default,
    {
        match &mut *self.reach.borrow_mut() {
            Reach::Client { client, .. } => block_on(client.unary(method, request)),
            Reach::Inside(member) => member.unary(method, request),
        }
    }

    fn client(&self) -> Option<Client> {
        match &*self.reach.borrow() {
            Reach::Client { client, .. } => Some(client.clone()),
            Reach::Inside(_) => None,
        }
    }

    fn restart(&self) {
        match &mut *self.reach.borrow_mut() {
            Reach::Client { client, restart: Some(restart) } => {
                let endpoint = restart();
                *client = client.at(&endpoint).expect("an endpoint");
            }
            _ => panic!("only a case with a server of its own restarts it"),
        }
    }

    fn answer(&self, command: &Command) -> Result<Vec<String>, Error> {
        let shown = Shown { base: self.base };
        Ok(match command {
            Command::Range(request) => shown.range(&self.unary(Method::RANGE, request)?),
            Command::RangeStream(request) => shown.chunks(&self.chunks(request)?),
            Command::Put(request) => shown.put(&self.unary(Method::PUT, request)?),
            Command::DeleteRange(request) => {
                shown.delete(&self.unary(Method::DELETE_RANGE, request)?)
            }
            Command::Txn(request) => shown.txn(&self.unary(Method::TXN, request)?),
            Command::Compact(request) => shown.compact(&self.unary(Method::COMPACT, request)?),
            Command::Fill { prefix, count, value } => shown.put(&self.fill(prefix, *count, value)?),
            Command::Status => shown.status(&self.unary(Method::STATUS, &pb::StatusRequest {})?),
            Command::Hash => {
                let hash: pb::HashResponse = self.unary(Method::HASH, &pb::HashRequest {})?;
                vec![format!("hash: {}", shown.header(hash.header.as_ref()))]
            }
            Command::HashKv(request) => shown.hash_kv(&self.unary(Method::HASH_KV, request)?),
            Command::Defragment => {
                let answer: pb::DefragmentResponse =
                    self.unary(Method::DEFRAGMENT, &pb::DefragmentRequest {})?;
                vec![format!("defragmented: {}", shown.header(answer.header.as_ref()))]
            }
            Command::MemberList(request) => {
                shown.members(&self.unary(Method::MEMBER_LIST, request)?)
            }
            Command::Alarm { request, own_member } => {
                let mut request = *request;
                if *own_member {
                    request.member_id = self.member_id()?;
                }
                shown.alarms(&self.unary(Method::ALARM, &request)?)
            }
            Command::Await { count, request } => shown.range(&self.awaited(*count, request)?),
            Command::Restart => {
                self.restart();
                Vec::new()
            }
            Command::Lease(lease) => self.lease(lease, shown)?,
            Command::Concurrency(lock) => self.lock(lock, shown)?,
            Command::Lasting(lasting) => self.lasting(lasting, shown)?,
        })
    }

    fn lease(&self, lease: &Lease, shown: Shown) -> Result<Vec<String>, Error> {
        Ok(match lease {
            Lease::Grant { request, name } => {
                let granted: pb::LeaseGrantResponse =
                    self.unary(Rpc::LeaseGrant.into(), request)?;
                self.name_lease(name.as_ref(), granted.id);
                shown.grant(&granted)
            }
            Lease::Revoke(request) => shown.revoke(&self.unary(Rpc::LeaseRevoke.into(), request)?),
            Lease::TimeToLive(request) => {
                shown.time_to_live(&self.unary(Rpc::LeaseTimeToLive.into(), request)?)
            }
            Lease::Leases => {
                let request = pb::LeaseLeasesRequest {};
                shown.leases(&self.unary(Rpc::LeaseLeases.into(), &request)?)
            }
        })
    }

    fn lock(&self, lock: &Concurrency, shown: Shown) -> Result<Vec<String>, Error> {
        Ok(match lock {
            Concurrency::Lock { request, name } => {
                let locked: lock::LockResponse = self.unary(Rpc::Lock.into(), request)?;
                if name.is_some() {
                    let key = String::from_utf8_lossy(&locked.key).into_owned();
                    let hex = key.rsplit('/').next().unwrap_or_default();
                    let id = i64::from_str_radix(hex, 16);
                    self.name_lease(name.as_ref(), id.expect("the key ends in the lease's id"));
                }
                locked.lines(shown)
            }
            Concurrency::Unlock(request) => shown.unlock(&self.unary(Rpc::Unlock.into(), request)?),
            Concurrency::Campaign { request, name } => {
                let elected: election::CampaignResponse =
                    self.unary(Rpc::Campaign.into(), request)?;
                let lease = elected.leader.as_ref().map_or(0, |leader| leader.lease);
                self.name_lease(name.as_ref(), lease);
                elected.lines(shown)
            }
            Concurrency::Proclaim(request) => {
                shown.proclaim(&self.unary(Rpc::Proclaim.into(), request)?)
            }
            Concurrency::Leader(request) => {
                let leader: election::LeaderResponse = self.unary(Rpc::Leader.into(), request)?;
                leader.lines(shown)
            }
            Concurrency::Resign(request) => shown.resign(&self.unary(Rpc::Resign.into(), request)?),
        })
    }

    fn lasting(&self, lasting: &Lasting, shown: Shown) -> Result<Vec<String>, Error> {
        let client = self.client();
        let client = client.expect("a call that lasts is made only from outside: mark the case so");
        let fresh = || client.at(&client.endpoints()[0]);
        self.live.borrow_mut().calls.run(lasting, &client, fresh, shown)
    }

    /// Reads until there are so many keys.
    fn awaited(&self, count: i64, request: &pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        let started = Instant::now();
        loop {
            let range: pb::RangeResponse = self.unary(Method::RANGE, request)?;
            if range.count == count || started.elapsed() > COMMAND_WAIT_MAX {
                return Ok(range);
            }
            block_on(Timer::after(AWAIT_PAUSE));
        }
    }

    fn member_id(&self) -> Result<u64, Error> {
        let status: pb::StatusResponse = self.unary(Method::STATUS, &pb::StatusRequest {})?;
        Ok(status.header.expect("a header").member_id)
    }

    fn fill(&self, prefix: &[u8], count: usize, value: &[u8]) -> Result<pb::PutResponse, Error> {
        let mut last = pb::PutResponse::default();
        for number in 1..=count {
            let key = [prefix, format!("{number:04}").as_bytes()].concat();
            let put = pb::PutRequest {
                key: key.into(),
                value: value.to_vec().into(),
                ..Default::default()
            };
            last = self.unary(Method::PUT, &put)?;
        }
        Ok(last)
    }

    fn chunks(&self, request: &pb::RangeRequest) -> Result<Vec<pb::RangeStreamResponse>, Error> {
        let client = match &mut *self.reach.borrow_mut() {
            Reach::Client { client, .. } => client.clone(),
            Reach::Inside(member) => return member.range_stream(request),
        };
        block_on(async {
            let mut stream = client.range_stream(request.clone()).await?;
            let mut chunks = Vec::new();
            while let Some(chunk) = stream.next().await? {
                chunks.push(chunk);
            }
            Ok(chunks)
        })
    }
}

fn connected(endpoint: &str, transport: Transport) -> Client {
    let options = Options {
        transport,
        request_timeout: Some(COMMAND_WAIT_MAX),
        attempts_max: 1,
        // What is too large is the server's to say.
        request_bytes_max: 1 << 30,
        ..Options::endpoints([endpoint])
    };
    block_on(Client::connect(options)).expect("connect to the server")
}

/// `Code: text`, as the server sent both.
pub fn status(error: &Error) -> String {
    match error {
        Error::Status { code, message } => {
            format!("{}: {message}", braid::protocol::status::code_name(*code))
        }
        other => format!("no answer: {other}"),
    }
}
