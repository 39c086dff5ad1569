//! Every RPC of the API: its opcode in frames, its path in gRPC, its shape, and who serves it.
//!
//! Opcodes are part of the frame protocol (`proto/FRAMES.md` lists them): never renumbered, never
//! reused. Each service begins at a multiple of 16. 0x00 is no opcode, 0x01 to 0x0F belong to the
//! connection itself, 0xC0 and above to peers.

use crate::types::Refusal;

/// The number of messages that a method has each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One request, one reply.
    Unary,
    /// One request, a stream of replies.
    Stream,
    /// Streams both ways.
    Bidi,
}

/// The part of the server that answers a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The core, by way of [`super::convert`].
    Core,
    /// The connection, without asking the core.
    Edge,
    /// The connection, by asking the core for several things.
    Composed,
    /// Nobody yet: answered Unimplemented, by name.
    NotYet,
}

macro_rules! methods {
    ($($variant:ident = $opcode:literal $service:literal $name:literal $kind:ident $served:ident
    )*) => {
        /// One RPC of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Method {
            $($variant = $opcode,)*
        }

        impl Method {
            /// Every method, by opcode.
            pub const ALL: &'static [Method] = &[$(Method::$variant,)*];

            /// Returns the method with this opcode in frames.
            pub fn from_opcode(opcode: u8) -> Option<Method> {
                match opcode {
                    $($opcode => Some(Method::$variant),)*
                    _ => None,
                }
            }

            /// Returns the `:path` of HTTP/2.
            pub fn path(self) -> &'static str {
                match self {
                    $(Method::$variant => concat!("/", $service, "/", $name),)*
                }
            }

            /// Returns the service with its package: `etcdserverpb.KV`.
            pub fn service(self) -> &'static str {
                match self {
                    $(Method::$variant => $service,)*
                }
            }

            /// Returns the name in its service: `Range`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Method::$variant => $name,)*
                }
            }

            /// Returns the number of messages that the method has each way.
            pub fn kind(self) -> Kind {
                match self {
                    $(Method::$variant => Kind::$kind,)*
                }
            }

            /// Returns the part of the server that answers it.
            pub fn served(self) -> Served {
                match self {
                    $(Method::$variant => Served::$served,)*
                }
            }

            fn lookup(path: &str) -> Option<Method> {
                match path {
                    $(concat!("/", $service, "/", $name) => Some(Method::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

#[rustfmt::skip]
methods! {
    Range                = 0x10 "etcdserverpb.KV"          "Range"                Unary  Core
    RangeStream          = 0x11 "etcdserverpb.KV"          "RangeStream"          Stream Core
    Put                  = 0x12 "etcdserverpb.KV"          "Put"                  Unary  Core
    DeleteRange          = 0x13 "etcdserverpb.KV"          "DeleteRange"          Unary  Core
    Txn                  = 0x14 "etcdserverpb.KV"          "Txn"                  Unary  Core
    Compact              = 0x15 "etcdserverpb.KV"          "Compact"              Unary  Core
    Watch                = 0x20 "etcdserverpb.Watch"       "Watch"                Bidi   Core
    LeaseGrant           = 0x30 "etcdserverpb.Lease"       "LeaseGrant"           Unary  Core
    LeaseRevoke          = 0x31 "etcdserverpb.Lease"       "LeaseRevoke"          Unary  Core
    LeaseKeepAlive       = 0x32 "etcdserverpb.Lease"       "LeaseKeepAlive"       Bidi   Core
    LeaseTimeToLive      = 0x33 "etcdserverpb.Lease"       "LeaseTimeToLive"      Unary  Core
    LeaseLeases          = 0x34 "etcdserverpb.Lease"       "LeaseLeases"          Unary  Core
    MemberAdd            = 0x40 "etcdserverpb.Cluster"     "MemberAdd"            Unary  NotYet
    MemberRemove         = 0x41 "etcdserverpb.Cluster"     "MemberRemove"         Unary  NotYet
    MemberUpdate         = 0x42 "etcdserverpb.Cluster"     "MemberUpdate"         Unary  NotYet
    MemberList           = 0x43 "etcdserverpb.Cluster"     "MemberList"           Unary  Core
    MemberPromote        = 0x44 "etcdserverpb.Cluster"     "MemberPromote"        Unary  NotYet
    Alarm                = 0x50 "etcdserverpb.Maintenance" "Alarm"                Unary  Core
    Status               = 0x51 "etcdserverpb.Maintenance" "Status"               Unary  Core
    Defragment           = 0x52 "etcdserverpb.Maintenance" "Defragment"           Unary  Core
    Hash                 = 0x53 "etcdserverpb.Maintenance" "Hash"                 Unary  Core
    HashKv               = 0x54 "etcdserverpb.Maintenance" "HashKV"               Unary  Core
    Snapshot             = 0x55 "etcdserverpb.Maintenance" "Snapshot"             Stream NotYet
    MoveLeader           = 0x56 "etcdserverpb.Maintenance" "MoveLeader"           Unary  NotYet
    Downgrade            = 0x57 "etcdserverpb.Maintenance" "Downgrade"            Unary  NotYet
    AuthEnable           = 0x60 "etcdserverpb.Auth"        "AuthEnable"           Unary  NotYet
    AuthDisable          = 0x61 "etcdserverpb.Auth"        "AuthDisable"          Unary  NotYet
    AuthStatus           = 0x62 "etcdserverpb.Auth"        "AuthStatus"           Unary  NotYet
    Authenticate         = 0x63 "etcdserverpb.Auth"        "Authenticate"         Unary  NotYet
    UserAdd              = 0x64 "etcdserverpb.Auth"        "UserAdd"              Unary  NotYet
    UserGet              = 0x65 "etcdserverpb.Auth"        "UserGet"              Unary  NotYet
    UserList             = 0x66 "etcdserverpb.Auth"        "UserList"             Unary  NotYet
    UserDelete           = 0x67 "etcdserverpb.Auth"        "UserDelete"           Unary  NotYet
    UserChangePassword   = 0x68 "etcdserverpb.Auth"        "UserChangePassword"   Unary  NotYet
    UserGrantRole        = 0x69 "etcdserverpb.Auth"        "UserGrantRole"        Unary  NotYet
    UserRevokeRole       = 0x6A "etcdserverpb.Auth"        "UserRevokeRole"       Unary  NotYet
    RoleAdd              = 0x6B "etcdserverpb.Auth"        "RoleAdd"              Unary  NotYet
    RoleGet              = 0x6C "etcdserverpb.Auth"        "RoleGet"              Unary  NotYet
    RoleList             = 0x6D "etcdserverpb.Auth"        "RoleList"             Unary  NotYet
    RoleDelete           = 0x6E "etcdserverpb.Auth"        "RoleDelete"           Unary  NotYet
    RoleGrantPermission  = 0x6F "etcdserverpb.Auth"        "RoleGrantPermission"  Unary  NotYet
    RoleRevokePermission = 0x70 "etcdserverpb.Auth"        "RoleRevokePermission" Unary  NotYet
    Campaign             = 0x80 "v3electionpb.Election"    "Campaign"             Unary  Composed
    Proclaim             = 0x81 "v3electionpb.Election"    "Proclaim"             Unary  Composed
    Leader               = 0x82 "v3electionpb.Election"    "Leader"               Unary  Composed
    Observe              = 0x83 "v3electionpb.Election"    "Observe"              Stream Composed
    Resign               = 0x84 "v3electionpb.Election"    "Resign"               Unary  Composed
    Lock                 = 0x90 "v3lockpb.Lock"            "Lock"                 Unary  Composed
    Unlock               = 0x91 "v3lockpb.Lock"            "Unlock"               Unary  Composed
    HealthCheck          = 0xA0 "grpc.health.v1.Health"    "Check"                Unary  Edge
    HealthList           = 0xA1 "grpc.health.v1.Health"    "List"                 Unary  Edge
    HealthWatch          = 0xA2 "grpc.health.v1.Health"    "Watch"                Stream Edge
}

impl Method {
    /// Returns the opcode in frames.
    pub fn opcode(self) -> u8 {
        self as u8
    }

    /// Returns the method that a gRPC client names, or the refusal that Go's server gives.
    pub fn from_path(path: &str) -> Result<Method, Refusal> {
        Method::lookup(path).ok_or_else(|| unknown(path))
    }

    /// Returns the refusal of a method that is known but served by nobody yet.
    pub fn unimplemented(self) -> Refusal {
        Refusal::Unimplemented(format!("braid: {} is not implemented yet", self.path()))
    }
}

#[cold]
fn unknown(path: &str) -> Refusal {
    let bare = path.strip_prefix('/').unwrap_or(path);
    let Some((service, name)) = bare.rsplit_once('/') else {
        return Refusal::Unimplemented(format!("malformed method name: {path:?}"));
    };
    let known = Method::ALL.iter().any(|method| method.service() == service);
    Refusal::Unimplemented(if known {
        format!("unknown method {name} for service {service}")
    } else {
        format!("unknown service {service}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_path_and_by_opcode() {
        for &method in Method::ALL {
            assert_eq!(Method::from_path(method.path()), Ok(method));
            assert_eq!(Method::from_opcode(method.opcode()), Some(method));
            assert_eq!(method.path(), format!("/{}/{}", method.service(), method.name()));
        }
        assert_eq!(Method::ALL.len(), 52);
    }

    #[test]
    fn opcodes_stay_in_the_methods_own_room() {
        for &method in Method::ALL {
            assert!((0x10..0xC0).contains(&method.opcode()), "{method:?}");
        }
        for opcode in (0x00..0x10).chain(0xC0..=0xFF) {
            assert_eq!(Method::from_opcode(opcode), None);
        }
    }

    #[test]
    fn what_is_not_there_is_refused_in_grpcs_words() {
        let refused = |path| match Method::from_path(path) {
            Err(Refusal::Unimplemented(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            refused("/etcdserverpb.KV/Rage"),
            "unknown method Rage for service etcdserverpb.KV"
        );
        assert_eq!(refused("/etcdserverpb.KV2/Range"), "unknown service etcdserverpb.KV2");
        assert_eq!(refused("/a/b/c"), "unknown service a/b");
        assert_eq!(refused("/Range"), "malformed method name: \"/Range\"");
        assert_eq!(refused(""), "malformed method name: \"\"");
    }
}
