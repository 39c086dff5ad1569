//! The table of cases: every file of `tests/cases/` against a real server.
//!
//! Braid is asked over frames and over gRPC, with one, two and five shards; no answer may depend on
//! either. The table itself is proven by running it against etcd.
//!
//! | variable | |
//! |---|---|
//! | `BRAID_CASES_ETCD` | path of an etcd 3.7.1: the table runs against that instead |
//! | `BRAID_CASES` | only files whose path has this text |
//! | `BRAID_CASES_REGENERATE` | write what the server answers into the files; read the diff! |

mod common;
mod script;

use std::env;
use std::path::Path;

use braid::client::Transport;
use common::{Program, Server, scratch};
use script::{CaseFile, Target};

#[test]
fn the_table_holds_with_one_shard() {
    table(1);
}

#[test]
fn the_table_holds_with_two_shards() {
    table(2);
}

#[test]
fn the_table_holds_with_five_shards() {
    table(5);
}

/// The same table on members in this process, with more shapes than processes are started for.
#[test]
fn the_table_holds_inside_the_process() {
    let only = env::var("BRAID_CASES").unwrap_or_default();
    let mut failures = Vec::new();
    for (cores, shards) in [(1, 1), (1, 3), (3, 1), (2, 2), (2, 5), (3, 4), (4, 16)] {
        for file in files(&only).iter().filter(|file| !file.only_grpc && !file.only_outside) {
            let flags = file.server.clone().unwrap_or_default();
            let mut target = Target::inside(cores, shards, &flags);
            if file.server.is_none() {
                target.clear();
            }
            let shape = format!("{cores} cores, {shards} shards");
            failures.extend(difference(file, &target.run(file), "inside", &[&shape]));
        }
    }
    report(&failures);
}

fn files(only: &str) -> Vec<CaseFile> {
    CaseFile::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"), only)
}

fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} cases differ:\n\n{}", failures.len(), failures.join("\n"));
}

fn table(shards: u32) {
    let only = env::var("BRAID_CASES").unwrap_or_default();
    let files = files(&only);
    let regenerate = env::var_os("BRAID_CASES_REGENERATE").is_some();
    let mut failures = Vec::new();
    match env::var_os("BRAID_CASES_ETCD") {
        // etcd has no shards: one of the three runs says it all.
        Some(_) if shards != 1 => {}
        Some(path) => {
            let etcd = Program::Etcd(path.into());
            failures.extend(run(&files, &etcd, &[], Transport::Grpc, regenerate));
        }
        None => {
            let flag = format!("--shards={shards}");
            for transport in [Transport::Frames, Transport::Grpc] {
                let regenerate = regenerate && shards == 1 && transport == Transport::Grpc;
                failures.extend(run(&files, &Program::Braid, &[&flag], transport, regenerate));
            }
        }
    }
    report(&failures);
}

/// Runs every file and returns how the answers differ.
fn run(
    files: &[CaseFile],
    program: &Program,
    flags: &[&str],
    transport: Transport,
    regenerate: bool,
) -> Vec<String> {
    let shared = Server::start(program, flags);
    let mut shared_target = Target::connect(&shared.endpoint(), transport);
    let mut failures = Vec::new();
    for file in files.iter().filter(|file| !file.only_grpc || transport == Transport::Grpc) {
        let printed = match &file.server {
            None => {
                shared_target.clear();
                shared_target.run(file)
            }
            Some(own_flags) => {
                let shape = flags.iter().map(|flag| (*flag).to_owned());
                let all: Vec<String> = shape.chain(own_flags.iter().cloned()).collect();
                Target::own(own_server(program.clone(), all), transport).run(file)
            }
        };
        if regenerate {
            let lost = printed.iter().flatten().any(|line| line.starts_with("no answer"));
            if lost {
                failures.push(format!("{}: {printed:#?}", file.path.display()));
            } else {
                file.write(&printed);
            }
        } else {
            failures.extend(difference(file, &printed, &format!("{transport:?}"), flags));
        }
    }
    failures
}

/// Starts the server on a directory of its own, and again on the same one after killing it.
fn own_server(program: Program, flags: Vec<String>) -> Box<dyn FnMut() -> String> {
    let directory = scratch();
    let mut running: Option<Server> = None;
    Box::new(move || {
        // A server that is dropped is killed.
        drop(running.take());
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = Server::start_in(&program, &directory.path().join("d"), &flags);
        running.insert(server).endpoint()
    })
}

fn difference(
    file: &CaseFile,
    printed: &[Vec<String>],
    reach: &str,
    flags: &[&str],
) -> Option<String> {
    let mut report = String::new();
    for (block, printed) in file.blocks.iter().zip(printed) {
        if block.expected == *printed {
            continue;
        }
        let list = |title: &str, lines: &[String]| {
            let lines: Vec<String> = lines.iter().map(|line| format!("    {line}\n")).collect();
            format!("  {title}\n{}", lines.concat())
        };
        report.push_str(&list("asked", &block.input));
        report.push_str(&list("expected", &block.expected));
        report.push_str(&list("answered", printed));
    }
    let path = file.path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&file.path);
    let title = format!("{} ({reach} {}):", path.display(), flags.join(" "));
    if report.is_empty() { None } else { Some(format!("{title}\n{report}")) }
}
