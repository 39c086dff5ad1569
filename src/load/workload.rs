//! The workloads by name: which requests, on which keys, in which mixture.
//!
//! | workload | one request is |
//! |---|---|
//! | `put` | a Put |
//! | `get`, `get-serializable` | a Range of one key, linearizable or not |
//! | `range` | a Range from a chosen key onwards, with `--limit` |
//! | `prefix` | a Range of all keys that share all but the last `--prefix-digits` digits |
//! | `sort` | the same by `--prefix-digits`, with `--limit`, those changed last first |
//! | `delete` | a DeleteRange of one key |
//! | `delete-prefix` | a DeleteRange of all keys that `prefix` would read |
//! | `cas` | a Txn: put if the key is still at the revision last seen, else read it |
//! | `txn` | a Txn of `--txn-keys` puts, spread over the keyspace and so over shards |
//! | `one-key` | a Put, always of the same key |
//! | `kubernetes`, `kubernetes:NODES` | what a cluster of that many nodes asks for, at its rate, see [`KUBERNETES_STEPS`]; with a watcher of each kind of object |
//! | `lease-grant` | a LeaseGrant of `--lease-ttl` |
//! | `put=1,get=9` | a mixture of `put` to `lease-grant`, by weight |
//! | `watch`, `lease-keep-alive`, `idle-watchers` | what lives on streams, see [`streaming`] |
//!
//! [`streaming`]: super::streaming

use super::keys::{Distribution, KeyForm};
use super::record::Row;
use super::streaming::{StreamShape, StreamWorkload};
use super::summary::together;

/// The operation of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Put,
    Get,
    GetSerializable,
    Range,
    Prefix,
    Sort,
    Delete,
    DeletePrefix,
    Cas,
    Txn,
    LeaseGrant,
}

impl Action {
    /// Whether the answer brings keys and values.
    pub(super) fn reads(self) -> bool {
        use Action::{Get, GetSerializable, Prefix, Range, Sort};
        matches!(self, Get | GetSerializable | Range | Prefix | Sort)
    }
}

const ACTIONS: &[(&str, Action)] = &[
    ("put", Action::Put),
    ("get", Action::Get),
    ("get-serializable", Action::GetSerializable),
    ("range", Action::Range),
    ("prefix", Action::Prefix),
    ("sort", Action::Sort),
    ("delete", Action::Delete),
    ("delete-prefix", Action::DeletePrefix),
    ("cas", Action::Cas),
    ("txn", Action::Txn),
    ("lease-grant", Action::LeaseGrant),
];

/// One row of the results.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) action: Action,
    /// Position in [`Workload::families`].
    pub(super) family: usize,
    pub(super) weight: u32,
}

/// A part of the keyspace whose keys and values are alike.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Family {
    pub(super) form: KeyForm,
    pub(super) keys: u64,
    pub(super) value_bytes: usize,
    pub(super) distribution: Distribution,
    /// A guarded write is a delete once in so many times; 0 is never.
    pub(super) deletes: u64,
    /// Each key has one owner, who makes one guarded write of it after the other.
    pub(super) owned: bool,
    /// Whether `--preload` puts its keys.
    pub(super) preloads: bool,
}

/// Everything that says which requests are made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Workload {
    pub(super) text: String,
    pub(super) families: Vec<Family>,
    pub(super) steps: Vec<Step>,
    pub(super) limit: u64,
    pub(super) txn_keys: u64,
    pub(super) prefix_digits: usize,
    pub(super) lease_ttl: u64,
    /// Requests per second that are a part of the workload itself: it is an open loop.
    pub(super) own_rate: Option<f64>,
    /// Instead of steps.
    pub(super) streaming: Option<StreamWorkload>,
}

/// The numbers that workloads share.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) prefix: String,
    pub(super) key_bytes: usize,
    pub(super) value_bytes: usize,
    pub(super) keyspace: u64,
    pub(super) distribution: Distribution,
    pub(super) limit: u64,
    pub(super) txn_keys: u64,
    pub(super) prefix_digits: usize,
    pub(super) streaming: StreamShape,
}

