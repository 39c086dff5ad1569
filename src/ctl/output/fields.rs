//! `-w fields`: one `"Name" : value` per line.

use std::fmt::{Display, Write};

use super::{Answer, alarm_name, event_name};
use crate::client::lease::LeaseId;
use crate::gotext;
use crate::protocol::pb::{etcdserverpb as pb, mvccpb};
use pb::response_op::Response;

pub fn render(answer: &Answer, hex: bool) -> String {
    let mut fields = Fields { text: String::new(), hex };
    match answer {
        Answer::Get(answer) => fields.get(answer),
        Answer::Put(answer) => fields.put(answer),
        Answer::Del(answer) => fields.del(answer),
        Answer::Txn(answer) => fields.txn(answer),
        Answer::Watch(answer) => fields.watch(answer),
        Answer::LeaseGrant(answer) => {
            fields.lease(answer.header.as_ref(), answer.id);
            fields.field("TTL", answer.ttl);
        }
        Answer::LeaseRevoke(_, answer) => fields.header(answer.header.as_ref()),
        Answer::LeaseTimeToLive { answer, .. } => {
            fields.lease(answer.header.as_ref(), answer.id);
            fields.field("TTL", answer.ttl);
            fields.field("GrantedTTL", answer.granted_ttl);
            answer.keys.iter().for_each(|key| fields.quoted("Key", key));
        }
        Answer::LeaseKeepAlive(answer) => {
            fields.lease(answer.header.as_ref(), answer.id);
            fields.field("TTL", answer.ttl);
        }
        Answer::Leases(answer) => {
            fields.header(answer.header.as_ref());
            answer.leases.iter().for_each(|lease| fields.lease_id(lease.id));
        }
        Answer::Alarm(answer) => fields.alarm(answer),
        Answer::MemberList(answer) => fields.member_list(answer),
        Answer::Health(healths) => {
            for health in healths {
                fields.quoted("Endpoint", health.endpoint.as_bytes());
                fields.field("Health", health.healthy);
                fields.field("Took", &health.took);
                fields.field("Error", &health.error);
                fields.text.push('\n');
            }
        }
        Answer::Status(answers) => {
            answers.iter().for_each(|(endpoint, status)| fields.status(endpoint, status));
        }
        Answer::HashKv(answers) => {
            for (endpoint, answer) in answers {
                fields.header(answer.header.as_ref());
                fields.quoted("Endpoint", endpoint.as_bytes());
                fields.field("Hash", answer.hash);
                fields.field("HashRevision", answer.hash_revision);
                fields.text.push('\n');
            }
        }
    }
    fields.text
}

struct Fields {
    text: String,
    hex: bool,
}

impl Fields {
    fn field(&mut self, name: &str, value: impl Display) {
        writeln!(self.text, "\"{name}\" : {value}").expect("a string takes everything");
    }

    fn quoted(&mut self, name: &str, value: &[u8]) {
        self.field(name, gotext::quote(value));
    }

    fn id(&mut self, name: &str, id: u64) {
        match self.hex {
            true => self.field(name, format_args!("{id:x}")),
            false => self.field(name, id),
        }
    }

    fn header(&mut self, header: Option<&pb::ResponseHeader>) {
        let header = header.copied().unwrap_or_default();
        self.id("ClusterID", header.cluster_id);
        self.id("MemberID", header.member_id);
        if header.revision > 0 {
            self.field("Revision", header.revision);
        }
        self.field("RaftTerm", header.raft_term);
    }

