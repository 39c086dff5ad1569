//! Answers in etcdctl's formats, byte for byte.
//!
//! A format is one file, pure: an answer goes in, bytes come out.

mod fields;
mod json;
mod simple;
mod table;

#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;

use prost::Message;

use crate::client::lease::LeaseId;
use crate::protocol::pb::etcdserverpb as pb;
use crate::protocol::pb::mvccpb::event::EventType;

/// The result that a command shows.
pub enum Answer {
    Get(pb::RangeResponse),
    Put(pb::PutResponse),
    Del(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Watch(pb::WatchResponse),
    LeaseGrant(pb::LeaseGrantResponse),
    LeaseRevoke(LeaseId, pb::LeaseRevokeResponse),
    /// `keys` is whether they were asked for.
    LeaseTimeToLive {
        answer: pb::LeaseTimeToLiveResponse,
        keys: bool,
    },
    LeaseKeepAlive(pb::LeaseKeepAliveResponse),
    Leases(pb::LeaseLeasesResponse),
    Alarm(pb::AlarmResponse),
    MemberList(pb::MemberListResponse),
    Health(Vec<Health>),
    /// The status of each endpoint, as with the next ones.
    Status(Vec<(String, pb::StatusResponse)>),
    HashKv(Vec<(String, pb::HashKvResponse)>),
}

/// The health of one endpoint.
#[derive(Default)]
pub struct Health {
    pub endpoint: String,
    pub healthy: bool,
    /// As Go prints durations; empty if it came to no request.
    pub took: String,
    /// Empty if all is well.
    pub error: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Simple,
    Fields,
    Json,
    Protobuf,
    Table,
}

impl Format {
    pub fn parse(name: &str) -> Option<Format> {
        let all = [Format::Simple, Format::Fields, Format::Json, Format::Protobuf, Format::Table];
        all.into_iter().find(|format| format.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Format::Simple => "simple",
            Format::Fields => "fields",
            Format::Json => "json",
            Format::Protobuf => "protobuf",
            Format::Table => "table",
        }
    }
}

/// How answers are shown.
#[derive(Clone, Debug)]
pub struct Printer {
    pub format: Format,
    /// Keys, values and IDs in hexadecimal, where a format has that.
    pub hex: bool,
    /// Simple format only: values without keys.
    pub value_only: bool,
}

impl Printer {
    /// Returns the bytes to print; the format itself if it cannot show this answer.
    pub fn render(&self, answer: &Answer) -> Result<Vec<u8>, Format> {
        match self.format {
            Format::Simple => Ok(simple::render(answer, self.hex, self.value_only)),
            Format::Fields => Ok(fields::render(answer, self.hex).into_bytes()),
            Format::Json => Ok(json::render(answer, self.hex).into_bytes()),
            Format::Protobuf => protobuf(answer).ok_or(self.format),
            Format::Table => table::render(answer).map(String::into_bytes).ok_or(self.format),
        }
    }
}

/// Returns the answer as it came. What was put together from several has no such form.
fn protobuf(answer: &Answer) -> Option<Vec<u8>> {
    match answer {
        Answer::Get(answer) => Some(answer.encode_to_vec()),
        Answer::Put(answer) => Some(answer.encode_to_vec()),
        Answer::Del(answer) => Some(answer.encode_to_vec()),
        Answer::Txn(answer) => Some(answer.encode_to_vec()),
        Answer::Watch(answer) => Some(watch_alone(answer).encode_to_vec()),
        // etcdctl 3.7 leaves out all but the header here; whoever asks for the answer gets it.
        Answer::LeaseGrant(answer) => Some(answer.encode_to_vec()),
        Answer::LeaseRevoke(_, answer) => Some(answer.encode_to_vec()),
        Answer::LeaseTimeToLive { answer, .. } => Some(answer.encode_to_vec()),
        Answer::LeaseKeepAlive(answer) => Some(answer.encode_to_vec()),
        Answer::Leases(answer) => Some(answer.encode_to_vec()),
        Answer::Alarm(answer) => Some(answer.encode_to_vec()),
        Answer::MemberList(answer) => Some(answer.encode_to_vec()),
        Answer::Health(_) | Answer::Status(_) | Answer::HashKv(_) => None,
    }
}

/// Returns the parts of a watch response that are not about the stream it came on.
fn watch_alone(answer: &pb::WatchResponse) -> pb::WatchResponse {
    pb::WatchResponse {
        header: Some(answer.header.unwrap_or_default()),
        events: answer.events.clone(),
        compact_revision: answer.compact_revision,
        canceled: answer.canceled,
        created: answer.created,
        ..Default::default()
    }
}

/// Returns the name of an event's type; of one we do not know, its number.
pub fn event_name(event: i32) -> String {
    match EventType::try_from(event) {
        Ok(event) => event.as_str_name().to_owned(),
        Err(_) => event.to_string(),
    }
}

/// Returns the name of an alarm; of one we do not know, its number.
fn alarm_name(alarm: i32) -> String {
    match pb::AlarmType::try_from(alarm) {
        Ok(alarm) => alarm.as_str_name().to_owned(),
        Err(_) => alarm.to_string(),
    }
}
