//! The configuration file: YAML or JSON (which is YAML) with the flags' names as keys.
//!
//! What differs from flags, as in etcd:
//!
//! - unknown keys are ignored, and case in keys does not matter;
//! - durations are integers, in nanoseconds;
//! - TLS lives in `client-transport-security` and `peer-transport-security`, socket options in
//!   `socket-options`, discovery in `discovery-config`;
//! - `log-outputs` and `cipher-suites` are lists, other lists are comma-separated text;
//! - a number may be written as YAML 1.1 allows, `1e3`, `1_000`, `0o17` and `017` too, as long as
//!   it is whole; a number or a boolean is no text unless it stands in quotes.

use serde_json::{Map, Value as Json};

use crate::gotext::{GoDuration, parse_bool};

use super::raw::{Raw, Value};
use super::table::{self, Flag, Kind};

/// Keys that are flags and not keys.
const NOT_KEYS: &[&str] = &[
    "config-file",
    "version",
    "socket-reuse-port",
    "socket-reuse-address",
    "client-crl-file",
    "peer-crl-file",
    "discovery-fallback",
    "raft-read-timeout",
    "raft-write-timeout",
];

/// Key of a security map, the flag for clients, the flag for peers.
const SECURITY: &[(&str, Option<&str>, Option<&str>)] = &[
    ("cert-file", Some("cert-file"), Some("peer-cert-file")),
    ("key-file", Some("key-file"), Some("peer-key-file")),
    ("client-cert-file", Some("client-cert-file"), Some("peer-client-cert-file")),
    ("client-key-file", Some("client-key-file"), Some("peer-client-key-file")),
    ("client-cert-auth", Some("client-cert-auth"), Some("peer-client-cert-auth")),
    ("trusted-ca-file", Some("trusted-ca-file"), Some("peer-trusted-ca-file")),
    ("auto-tls", Some("auto-tls"), Some("peer-auto-tls")),
    ("allowed-cn", None, Some("peer-cert-allowed-cn")),
    ("allowed-hostname", Some("client-cert-allowed-hostname"), Some("peer-cert-allowed-hostname")),
    ("skip-client-san-verification", None, Some("peer-skip-client-san-verification")),
];

const SOCKET: &[(&str, &str)] =
    &[("reuse-port", "socket-reuse-port"), ("reuse-address", "socket-reuse-address")];

const DISCOVERY: &[(&str, &str)] = &[
    ("endpoints", "discovery-endpoints"),
    ("request-timeout", "discovery-request-timeout"),
    ("dial-timeout", "discovery-dial-timeout"),
    ("keepalive-time", "discovery-keepalive-time"),
    ("keepalive-timeout", "discovery-keepalive-timeout"),
];

const DISCOVERY_SECURE: &[(&str, &str)] = &[
    ("cert", "discovery-cert"),
    ("key", "discovery-key"),
    ("cacert", "discovery-cacert"),
    ("insecure-transport", "discovery-insecure-transport"),
    ("insecure-skip-tls-verify", "discovery-insecure-skip-tls-verify"),
];

const DISCOVERY_AUTH: &[(&str, &str)] =
    &[("username", "discovery-user"), ("password", "discovery-password")];

/// Reads the file's bytes into `raw`.
pub fn read(bytes: &[u8], raw: &mut Raw) -> Result<(), String> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let document: Json = serde_saphyr::from_slice_with_options(bytes, options)
        .map_err(|error| format!("error converting YAML to JSON: {error}"))?;
    let map = match document {
        Json::Null => Map::new(),
        Json::Object(map) => map,
        other => {
            return Err(format!("the file must hold keys and values, not {}", kind_of(&other)));
        }
    };
    for flag in table::flags().filter(|flag| !NOT_KEYS.contains(&flag.name)) {
        set_from(&map, flag.name, flag, raw)?;
    }
    for (section, client) in
        [("client-transport-security", true), ("peer-transport-security", false)]
    {
        read_security(&map, section, client, raw)?;
    }
    read_section(submap(&map, "socket-options")?, SOCKET, raw)?;
    let discovery = submap(&map, "discovery-config")?;
    if let Some(token) = discovery.and_then(|map| find(map, "token")) {
        set(flag("discovery-token"), "discovery-config.token", token, raw)?;
    }
    let client = match discovery {
        Some(discovery) => submap(discovery, "client")?,
        None => None,
    };
    read_section(client, DISCOVERY, raw)?;
    if let Some(client) = client {
        read_section(submap(client, "secure")?, DISCOVERY_SECURE, raw)?;
        read_section(submap(client, "auth")?, DISCOVERY_AUTH, raw)?;
    }
    Ok(())
}

fn read_security(
    map: &Map<String, Json>,
    section: &str,
    client: bool,
    raw: &mut Raw,
) -> Result<(), String> {
    let Some(security) = submap(map, section)? else {
        return Ok(());
    };
    for (key, for_clients, for_peers) in SECURITY {
        let Some(value) = find(security, key) else {
            continue;
        };
        let path = format!("{section}.{key}");
        match if client { for_clients } else { for_peers } {
            Some(name) => set(flag(name), &path, value, raw)?,
            // A form of access control that only a file can name, and that no flag stands for.
            None if is_empty(value) => {}
            None => return Err(format!("\"{path}\" is not supported yet: remove it")),
        }
    }
    Ok(())
}

fn read_section(
    section: Option<&Map<String, Json>>,
    keys: &[(&str, &str)],
    raw: &mut Raw,
) -> Result<(), String> {
    let Some(section) = section else {
        return Ok(());
    };
    for (key, name) in keys {
        set_from(section, key, flag(name), raw)?;
    }
    Ok(())
}

