//! The identity of a member without data: the `initial-*` settings, checked as etcd checks them and
//! made into ids.
//!
//! A member that has data knows who it is; then none of this is read, and none of it can be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::gotext::{quote, quote_all};

use super::ids;
use super::url::{Url, join};
use crate::types::{ClusterId, MemberId};

/// Whether `--initial-cluster` names a new cluster or one that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    New,
    Existing,
}

/// The `initial-*` settings as written.
#[derive(Clone, Debug)]
pub struct Initial {
    /// `--initial-cluster`, not read yet.
    pub cluster: String,
    pub token: String,
    pub state: ClusterState,
}

/// A new member's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub member: MemberId,
    pub cluster: ClusterId,
}

/// Looks a host name up; `None` if it has no address. Only called for names that differ.
pub type Resolve<'a> = &'a mut dyn FnMut(&str) -> Option<IpAddr>;

impl Initial {
    /// Returns the identity of a member called `name` that advertises `advertised` to peers.
    pub fn identity(
        &self,
        name: &str,
        advertised: &[Url],
        resolve: Resolve<'_>,
    ) -> Result<Identity, String> {
        let members = parse_cluster(&self.cluster)
            .map_err(|why| format!("error setting up initial cluster: {why}"))?;
        let own = members.get(name).ok_or_else(|| {
            format!("couldn't find local name {} in the initial cluster configuration", quote(name))
        })?;
        if self.state == ClusterState::New {
            check_advertised(name, advertised, own, resolve)?;
        }
        let mut seen = BTreeSet::new();
        if members.values().flatten().any(|url| !seen.insert(url.to_string())) {
            return Err(format!("initial cluster {} has duplicate url", show(&members)));
        }
        if members.len() > 1 {
            return Err(format!(
                "--initial-cluster names {} members ({}): clusters of more than one member are \
                 not supported yet",
                members.len(),
                show(&members),
            ));
        }
        if self.state == ClusterState::Existing {
            return Err("--initial-cluster-state=existing is not supported yet: a member without \
                        data cannot join a cluster, only create one"
                .to_string());
        }
        let texts: Vec<String> = own.iter().map(Url::to_string).collect();
        let member = ids::member_id(&texts, &self.token);
        Ok(Identity { member, cluster: ids::cluster_id(&[member]) })
    }
}

/// Reads `name=url,name=url`; a name may come several times.
fn parse_cluster(text: &str) -> Result<BTreeMap<String, Vec<Url>>, String> {
    let mut members: BTreeMap<String, Vec<Url>> = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, url) = pair.split_once('=').unwrap_or((pair, ""));
        members.entry(name.to_string()).or_default().push(Url::parse(url)?);
    }
    for urls in members.values_mut() {
        urls.sort_by_key(Url::to_string);
    }
    Ok(members)
}

fn show(members: &BTreeMap<String, Vec<Url>>) -> String {
    let mut pairs: Vec<String> = members
        .iter()
        .flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")))
        .collect();
    pairs.sort();
    pairs.join(",")
}

/// Checks that the member advertises what the initial cluster says of it, after host names are
/// looked up.
fn check_advertised(
    name: &str,
    advertised: &[Url],
    initial: &[Url],
    resolve: Resolve<'_>,
) -> Result<(), String> {
    let Err(why) = same(advertised, initial, resolve) else {
        return Ok(());
    };
    let with_name = |url: &Url| format!("{name}={url}");
    let missing: Vec<String> =
        initial.iter().filter(|url| !advertised.contains(url)).map(with_name).collect();
    if !missing.is_empty() {
        return Err(format!(
            "--initial-cluster has {} but missing from --initial-advertise-peer-urls={} ({why})",
            missing.join(","),
            join(advertised),
        ));
    }
    let cluster: Vec<String> = advertised.iter().map(with_name).collect();
    let extra: Vec<String> =
        advertised.iter().filter(|url| !initial.contains(url)).map(Url::to_string).collect();
    if !extra.is_empty() {
        return Err(format!(
            "--initial-advertise-peer-urls has {} but missing from --initial-cluster={}",
            extra.join(","),
            cluster.join(","),
        ));
    }
    Err(format!(
        "failed to resolve {} to match --initial-cluster={} ({why})",
        join(advertised),
        cluster.join(","),
    ))
}

