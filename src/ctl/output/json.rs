//! `-w json`: what Go's `encoding/json` makes of etcd's structs, on one line.
//!
//! Names as in the .proto files, what is zero or empty left out, 64-bit integers as numbers, bytes
//! in base64, enums as numbers.

use serde_json::{Map, Value};

use super::{Answer, Health};
use crate::protocol::pb::{etcdserverpb as pb, mvccpb};
use pb::response_op::Response;

pub fn render(answer: &Answer, hex: bool) -> String {
    let value = match answer {
        Answer::Get(answer) => get(answer),
        Answer::Put(answer) => put(answer),
        Answer::Del(answer) => del(answer),
        Answer::Txn(answer) => txn(answer),
        Answer::Watch(answer) => watch(answer),
        Answer::LeaseGrant(answer) => header_fields(answer.header.as_ref())
            .always("ID", answer.id)
            .always("TTL", answer.ttl)
            .always("Error", answer.error.as_str())
            .end(),
        Answer::LeaseRevoke(_, answer) => {
            object().field("header", header(answer.header.as_ref())).end()
        }
        Answer::LeaseTimeToLive { answer, .. } => header_fields(answer.header.as_ref())
            .always("id", answer.id)
            .always("ttl", answer.ttl)
            .always("granted-ttl", answer.granted_ttl)
            .always("keys", list(&answer.keys, |key| base64(key).into()))
            .end(),
        Answer::LeaseKeepAlive(answer) => header_fields(answer.header.as_ref())
            .always("ID", answer.id)
            .always("TTL", answer.ttl)
            .end(),
        Answer::Leases(answer) => {
            let leases: Value =
                answer.leases.iter().map(|lease| object().always("id", lease.id).end()).collect();
            header_fields(answer.header.as_ref()).always("leases", leases).end()
        }
        Answer::Alarm(answer) => alarm(answer),
        Answer::MemberList(answer) if hex => hex_member_list(answer),
        Answer::MemberList(answer) => member_list(answer),
        Answer::Health(healths) => list(healths, health),
        Answer::Status(answers) => list(answers, |(endpoint, answer)| {
            object().always("Endpoint", endpoint.as_str()).always("Status", status(answer)).end()
        }),
        Answer::HashKv(answers) => list(answers, |(endpoint, answer)| {
            object().always("Endpoint", endpoint.as_str()).always("HashKV", hash_kv(answer)).end()
        }),
    };
    escape(&value.to_string()) + "\n"
}

/// Escapes, as Go does, what could end a script element in HTML. These characters only occur in
/// strings.
fn escape(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            c => text.push(c),
        }
    }
    text
}

/// An object under construction, in the order of its fields.
struct Object(Map<String, Value>);

fn object() -> Object {
    Object(Map::new())
}

impl Object {
    fn always(mut self, name: &str, value: impl Into<Value>) -> Object {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves out zero, false, the empty string and the empty list.
    fn field(self, name: &str, value: impl Into<Value>) -> Object {
        let value = value.into();
        let empty = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::Bool(true) | Value::Object(_) => false,
            Value::Number(number) => number.as_i64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
        };
        if empty { self } else { self.always(name, value) }
    }

    fn bytes(self, name: &str, bytes: &[u8]) -> Object {
        self.field(name, base64(bytes))
    }

    fn end(self) -> Value {
        Value::Object(self.0)
    }
}

/// Writes a list; one without items is Go's nil slice.
fn list<T>(items: &[T], item: impl Fn(&T) -> Value) -> Value {
    if items.is_empty() { Value::Null } else { items.iter().map(item).collect() }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let sextet = (bits >> (18 - 6 * digit)) & 0x3f;
            let beyond = digit > group.len();
            text.push(if beyond { '=' } else { char::from(DIGITS[sextet as usize]) });
        }
    }
    text
}

fn header(header: Option<&pb::ResponseHeader>) -> Value {
    header.map_or(Value::Null, |header| header_fields(Some(header)).end())
}

/// Returns the fields of a header at the beginning of what has it embedded.
fn header_fields(header: Option<&pb::ResponseHeader>) -> Object {
    let header = header.copied().unwrap_or_default();
    object()
        .field("cluster_id", header.cluster_id)
        .field("member_id", header.member_id)
        .field("revision", header.revision)
        .field("raft_term", header.raft_term)
}

/// Returns a struct of the Go client's own, whose fields have Go's names and are always there.
fn watch(answer: &pb::WatchResponse) -> Value {
    // The client does not say why here.
    const CANCEL_REASON: &str = "";
    object()
        .always("Header", header_fields(answer.header.as_ref()).end())
        .always("Events", list(&answer.events, event))
        .always("CompactRevision", answer.compact_revision)
        .always("Canceled", answer.canceled)
        .always("Created", answer.created)
        .always("CancelReason", CANCEL_REASON)
        .end()
}

