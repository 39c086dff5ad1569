//! `-w simple`: lines for people, and for scripts that cut them.

use super::{Answer, alarm_name, event_name, table};
use crate::client::lease::LeaseId;
use crate::gotext;
use crate::protocol::pb::{etcdserverpb as pb, mvccpb};
use pb::response_op::Response;

pub fn render(answer: &Answer, hex: bool, value_only: bool) -> Vec<u8> {
    let mut lines = Lines { bytes: Vec::new(), hex, value_only };
    match answer {
        Answer::Get(answer) => lines.get(answer),
        Answer::Put(answer) => lines.put(answer),
        Answer::Del(answer) => lines.del(answer),
        Answer::Txn(answer) => lines.txn(answer),
        Answer::Watch(answer) => lines.watch(answer),
        Answer::LeaseGrant(answer) => {
            let (id, ttl) = (LeaseId(answer.id), answer.ttl);
            lines.line(&format!("lease {id:016x} granted with TTL({ttl}s)"));
        }
        Answer::LeaseRevoke(id, _) => lines.line(&format!("lease {id:016x} revoked")),
        Answer::LeaseTimeToLive { answer, keys } => lines.time_to_live(answer, *keys),
        Answer::LeaseKeepAlive(answer) => {
            let (id, ttl) = (LeaseId(answer.id), answer.ttl);
            lines.line(&format!("lease {id:016x} keepalived with TTL({ttl})"));
        }
        Answer::Leases(answer) => {
            lines.line(&format!("found {} leases", answer.leases.len()));
            answer.leases.iter().for_each(|l| lines.line(&format!("{:016x}", LeaseId(l.id))));
        }
        Answer::Alarm(answer) => {
            for alarm in &answer.alarms {
                let name = alarm_name(alarm.alarm);
                // protobuf's text form leaves out a member of number 0.
                lines.line(&match alarm.member_id {
                    0 => format!("alarm:{name}"),
                    member => format!("memberID:{member}  alarm:{name}"),
                });
            }
        }
        Answer::Health(healths) => {
            for health in healths {
                let endpoint = &health.endpoint;
                if health.error.is_empty() {
                    let took = &health.took;
                    lines.line(&format!(
                        "{endpoint} is healthy: successfully committed proposal: took = {took}"
                    ));
                } else {
                    // Not part of the result: it goes where errors go.
                    let error = &health.error;
                    eprintln!("{endpoint} is unhealthy: failed to commit proposal: {error}");
                }
            }
        }
        Answer::MemberList(_) | Answer::Status(_) | Answer::HashKv(_) => {
            let (_, rows) = table::cells(answer).expect("these have a table");
            for row in rows {
                lines.line(&row.join(", "));
            }
        }
    }
    lines.bytes
}

struct Lines {
    bytes: Vec<u8>,
    hex: bool,
    value_only: bool,
}

impl Lines {
    fn line(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'\n');
    }

    /// Keys and values are printed as they are, whatever bytes they have.
    fn raw(&mut self, bytes: &[u8]) {
        if self.hex {
            return self.line(&gotext::hex(bytes));
        }
        self.bytes.extend_from_slice(bytes);
        self.bytes.push(b'\n');
    }

    fn kv(&mut self, kv: &mvccpb::KeyValue) {
        if !self.value_only {
            self.raw(&kv.key);
        }
        self.raw(&kv.value);
    }

    fn get(&mut self, answer: &pb::RangeResponse) {
        answer.kvs.iter().for_each(|kv| self.kv(kv));
    }

    fn put(&mut self, answer: &pb::PutResponse) {
        self.line("OK");
        answer.prev_kv.iter().for_each(|kv| self.kv(kv));
    }

    fn del(&mut self, answer: &pb::DeleteRangeResponse) {
        self.line(&answer.deleted.to_string());
        answer.prev_kvs.iter().for_each(|kv| self.kv(kv));
    }

    fn watch(&mut self, answer: &pb::WatchResponse) {
        for event in &answer.events {
            self.line(&event_name(event.r#type));
            event.prev_kv.iter().for_each(|kv| self.kv(kv));
            event.kv.iter().for_each(|kv| self.kv(kv));
        }
    }

    fn time_to_live(&mut self, answer: &pb::LeaseTimeToLiveResponse, keys: bool) {
        let id = LeaseId(answer.id);
        if answer.granted_ttl == 0 && answer.ttl == -1 {
            return self.line(&format!("lease {id:016x} already expired"));
        }
        let (granted, left) = (answer.granted_ttl, answer.ttl);
        let line = format!("lease {id:016x} granted with TTL({granted}s), remaining({left}s)");
        self.bytes.extend_from_slice(line.as_bytes());
        if keys {
            self.bytes.extend_from_slice(b", attached keys([");
            self.bytes.extend_from_slice(&answer.keys.join(&b" "[..]));
            self.bytes.extend_from_slice(b"])");
        }
        self.line("");
    }

    fn txn(&mut self, answer: &pb::TxnResponse) {
        self.line(if answer.succeeded { "SUCCESS" } else { "FAILURE" });
        for op in &answer.responses {
            self.line("");
            match &op.response {
                Some(Response::ResponseRange(answer)) => self.get(answer),
                Some(Response::ResponsePut(answer)) => self.put(answer),
                Some(Response::ResponseDeleteRange(answer)) => self.del(answer),
                Some(Response::ResponseTxn(answer)) => self.txn(answer),
                None => self.line("unexpected response"),
            }
        }
    }
}