/// Keys in all that guarded writes may remember, per thread.
const REMEMBERED_KEYS_MAX: u64 = 1 << 27;
/// Bytes of a request at most; etcd's default for `--max-request-bytes`.
const REQUEST_BYTES_MAX: usize = 3 << 19;

impl Workload {
    pub(super) fn parse(text: &str, shape: &Shape) -> Result<Workload, String> {
        let workload = match text.split_once(':').unwrap_or((text, "")) {
            ("kubernetes", nodes) => kubernetes(text, nodes, shape)?,
            ("one-key", "") => {
                let shape =
                    Shape { keyspace: 1, distribution: Distribution::Single, ..shape.clone() };
                let steps = vec![step("put", Action::Put, 1)];
                plain(text, steps, &shape)?
            }
            _ => match StreamWorkload::parse(text, shape)? {
                Some(streaming) => {
                    Workload { streaming: Some(streaming), ..plain(text, Vec::new(), shape)? }
                }
                None => plain(text, parse_steps(text)?, shape)?,
            },
        };
        workload.check()?;
        Ok(workload)
    }

    /// Names of the rows of the results.
    pub(super) fn rows(&self) -> Vec<&'static str> {
        match &self.streaming {
            Some(streaming) => streaming.rows().to_vec(),
            None => self.steps.iter().map(|step| step.name).collect(),
        }
    }

    /// Returns the row that stands for all: their sum, or the first, whose others are about the
    /// same thing.
    pub(super) fn total(&self, rows: &[Row]) -> Row {
        match &self.streaming {
            Some(_) => rows[0].clone(),
            None => together(rows),
        }
    }

    /// Whether some request deletes keys without naming each.
    pub(super) fn deletes_unnamed(&self) -> bool {
        self.steps.iter().any(|step| step.action == Action::DeletePrefix)
    }

    fn check(&self) -> Result<(), String> {
        let has = |action| self.steps.iter().find(|step| step.action == action);
        if let Some(step) = has(Action::Txn) {
            let Family { keys, value_bytes, form, .. } = &self.families[step.family];
            if self.txn_keys == 0 || self.txn_keys > (*keys).min(128) {
                return Err(format!(
                    "a txn of {} keys: 1 to 128 are possible, and not more than the keyspace",
                    self.txn_keys
                ));
            }
            if self.txn_keys as usize * (value_bytes + form.length() + 16) > REQUEST_BYTES_MAX {
                return Err(format!("a txn would be above {REQUEST_BYTES_MAX} bytes"));
            }
        }
        let open = [Action::Prefix, Action::Sort, Action::DeletePrefix];
        for step in open.into_iter().filter_map(has) {
            let form = &self.families[step.family].form;
            if self.prefix_digits > form.length() - form.prefix().len() {
                return Err(format!("keys have no {} digits to leave open", self.prefix_digits));
            }
        }
        if has(Action::Cas)
            .is_some_and(|step| self.families[step.family].keys > REMEMBERED_KEYS_MAX)
        {
            return Err(format!("guarded writes are possible on {REMEMBERED_KEYS_MAX} keys"));
        }
        match self.families.iter().find(|family| family.value_bytes > REQUEST_BYTES_MAX) {
            Some(family) => {
                Err(format!("values of {} bytes: at most {REQUEST_BYTES_MAX}", family.value_bytes))
            }
            None => Ok(()),
        }
    }

    /// Puts every key of a family once: what reads need before they begin.
    pub(super) fn preload(&self, family: usize) -> Workload {
        let family =
            Family { distribution: Distribution::Sequential, ..self.families[family].clone() };
        Workload {
            text: "preload".to_owned(),
            families: vec![family],
            steps: vec![step("put", Action::Put, 1)],
            own_rate: None,
            streaming: None,
            ..self.clone()
        }
    }
}

