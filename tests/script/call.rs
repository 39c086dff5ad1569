//! Commands carried out: one server, one transport.

use std::time::Duration;

use braid::client::{Client, Error, Method, Options, Transport};
use braid::protocol::pb::etcdserverpb as pb;
use futures_lite::future::block_on;

use super::file::CaseFile;
use super::parse::{self, Command};
use super::show::Shown;

/// Far more than any command takes.
const COMMAND_WAIT_MAX: Duration = Duration::from_secs(20);

/// A server as the cases reach it.
pub struct Target {
    client: Client,
    /// What is subtracted from revisions so that they read as on a fresh store.
    base: i64,
}

impl Target {
    pub fn connect(endpoint: &str, transport: Transport) -> Target {
        let options = Options {
            transport,
            request_timeout: Some(COMMAND_WAIT_MAX),
            attempts_max: 1,
            ..Options::endpoints([endpoint])
        };
        let client = block_on(Client::connect(options)).expect("connect to the server");
        Target { client, base: 0 }
    }

    /// Leaves nothing of what was there but a higher revision: no key, no history, no alarm.
    pub fn clear(&mut self) {
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

    /// What the file's blocks print, in order.
    pub fn run(&self, file: &CaseFile) -> Vec<Vec<String>> {
        let block = |block: &super::file::Block| {
            let commands = block.commands();
            commands.iter().flat_map(|lines| self.print(lines)).collect::<Vec<String>>()
        };
        file.blocks.iter().map(block).collect()
    }

    /// What one command, with the indented lines under it, prints.
    pub fn print(&self, lines: &[&str]) -> Vec<String> {
        let command = parse::command(lines, self.base)
            .unwrap_or_else(|reason| panic!("cannot read {}: {reason}", lines[0]));
        self.answer(&command).unwrap_or_else(|error| vec![status(&error)])
    }

    fn unary<Req, Resp>(&self, method: Method, request: &Req) -> Result<Resp, Error>
    where
        Req: prost::Message,
        Resp: prost::Message + Default,
    {
        block_on(self.client.unary(method, request))
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
        })
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
        block_on(async {
            let mut stream = self.client.range_stream(request.clone()).await?;
            let mut chunks = Vec::new();
            while let Some(chunk) = stream.next().await? {
                chunks.push(chunk);
            }
            Ok(chunks)
        })
    }
}

/// `Code: text`, as the server sent both.
fn status(error: &Error) -> String {
    match error {
        Error::Status { code, message } => {
            format!("{}: {message}", braid::protocol::status::code_name(*code))
        }
        other => format!("no answer: {other}"),
    }
}
