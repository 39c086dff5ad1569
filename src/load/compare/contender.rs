//! Who is compared: a program and how it is spoken to.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::{ServerKind, on_path};
use crate::load::arguments::CompareArguments;
use crate::load::wire::Protocol;

/// What a scenario set calls those that it has arguments for.
pub(super) const CLASSES: [&str; 3] = ["Braid, frames", "Braid, gRPC", "etcd, gRPC"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) kind: ServerKind,
    pub(super) program: PathBuf,
    pub(super) protocol: Protocol,
}

impl Contender {
    /// One of [`CLASSES`].
    pub(super) fn class(&self) -> &'static str {
        match (self.kind, self.protocol) {
            (ServerKind::Braid, Protocol::Frames) => CLASSES[0],
            (ServerKind::Braid, Protocol::Grpc) => CLASSES[1],
            (ServerKind::Etcd, _) => CLASSES[2],
        }
    }

    /// Whom the arguments name, the one that the others are compared with last. All that is missing
    /// is said at once.
    pub(super) fn all(
        arguments: &CompareArguments,
        generator: &Path,
    ) -> Result<Vec<Contender>, String> {
        let mut missing = Vec::new();
        let braid = || {
            let beside = || generator.with_file_name("braid");
            arguments.braid.clone().unwrap_or_else(beside)
        };
        let contenders = match (&arguments.a, &arguments.b) {
            (Some(a), Some(b)) => {
                let named = [("B", b), ("A", a)];
                named.map(|(name, program)| of_program(name, program, arguments.protocol)).to_vec()
            }
            _ if arguments.aa => {
                let braid = braid();
                let named = ["A again", "A"];
                named.map(|name| of_program(name, &braid, arguments.protocol)).to_vec()
            }
            _ => {
                let etcd = arguments.etcd.clone().or_else(|| on_path("etcd"));
                if etcd.is_none() {
                    missing.push(
                        "an etcd on PATH: say where it is with --etcd; perf/README.md of Braid's \
                         sources says how to get it"
                            .to_owned(),
                    );
                }
                braid_and_etcd(&braid(), &etcd.unwrap_or_else(|| PathBuf::from("etcd")))
            }
        };
        for contender in &contenders {
            let is_known_missing = contender.kind == ServerKind::Etcd && !missing.is_empty();
            if !contender.program.is_file() && !is_known_missing {
                let (name, path) = (&contender.name, contender.program.display());
                missing.push(format!("{name} at {path}: say where it is with --braid or --etcd"));
            }
        }
        missing.dedup();
        match &missing[..] {
            [] => Ok(contenders),
            all => Err(format!("compare needs, and did not find\n  {}", all.join("\n  "))),
        }
    }
}

fn braid_and_etcd(braid: &Path, etcd: &Path) -> Vec<Contender> {
    let of = |class: usize, kind, program: &Path, protocol| Contender {
        name: CLASSES[class].to_owned(),
        kind,
        program: program.to_owned(),
        protocol,
    };
    vec![
        of(0, ServerKind::Braid, braid, Protocol::Frames),
        of(1, ServerKind::Braid, braid, Protocol::Grpc),
        of(2, ServerKind::Etcd, etcd, Protocol::Grpc),
    ]
}

/// A program that says itself what it is; Braid is spoken to in frames, if nothing else is asked.
fn of_program(name: &str, program: &Path, protocol: Option<Protocol>) -> Contender {
    let output = Command::new(program).arg("--version").output();
    let said = output.map(|output| output.stdout).unwrap_or_default();
    let is_etcd = said.starts_with(b"etcd Version");
    let (kind, own) = match is_etcd {
        true => (ServerKind::Etcd, Protocol::Grpc),
        false => (ServerKind::Braid, Protocol::Frames),
    };
    let protocol = if is_etcd { own } else { protocol.unwrap_or(own) };
    Contender { name: name.to_owned(), kind, program: program.to_owned(), protocol }
}