fn event(event: &mvccpb::Event) -> Value {
    object()
        .field("type", event.r#type)
        .field("kv", event.kv.as_ref().map_or(Value::Null, kv))
        .field("prev_kv", event.prev_kv.as_ref().map_or(Value::Null, kv))
        .end()
}

fn kv(kv: &mvccpb::KeyValue) -> Value {
    object()
        .bytes("key", &kv.key)
        .field("create_revision", kv.create_revision)
        .field("mod_revision", kv.mod_revision)
        .field("version", kv.version)
        .bytes("value", &kv.value)
        .field("lease", kv.lease)
        .end()
}

fn get(answer: &pb::RangeResponse) -> Value {
    object()
        .field("header", header(answer.header.as_ref()))
        .field("kvs", list(&answer.kvs, kv))
        .field("more", answer.more)
        .field("count", answer.count)
        .end()
}

fn put(answer: &pb::PutResponse) -> Value {
    object()
        .field("header", header(answer.header.as_ref()))
        .field("prev_kv", answer.prev_kv.as_ref().map_or(Value::Null, kv))
        .end()
}

fn del(answer: &pb::DeleteRangeResponse) -> Value {
    object()
        .field("header", header(answer.header.as_ref()))
        .field("deleted", answer.deleted)
        .field("prev_kvs", list(&answer.prev_kvs, kv))
        .end()
}

fn txn(answer: &pb::TxnResponse) -> Value {
    object()
        .field("header", header(answer.header.as_ref()))
        .field("succeeded", answer.succeeded)
        .field("responses", list(&answer.responses, response_op))
        .end()
}

fn response_op(op: &pb::ResponseOp) -> Value {
    let response = match &op.response {
        Some(Response::ResponseRange(answer)) => object().always("response_range", get(answer)),
        Some(Response::ResponsePut(answer)) => object().always("response_put", put(answer)),
        Some(Response::ResponseDeleteRange(answer)) => {
            object().always("response_delete_range", del(answer))
        }
        Some(Response::ResponseTxn(answer)) => object().always("response_txn", txn(answer)),
        None => object(),
    };
    object().always("Response", response.end()).end()
}

fn alarm(answer: &pb::AlarmResponse) -> Value {
    let alarms = list(&answer.alarms, |alarm| {
        object().field("memberID", alarm.member_id).field("alarm", alarm.alarm).end()
    });
    object().field("header", header(answer.header.as_ref())).field("alarms", alarms).end()
}

fn member_list(answer: &pb::MemberListResponse) -> Value {
    let members =
        list(&answer.members, |member| member_rest(object().field("ID", member.id), member));
    object().field("header", header(answer.header.as_ref())).field("members", members).end()
}

/// Returns the fields after the ID.
fn member_rest(object: Object, member: &pb::Member) -> Value {
    object
        .field("name", member.name.as_str())
        .field("peerURLs", member.peer_ur_ls.clone())
        .field("clientURLs", member.client_ur_ls.clone())
        .field("isLearner", member.is_learner)
        .end()
}

/// With `--hex`, IDs are hexadecimal strings and always there.
fn hex_member_list(answer: &pb::MemberListResponse) -> Value {
    let header = answer.header.as_ref().map_or(Value::Null, |header| {
        object()
            .always("cluster_id", format!("{:x}", header.cluster_id))
            .always("member_id", format!("{:x}", header.member_id))
            .field("revision", header.revision)
            .field("raft_term", header.raft_term)
            .end()
    });
    let members: Value = answer
        .members
        .iter()
        .map(|member| member_rest(object().always("ID", format!("{:x}", member.id)), member))
        .collect();
    object().always("header", header).always("members", members).end()
}

fn health(health: &Health) -> Value {
    object()
        .always("endpoint", health.endpoint.as_str())
        .always("health", health.healthy)
        .always("took", health.took.as_str())
        .field("error", health.error.as_str())
        .end()
}

fn status(status: &pb::StatusResponse) -> Value {
    let downgrade = status.downgrade_info.as_ref().map_or(Value::Null, |downgrade| {
        object()
            .field("enabled", downgrade.enabled)
            .field("targetVersion", downgrade.target_version.as_str())
            .end()
    });
    object()
        .field("header", header(status.header.as_ref()))
        .field("version", status.version.as_str())
        .field("dbSize", status.db_size)
        .field("leader", status.leader)
        .field("raftIndex", status.raft_index)
        .field("raftTerm", status.raft_term)
        .field("raftAppliedIndex", status.raft_applied_index)
        .field("errors", status.errors.clone())
        .field("dbSizeInUse", status.db_size_in_use)
        .field("isLearner", status.is_learner)
        .field("storageVersion", status.storage_version.as_str())
        .field("dbSizeQuota", status.db_size_quota)
        .field("downgradeInfo", downgrade)
        .end()
}

fn hash_kv(answer: &pb::HashKvResponse) -> Value {
    object()
        .field("header", header(answer.header.as_ref()))
        .field("hash", answer.hash)
        .field("compact_revision", answer.compact_revision)
        .field("hash_revision", answer.hash_revision)
        .end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        let texts = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="];
        for (length, text) in texts.into_iter().enumerate() {
            assert_eq!(base64(&b"foob"[..length]), text);
        }
        assert_eq!(
            base64(b"k\xff\n\"\\\x01\xc3\xa9\xe2\x80\x8b\xe2\x80\xa8"),
            "a/8KIlwBw6nigIvigKg="
        );
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        let value = object().field("name", "<&>\u{2028}\u{1}\"\n").end();
        let expected = r#"{"name":"\u003c\u0026\u003e\u2028\u0001\"\n"}"#;
        assert_eq!(escape(&value.to_string()), expected);
    }
}
