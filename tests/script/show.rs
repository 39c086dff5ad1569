//! Answers as text: one line each, then a line per key.

use braid::protocol::pb::etcdserverpb as pb;
use braid::protocol::pb::mvccpb::KeyValue;
use pb::response_op::Response;

use super::words::text;

/// Shows revisions as on a fresh store.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub base: i64,
}

impl Shown {
    pub fn revision(self, revision: i64) -> i64 {
        if revision > self.base { revision - self.base } else { revision.min(0) }
    }

    /// What a top-level header says; its ids and term must be there.
    pub fn header(self, header: Option<&pb::ResponseHeader>) -> String {
        let Some(header) = header else { return "no header".to_owned() };
        let mut shown = format!("revision {}", self.revision(header.revision));
        let parts = [
            ("cluster", header.cluster_id),
            ("member", header.member_id),
            ("term", header.raft_term),
        ];
        for (name, value) in parts {
            if value == 0 {
                shown.push_str(&format!(", no {name}"));
            }
        }
        shown
    }

    /// What the header of an op in a txn says: only a revision, or nothing at all.
    fn op_header(self, header: Option<&pb::ResponseHeader>) -> String {
        let Some(header) = header else { return "no header".to_owned() };
        if header.cluster_id != 0 || header.member_id != 0 || header.raft_term != 0 {
            return format!("a whole header, revision {}", self.revision(header.revision));
        }
        if header.revision == 0 {
            return "header of zeros".to_owned();
        }
        format!("revision {}", self.revision(header.revision))
    }

    pub fn put(self, put: &pb::PutResponse) -> Vec<String> {
        self.put_lines(put, self.header(put.header.as_ref()))
    }

    fn put_lines(self, put: &pb::PutResponse, header: String) -> Vec<String> {
        let mut lines = vec![format!("put: {header}")];
        lines.extend(put.prev_kv.iter().map(|kv| format!("  before: {}", self.key_value(kv))));
        lines
    }

    pub fn range(self, range: &pb::RangeResponse) -> Vec<String> {
        self.range_lines("range", range, self.header(range.header.as_ref()))
    }

    /// The sizes of the chunks, and what they amount to together.
    pub fn chunks(self, chunks: &[pb::RangeStreamResponse]) -> Vec<String> {
        let parts: Vec<pb::RangeResponse> =
            chunks.iter().map(|chunk| chunk.range_response.clone().unwrap_or_default()).collect();
        let sizes: Vec<String> = parts.iter().map(|part| part.kvs.len().to_string()).collect();
        let mut lines = vec![format!("chunks of {} keys", sizes.join(", "))];
        let (last, earlier) = parts.split_last().expect("a stream has at least one message");
        let early =
            |part: &&pb::RangeResponse| part.header.is_some() || part.more || part.count > 0;
        if let Some(part) = earlier.iter().find(early) {
            lines.push(format!("  not the last, but: {:?}", part.header));
        }
        let merged = pb::RangeResponse {
            kvs: parts.iter().flat_map(|part| part.kvs.clone()).collect(),
            ..last.clone()
        };
        lines.extend(self.range(&merged));
        lines
    }

    fn range_lines(self, name: &str, range: &pb::RangeResponse, header: String) -> Vec<String> {
        let more = if range.more { ", more" } else { "" };
        let mut lines = vec![format!("{name}: count {}{more}, {header}", range.count)];
        if range.kvs.len() > 12 {
            let (first, last) = (&range.kvs[0], &range.kvs[range.kvs.len() - 1]);
            lines.push(format!("  {}", self.key_value(first)));
            lines.push(format!("  ... {} more ...", range.kvs.len() - 2));
            lines.push(format!("  {}", self.key_value(last)));
        } else {
            lines.extend(range.kvs.iter().map(|kv| format!("  {}", self.key_value(kv))));
        }
        lines
    }

    pub fn delete(self, delete: &pb::DeleteRangeResponse) -> Vec<String> {
        self.delete_lines(delete, self.header(delete.header.as_ref()))
    }

    fn delete_lines(self, delete: &pb::DeleteRangeResponse, header: String) -> Vec<String> {
        let mut lines = vec![format!("deleted {}: {header}", delete.deleted)];
        lines.extend(delete.prev_kvs.iter().map(|kv| format!("  before: {}", self.key_value(kv))));
        lines
    }

    pub fn txn(self, txn: &pb::TxnResponse) -> Vec<String> {
        self.txn_lines(txn, self.header(txn.header.as_ref()))
    }

    fn txn_lines(self, txn: &pb::TxnResponse, header: String) -> Vec<String> {
        let outcome = if txn.succeeded { "succeeded" } else { "failed" };
        let mut lines = vec![format!("txn {outcome}: {header}")];
        if txn.responses.len() > 12 {
            lines.push(format!("  {} responses", txn.responses.len()));
            return lines;
        }
        for response in &txn.responses {
            lines.extend(self.op(response).into_iter().map(|line| format!("  {line}")));
        }
        lines
    }