fn same(advertised: &[Url], initial: &[Url], resolve: Resolve<'_>) -> Result<(), String> {
    let texts = |urls: &[Url]| -> Vec<String> { urls.iter().map(Url::to_string).collect() };
    let (ours, theirs) = (texts(advertised), texts(initial));
    if ours.len() != theirs.len() {
        return Err(format!("len({}) != len({})", quote_all(&ours), quote_all(&theirs)));
    }
    if ours == theirs {
        return Ok(());
    }
    let mut resolved = |urls: &[Url]| -> Result<Vec<String>, String> {
        let mut texts: Vec<String> =
            urls.iter().map(|url| resolved(url, resolve)).collect::<Result<_, _>>()?;
        texts.sort();
        Ok(texts)
    };
    let (ours, theirs) = (resolved(advertised)?, resolved(initial)?);
    match ours.iter().zip(&theirs).find(|(own, other)| own != other) {
        None => Ok(()),
        Some((own, other)) => Err(format!("resolved urls: {} != {}", quote(own), quote(other))),
    }
}

/// Returns the URL with an address for a name. `localhost` stands for itself, as in etcd.
fn resolved(url: &Url, resolve: Resolve<'_>) -> Result<String, String> {
    if url.scheme.is_socket_file() {
        return Ok(url.to_string());
    }
    let (host, port) = url.host_and_port()?;
    if host == "localhost" {
        return Ok(url.to_string());
    }
    let address = match host.parse() {
        Ok(address) => Some(address),
        Err(_) => resolve(host),
    };
    match address {
        Some(IpAddr::V4(address)) => Ok(format!("{address}:{port}")),
        Some(IpAddr::V6(address)) => Ok(format!("[{address}]:{port}")),
        None => Err(format!(
            "failed to resolve {} (lookup {host}: no such host)",
            quote(url.to_string())
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(
        name: &str,
        advertised: &str,
        cluster: &str,
        state: ClusterState,
    ) -> Result<Identity, String> {
        let initial = Initial { cluster: cluster.into(), token: "etcd-cluster".into(), state };
        let mut resolve = |host: &str| match host {
            "one.example" => Some("10.0.0.1".parse().unwrap()),
            _ => None,
        };
        initial.identity(name, &Url::parse_list(advertised).unwrap(), &mut resolve)
    }

    #[test]
    fn the_default_member_has_etcds_ids() {
        let url = "http://localhost:2380";
        let found = identity("default", url, &format!("default={url}"), ClusterState::New);
        let expected = Identity {
            member: MemberId(0x8e9e_05c5_2164_694d),
            cluster: ClusterId(0xcdf8_1819_4e3a_8c32),
        };
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn a_name_and_its_address_are_the_same_place() {
        let found =
            identity("a", "http://one.example:2380", "a=http://10.0.0.1:2380", ClusterState::New);
        assert!(found.is_ok(), "{found:?}");
    }

    #[test]
    fn what_does_not_fit_is_refused_in_etcds_words() {
        use ClusterState::{Existing, New};
        for (name, advertised, cluster, state, error) in [
            (
                "b",
                "http://a:1",
                "a=http://a:1",
                New,
                "couldn't find local name \"b\" in the initial cluster configuration",
            ),
            (
                "a",
                "http://10.0.0.2:1",
                "a=http://10.0.0.1:1",
                New,
                "--initial-cluster has a=http://10.0.0.1:1 but missing from \
                 --initial-advertise-peer-urls=http://10.0.0.2:1 \
                 (resolved urls: \"10.0.0.2:1\" != \"10.0.0.1:1\")",
            ),
            (
                "a",
                "http://10.0.0.1:1,http://10.0.0.2:1",
                "a=http://10.0.0.1:1",
                New,
                "--initial-advertise-peer-urls has http://10.0.0.2:1 but missing from \
                 --initial-cluster=a=http://10.0.0.1:1,a=http://10.0.0.2:1",
            ),
            (
                "a",
                "http://nowhere.example:1",
                "a=http://10.0.0.1:1",
                New,
                "--initial-cluster has a=http://10.0.0.1:1 but missing from \
                 --initial-advertise-peer-urls=http://nowhere.example:1 (failed to resolve \
                 \"http://nowhere.example:1\" (lookup nowhere.example: no such host))",
            ),
            (
                "a",
                "http://a:1",
                "a=http://a:1,b=http://a:1",
                New,
                "initial cluster a=http://a:1,b=http://a:1 has duplicate url",
            ),
            (
                "a",
                "http://a:1",
                "a=http://a:1,b=http://b:1",
                New,
                "--initial-cluster names 2 members (a=http://a:1,b=http://b:1): clusters of more \
                 than one member are not supported yet",
            ),
            (
                "a",
                "http://a:1",
                "a",
                New,
                "error setting up initial cluster: URL scheme must be http, https, unix, or \
                 unixs: ",
            ),
            (
                "a",
                "http://a:1",
                "a=http://a:1",
                Existing,
                "--initial-cluster-state=existing is not supported yet: a member without data \
                 cannot join a cluster, only create one",
            ),
        ] {
            assert_eq!(identity(name, advertised, cluster, state), Err(error.into()));
        }
    }
}
