//! Member and cluster ids, computed from names and URLs as etcd computes them.
//!
//! ```text
//! member id  = first 8 bytes of SHA-1(sorted peer URLs, joined ++ cluster token), big-endian
//! cluster id = first 8 bytes of SHA-1(sorted member ids, 8 bytes big-endian each), big-endian
//! ```

use sha1::{Digest, Sha1};

use crate::types::{ClusterId, MemberId};

/// Returns the id of a member that bootstraps a cluster with these peer URLs.
pub fn member_id(peer_urls: &[String], cluster_token: &str) -> MemberId {
    let mut sorted: Vec<&String> = peer_urls.iter().collect();
    sorted.sort();
    let mut digest = Sha1::new();
    for url in sorted {
        digest.update(url.as_bytes());
    }
    digest.update(cluster_token.as_bytes());
    MemberId(leading(&digest.finalize()))
}

/// Returns the id of the cluster that these members bootstrap.
pub fn cluster_id(members: &[MemberId]) -> ClusterId {
    let mut sorted = members.to_vec();
    sorted.sort();
    let mut digest = Sha1::new();
    for member in sorted {
        digest.update(member.0.to_be_bytes());
    }
    ClusterId(leading(&digest.finalize()))
}

fn leading(digest: &[u8]) -> u64 {
    let (first, _) = digest.split_first_chunk::<8>().expect("a SHA-1 digest has 20 bytes");
    u64::from_be_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pair that every etcd started without flags shows.
    #[test]
    fn the_default_single_member_has_the_well_known_ids() {
        let member = member_id(&["http://localhost:2380".into()], "etcd-cluster");
        assert_eq!(format!("{:x}", member.0), "8e9e05c52164694d");
        assert_eq!(format!("{:x}", cluster_id(&[member]).0), "cdf818194e3a8c32");
    }

    /// The three of etcd's local cluster, as its documentation prints them.
    #[test]
    fn the_local_cluster_of_three_has_the_well_known_ids() {
        let id = |port: u16| member_id(&[format!("http://127.0.0.1:{port}")], "etcd-cluster-1");
        let ids = [id(12380), id(22380), id(32380)];
        let shown: Vec<String> = ids.iter().map(|id| format!("{:x}", id.0)).collect();
        assert_eq!(shown, ["8211f1d0f64f3269", "91bc3c398fb3c146", "fd422379fda50e48"]);
        assert_eq!(format!("{:x}", cluster_id(&ids).0), "ef37ad9dc622a7c4");
    }

    #[test]
    fn order_of_urls_and_members_does_not_matter() {
        let (a, b) = ("http://a:1".to_string(), "http://b:1".to_string());
        let first = member_id(&[a.clone(), b.clone()], "t");
        assert_eq!(first, member_id(&[b.clone(), a.clone()], "t"));
        let second = member_id(&[a], "t");
        assert_ne!(first, second);
        assert_eq!(cluster_id(&[first, second]), cluster_id(&[second, first]));
    }
}
