//! `ETCD_*` (and, for our own flags, `BRAID_*`) variables.
//!
//! A variable sets a flag that the command line does not set. Both at once is fatal; a name that is
//! no flag's is only remarked upon, because Kubernetes and others put such variables everywhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::gotext::quote;

use super::exit::Exit;
use super::level::LogLevel;
use super::note::Note;
use super::raw::Raw;
use super::table::{self, Flag, Origin};

/// The environment, in the order the process got it.
pub type Environment = [(String, String)];

/// Returns the value of a variable; an empty one is unset.
pub fn lookup<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment
        .iter()
        .find(|(key, value)| key == name && !value.is_empty())
        .map(|(_, value)| value.as_str())
}

/// Sets every flag that is not set yet and has a variable.
pub fn read(environment: &Environment, raw: &mut Raw, notes: &mut Vec<Note>) -> Result<(), Exit> {
    let mut environment = environment.to_vec();
    let version = table::variable(Origin::Etcd, "version");
    if let Some(value) = lookup(&environment, &version) {
        notes.push(
            Note::warn("cannot set special environment variable")
                .with("key", version.as_str())
                .with("value", value),
        );
        environment.retain(|(key, _)| *key != version);
    }
    let by_name: BTreeMap<&str, &'static Flag> =
        table::flags().map(|flag| (flag.name, flag)).collect();
    let mut used = BTreeSet::new();
    let mut shadowed = BTreeSet::new();
    let mut failure = None;
    for flag in by_name.into_values() {
        let name = flag.variable();
        if raw.is_set(flag.name) {
            shadowed.insert(name);
            continue;
        }
        let Some(value) = lookup(&environment, &name) else {
            continue;
        };
        match raw.parse_and_set(flag, value) {
            Ok(()) => notes.push(
                Note::info("recognized and used environment variable")
                    .with("variable-name", name.as_str())
                    .with("variable-value", value),
            ),
            Err(why) => {
                failure = Some(format!("invalid value {} for {name}: {why}", quote(value)));
            }
        }
        used.insert(name);
    }
    remark(&environment, &used, &shadowed, notes)?;
    match failure {
        Some(why) => Err(Exit::refused(std::mem::take(notes), why)),
        None => Ok(()),
    }
}

/// Variables that set nothing.
fn remark(
    environment: &Environment,
    used: &BTreeSet<String>,
    shadowed: &BTreeSet<String>,
    notes: &mut Vec<Note>,
) -> Result<(), Exit> {
    for (key, value) in environment {
        if used.contains(key) {
            continue;
        }
        if shadowed.contains(key) {
            let last = Note::new(
                LogLevel::Fatal,
                "conflicting environment variable is shadowed by corresponding command-line flag \
                 (either unset environment variable or disable flag))",
            )
            .with("environment-variable", key.as_str());
            return Err(Exit::fatal(std::mem::take(notes), last));
        }
        if [Origin::Etcd, Origin::Braid].iter().any(|origin| key.starts_with(origin.prefix())) {
            notes.push(
                Note::warn("unrecognized environment variable")
                    .with("environment-variable", format!("{key}={value}")),
            );
        }
    }
    Ok(())
}
