//! `--feature-gates`: etcd's switches for features that are not settled.

use crate::gotext::strconv;

use std::collections::BTreeMap;

/// The maturity of a feature gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Alpha,
    Beta,
}

/// The effect here of turning a gate away from its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Nothing: it tunes a part of etcd that Braid does not have.
    None,
    /// The gate does what it does in etcd.
    Served,
    /// The feature is not there yet.
    Refused,
}

struct Gate {
    name: &'static str,
    default: bool,
    stage: Stage,
    effect: Effect,
}

const fn gate(name: &'static str, default: bool, stage: Stage, effect: Effect) -> Gate {
    Gate { name, default, stage, effect }
}

const GATES: &[Gate] = &[
    gate("CompactHashCheck", false, Stage::Alpha, Effect::Refused),
    gate("FastLeaseKeepAlive", true, Stage::Beta, Effect::None),
    gate("InitialCorruptCheck", false, Stage::Alpha, Effect::Refused),
    gate("LeaseCheckpoint", false, Stage::Alpha, Effect::Served),
    // The time left of a lease is persisted anyway, as by etcd since 3.6.
    gate("LeaseCheckpointPersist", false, Stage::Alpha, Effect::None),
    gate("PriorityRequest", false, Stage::Alpha, Effect::None),
    gate("SetMemberLocalAddr", false, Stage::Alpha, Effect::None),
    gate("StopGRPCServiceOnDefrag", false, Stage::Alpha, Effect::None),
    gate("TxnModeWriteWithSharedBuffer", true, Stage::Beta, Effect::None),
];

/// The gates as set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureGates {
    enabled: BTreeMap<&'static str, bool>,
}

impl Default for FeatureGates {
    fn default() -> FeatureGates {
        FeatureGates { enabled: GATES.iter().map(|gate| (gate.name, gate.default)).collect() }
    }
}

impl FeatureGates {
    /// Reads `Name=bool,Name=bool`. `AllAlpha` and `AllBeta` set what is not named itself.
    pub fn parse(text: &str) -> Result<FeatureGates, String> {
        let mut named: BTreeMap<String, bool> = BTreeMap::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(format!("missing bool value for {}", part.trim()));
            };
            let (name, value) = (name.trim(), value.trim());
            let enabled = strconv::parse_bool(value)
                .map_err(|error| format!("invalid value of {name}={value}, err: {error}"))?;
            named.insert(name.to_string(), enabled);
        }
        let mut gates = FeatureGates::default();
        for (name, &enabled) in &named {
            let stage = match name.as_str() {
                "AllAlpha" => Some(Stage::Alpha),
                "AllBeta" => Some(Stage::Beta),
                _ => None,
            };
            for gate in GATES.iter().filter(|gate| Some(gate.stage) == stage) {
                gates.enabled.insert(gate.name, enabled);
            }
        }
        for (name, enabled) in named {
            match GATES.iter().find(|gate| gate.name == name) {
                Some(gate) => {
                    gates.enabled.insert(gate.name, enabled);
                }
                None if matches!(name.as_str(), "AllAlpha" | "AllBeta") => {}
                None => return Err(format!("unrecognized feature gate: {name}")),
            }
        }
        Ok(gates)
    }

    /// Whether the gate of that name is on; false for a name that is none.
    pub fn is_enabled(&self, name: &str) -> bool {
        self.enabled.get(name).copied().unwrap_or(false)
    }

    /// Iterates over name, stage and value of every gate, by name; etcd shows them as a metric.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Stage, bool)> + '_ {
        GATES.iter().map(|gate| (gate.name, gate.stage, self.enabled[gate.name]))
    }

    /// Returns the first gate that is set to something that Braid does not have.
    pub fn refused(&self) -> Option<&'static str> {
        GATES
            .iter()
            .filter(|gate| gate.effect == Effect::Refused)
            .find(|gate| self.enabled[gate.name] != gate.default)
            .map(|gate| gate.name)
    }
}

/// Describes each gate in one line, for `--help`.
pub fn describe() -> impl Iterator<Item = String> {
    GATES.iter().map(|gate| {
        let stage = match gate.stage {
            Stage::Alpha => "ALPHA",
            Stage::Beta => "BETA",
        };
        let not_yet = if gate.effect == Effect::Refused { "; not yet" } else { "" };
        format!("{}=true|false ({stage} - default={}{not_yet})", gate.name, gate.default)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_read_as_etcd_reads_them() {
        assert_eq!(FeatureGates::parse(""), Ok(FeatureGates::default()));
        let gates = FeatureGates::parse("PriorityRequest=true, FastLeaseKeepAlive=f,").unwrap();
        assert!(gates.is_enabled("PriorityRequest"));
        assert!(!gates.is_enabled("FastLeaseKeepAlive"));
        assert!(gates.is_enabled("TxnModeWriteWithSharedBuffer"));
        assert_eq!(gates.refused(), None);
        for (text, error) in [
            ("PriorityRequest", "missing bool value for PriorityRequest"),
            (
                "PriorityRequest=maybe",
                "invalid value of PriorityRequest=maybe, err: strconv.ParseBool: parsing \
                 \"maybe\": invalid syntax",
            ),
            ("Nope=true", "unrecognized feature gate: Nope"),
        ] {
            assert_eq!(FeatureGates::parse(text), Err(error.into()));
        }
    }

    #[test]
    fn a_whole_stage_is_set_but_for_what_is_named() {
        let gates = FeatureGates::parse(
            "AllAlpha=true,CompactHashCheck=false,InitialCorruptCheck=false,\
             LeaseCheckpoint=false,LeaseCheckpointPersist=false",
        )
        .unwrap();
        assert!(gates.is_enabled("SetMemberLocalAddr"));
        assert_eq!(gates.refused(), None);
        assert_eq!(FeatureGates::parse("AllAlpha=1").unwrap().refused(), Some("CompactHashCheck"));
        assert!(!FeatureGates::parse("AllBeta=0").unwrap().is_enabled("FastLeaseKeepAlive"));
    }
}
