//! The output of etcdctl 3.7.1 for watches and leases, byte for byte.

use super::tests::{header, hex, kv, shown};
use super::*;
use crate::protocol::pb::mvccpb::Event;

const ID: i64 = 0x13b0_a1fe_21d5_6006;

/// A put over an older value, and a delete.
fn watch() -> Answer {
    let put = Event {
        r#type: 0,
        kv: Some(kv(b"a", b"2", (2, 3, 2))),
        prev_kv: Some(kv(b"a", b"<1>", (2, 2, 1))),
    };
    let delete = Event { r#type: 1, kv: Some(kv(b"b", b"", (0, 4, 0))), prev_kv: None };
    let events = vec![put, delete];
    Answer::Watch(pb::WatchResponse {
        header: header(4),
        watch_id: 7,
        events,
        ..Default::default()
    })
}

fn canceled(compact_revision: i64) -> Answer {
    Answer::Watch(pb::WatchResponse {
        canceled: true,
        compact_revision,
        cancel_reason: "not shown".to_owned(),
        ..Default::default()
    })
}

#[test]
fn watch_simple_and_fields() {
    assert_eq!(shown(Format::Simple, &watch()), "PUT\na\n<1>\na\n2\nDELETE\nb\n\n");
    assert_eq!(
        hex(Format::Simple, &watch()),
        "PUT\n\\x61\n\\x3c\\x31\\x3e\n\\x61\n\\x32\nDELETE\n\\x62\n\n"
    );
    assert_eq!(shown(Format::Simple, &canceled(5)), "");
    assert_eq!(
        shown(Format::Fields, &watch()),
        r#""ClusterID" : 7801232528081817440
"MemberID" : 13458989633860879742
"Revision" : 4
"RaftTerm" : 2
"Type" : PUT
"PrevKey" : "a"
"PrevCreateRevision" : 2
"PrevModRevision" : 2
"PrevVersion" : 1
"PrevValue" : "<1>"
"PrevLease" : 0
"Key" : "a"
"CreateRevision" : 2
"ModRevision" : 3
"Version" : 2
"Value" : "2"
"Lease" : 0
"Type" : DELETE
"Key" : "b"
"CreateRevision" : 0
"ModRevision" : 4
"Version" : 0
"Value" : ""
"Lease" : 0
"#
    );
    assert_eq!(
        shown(Format::Fields, &canceled(5)),
        "\"ClusterID\" : 0\n\"MemberID\" : 0\n\"RaftTerm\" : 0\n"
    );
}

#[test]
fn watch_json() {
    assert_eq!(
        shown(Format::Json, &watch()),
        concat!(
            r#"{"Header":{"cluster_id":7801232528081817440,"member_id":13458989633860879742,"#,
            r#""revision":4,"raft_term":2},"Events":["#,
            r#"{"kv":{"key":"YQ==","create_revision":2,"mod_revision":3,"version":2,"#,
            r#""value":"Mg=="},"prev_kv":{"key":"YQ==","create_revision":2,"mod_revision":2,"#,
            r#""version":1,"value":"PDE+"}},{"type":1,"kv":{"key":"Yg==","mod_revision":4}}],"#,
            r#""CompactRevision":0,"Canceled":false,"Created":false,"CancelReason":""}"#,
            "\n"
        )
    );
    assert_eq!(
        shown(Format::Json, &canceled(5)),
        concat!(
            r#"{"Header":{},"Events":null,"CompactRevision":5,"Canceled":true,"Created":false,"#,
            r#""CancelReason":""}"#,
            "\n"
        )
    );
}

#[test]
fn watch_protobuf_is_the_response_without_its_stream() {
    let shown = |answer: Answer| {
        let plain = Printer { format: Format::Protobuf, hex: false, value_only: false };
        plain.render(&answer).expect("it has that form")
    };
    let Answer::Watch(response) = watch() else { unreachable!() };
    let alone = pb::WatchResponse { watch_id: 0, ..response };
    assert_eq!(shown(watch()), alone.encode_to_vec());
    assert_eq!(shown(canceled(0)), b"\n\x00 \x01");
    assert_eq!(shown(canceled(8)), b"\n\x00 \x01(\x08");
}

fn granted() -> Answer {
    let answer =
        pb::LeaseGrantResponse { header: header(6), id: ID, ttl: 200, error: String::new() };
    Answer::LeaseGrant(answer)
}

fn left(ttl: i64, granted_ttl: i64, keys: &[&'static str], asked: bool) -> Answer {
    let answer = pb::LeaseTimeToLiveResponse {
        header: header(6),
        id: ID,
        ttl,
        granted_ttl,
        keys: keys.iter().map(|key| (*key).into()).collect(),
    };
    Answer::LeaseTimeToLive { answer, keys: asked }
}

fn renewed() -> Answer {
    Answer::LeaseKeepAlive(pb::LeaseKeepAliveResponse { header: header(6), id: ID, ttl: 100 })
}

fn leases(ids: &[i64]) -> Answer {
    let leases = ids.iter().map(|id| pb::LeaseStatus { id: *id }).collect();
    Answer::Leases(pb::LeaseLeasesResponse { header: header(6), leases })
}

fn revoked() -> Answer {
    Answer::LeaseRevoke(LeaseId(ID), pb::LeaseRevokeResponse { header: header(6) })
}

#[test]
fn leases_simple() {
    for (answer, line) in [
        (granted(), "lease 13b0a1fe21d56006 granted with TTL(200s)\n"),
        (revoked(), "lease 13b0a1fe21d56006 revoked\n"),
        (renewed(), "lease 13b0a1fe21d56006 keepalived with TTL(100)\n"),
        (
            left(99, 100, &[], false),
            "lease 13b0a1fe21d56006 granted with TTL(100s), remaining(99s)\n",
        ),
        (
            left(99, 100, &["lk", "lk2"], true),
            "lease 13b0a1fe21d56006 granted with TTL(100s), remaining(99s), \
             attached keys([lk lk2])\n",
        ),
        (
            left(99, 100, &[], true),
            "lease 13b0a1fe21d56006 granted with TTL(100s), remaining(99s), attached keys([])\n",
        ),
        (left(-1, 0, &[], true), "lease 13b0a1fe21d56006 already expired\n"),
        (leases(&[]), "found 0 leases\n"),
        (leases(&[ID, 0x1f]), "found 2 leases\n13b0a1fe21d56006\n000000000000001f\n"),
    ] {
        assert_eq!(shown(Format::Simple, &answer), line);
    }
}

#[test]
fn leases_json() {
    let head = concat!(
        r#""cluster_id":7801232528081817440,"member_id":13458989633860879742,"#,
        r#""revision":6,"raft_term":2"#
    );
    for (answer, rest) in [
        (granted(), r#","ID":1418811995483103238,"TTL":200,"Error":""}"#),
        (renewed(), r#","ID":1418811995483103238,"TTL":100}"#),
        (
            left(99, 100, &[], true),
            r#","id":1418811995483103238,"ttl":99,"granted-ttl":100,"keys":null}"#,
        ),
        (
            left(99, 100, &["lk", "lk2"], true),
            r#","id":1418811995483103238,"ttl":99,"granted-ttl":100,"keys":["bGs=","bGsy"]}"#,
        ),
        (leases(&[]), r#","leases":[]}"#),
        (leases(&[ID, 31]), r#","leases":[{"id":1418811995483103238},{"id":31}]}"#),
    ] {
        assert_eq!(shown(Format::Json, &answer), format!("{{{head}{rest}\n"));
    }
    assert_eq!(shown(Format::Json, &revoked()), format!("{{\"header\":{{{head}}}}}\n"));
}

#[test]
fn leases_fields() {
    let head = "\"ClusterID\" : 7801232528081817440\n\"MemberID\" : 13458989633860879742\n\
                \"Revision\" : 6\n\"RaftTerm\" : 2\n";
    let id = "\"ID\" : 1418811995483103238\n";
    for (answer, rest) in [
        (granted(), format!("{id}\"TTL\" : 200\n")),
        (renewed(), format!("{id}\"TTL\" : 100\n")),
        (
            left(99, 100, &["lk"], true),
            format!("{id}\"TTL\" : 99\n\"GrantedTTL\" : 100\n\"Key\" : \"lk\"\n"),
        ),
        (left(-1, 0, &[], true), format!("{id}\"TTL\" : -1\n\"GrantedTTL\" : 0\n")),
        (leases(&[ID, 31]), format!("{id}\"ID\" : 31\n")),
        (revoked(), String::new()),
    ] {
        assert_eq!(shown(Format::Fields, &answer), format!("{head}{rest}"));
    }
    let tail = "\"ID\" : 000000000000001f\n";
    assert!(hex(Format::Fields, &leases(&[ID, 31])).ends_with(tail));
}

#[test]
fn leases_and_watches_have_no_table() {
    let plain = Printer { format: Format::Table, hex: false, value_only: false };
    for answer in [watch(), granted(), revoked(), renewed(), left(1, 1, &[], false), leases(&[])] {
        assert_eq!(plain.render(&answer), Err(Format::Table));
    }
}
