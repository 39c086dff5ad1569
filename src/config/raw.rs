//! The settings as written: one value for each flag of the table, and which were set.
//!
//! Command line, environment and file all end here; `check` alone reads it.

use std::collections::{BTreeMap, BTreeSet};

use crate::gotext::{GoDuration, NumberError, parse_bool, parse_int, parse_uint, quote, strconv};

use super::gates::FeatureGates;
use super::table::{self, Flag, Kind};
use super::url::Url;

/// A setting's value, read but not checked against others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Duration(GoDuration),
    Text(String),
    Urls(Vec<Url>),
    Texts(Vec<String>),
}

impl Value {
    /// Returns the value that a flag has before anybody sets it.
    pub fn default_of(kind: Kind) -> Value {
        match kind {
            Kind::Bool(value) => Value::Bool(value),
            Kind::Int(value) => Value::Int(value),
            Kind::Uint(value) => Value::Uint(value),
            Kind::Uint32(value) => Value::Uint(value.into()),
            Kind::Duration(value) => Value::Duration(value),
            Kind::Text(value) => Value::Text(value.to_string()),
            Kind::OneOf(choices) => Value::Text(choices[0].to_string()),
            Kind::Urls("") => Value::Urls(Vec::new()),
            Kind::Urls(list) => {
                Value::Urls(Url::parse_list(list).expect("the table's URLs are well-formed"))
            }
            Kind::Origins => Value::Texts(vec!["*".to_string()]),
            Kind::Set("") | Kind::List | Kind::SomeOf(_) => Value::Texts(Vec::new()),
            Kind::Set(list) => Value::Texts(set_of(list)),
            Kind::Gates => Value::Text(String::new()),
        }
    }

    /// Reads a value as Go's `flag` package and etcd's flag types do, errors included.
    pub fn parse(kind: Kind, text: &str) -> Result<Value, String> {
        let go = |error: NumberError| error.to_string();
        Ok(match kind {
            Kind::Bool(_) => Value::Bool(parse_bool(text).map_err(go)?),
            Kind::Int(_) => Value::Int(parse_int(text, 0).map_err(go)?),
            Kind::Uint(_) => Value::Uint(parse_uint(text, 0).map_err(go)?),
            Kind::Uint32(_) => Value::Uint(strconv::parse_uint32(text)?.into()),
            Kind::Duration(_) => {
                Value::Duration(GoDuration::parse(text).map_err(|_| go(NumberError::Syntax))?)
            }
            Kind::Text(_) => Value::Text(text.to_string()),
            Kind::OneOf(choices) if choices.contains(&text) => Value::Text(text.to_string()),
            Kind::OneOf(_) => return Err("invalid value".to_string()),
            Kind::SomeOf(choices) => {
                let texts: Vec<String> = text.split(',').map(str::to_string).collect();
                match texts.iter().find(|text| !choices.contains(&text.as_str())) {
                    Some(unknown) => return Err(format!("invalid value {}", quote(unknown))),
                    None => Value::Texts(texts),
                }
            }
            // An empty list leaves the default in place; that it was set still counts.
            Kind::Urls(_) if text.is_empty() => Value::default_of(kind),
            Kind::Urls(_) => Value::Urls(Url::parse_list(text)?),
            Kind::Origins if text == "*" => Value::default_of(kind),
            Kind::Origins => {
                let urls = Url::parse_list(text)?;
                Value::Texts(urls.iter().map(Url::to_string).collect())
            }
            Kind::Set(_) => Value::Texts(set_of(text)),
            Kind::List => Value::Texts(text.split(',').map(str::to_string).collect()),
            Kind::Gates => {
                FeatureGates::parse(text)?;
                Value::Text(text.to_string())
            }
        })
    }
}

fn set_of(list: &str) -> Vec<String> {
    let set: BTreeSet<&str> = list.split(',').collect();
    set.into_iter().map(str::to_string).collect()
}