    fn kv(&mut self, prefix: &str, kv: &mvccpb::KeyValue) {
        self.quoted(&format!("{prefix}Key"), &kv.key);
        self.field(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.field(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.field(&format!("{prefix}Version"), kv.version);
        self.quoted(&format!("{prefix}Value"), &kv.value);
        let name = format!("{prefix}Lease");
        match self.hex {
            true => self.field(&name, format_args!("{:016x}", kv.lease)),
            false => self.field(&name, kv.lease),
        }
    }

    fn get(&mut self, answer: &pb::RangeResponse) {
        self.header(answer.header.as_ref());
        answer.kvs.iter().for_each(|kv| self.kv("", kv));
        self.field("More", answer.more);
        self.field("Count", answer.count);
    }

    fn put(&mut self, answer: &pb::PutResponse) {
        self.header(answer.header.as_ref());
        answer.prev_kv.iter().for_each(|kv| self.kv("Prev", kv));
    }

    fn del(&mut self, answer: &pb::DeleteRangeResponse) {
        self.header(answer.header.as_ref());
        self.field("Deleted", answer.deleted);
        answer.prev_kvs.iter().for_each(|kv| self.kv("Prev", kv));
    }

    fn txn(&mut self, answer: &pb::TxnResponse) {
        self.header(answer.header.as_ref());
        self.field("Succeeded", answer.succeeded);
        for op in &answer.responses {
            match &op.response {
                Some(Response::ResponseRange(answer)) => self.get(answer),
                Some(Response::ResponsePut(answer)) => self.put(answer),
                Some(Response::ResponseDeleteRange(answer)) => self.del(answer),
                Some(Response::ResponseTxn(answer)) => self.txn(answer),
                None => self.quoted("Unknown", b""),
            }
        }
    }

    fn watch(&mut self, answer: &pb::WatchResponse) {
        self.header(answer.header.as_ref());
        for event in &answer.events {
            self.field("Type", event_name(event.r#type));
            event.prev_kv.iter().for_each(|kv| self.kv("Prev", kv));
            event.kv.iter().for_each(|kv| self.kv("", kv));
        }
    }

    fn lease(&mut self, header: Option<&pb::ResponseHeader>, id: i64) {
        self.header(header);
        self.lease_id(id);
    }

    fn lease_id(&mut self, id: i64) {
        match self.hex {
            true => self.field("ID", format_args!("{:016x}", LeaseId(id))),
            false => self.field("ID", id),
        }
    }

    fn alarm(&mut self, answer: &pb::AlarmResponse) {
        self.header(answer.header.as_ref());
        for alarm in &answer.alarms {
            self.id("MemberID", alarm.member_id);
            self.field("AlarmType", alarm_name(alarm.alarm));
            self.text.push('\n');
        }
    }

    fn member_list(&mut self, answer: &pb::MemberListResponse) {
        self.header(answer.header.as_ref());
        for member in &answer.members {
            self.id("ID", member.id);
            self.quoted("Name", member.name.as_bytes());
            member.peer_ur_ls.iter().for_each(|url| self.quoted("PeerURL", url.as_bytes()));
            member.client_ur_ls.iter().for_each(|url| self.quoted("ClientURL", url.as_bytes()));
            self.field("IsLearner", member.is_learner);
            self.text.push('\n');
        }
    }

    fn status(&mut self, endpoint: &str, status: &pb::StatusResponse) {
        self.header(status.header.as_ref());
        self.quoted("Version", status.version.as_bytes());
        self.quoted("StorageVersion", status.storage_version.as_bytes());
        self.field("DBSize", status.db_size);
        self.field("DBSizeInUse", status.db_size_in_use);
        self.field("DBSizeQuota", status.db_size_quota);
        self.field("Leader", status.leader);
        self.field("IsLearner", status.is_learner);
        self.field("RaftIndex", status.raft_index);
        self.field("RaftTerm", status.raft_term);
        self.field("RaftAppliedIndex", status.raft_applied_index);
        self.field("Errors", format_args!("[{}]", status.errors.join(" ")));
        self.quoted("Endpoint", endpoint.as_bytes());
        let downgrade = status.downgrade_info.clone().unwrap_or_default();
        self.quoted("DowngradeTargetVersion", downgrade.target_version.as_bytes());
        self.field("DowngradeEnabled", downgrade.enabled);
        self.text.push('\n');
    }
}