fn step(name: &'static str, action: Action, weight: u32) -> Step {
    Step { name, action, family: 0, weight }
}

fn plain(text: &str, steps: Vec<Step>, shape: &Shape) -> Result<Workload, String> {
    if shape.keyspace == 0 {
        return Err("a keyspace has at least one key".to_owned());
    }
    let family = Family {
        form: KeyForm::new(&shape.prefix, shape.key_bytes, shape.keyspace)?,
        keys: shape.keyspace,
        value_bytes: shape.value_bytes,
        distribution: shape.distribution,
        deletes: 0,
        owned: false,
        preloads: true,
    };
    Ok(Workload {
        text: text.to_owned(),
        families: vec![family],
        steps,
        limit: shape.limit,
        txn_keys: shape.txn_keys,
        prefix_digits: shape.prefix_digits,
        lease_ttl: shape.streaming.lease_ttl,
        own_rate: None,
        streaming: None,
    })
}

fn parse_steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for part in text.split(',') {
        let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
        let (name, weight) = (name.trim(), weight.trim());
        if StreamWorkload::NAMES.contains(&name) {
            return Err(format!("workload {name} is no part of a mixture"));
        }
        let Some(&(name, action)) = ACTIONS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "workload {name:?} is not known; there are {}, one-key, kubernetes[:NODES], {}",
                known.join(", "),
                StreamWorkload::NAMES.join(", ")
            ));
        };
        let weight = weight.parse().ok().filter(|weight| (1..=1_000_000).contains(weight));
        let weight =
            weight.ok_or_else(|| format!("weight of {name}: a number from 1 to 1000000"))?;
        if steps.iter().any(|step| step.name == name) {
            return Err(format!("workload {name} is there twice"));
        }
        steps.push(step(name, action, weight));
    }
    Ok(steps)
}

/// A kind of object of a Kubernetes cluster: prefix, keys per 100 nodes, value bytes, deletes (as
/// [`Family::deletes`]), and whether it is there before (events are not).
const KUBERNETES: [(&str, u64, usize, u64, bool); 4] = [
    ("/registry/leases/kube-node-lease/node-", 100, 500, 0, true),
    ("/registry/minions/node-", 100, 12 << 10, 0, true),
    ("/registry/pods/default/pod-", 3000, 6 << 10, 5, true),
    ("/registry/events/default/event-", 36_000, 1 << 10, 0, false),
];

/// What one node makes its cluster's store do, in requests per 1000 s: it renews its lease every
/// 10 s and states its status (12 KiB) every 5 s; its 30 pods (6 KiB) are created, updated and
/// deleted, read and listed by `--limit`; every 10 s something happens of which there is an event.
/// Writes are txns guarded by the mod revision, and each object has one owner, who writes it again
/// when the last write is answered, so that no guard fails. Events have no lease.
const KUBERNETES_STEPS: [(&str, Action, usize, u32); 6] = [
    ("lease", Action::Cas, 0, 100),
    ("status", Action::Cas, 1, 200),
    ("pod-write", Action::Cas, 2, 50),
    ("pod-get", Action::Get, 2, 50),
    ("pod-list", Action::Range, 2, 1),
    ("event", Action::Put, 3, 100),
];

const KUBERNETES_NODES: u64 = 1000;
const KUBERNETES_NODES_MAX: u64 = 1_000_000;
const KUBERNETES_DIGITS: usize = 9;

/// Requests per second of one node.
pub(super) fn kubernetes_node_rate() -> f64 {
    let per_1000_s: u32 = KUBERNETES_STEPS.iter().map(|(.., weight)| weight).sum();
    f64::from(per_1000_s) / 1000.0
}

