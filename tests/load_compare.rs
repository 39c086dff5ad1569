//! Comparisons and searches of the load generator, as processes: whom they find, what stays behind.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Server, program, scratch};
use serde_json::Value;

/// Two scenarios, as small as they go.
const SET: &str = "\
name: tiny
repetitions: 2
warm_up: 0ms
duration: 400ms
scenarios:
  - name: put
    run: [--workload=put, --keyspace=100, --outstanding=4]
  - name: get
    run: [--workload=get, --keyspace=100, --outstanding=4]
    preload: true
";

fn compare(folder: &Path, set: &str, flags: &[&str]) -> Command {
    let file = folder.join("tiny.yaml");
    fs::write(&file, set).expect("write the set");
    let mut command = Command::new(env!("CARGO_BIN_EXE_braid-load"));
    command
        .arg("compare")
        .args(flags)
        .arg(format!("--scenarios={}", file.display()))
        .arg(format!("--scratch={}", folder.join("scratch").display()))
        .arg(format!("--results={}", folder.join("results").display()));
    command
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

#[test]
fn a_comparison_says_all_that_it_needs() {
    let folder = scratch();
    let output = Command::new(env!("CARGO_BIN_EXE_braid-load"))
        .args(["compare", "--braid=nowhere/braid"])
        .env("PATH", "")
        .current_dir(folder.path())
        .output()
        .expect("run braid-load");
    assert_eq!(output.status.code(), Some(2));
    let text = said(&output);
    for need in ["nowhere/braid", "--braid", "an etcd on PATH", "--etcd"] {
        assert!(text.contains(need), "{need}: {text}");
    }
    assert!(is_empty(folder.path()), "nothing is made");
    let output = compare(folder.path(), "name: x", &["--aa"]).output().expect("run braid-load");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("missing field"), "{output:?}");
}

/// Every repetition's figures are kept, each from a server of its own, and a ratio has an interval.
#[test]
fn a_program_is_compared_with_itself() {
    let folder = scratch();
    let mut command = compare(folder.path(), SET, &["--aa"]);
    let output = command.output().expect("run braid-load");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let json = fs::read(folder.path().join("results/tiny.json")).expect("the JSON");
    let json: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["reference"], "A");
    let scenarios = json["scenarios"].as_array().expect("scenarios");
    assert_eq!(scenarios.len(), 2);
    for scenario in scenarios {
        let results = scenario["results"].as_array().expect("results");
        assert_eq!(results.len(), 2, "{scenario}");
        for result in results {
            let rates: Vec<f64> = result["repetitions"]
                .as_array()
                .expect("repetitions")
                .iter()
                .map(|one| one["per_second"].as_f64().expect("a rate"))
                .collect();
            assert!(rates.len() == 2 && rates.iter().any(|&rate| rate > 0.0), "{rates:?}");
        }
        let ratio = &results[0]["throughput_ratio"];
        assert!(ratio["interval"][0].as_f64() < ratio["interval"][1].as_f64(), "{ratio}");
        assert_eq!(results[1]["throughput_ratio"], Value::Null, "the reference itself");
    }
    let file = folder.path().join("results/tiny.json");
    let diff = Command::new(env!("CARGO_BIN_EXE_braid-load"))
        .args(["diff".as_ref(), file.as_os_str(), file.as_os_str()])
        .output()
        .expect("run braid-load");
    assert_eq!(diff.status.code(), Some(0), "{diff:?}");
    assert!(
        said(&diff).contains("put, A\n  throughput of B, of that of A: no difference"),
        "{diff:?}"
    );
    assert!(is_empty(&folder.path().join("scratch")), "servers take their directories along");
}

/// The highest rate that holds, or that there is none.
#[test]
fn a_rate_is_looked_for() {
    let folder = scratch();
    let json = folder.path().join("find.json");
    let server = Server::start(&program(), &[]);
    let find = |flags: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_braid-load"))
            .args(["find", "-d=200ms", "--warm-up=0", "--repetitions=1", "--keyspace=100"])
            .arg(format!("--endpoints={}", server.endpoint()))
            .arg(format!("--json={}", json.display()))
            .args(flags)
            .output()
            .expect("run braid-load")
    };
    let output = find(&["--slo=p50<10s,errors<50%", "--from=50", "--most=100"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said(&output).contains("put: at least 100/s holds p50<10.0 s"), "{output:?}");
    let value: Value = serde_json::from_slice(&fs::read(&json).expect("the JSON")).expect("JSON");
    assert_eq!((&value["rate"], &value["is_bound"]), (&100.0.into(), &true.into()));
    assert_eq!(value["probes"][0]["rate"], 50.0);
    // Not even one request a second is answered within a nanosecond.
    let output = find(&["--slo=mean<0.001us", "--from=40"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("no rate holds mean<"), "{output:?}");
    let output = find(&["--rate=5"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

/// One server that is down from the start ended the run; of two, nobody could tell which was slow.
#[test]
fn of_several_servers_one_may_be_down_and_each_has_its_figures() {
    let folder = scratch();
    let json = folder.path().join("run.json");
    let server = Server::start(&program(), &[]);
    let down = common::free_port();
    let output = Command::new(env!("CARGO_BIN_EXE_braid-load"))
        .args(["run", "--requests=200", "--connections=4", "--keyspace=100"])
        .arg(format!("--endpoints=127.0.0.1:{down},{}", server.endpoint()))
        .arg(format!("--json={}", json.display()))
        .output()
        .expect("run braid-load");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let value: Value = serde_json::from_slice(&fs::read(&json).expect("the JSON")).expect("JSON");
    let of = |at: usize| &value["by_endpoint"][at]["answered"];
    assert_eq!((of(0), of(1)), (&0.into(), &200.into()), "{value}");
    assert_eq!(value["attempts"]["count"], 2, "two of four clients went elsewhere: {value}");
    assert!(said(&output).contains(&format!("at {}", server.endpoint())), "{output:?}");
}

/// What finds nothing measures nothing.
#[test]
fn a_comparison_in_which_every_key_is_missed_is_not_good() {
    let folder = scratch();
    let set = SET.replace("    preload: true\n", "");
    let mut command = compare(folder.path(), &set, &["--aa", "--only=get", "--repetitions=1"]);
    let output = command.output().expect("run braid-load");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("EVERY KEY WAS MISSED"), "{output:?}");
}

/// Servers ran on, and their directories stayed.
#[test]
fn a_comparison_that_is_ended_leaves_no_server_behind() {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let folder = scratch();
        let set = SET.replace("400ms", "3s");
        let mut command = compare(folder.path(), &set, &["--aa"]);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("run braid-load");
        let servers = || -> Vec<u32> {
            let all = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
            let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            let scratch = folder.path().join("scratch").display().to_string();
            let is_server = |pid: &u32| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).into_owned();
                line.contains(&scratch) && line.contains("--data-dir=")
            };
            pids.filter(is_server).collect()
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let until = |done: &dyn Fn() -> bool, what: &str| {
            while !done() {
                assert!(Instant::now() < deadline, "{what}");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        until(&|| !servers().is_empty(), "a server starts");
        // SAFETY: no memory is touched; the child has not been waited for, so the pid is its.
        unsafe { libc::kill(child.id() as libc::pid_t, signal) };
        let status = child.wait().expect("it ends");
        until(&|| servers().is_empty(), "no server is left");
        if signal == libc::SIGTERM {
            assert_eq!(status.code(), Some(2));
            assert!(is_empty(&folder.path().join("scratch")), "and no directory");
        }
    }
}