/// Every flag's value.
#[derive(Clone, Debug)]
pub struct Raw {
    values: BTreeMap<&'static str, Value>,
    set: BTreeSet<&'static str>,
}

impl Default for Raw {
    fn default() -> Raw {
        let values = table::flags().map(|flag| (flag.name, Value::default_of(flag.kind))).collect();
        Raw { values, set: BTreeSet::new() }
    }
}

impl Raw {
    /// Reads and keeps a value; the later of two wins.
    pub fn parse_and_set(&mut self, flag: &'static Flag, text: &str) -> Result<(), String> {
        let value = Value::parse(flag.kind, text)?;
        self.set(flag, value);
        Ok(())
    }

    pub fn set(&mut self, flag: &'static Flag, value: Value) {
        self.values.insert(flag.name, value);
        self.set.insert(flag.name);
    }

    /// Whether anybody set it, be it to its default.
    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains(name)
    }

    /// Whether it has the value that it would have unset.
    pub fn is_default(&self, flag: &Flag) -> bool {
        *self.value(flag.name) == Value::default_of(flag.kind)
    }

    pub fn value(&self, name: &str) -> &Value {
        self.values.get(name).unwrap_or_else(|| panic!("--{name} is not in the table of flags"))
    }

    pub fn flag(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Bool(value) => *value,
            other => panic!("--{name} is no boolean: {other:?}"),
        }
    }

    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(value) => *value,
            other => panic!("--{name} is no integer: {other:?}"),
        }
    }

    pub fn uint(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Uint(value) => *value,
            other => panic!("--{name} is no unsigned integer: {other:?}"),
        }
    }

    pub fn duration(&self, name: &str) -> GoDuration {
        match self.value(name) {
            Value::Duration(value) => *value,
            other => panic!("--{name} is no duration: {other:?}"),
        }
    }

    pub fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Value::Text(value) => value,
            other => panic!("--{name} is no text: {other:?}"),
        }
    }

    pub fn urls(&self, name: &str) -> &[Url] {
        match self.value(name) {
            Value::Urls(value) => value,
            other => panic!("--{name} is no list of URLs: {other:?}"),
        }
    }

    pub fn texts(&self, name: &str) -> &[String] {
        match self.value(name) {
            Value::Texts(value) => value,
            other => panic!("--{name} is no list: {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_takes_its_own_default_back() {
        let raw = Raw::default();
        for flag in table::flags() {
            assert!(raw.is_default(flag), "{}", flag.name);
            assert!(!raw.is_set(flag.name));
        }
    }

    #[test]
    fn values_read_with_gos_errors() {
        for (kind, text, error) in [
            (Kind::Bool(false), "yes", "parse error"),
            (Kind::Uint(0), "-1", "parse error"),
            (Kind::Uint(0), "18446744073709551616", "value out of range"),
            (Kind::Int(0), "9223372036854775808", "value out of range"),
            (Kind::Uint32(0), "x", "strconv.ParseUint: parsing \"x\": invalid syntax"),
            (
                Kind::Uint32(0),
                "4294967296",
                "strconv.ParseUint: parsing \"4294967296\": value out of range",
            ),
            (Kind::Duration(GoDuration(0)), "10", "parse error"),
            (Kind::OneOf(&["new", "existing"]), "old", "invalid value"),
            (Kind::SomeOf(&["gone"]), "gone,not-yet", "invalid value \"not-yet\""),
            (Kind::Origins, "", "URL scheme must be http, https, unix, or unixs: "),
            (Kind::Gates, "X=1", "unrecognized feature gate: X"),
        ] {
            assert_eq!(Value::parse(kind, text), Err(error.into()), "{kind:?} {text:?}");
        }
    }

    #[test]
    fn sets_are_sorted_and_unique() {
        assert_eq!(
            Value::parse(Kind::Set("default"), "stdout,a,stdout"),
            Ok(Value::Texts(vec!["a".into(), "stdout".into()]))
        );
    }
}
