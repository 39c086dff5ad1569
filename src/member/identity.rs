//! The file `member/identity`, which says to which member a data directory belongs.
//!
//! A few lines of text, the last of which is a CRC-32 of those before, so that an operator can
//! read it and a damaged one is noticed:
//!
//! ```text
//! braid identity 1
//! cluster cdf818194e3a8c32
//! member 8e9e05c52164694d
//! shards 2
//! salt 0123456789abcdef
//! crc 1a2b3c4d
//! ```

use std::fmt;

use crate::types::{ClusterId, MemberId};

const MAGIC: &str = "braid identity";
const FORMAT: u32 = 1;

/// The facts that are fixed when a data directory is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster: ClusterId,
    pub member: MemberId,
    pub shards: u16,
    /// Drawn when the directory is created and shown to nobody: no client can make up bytes that
    /// look like a part of this member's log.
    pub salt: u64,
}

/// The content of a directory `member`, by the program that it belongs to. Names are relative to
/// the data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberFiles {
    pub braid: Vec<String>,
    pub etcd: Vec<String>,
}

impl MemberFiles {
    /// Sorts the names that are listed in `member`. What neither program makes is passed over.
    pub fn of(names: impl IntoIterator<Item = String>) -> MemberFiles {
        let mut found = MemberFiles::default();
        for name in names {
            let list = match &*name {
                "snap" | "wal" => &mut found.etcd,
                "identity" | "lock" | "reserve" => &mut found.braid,
                group if group.starts_with("group-") => &mut found.braid,
                _ => continue,
            };
            list.push(format!("member/{name}"));
        }
        found.braid.sort();
        found.etcd.sort();
        found
    }

    /// Whether Braid keeps data here: a lock alone is what a start leaves behind that was refused.
    pub fn has_braid(&self) -> bool {
        self.braid.iter().any(|name| name != "member/lock")
    }

    /// Whether etcd keeps data here.
    pub fn has_etcd(&self) -> bool {
        !self.etcd.is_empty()
    }

    /// Returns the error about a directory that both programs keep data in.
    pub fn both(&self) -> String {
        let (etcd, braid) = (self.etcd.join(", "), self.braid.join(", "));
        format!(
            "it holds files of etcd ({etcd}) and of Braid ({braid}); to serve Braid's data, move \
             {etcd} away; to go back to etcd, move {braid} away"
        )
    }
}

/// Why a file is not an identity that this version reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadIdentity {
    /// Another program's file, or not even text.
    Foreign,
    /// Written by a newer version.
    Newer { format: u32 },
    /// The checksum does not match, or a line is missing.
    Damaged,
}

impl fmt::Display for BadIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadIdentity::Foreign => write!(f, "this is not a data directory of Braid"),
            BadIdentity::Newer { format } => write!(
                f,
                "the data directory has format {format}, this version reads up to {FORMAT}: \
                 start a newer version"
            ),
            BadIdentity::Damaged => write!(
                f,
                "the identity file is damaged: restore it from a backup of this member, or \
                 remove the data directory and join as a new member"
            ),
        }
    }
}

impl std::error::Error for BadIdentity {}

impl Identity {
    /// The file's text.
    pub fn encode(&self) -> String {
        let text = format!(
            "{MAGIC} {FORMAT}\ncluster {:016x}\nmember {:016x}\nshards {}\nsalt {:016x}\n",
            self.cluster.0, self.member.0, self.shards, self.salt
        );
        let crc = crc32fast::hash(text.as_bytes());
        format!("{text}crc {crc:08x}\n")
    }

    /// Reads the file's text.
    pub fn decode(bytes: &[u8]) -> Result<Identity, BadIdentity> {
        let text = std::str::from_utf8(bytes).map_err(|_| BadIdentity::Foreign)?;
        let first = text.lines().next().unwrap_or_default();
        let format = first.strip_prefix(MAGIC).ok_or(BadIdentity::Foreign)?;
        let format: u32 = format.trim().parse().map_err(|_| BadIdentity::Damaged)?;
        if format > FORMAT {
            return Err(BadIdentity::Newer { format });
        }
        let (body, crc) = text.rsplit_once("crc ").ok_or(BadIdentity::Damaged)?;
        if crc.trim_end() != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
            return Err(BadIdentity::Damaged);
        }
        let field = |name: &str| {
            let line = body.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).ok_or(BadIdentity::Damaged)
        };
        let hex = |text: &str| u64::from_str_radix(text, 16).map_err(|_| BadIdentity::Damaged);
        let shards = field("shards ")?.parse().map_err(|_| BadIdentity::Damaged)?;
        Ok(Identity {
            cluster: ClusterId(hex(field("cluster ")?)?),
            member: MemberId(hex(field("member ")?)?),
            shards,
            salt: hex(field("salt ")?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity =
        Identity { cluster: ClusterId(0xc), member: MemberId(u64::MAX), shards: 7, salt: 42 };

    #[test]
    fn an_identity_reads_back() {
        assert_eq!(Identity::decode(IDENTITY.encode().as_bytes()), Ok(IDENTITY));
    }

    #[test]
    fn names_are_sorted_by_whose_they_are() {
        let of = |names: &[&str]| MemberFiles::of(names.iter().map(|&name| name.to_owned()));
        let both = of(&["wal", "group-001", "lock", "identity", "snap", "lost+found"]);
        assert!(both.has_etcd() && both.has_braid());
        let text = both.both();
        assert!(text.contains("of etcd (member/snap, member/wal)"), "{text}");
        assert!(text.contains("of Braid (member/group-001, member/identity, member/lock)"));
        assert!(text.contains("move member/snap, member/wal away"), "{text}");
        let etcd = of(&["wal", "snap", "lock"]);
        assert!(etcd.has_etcd() && !etcd.has_braid());
        assert!(!of(&["lock"]).has_etcd());
    }

    #[test]
    fn a_changed_byte_is_noticed_and_a_foreign_file_is_named() {
        let text = IDENTITY.encode();
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(Identity::decode(&bytes).is_err(), "byte {at}");
        }
        assert_eq!(Identity::decode(b"etcd"), Err(BadIdentity::Foreign));
        let newer = text.replace("identity 1", "identity 9");
        assert_eq!(Identity::decode(newer.as_bytes()), Err(BadIdentity::Newer { format: 9 }));
    }
}
