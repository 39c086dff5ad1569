//! One reply to one message.

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::hot::{self, Stamp};
use crate::protocol::pb::{etcdserverpb as pb, mvccpb};
use crate::protocol::{ETCD_STORAGE_VERSION, ETCD_VERSION};
use crate::types::{
    Alarm, AlarmKind, ClusterId, KeyValue, KeyView, Member, MemberId, Reply, Revision, StatusReply,
    Term,
};

/// The fields of every header of this member besides the revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderFields {
    pub cluster_id: ClusterId,
    /// The id of the member that answers.
    pub member_id: MemberId,
    /// The control group's term.
    pub raft_term: Term,
}

impl HeaderFields {
    /// Makes the header of a reply at `revision`.
    pub(crate) fn at(&self, revision: Revision) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader {
            cluster_id: self.cluster_id.0,
            member_id: self.member_id.0,
            revision: revision.0,
            raft_term: self.raft_term.0,
        })
    }
}

impl From<&KeyValue> for mvccpb::KeyValue {
    fn from(kv: &KeyValue) -> mvccpb::KeyValue {
        mvccpb::KeyValue {
            key: Bytes::copy_from_slice(&kv.key),
            create_revision: kv.create,
            mod_revision: kv.modified,
            version: kv.version,
            value: Bytes::copy_from_slice(&kv.value),
            lease: kv.lease.0,
        }
    }
}

/// Appends the answer to who asked for one key: the key, if it is there.
pub fn encode_get(
    header: &HeaderFields,
    revision: Revision,
    kv: Option<KeyView<'_>>,
    out: &mut BytesMut,
) {
    hot::get(Stamp::Full(header), revision, kv, out);
}

/// Appends the message that `reply` is.
pub fn encode(header: &HeaderFields, reply: &Reply, out: &mut BytesMut) {
    match reply {
        Reply::Range(range) => hot::range(Stamp::Full(header), range, out),
        Reply::Put(put) => hot::put(Stamp::Full(header), put, out),
        Reply::DeleteRange(delete) => hot::delete_range(Stamp::Full(header), delete, out),
        Reply::Txn(txn) => hot::txn(Stamp::Full(header), txn, out),
        Reply::Compact(compact) => {
            append(out, &pb::CompactionResponse { header: header.at(compact.revision) });
        }
        Reply::Alarm(alarm) => append(
            out,
            &pb::AlarmResponse {
                header: header.at(alarm.revision),
                alarms: alarm.alarms.iter().map(alarm_member).collect(),
            },
        ),
        Reply::Status(reply) => append(out, &status(header, reply)),
        Reply::Hash(reply) => {
            append(out, &pb::HashResponse { header: header.at(reply.revision), hash: reply.hash })
        }
        Reply::HashKv(reply) => append(
            out,
            &pb::HashKvResponse {
                header: header.at(reply.revision),
                hash: reply.hash,
                compact_revision: reply.compact_revision,
                hash_revision: reply.hash_revision,
            },
        ),
        Reply::Defragment(_) => append(out, &pb::DefragmentResponse { header: None }),
        Reply::MemberList(list) => append(
            out,
            &pb::MemberListResponse {
                // The service of the members knows no revision.
                header: header.at(Revision(0)),
                members: list.members.iter().map(member).collect(),
            },
        ),
        Reply::LeaseGrant(_)
        | Reply::LeaseRevoke(_)
        | Reply::LeaseKeepAlive(_)
        | Reply::LeaseTimeToLive(_)
        | Reply::LeaseLeases(_) => encode_lease(header, reply, out),
    }
}

fn encode_lease(header: &HeaderFields, reply: &Reply, out: &mut BytesMut) {
    match reply {
        Reply::LeaseGrant(reply) => append(
            out,
            &pb::LeaseGrantResponse {
                header: header.at(reply.revision),
                id: reply.id.0,
                ttl: reply.ttl,
                error: String::new(),
            },
        ),
        Reply::LeaseRevoke(reply) => {
            append(out, &pb::LeaseRevokeResponse { header: header.at(reply.revision) });
        }
        Reply::LeaseKeepAlive(reply) => append(
            out,
            &pb::LeaseKeepAliveResponse {
                header: header.at(reply.revision),
                id: reply.id.0,
                ttl: reply.ttl,
            },
        ),
        Reply::LeaseTimeToLive(reply) => append(
            out,
            &pb::LeaseTimeToLiveResponse {
                header: header.at(reply.revision),
                id: reply.id.0,
                ttl: reply.ttl,
                granted_ttl: reply.granted_ttl,
                keys: reply.keys.iter().map(|key| Bytes::copy_from_slice(key)).collect(),
            },
        ),
        Reply::LeaseLeases(reply) => append(
            out,
            &pb::LeaseLeasesResponse {
                header: header.at(reply.revision),
                leases: reply.leases.iter().map(|id| pb::LeaseStatus { id: id.0 }).collect(),
            },
        ),
        other => unreachable!("{other:?} is not of a lease"),
    }
}

fn append(out: &mut BytesMut, message: &impl Message) {
    out.reserve(message.encoded_len());
    message.encode(out).expect("a BytesMut grows");
}

fn alarm_member(alarm: &Alarm) -> pb::AlarmMember {
    let kind = match alarm.kind {
        AlarmKind::NoSpace => pb::AlarmType::Nospace,
        AlarmKind::Corrupt => pb::AlarmType::Corrupt,
    };
    pb::AlarmMember { member_id: alarm.member.0, alarm: kind.into() }
}

fn member(member: &Member) -> pb::Member {
    pb::Member {
        id: member.id,
        name: member.name.clone(),
        peer_ur_ls: member.peer_urls.clone(),
        client_ur_ls: member.client_urls.clone(),
        is_learner: member.is_learner,
    }
}

fn status(header: &HeaderFields, reply: &StatusReply) -> pb::StatusResponse {
    pb::StatusResponse {
        header: header.at(reply.revision),
        version: ETCD_VERSION.to_owned(),
        db_size: reply.db_size,
        leader: reply.leader.0,
        raft_index: reply.raft_index,
        raft_term: reply.raft_term,
        raft_applied_index: reply.raft_applied_index,
        errors: reply.errors.clone(),
        db_size_in_use: reply.db_size_in_use,
        is_learner: reply.is_learner,
        storage_version: ETCD_STORAGE_VERSION.to_owned(),
        db_size_quota: reply.db_size_quota,
        downgrade_info: Some(pb::DowngradeInfo::default()),
    }
}
