//! The texts of `--help` and `--version`.

use std::fmt::Write as _;

use super::gates;
use super::table::{self, GROUPS, Kind, Standing};

/// The release of etcd whose flags, API and answers these are.
pub const ETCD_VERSION: &str = "3.7.1";
/// Its minor release: what `--cluster-version` and the storage show.
pub const ETCD_CLUSTER_VERSION: &str = "3.7.0";
/// Our own release.
pub const BRAID_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the line that says how the program is called.
pub fn usage() -> String {
    "Usage:

  braid [flags]
    Start a Braid server, which takes etcd's flags.

  braid --version
    Print the version: etcd's whose API is served, and Braid's own.

  braid -h | --help
    Print every flag.

  braid --config-file FILE
    Read the settings from a YAML or JSON file. Flags and variables are then not read.
    Durations are integers there, in nanoseconds: 600000000000 for 10m.
"
    .to_string()
}

/// Returns every flag, grouped as etcd groups them; those that are not there yet come last, in one
/// list.
pub fn flags() -> String {
    let mut text = String::new();
    for group in GROUPS {
        let mut flags = group.flags.iter().filter(|flag| flag.standing != Standing::Absent);
        let Some(first) = flags.next() else { continue };
        let _ = writeln!(text, "\n{}:", group.title);
        for flag in std::iter::once(first).chain(flags) {
            match default_text(flag.kind) {
                Some(default) => {
                    let _ = writeln!(text, "  --{} '{default}'", flag.name);
                }
                None => {
                    let _ = writeln!(text, "  --{}", flag.name);
                }
            }
            let _ = writeln!(text, "    {}", flag.help);
            match flag.standing {
                Standing::Served | Standing::Absent => {}
                Standing::Inert(why) => {
                    let _ = writeln!(text, "    Accepted without effect: {why}.");
                }
            }
            if let Kind::Gates = flag.kind {
                for gate in gates::describe() {
                    let _ = writeln!(text, "    {gate}");
                }
            }
        }
    }
    text.push_str("\nNot yet; any value but the default is refused:\n");
    text.push_str(&wrapped(absent()));
    text.push_str(
        "\nEvery flag can be set by a variable: ETCD_ and the name in capitals, with _ for -.\n\
         Braid's own flags have BRAID_ there. A flag and its variable at once are refused.\n",
    );
    text
}

/// Returns the flags whose features are not there yet.
fn absent() -> impl Iterator<Item = String> {
    let absent = table::flags().filter(|flag| flag.standing == Standing::Absent);
    absent.map(|flag| format!("--{}", flag.name))
}

/// Words in indented lines.
fn wrapped(words: impl Iterator<Item = String>) -> String {
    const WIDTH: usize = 96;
    let mut text = String::new();
    let mut column = 0;
    for word in words {
        if column == 0 || column + 1 + word.len() > WIDTH {
            text.push_str(if column == 0 { "  " } else { "\n  " });
            column = 2 + word.len();
        } else {
            text.push(' ');
            column += 1 + word.len();
        }
        text.push_str(&word);
    }
    text.push('\n');
    text
}

/// Returns etcd's four lines of `--version`, and ours.
pub fn version() -> String {
    format!(
        "etcd Version: {ETCD_VERSION}\n\
         Git SHA: {}\n\
         Go Version: none\n\
         Go OS/Arch: {}/{}\n\
         Braid Version: {BRAID_VERSION}\n",
        option_env!("BRAID_GIT_SHA").unwrap_or("not recorded"),
        std::env::consts::OS,
        go_arch(),
    )
}

/// Returns Go's name of the architecture.
pub fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn default_text(kind: Kind) -> Option<String> {
    Some(match kind {
        Kind::Bool(value) => value.to_string(),
        Kind::Int(value) => value.to_string(),
        Kind::Uint(value) => value.to_string(),
        Kind::Uint32(value) => value.to_string(),
        Kind::Duration(value) => value.to_string(),
        Kind::Text(value) | Kind::Urls(value) | Kind::Set(value) => value.to_string(),
        Kind::OneOf(choices) => choices[0].to_string(),
        Kind::Origins => "*".to_string(),
        Kind::SomeOf(_) | Kind::List | Kind::Gates => return None,
    })
}
