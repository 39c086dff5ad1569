//! The RPCs, by name; what may be repeated.

/// One RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    pub(super) path: &'static str,
    pub(super) repeatable: bool,
}

macro_rules! methods {
    ($($name:ident $path:literal $repeatable:literal;)*) => {
        impl Method {
            $(pub const $name: Method = Method { path: $path, repeatable: $repeatable };)*
        }
    };
}

methods! {
    RANGE "/etcdserverpb.KV/Range" true;
    RANGE_STREAM "/etcdserverpb.KV/RangeStream" true;
    PUT "/etcdserverpb.KV/Put" false;
    DELETE_RANGE "/etcdserverpb.KV/DeleteRange" false;
    TXN "/etcdserverpb.KV/Txn" false;
    COMPACT "/etcdserverpb.KV/Compact" false;
    MEMBER_LIST "/etcdserverpb.Cluster/MemberList" true;
    ALARM "/etcdserverpb.Maintenance/Alarm" false;
    STATUS "/etcdserverpb.Maintenance/Status" true;
    DEFRAGMENT "/etcdserverpb.Maintenance/Defragment" false;
    HASH "/etcdserverpb.Maintenance/Hash" true;
    HASH_KV "/etcdserverpb.Maintenance/HashKV" true;
    AUTHENTICATE "/etcdserverpb.Auth/Authenticate" true;
}