    fn op(self, op: &pb::ResponseOp) -> Vec<String> {
        match &op.response {
            None => vec!["no response".to_owned()],
            Some(Response::ResponsePut(put)) => {
                self.put_lines(put, self.op_header(put.header.as_ref()))
            }
            Some(Response::ResponseRange(range)) => {
                self.range_lines("range", range, self.op_header(range.header.as_ref()))
            }
            Some(Response::ResponseDeleteRange(delete)) => {
                self.delete_lines(delete, self.op_header(delete.header.as_ref()))
            }
            Some(Response::ResponseTxn(txn)) => {
                self.txn_lines(txn, self.op_header(txn.header.as_ref()))
            }
        }
    }

    pub fn key_value(self, kv: &KeyValue) -> String {
        let lease = if kv.lease == 0 { String::new() } else { format!(", lease {}", kv.lease) };
        format!(
            "{} = {} (create {}, mod {}, version {}{lease})",
            text(&kv.key),
            text(&kv.value),
            self.revision(kv.create_revision),
            self.revision(kv.mod_revision),
            kv.version
        )
    }

    pub fn compact(self, compact: &pb::CompactionResponse) -> Vec<String> {
        vec![format!("compacted: {}", self.header(compact.header.as_ref()))]
    }

    /// What does not depend on the program, its load and its disk.
    pub fn status(self, status: &pb::StatusResponse) -> Vec<String> {
        let own = status.header.as_ref().map_or(0, |header| header.member_id);
        let leader = if own != 0 && status.leader == own { "itself" } else { "another or none" };
        let sizes = 0 < status.db_size_in_use && status.db_size_in_use <= status.db_size;
        let indexes =
            0 < status.raft_applied_index && status.raft_applied_index <= status.raft_index;
        let term = status.header.as_ref().is_some_and(|h| h.raft_term == status.raft_term);
        let mut lines = vec![
            format!("status: {}", self.header(status.header.as_ref())),
            format!("  version {}, storage {}", status.version, status.storage_version),
            format!("  leader {leader}, learner {}", status.is_learner),
            format!("  quota {}, sizes in order: {sizes}", status.db_size_quota),
            format!("  applied up to committed: {indexes}, term of the header: {term}"),
            match &status.downgrade_info {
                Some(info) => format!("  downgrade {} {:?}", info.enabled, info.target_version),
                None => "  no downgrade info".to_owned(),
            },
        ];
        // etcd lists alarms in the order of a hash table.
        let mut errors: Vec<String> = status.errors.clone();
        errors.sort();
        lines.extend(errors.iter().map(|error| {
            let error =
                if own == 0 { error.clone() } else { error.replace(&own.to_string(), "SELF") };
            format!("  error {error:?}")
        }));
        lines
    }

    pub fn alarms(self, answer: &pb::AlarmResponse) -> Vec<String> {
        let own = answer.header.as_ref().map_or(0, |header| header.member_id);
        let mut lines = vec![format!(
            "{} alarms: {}",
            answer.alarms.len(),
            self.header(answer.header.as_ref())
        )];
        let mut alarms = answer.alarms.clone();
        alarms.sort_by_key(|alarm| (alarm.alarm, alarm.member_id));
        for alarm in &alarms {
            let member = match alarm.member_id {
                id if id == own => "self".to_owned(),
                id => id.to_string(),
            };
            lines.push(format!("  {} of member {member}", alarm.alarm().as_str_name()));
        }
        lines
    }

    pub fn members(self, answer: &pb::MemberListResponse) -> Vec<String> {
        let own = answer.header.as_ref().map_or(0, |header| header.member_id);
        let mut lines = vec![format!(
            "{} members: {}",
            answer.members.len(),
            self.header(answer.header.as_ref())
        )];
        for member in &answer.members {
            let who = if member.id == own { "self" } else { "another" };
            lines.push(format!(
                "  {who}: name {}, {} peer and {} client URLs, learner {}",
                member.name,
                member.peer_ur_ls.len(),
                member.client_ur_ls.len(),
                member.is_learner
            ));
        }
        lines
    }

    /// The hash itself differs from program to program.
    pub fn hash_kv(self, answer: &pb::HashKvResponse) -> Vec<String> {
        let compacted = match answer.compact_revision {
            below if below <= self.base => below.min(0),
            revision => self.revision(revision),
        };
        vec![format!(
            "hash: of revision {}, compacted {compacted}, {}",
            self.revision(answer.hash_revision),
            self.header(answer.header.as_ref())
        )]
    }
}
