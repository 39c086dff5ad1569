//! The output of etcdctl 3.7.1 for the same answers, byte for byte.

use super::*;
use crate::protocol::pb::mvccpb::KeyValue;
use pb::response_op::Response;

const CLUSTER: u64 = 7801232528081817440;
const MEMBER: u64 = 13458989633860879742;

pub(super) fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { cluster_id: CLUSTER, member_id: MEMBER, revision, raft_term: 2 })
}

pub(super) fn kv(key: &[u8], value: &[u8], numbers: (i64, i64, i64)) -> KeyValue {
    KeyValue {
        key: key.to_vec().into(),
        value: value.to_vec().into(),
        create_revision: numbers.0,
        mod_revision: numbers.1,
        version: numbers.2,
        lease: 0,
    }
}

pub(super) fn shown(format: Format, answer: &Answer) -> String {
    rendered(Printer { format, hex: false, value_only: false }, answer)
}

pub(super) fn hex(format: Format, answer: &Answer) -> String {
    rendered(Printer { format, hex: true, value_only: false }, answer)
}

pub(super) fn rendered(printer: Printer, answer: &Answer) -> String {
    let bytes = printer.render(answer).expect("the format can show it");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn get(kvs: Vec<KeyValue>, count: i64) -> Answer {
    Answer::Get(pb::RangeResponse { header: header(23), kvs, more: false, count })
}

/// A key of every kind of byte.
fn wild() -> Answer {
    let key = [b"k\xff\n\"\\\x01", "é\u{200b}\u{2028}".as_bytes()].concat();
    get(vec![kv(&key, "<&>😀\x7f\u{a0}".as_bytes(), (23, 23, 1))], 1)
}

#[test]
fn get_simple() {
    let answer = get(vec![kv(b"foo", b"bar2", (8, 9, 2)), kv(b"g", b"", (3, 3, 1))], 2);
    assert_eq!(shown(Format::Simple, &answer), "foo\nbar2\ng\n\n");
    let values = Printer { format: Format::Simple, hex: false, value_only: true };
    assert_eq!(rendered(values, &answer), "bar2\n\n");
    assert_eq!(
        hex(Format::Simple, &get(vec![kv(b"a", b"b\"c", (1, 1, 1))], 1)),
        "\\x61\n\\x62\\x22\\x63\n"
    );
    assert_eq!(shown(Format::Simple, &get(vec![], 0)), "");
    let raw = Printer { format: Format::Simple, hex: false, value_only: false };
    let bytes = raw.render(&wild()).expect("simple shows everything");
    assert!(bytes.starts_with(b"k\xff\n\"\\\x01"), "bytes are printed as they are");
}

#[test]
fn get_fields() {
    assert_eq!(
        shown(Format::Fields, &wild()),
        r#""ClusterID" : 7801232528081817440
"MemberID" : 13458989633860879742
"Revision" : 23
"RaftTerm" : 2
"Key" : "k\xff\n\"\\\x01é\u200b\u2028"
"CreateRevision" : 23
"ModRevision" : 23
"Version" : 1
"Value" : "<&>😀\x7f\u00a0"
"Lease" : 0
"More" : false
"Count" : 1
"#
    );
    assert_eq!(
        hex(Format::Fields, &get(vec![kv(b"a", b"b\"c", (22, 22, 1))], 1)),
        r#""ClusterID" : 6c438ba6ce8a0f60
"MemberID" : bac7efc361f1457e
"Revision" : 23
"RaftTerm" : 2
"Key" : "a"
"CreateRevision" : 22
"ModRevision" : 22
"Version" : 1
"Value" : "b\"c"
"Lease" : 0000000000000000
"More" : false
"Count" : 1
"#
    );
}

#[test]
fn get_json() {
    assert_eq!(
        shown(Format::Json, &wild()),
        concat!(
            r#"{"header":{"cluster_id":7801232528081817440,"member_id":13458989633860879742,"#,
            r#""revision":23,"raft_term":2},"kvs":[{"key":"a/8KIlwBw6nigIvigKg=","#,
            r#""create_revision":23,"mod_revision":23,"version":1,"value":"PCY+8J+YgH/CoA=="}],"#,
            "\"count\":1}\n"
        )
    );
    let answer = Answer::Get(pb::RangeResponse { more: true, ..Default::default() });
    assert_eq!(shown(Format::Json, &answer), "{\"more\":true}\n");
    assert_eq!(shown(Format::Json, &Answer::Get(pb::RangeResponse::default())), "{}\n");
}

#[test]
fn put() {
    let prev_kv = Some(kv(b"foo", b"bar", (5, 5, 1)));
    let answer = Answer::Put(pb::PutResponse { header: header(6), prev_kv });
    assert_eq!(shown(Format::Simple, &answer), "OK\nfoo\nbar\n");
    assert_eq!(
        shown(Format::Fields, &answer),
        r#""ClusterID" : 7801232528081817440
"MemberID" : 13458989633860879742
"Revision" : 6
"RaftTerm" : 2
"PrevKey" : "foo"
"PrevCreateRevision" : 5
"PrevModRevision" : 5
"PrevVersion" : 1
"PrevValue" : "bar"
"PrevLease" : 0
"#
    );
    assert_eq!(
        shown(Format::Json, &answer),
        concat!(
            r#"{"header":{"cluster_id":7801232528081817440,"member_id":13458989633860879742,"#,
            r#""revision":6,"raft_term":2},"prev_kv":{"key":"Zm9v","create_revision":5,"#,
            r#""mod_revision":5,"version":1,"value":"YmFy"}}"#,
            "\n"
        )
    );
    let bare = Answer::Put(pb::PutResponse { header: header(12), prev_kv: None });
    assert_eq!(shown(Format::Simple, &bare), "OK\n");
    let printer = Printer { format: Format::Protobuf, hex: false, value_only: false };
    let bytes = [
        0x0a, 0x19, 0x08, 0xe0, 0x9e, 0xa8, 0xf4, 0xec, 0xf4, 0xe2, 0xa1, 0x6c, 0x10, 0xfe, 0x8a,
        0xc5, 0x8f, 0xb6, 0xf8, 0xfb, 0xe3, 0xba, 0x01, 0x18, 0x0c, 0x20, 0x02,
    ];
    assert_eq!(printer.render(&bare), Ok(bytes.to_vec()));
}

#[test]
fn del() {
    let prev_kvs = vec![kv(b"foo", b"bar2", (5, 6, 2))];
    let answer = Answer::Del(pb::DeleteRangeResponse { header: header(7), deleted: 1, prev_kvs });
    assert_eq!(shown(Format::Simple, &answer), "1\nfoo\nbar2\n");
    assert!(shown(Format::Fields, &answer).contains("\"Deleted\" : 1\n\"PrevKey\" : \"foo\"\n"));
    let json = shown(Format::Json, &answer);
    let tail = concat!(
        r#""raft_term":2},"deleted":1,"prev_kvs":[{"key":"Zm9v","create_revision":5,"#,
        r#""mod_revision":6,"version":2,"value":"YmFyMg=="}]}"#
    );
    assert!(json.ends_with(&format!("{tail}\n")), "{json}");
}

fn txn() -> Answer {
    let inner = |revision| Some(pb::ResponseHeader { revision, ..Default::default() });
    let op = |response| pb::ResponseOp { response: Some(response) };
    let put = pb::PutResponse { header: inner(17), prev_kv: None };
    let range = pb::RangeResponse {
        header: inner(17),
        kvs: vec![kv(b"a", b"x y", (17, 17, 1))],
        more: false,
        count: 1,
    };
    let del = pb::DeleteRangeResponse { header: inner(17), deleted: 0, prev_kvs: vec![] };
    let nested = pb::TxnResponse { header: inner(17), succeeded: false, responses: vec![] };
    Answer::Txn(pb::TxnResponse {
        header: header(17),
        succeeded: true,
        responses: vec![
            op(Response::ResponsePut(put)),
            op(Response::ResponseRange(range)),
            op(Response::ResponseDeleteRange(del)),
            op(Response::ResponseTxn(nested)),
        ],
    })
}

#[test]
fn txn_in_every_format() {
    assert_eq!(shown(Format::Simple, &txn()), "SUCCESS\n\nOK\n\na\nx y\n\n0\n\nFAILURE\n");
    let fields = shown(Format::Fields, &txn());
    let delete = "\"Count\" : 1\n\"ClusterID\" : 0\n\"MemberID\" : 0\n\"Revision\" : 17\n\
                  \"RaftTerm\" : 0\n\"Deleted\" : 0\n";
    assert!(fields.contains(delete), "{fields}");
    assert_eq!(
        shown(Format::Json, &txn()),
        concat!(
            r#"{"header":{"cluster_id":7801232528081817440,"member_id":13458989633860879742,"#,
            r#""revision":17,"raft_term":2},"succeeded":true,"responses":["#,
            r#"{"Response":{"response_put":{"header":{"revision":17}}}},"#,
            r#"{"Response":{"response_range":{"header":{"revision":17},"kvs":[{"key":"YQ==","#,
            r#""create_revision":17,"mod_revision":17,"version":1,"value":"eCB5"}],"count":1}}},"#,
            r#"{"Response":{"response_delete_range":{"header":{"revision":17}}}},"#,
            r#"{"Response":{"response_txn":{"header":{"revision":17}}}}]}"#,
            "\n"
        )
    );
}

#[test]
fn alarms() {
    let alarm = pb::AlarmMember { member_id: MEMBER, alarm: pb::AlarmType::Nospace as i32 };
    let answer = Answer::Alarm(pb::AlarmResponse { header: header(7), alarms: vec![alarm] });
    assert_eq!(shown(Format::Simple, &answer), "memberID:13458989633860879742  alarm:NOSPACE\n");
    let alarm = pb::AlarmMember { member_id: 0, alarm: pb::AlarmType::Corrupt as i32 };
    let of_none = Answer::Alarm(pb::AlarmResponse { header: header(7), alarms: vec![alarm] });
    assert_eq!(shown(Format::Simple, &of_none), "alarm:CORRUPT\n");
    let fields = shown(Format::Fields, &answer);
    let tail = "\"MemberID\" : 13458989633860879742\n\"AlarmType\" : NOSPACE\n\n";
    assert!(fields.ends_with(tail), "{fields}");
    let json = shown(Format::Json, &answer);
    assert!(json.ends_with("\"alarms\":[{\"memberID\":13458989633860879742,\"alarm\":1}]}\n"));
    let none = Answer::Alarm(pb::AlarmResponse::default());
    assert_eq!(shown(Format::Simple, &none), "");
    let fields = "\"ClusterID\" : 0\n\"MemberID\" : 0\n\"RaftTerm\" : 0\n";
    assert_eq!(shown(Format::Fields, &none), fields);
    assert_eq!(shown(Format::Json, &none), "{}\n");
}

fn members() -> Answer {
    let member = pb::Member {
        id: MEMBER,
        name: "m1".to_owned(),
        peer_ur_ls: vec!["http://127.0.0.1:23792".to_owned()],
        client_ur_ls: vec!["http://127.0.0.1:23791".to_owned()],
        is_learner: false,
    };
    Answer::MemberList(pb::MemberListResponse { header: header(0), members: vec![member] })
}

#[test]
fn member_list() {
    assert_eq!(
        shown(Format::Simple, &members()),
        "bac7efc361f1457e, started, m1, http://127.0.0.1:23792, http://127.0.0.1:23791, false\n"
    );
    assert_eq!(
        hex(Format::Fields, &members()),
        r#""ClusterID" : 6c438ba6ce8a0f60
"MemberID" : bac7efc361f1457e
"RaftTerm" : 2
"ID" : bac7efc361f1457e
"Name" : "m1"
"PeerURL" : "http://127.0.0.1:23792"
"ClientURL" : "http://127.0.0.1:23791"
"IsLearner" : false

"#
    );
    let rest = concat!(
        r#""name":"m1","peerURLs":["http://127.0.0.1:23792"],"#,
        r#""clientURLs":["http://127.0.0.1:23791"]}]}"#
    );
    let plain = concat!(
        r#"{"header":{"cluster_id":7801232528081817440,"member_id":13458989633860879742,"#,
        r#""raft_term":2},"members":[{"ID":13458989633860879742,"#
    );
    assert_eq!(shown(Format::Json, &members()), format!("{plain}{rest}\n"));
    let in_hex = concat!(
        r#"{"header":{"cluster_id":"6c438ba6ce8a0f60","member_id":"bac7efc361f1457e","#,
        r#""raft_term":2},"members":[{"ID":"bac7efc361f1457e","#
    );
    assert_eq!(hex(Format::Json, &members()), format!("{in_hex}{rest}\n"));
    assert_eq!(
        shown(Format::Table, &members()),
        "\
┌──────────────────┬─────────┬──────┬────────────────────────┬────────────────────────┬────────────┐
│        ID        │ STATUS  │ NAME │       PEER ADDRS       │      CLIENT ADDRS      │ IS LEARNER │
├──────────────────┼─────────┼──────┼────────────────────────┼────────────────────────┼────────────┤
│ bac7efc361f1457e │ started │   m1 │ http://127.0.0.1:23792 │ http://127.0.0.1:23791 │      false │
└──────────────────┴─────────┴──────┴────────────────────────┴────────────────────────┴────────────┘
"
    );
}

fn health() -> Answer {
    let (endpoint, error) = ("127.0.0.1:1".to_owned(), "context deadline exceeded".to_owned());
    let took = "201.274299ms".to_owned();
    let dead = Health { endpoint, healthy: false, took, error };
    let endpoint = "127.0.0.1:23791".to_owned();
    let took = "1.616657ms".to_owned();
    let well = Health { endpoint, healthy: true, took, error: String::new() };
    Answer::Health(vec![well, dead])
}

#[test]
fn endpoint_health() {
    assert_eq!(
        shown(Format::Simple, &health()),
        "127.0.0.1:23791 is healthy: successfully committed proposal: took = 1.616657ms\n"
    );
    assert_eq!(
        shown(Format::Fields, &health()),
        "\"Endpoint\" : \"127.0.0.1:23791\"\n\"Health\" : true\n\"Took\" : 1.616657ms\n\
         \"Error\" : \n\n\"Endpoint\" : \"127.0.0.1:1\"\n\"Health\" : false\n\
         \"Took\" : 201.274299ms\n\"Error\" : context deadline exceeded\n\n"
    );
    assert_eq!(
        shown(Format::Json, &health()),
        concat!(
            r#"[{"endpoint":"127.0.0.1:23791","health":true,"took":"1.616657ms"},"#,
            r#"{"endpoint":"127.0.0.1:1","health":false,"took":"201.274299ms","#,
            r#""error":"context deadline exceeded"}]"#,
            "\n"
        )
    );
    let Answer::Health(mut healths) = health() else { panic!("health is health") };
    assert_eq!(
        shown(Format::Table, &Answer::Health(vec![healths.remove(1)])),
        "\
┌─────────────┬────────┬──────────────┬───────────────────────────┐
│  ENDPOINT   │ HEALTH │     TOOK     │           ERROR           │
├─────────────┼────────┼──────────────┼───────────────────────────┤
│ 127.0.0.1:1 │  false │ 201.274299ms │ context deadline exceeded │
└─────────────┴────────┴──────────────┴───────────────────────────┘
"
    );
}

fn status() -> Answer {
    let status = pb::StatusResponse {
        header: header(10),
        version: "3.7.1".to_owned(),
        db_size: 20480,
        leader: MEMBER,
        raft_index: 29,
        raft_term: 2,
        raft_applied_index: 29,
        db_size_in_use: 16384,
        storage_version: "3.7.0".to_owned(),
        db_size_quota: 2147483648,
        downgrade_info: Some(pb::DowngradeInfo::default()),
        ..Default::default()
    };
    Answer::Status(vec![("127.0.0.1:23791".to_owned(), status)])
}

#[test]
fn endpoint_status() {
    assert_eq!(
        shown(Format::Simple, &status()),
        "127.0.0.1:23791, bac7efc361f1457e, 3.7.1, 3.7.0, 20 kB, 16 kB, 20%, 2.1 GB, true, false, \
         2, 29, 29, , , false\n"
    );
    assert_eq!(
        shown(Format::Json, &status()),
        concat!(
            r#"[{"Endpoint":"127.0.0.1:23791","Status":{"#,
            r#""header":{"cluster_id":7801232528081817440,"member_id":13458989633860879742,"#,
            r#""revision":10,"raft_term":2},"version":"3.7.1","#,
            r#""dbSize":20480,"leader":13458989633860879742,"raftIndex":29,"raftTerm":2,"#,
            r#""raftAppliedIndex":29,"dbSizeInUse":16384,"storageVersion":"3.7.0","#,
            r#""dbSizeQuota":2147483648,"downgradeInfo":{}}}]"#,
            "\n"
        )
    );
    assert_eq!(
        shown(Format::Fields, &status()),
        r#""ClusterID" : 7801232528081817440
"MemberID" : 13458989633860879742
"Revision" : 10
"RaftTerm" : 2
"Version" : "3.7.1"
"StorageVersion" : "3.7.0"
"DBSize" : 20480
"DBSizeInUse" : 16384
"DBSizeQuota" : 2147483648
"Leader" : 13458989633860879742
"IsLearner" : false
"RaftIndex" : 29
"RaftTerm" : 2
"RaftAppliedIndex" : 29
"Errors" : []
"Endpoint" : "127.0.0.1:23791"
"DowngradeTargetVersion" : ""
"DowngradeEnabled" : false

"#
    );
    assert_eq!(shown(Format::Json, &Answer::Status(vec![])), "null\n");
    let empty = shown(Format::Table, &Answer::Status(vec![]));
    assert_eq!(empty.lines().count(), 3, "{empty}");
    let unsized_ = Answer::Status(vec![("a".to_owned(), pb::StatusResponse::default())]);
    assert!(shown(Format::Simple, &unsized_).contains("0 B, 0 B, 0%, 0 B, true"));
}

#[test]
fn endpoint_hashkv() {
    let hash = pb::HashKvResponse {
        header: header(22),
        hash: 2334566704,
        compact_revision: 3,
        hash_revision: 22,
    };
    let endpoints = ["127.0.0.1:23791".to_owned(), "localhost:23791".to_owned()];
    let answer = Answer::HashKv(endpoints.map(|endpoint| (endpoint, hash)).to_vec());
    assert_eq!(
        shown(Format::Table, &answer),
        "\
┌─────────────────┬────────────┬───────────────┐
│    ENDPOINT     │    HASH    │ HASH REVISION │
├─────────────────┼────────────┼───────────────┤
│ 127.0.0.1:23791 │ 2334566704 │            22 │
│ localhost:23791 │ 2334566704 │            22 │
└─────────────────┴────────────┴───────────────┘
"
    );
    assert_eq!(
        shown(Format::Simple, &answer),
        "127.0.0.1:23791, 2334566704, 22\nlocalhost:23791, 2334566704, 22\n"
    );
    let json = shown(Format::Json, &answer);
    let tail = concat!(
        r#""revision":22,"raft_term":2},"hash":2334566704,"compact_revision":3,"#,
        r#""hash_revision":22}}]"#
    );
    assert!(json.ends_with(&format!("{tail}\n")), "{json}");
    let tail =
        "\"Endpoint\" : \"localhost:23791\"\n\"Hash\" : 2334566704\n\"HashRevision\" : 22\n\n";
    assert!(shown(Format::Fields, &answer).ends_with(tail));
}

#[test]
fn formats_that_cannot_show_an_answer_say_so() {
    let plain = |format| Printer { format, hex: false, value_only: false };
    for answer in [get(vec![], 0), txn(), Answer::Alarm(pb::AlarmResponse::default())] {
        assert_eq!(plain(Format::Table).render(&answer), Err(Format::Table));
    }
    for answer in [health(), status(), Answer::HashKv(vec![])] {
        assert_eq!(plain(Format::Protobuf).render(&answer), Err(Format::Protobuf));
    }
}