fn set_from(
    map: &Map<String, Json>,
    key: &str,
    flag: &'static Flag,
    raw: &mut Raw,
) -> Result<(), String> {
    match find(map, key) {
        Some(value) => set(flag, key, value, raw),
        None => Ok(()),
    }
}

fn set(flag: &'static Flag, path: &str, json: &Json, raw: &mut Raw) -> Result<(), String> {
    if json.is_null() {
        return Ok(());
    }
    let value = convert(flag.kind, path, json)?;
    // Empty texts leave the defaults of these in place; elsewhere an empty text is a value.
    let keeps_default = matches!(
        (flag.kind, json.as_str()),
        (Kind::Urls(_) | Kind::Origins | Kind::Set(_) | Kind::Gates | Kind::OneOf(_), Some(""))
    );
    if !keeps_default {
        raw.set(flag, value);
    }
    Ok(())
}

fn convert(kind: Kind, path: &str, json: &Json) -> Result<Value, String> {
    let wanted = |what: &str| format!("\"{path}\" must be {what}, not {}", kind_of(json));
    let text = |json: &Json| {
        let quotes = match json {
            Json::Number(_) | Json::Bool(_) => ": put it in quotes",
            _ => "",
        };
        as_text(json).ok_or_else(|| format!("{}{quotes}", wanted("a text")))
    };
    let unsigned = |most: u64| as_integer::<u64>(json).filter(|value| *value <= most);
    Ok(match kind {
        Kind::Bool(_) => Value::Bool(as_bool(json).ok_or_else(|| wanted("a boolean"))?),
        Kind::Int(_) => Value::Int(as_integer(json).ok_or_else(|| wanted("an integer"))?),
        Kind::Uint(_) => {
            Value::Uint(unsigned(u64::MAX).ok_or_else(|| wanted("an integer of 0 or more"))?)
        }
        Kind::Uint32(_) => {
            let value = unsigned(u32::MAX.into());
            Value::Uint(value.ok_or_else(|| wanted("an integer from 0 to 4294967295"))?)
        }
        Kind::Duration(_) => Value::Duration(GoDuration(
            as_integer(json)
                .ok_or_else(|| wanted("an integer, in nanoseconds (600000000000 for 10m)"))?,
        )),
        Kind::Set(_) | Kind::List if json.is_array() => {
            let items = json.as_array().into_iter().flatten();
            Value::Texts(
                items
                    .map(|item| as_text(item).ok_or_else(|| wanted("a list of texts")))
                    .collect::<Result<_, _>>()?,
            )
        }
        Kind::List => return Err(wanted("a list of texts")),
        _ => {
            let text = text(json)?;
            match kind {
                _ if text.is_empty() && !matches!(kind, Kind::Text(_)) => Value::default_of(kind),
                // Checked with everything else, under etcd's own text.
                Kind::OneOf(_) => Value::Text(text),
                // etcd reads this key and does not look at it.
                Kind::SomeOf(_) => Value::Texts(vec![text]),
                _ => Value::parse(kind, &text)
                    .map_err(|why| format!("unexpected error setting up {path}: {why}"))?,
            }
        }
    })
}

/// YAML 1.1 has more words for the two than YAML 1.2.
fn as_bool(json: &Json) -> Option<bool> {
    match json {
        Json::Bool(value) => Some(*value),
        Json::String(text) => match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" => Some(true),
            "no" | "off" | "n" => Some(false),
            _ => parse_bool(text).ok(),
        },
        _ => None,
    }
}

/// Returns a whole number, also one in YAML's form for others: `1e3`, `1000.0`, `1_0.0`.
fn as_integer<T: TryFrom<i128>>(json: &Json) -> Option<T> {
    let whole = match json {
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => i128::from(value),
            (None, Some(value)) => i128::from(value),
            (None, None) => whole(number.as_f64()?)?,
        },
        // Only YAML 1.1 has underscores in numbers.
        Json::String(text) if text.contains('_') && text.starts_with(|c: char| c != '_') => {
            let plain = text.replace('_', "");
            plain.parse().ok().or_else(|| whole(plain.parse().ok()?))?
        }
        _ => return None,
    };
    T::try_from(whole).ok()
}

fn whole(value: f64) -> Option<i128> {
    // Above it no setting has a value, and beyond i128 the conversion would not be exact.
    (value.fract() == 0.0 && value.abs() < 1e30).then_some(value as i128)
}

fn as_text(json: &Json) -> Option<String> {
    json.as_str().map(str::to_string)
}

fn is_empty(json: &Json) -> bool {
    match json {
        Json::Null | Json::Bool(false) => true,
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn flag(name: &str) -> &'static Flag {
    table::flag(name).unwrap_or_else(|| panic!("--{name} is not in the table of flags"))
}

fn find<'a>(map: &'a Map<String, Json>, key: &str) -> Option<&'a Json> {
    map.get(key).or_else(|| {
        map.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
    })
}

fn submap<'a>(
    map: &'a Map<String, Json>,
    key: &str,
) -> Result<Option<&'a Map<String, Json>>, String> {
    match find(map, key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Object(inner)) => Ok(Some(inner)),
        Some(_) => Err(format!("invalid {key}")),
    }
}

fn kind_of(json: &Json) -> String {
    match json {
        Json::Null => "nothing".to_string(),
        Json::Bool(value) => format!("the boolean {value}"),
        Json::Number(value) => format!("the number {value}"),
        Json::String(value) => format!("the text {value:?}"),
        Json::Array(_) => "a list".to_string(),
        Json::Object(_) => "a map".to_string(),
    }
}
