//! Which RPC, and whether it may be repeated.

use crate::protocol::method::Method as Rpc;

/// One RPC as the client calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    pub(super) rpc: Rpc,
    /// Whether being carried out twice does no harm.
    pub(super) repeatable: bool,
}

macro_rules! names {
    ($($name:ident = $rpc:ident;)*) => {
        impl Method {
            /// The RPC of this name.
            $(pub const $name: Method = Method::of(Rpc::$rpc);)*
        }
    };
}

names! {
    RANGE = Range;
    RANGE_STREAM = RangeStream;
    PUT = Put;
    DELETE_RANGE = DeleteRange;
    TXN = Txn;
    COMPACT = Compact;
    WATCH = Watch;
    LEASE_GRANT = LeaseGrant;
    LEASE_REVOKE = LeaseRevoke;
    LEASE_KEEP_ALIVE = LeaseKeepAlive;
    LEASE_TIME_TO_LIVE = LeaseTimeToLive;
    LEASE_LEASES = LeaseLeases;
    MEMBER_LIST = MemberList;
    ALARM = Alarm;
    STATUS = Status;
    DEFRAGMENT = Defragment;
    HASH = Hash;
    HASH_KV = HashKv;
    AUTHENTICATE = Authenticate;
}

impl Method {
    /// Returns the method of an RPC; whether it is repeatable is as etcd's client judges it.
    pub const fn of(rpc: Rpc) -> Method {
        let repeatable = matches!(
            rpc,
            Rpc::Range
                | Rpc::RangeStream
                | Rpc::MemberList
                | Rpc::Status
                | Rpc::Hash
                | Rpc::HashKv
                | Rpc::LeaseTimeToLive
                | Rpc::LeaseLeases
                | Rpc::AuthStatus
                | Rpc::Authenticate
                | Rpc::UserGet
                | Rpc::UserList
                | Rpc::RoleGet
                | Rpc::RoleList
                | Rpc::HealthCheck
                | Rpc::HealthList
        );
        Method { rpc, repeatable }
    }

    /// Returns the RPC with a request that only reads.
    pub(super) fn reading(self, reading: bool) -> Method {
        Method { repeatable: self.repeatable || reading, ..self }
    }
}

impl From<Rpc> for Method {
    fn from(rpc: Rpc) -> Method {
        Method::of(rpc)
    }
}