fn kubernetes(text: &str, nodes: &str, shape: &Shape) -> Result<Workload, String> {
    let nodes = match nodes {
        "" => Some(KUBERNETES_NODES),
        nodes => nodes.parse().ok().filter(|nodes| (1..=KUBERNETES_NODES_MAX).contains(nodes)),
    };
    let nodes =
        nodes.ok_or_else(|| format!("kubernetes:NODES has 1 to {KUBERNETES_NODES_MAX} nodes"))?;
    let mut families = Vec::new();
    for (prefix, keys_per_100, value_bytes, deletes, is_there) in KUBERNETES {
        let keys = (nodes * keys_per_100).div_ceil(100);
        families.push(Family {
            form: KeyForm::new(prefix, prefix.len() + KUBERNETES_DIGITS, keys)?,
            keys,
            value_bytes,
            distribution: Distribution::Owned,
            deletes,
            owned: true,
            preloads: is_there,
        });
    }
    let steps = KUBERNETES_STEPS.map(|(name, action, family, weight)| Step {
        name,
        action,
        family,
        weight,
    });
    Ok(Workload {
        text: text.to_owned(),
        families,
        steps: steps.to_vec(),
        limit: shape.limit,
        txn_keys: shape.txn_keys,
        prefix_digits: shape.prefix_digits,
        lease_ttl: shape.streaming.lease_ttl,
        own_rate: Some(nodes as f64 * kubernetes_node_rate()),
        streaming: None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::load) fn shape() -> Shape {
        Shape {
            prefix: "load/".to_owned(),
            key_bytes: 16,
            value_bytes: 100,
            keyspace: 1000,
            distribution: Distribution::Uniform,
            limit: 10,
            txn_keys: 4,
            prefix_digits: 2,
            streaming: StreamShape {
                watchers: 100,
                watch_connections: 2,
                streams: 1,
                watch_prefixes: false,
                leases: 1000,
                lease_ttl: 60,
            },
        }
    }

    #[test]
    fn every_workload_has_its_name() {
        for (name, action) in ACTIONS {
            let workload = Workload::parse(name, &shape()).expect(name);
            assert_eq!(workload.steps, [step(name, *action, 1)]);
        }
        let mixed = Workload::parse("put=1, get=9", &shape()).expect("a mixture");
        assert_eq!(mixed.steps, [step("put", Action::Put, 1), step("get", Action::Get, 9)]);
        let one = Workload::parse("one-key", &shape()).expect("one key");
        assert_eq!((one.families[0].keys, one.families[0].distribution), (1, Distribution::Single));
        let cluster = Workload::parse("kubernetes:50", &shape()).expect("a cluster");
        let keys: Vec<u64> = cluster.families.iter().map(|family| family.keys).collect();
        assert_eq!(keys, [50, 50, 1500, 18_000]);
        // 0.501 requests per second and node.
        assert!((cluster.own_rate.expect("a rate") - 25.05).abs() < 1e-9);
        assert_eq!(mixed.own_rate, None);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        for (text, reason) in [
            ("put,watch=3", "no part of a mixture"),
            ("watch=2", "no part of a mixture"),
            ("puts", "is not known; there are put, get"),
            ("put=0", "weight of put"),
            ("put,put", "twice"),
            ("kubernetes:0", "1 to 1000000 nodes"),
            ("kubernetes:x", "1 to 1000000 nodes"),
            ("", "is not known"),
        ] {
            let error = Workload::parse(text, &shape()).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
        let huge = Shape { txn_keys: 100, value_bytes: 1 << 20, ..shape() };
        assert!(Workload::parse("txn", &huge).expect_err("too large").contains("above"));
        let few = Shape { keyspace: 3, ..shape() };
        assert!(Workload::parse("txn", &few).expect_err("too few").contains("keyspace"));
        let none = Shape { keyspace: 0, ..shape() };
        assert!(Workload::parse("put", &none).is_err());
        let digits = Shape { prefix_digits: 12, ..shape() };
        assert!(Workload::parse("prefix", &digits).expect_err("digits").contains("digits"));
    }
}
