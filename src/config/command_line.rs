//! Go's `flag` syntax: `-x`, `--x`, `--x=v`, `--x v`; a boolean never takes the next argument.

use crate::gotext::{parse_bool, quote};

use super::exit::Exit;
use super::help;
use super::raw::Raw;
use super::table::{self, LEGACY};

/// Reads the arguments (without the program's name) into `raw`.
///
/// What is no flag at all ends the reading; etcd has no positional arguments and says so.
pub fn read(arguments: &[String], raw: &mut Raw) -> Result<(), Exit> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let name_and_value = match argument.as_bytes() {
            [b'-', b'-'] => return rest.next().map_or(Ok(()), |next| Err(positional(next))),
            [b'-', b'-', ..] => &argument[2..],
            [b'-', _, ..] => &argument[1..],
            _ => return Err(positional(argument)),
        };
        if name_and_value.is_empty() || name_and_value.starts_with(['-', '=']) {
            return Err(usage(format!("bad flag syntax: {argument}")));
        }
        let (name, value) = match name_and_value.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name_and_value, None),
        };
        if LEGACY.contains(&name) {
            continue;
        }
        let Some(flag) = table::flag(name) else {
            return Err(match name {
                "help" | "h" => Exit::print(format!("{}{}", help::usage(), help::flags())),
                _ => usage(format!("flag provided but not defined: -{name}")),
            });
        };
        if flag.is_bool() {
            let text = value.unwrap_or("true");
            if parse_bool(text).is_err() {
                return Err(usage(format!(
                    "invalid boolean value {} for -{name}: parse error",
                    quote(text)
                )));
            }
            raw.parse_and_set(flag, text).expect("a boolean just read");
            continue;
        }
        let text = match value {
            Some(value) => value,
            None => rest.next().ok_or_else(|| usage(format!("flag needs an argument: -{name}")))?,
        };
        raw.parse_and_set(flag, text).map_err(|why| {
            usage(format!("invalid value {} for flag -{name}: {why}", quote(text)))
        })?;
    }
    Ok(())
}

fn usage(message: String) -> Exit {
    Exit::usage(format!("{message}\n{}", help::usage()))
}

fn positional(argument: &str) -> Exit {
    Exit::refused(Vec::new(), format!("{} is not a valid flag", quote(argument)))
}
