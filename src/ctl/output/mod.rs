//! Answers in etcdctl's formats, byte for byte.
//!
//! A format is one file, pure: an answer goes in, bytes come out.

mod fields;
mod json;
mod simple;
mod table;

#[cfg(test)]
mod tests;

use prost::Message;

use crate::protocol::pb::etcdserverpb as pb;

/// What a command has to show.
pub enum Answer {
    Get(pb::RangeResponse),
    Put(pb::PutResponse),
    Del(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Alarm(pb::AlarmResponse),
    MemberList(pb::MemberListResponse),
    Health(Vec<Health>),
    /// Of each endpoint, like the next.
    Status(Vec<(String, pb::StatusResponse)>),
    HashKv(Vec<(String, pb::HashKvResponse)>),
}

/// What was found out about an endpoint.
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
    /// The bytes to print; the format itself if it cannot show this answer.
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

/// The answer as it came. What was put together from several has no such form.
fn protobuf(answer: &Answer) -> Option<Vec<u8>> {
    match answer {
        Answer::Get(answer) => Some(answer.encode_to_vec()),
        Answer::Put(answer) => Some(answer.encode_to_vec()),
        Answer::Del(answer) => Some(answer.encode_to_vec()),
        Answer::Txn(answer) => Some(answer.encode_to_vec()),
        Answer::Alarm(answer) => Some(answer.encode_to_vec()),
        Answer::MemberList(answer) => Some(answer.encode_to_vec()),
        Answer::Health(_) | Answer::Status(_) | Answer::HashKv(_) => None,
    }
}

/// The name of an alarm; of one we do not know, its number.
fn alarm_name(alarm: i32) -> String {
    match pb::AlarmType::try_from(alarm) {
        Ok(alarm) => alarm.as_str_name().to_owned(),
        Err(_) => alarm.to_string(),
    }
}
