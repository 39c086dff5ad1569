//! The load generator against the real server, both as processes: tiny runs of everything.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use common::{Server, program, scratch};
use serde_json::Value;

fn load(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_braid-load")).args(arguments).output();
    output.expect("run braid-load")
}

/// Runs, must succeed, and yields the JSON.
fn run(server: &str, folder: &Path, arguments: &[&str]) -> Value {
    let json = folder.join("run.json");
    let (endpoints, json_flag) =
        (format!("--endpoints={server}"), format!("--json={}", json.display()));
    let mut all = vec!["run", &endpoints, &json_flag, "--keyspace=200", "--outstanding=8"];
    all.extend(arguments);
    let output = load(&all);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&fs::read(json).expect("the JSON")).expect("JSON")
}

/// Which protocol a server answers is found out; which one was measured is in the report.
#[test]
fn the_protocol_is_the_one_that_the_server_answers() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    let json = run(&server.endpoint(), folder.path(), &["--requests=10"]);
    let spoken = if program().is_etcd() { "grpc" } else { "frames" };
    assert_eq!((&json["protocol"], &json["answered_in_all"]), (&spoken.into(), &10.into()));
}

fn protocols() -> &'static [&'static str] {
    if program().is_etcd() {
        &["--protocol=grpc"]
    } else {
        &["--protocol=frames", "--protocol=grpc"]
    }
}

#[test]
fn every_workload_gets_its_answers() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    for protocol in protocols() {
        for workload in [
            "put",
            "get",
            "get-serializable",
            "range",
            "prefix",
            "delete",
            "cas",
            "txn",
            "one-key",
            "kubernetes:5",
            "put=1,get=3",
            "lease-grant",
        ] {
            let workload = format!("--workload={workload}");
            let pace =
                if workload.contains("kubernetes") { "--closed-loop" } else { "--threads=1" };
            let flags =
                [*protocol, &workload, "--requests=300", "--preload", "--connections=2", pace];
            let json = run(&server.endpoint(), folder.path(), &flags);
            assert_eq!(json["answered_in_all"], 300, "{protocol} {workload}: {json}");
            assert_eq!(json["total"]["latency"]["count"], 300, "{protocol} {workload}");
            assert_eq!(json["errors"], serde_json::json!({}), "{protocol} {workload}");
        }
    }
}

/// It was a closed loop in which nodes wrote over one another, and nobody watched.
#[test]
fn a_kubernetes_cluster_has_its_rate_its_watchers_and_no_conflicts() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    let flags = [protocols()[0], "-w=kubernetes:100", "--preload", "-d=2s", "--threads=2", "-c=4"];
    let json = run(&server.endpoint(), folder.path(), &flags);
    assert_eq!(json["errors"], serde_json::json!({}), "{json}");
    // 50.1 requests per second in a Poisson stream.
    let due = json["total"]["latency"]["count"].as_u64().expect("a count");
    assert!((60..=145).contains(&due), "{due} in 2 s");
    for name in ["lease", "status", "pod-write", "event"] {
        assert_eq!(row(&json, name)["missed"], 0, "a guard of {name} has failed: {json}");
    }
    let writes = ["lease", "status", "pod-write", "event"]
        .map(|name| row(&json, name)["answered"].as_u64().expect("a count"));
    let events = json["facts"]["events of API server watchers"].as_f64().expect("events");
    assert!(events >= writes.iter().sum::<u64>() as f64, "{events} of {writes:?}");
}

#[test]
fn what_was_put_before_is_found() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    for protocol in protocols() {
        let flags = [*protocol, "--workload=get", "--requests=500"];
        let [missed, found] = [&flags[..], &[&flags[..], &["--preload"]].concat()]
            .map(|flags| run(&server.endpoint(), folder.path(), flags)["total"]["missed"].as_u64());
        let first = protocol == protocols().first().expect("one");
        assert_eq!(missed, Some(if first { 500 } else { 0 }), "{protocol}");
        assert_eq!(found, Some(0), "{protocol}");
    }
}

/// Values above a frame and above a stream's first window of HTTP/2.
#[test]
fn large_values_pass() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    for protocol in protocols() {
        let flags = [*protocol, "--value-size=200KiB", "--requests=60"];
        let json = run(&server.endpoint(), folder.path(), &flags);
        assert_eq!((&json["answered_in_all"], &json["total"]["failed"]), (&60.into(), &0.into()));
        let flags = [*protocol, "--workload=get", "--requests=60", "--distribution=zipf"];
        assert_eq!(run(&server.endpoint(), folder.path(), &flags)["answered_in_all"], 60);
    }
}

#[test]
fn an_open_loop_writes_its_reports() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let (html, log) = (path("page.html"), path("run.hlog"));
    let flags = [
        protocols()[0],
        "--rate=400",
        "--poisson",
        "--warm-up=100ms",
        "--duration=1s",
        "--interval=250ms",
        &format!("--html={}", html.display()),
        &format!("--hdr-log={}", log.display()),
    ];
    let json = run(&server.endpoint(), folder.path(), &flags);
    let intervals = json["intervals"].as_array().expect("intervals");
    assert_eq!(intervals.iter().filter(|interval| interval["drain"] == false).count(), 4);
    let due = json["total"]["latency"]["count"].as_u64().expect("a count");
    assert!((250..=550).contains(&due), "{due} due in a second at 400/s");
    // What was due is measured from then, never from later.
    let total = &json["total"];
    assert!(total["latency"]["p50"].as_u64() >= total["service"]["p50"].as_u64(), "{total}");
    assert!(fs::read_to_string(html).expect("the page").contains("\"kind\":\"runs\""));
    let log = fs::read_to_string(log).expect("the log");
    // One for each interval; what came in the drain has one more.
    let lines = log.lines().filter(|line| line.starts_with("Tag=put,")).count();
    assert!((4..=5).contains(&lines), "{log}");
}

#[test]
fn acknowledged_changes_are_verified_and_a_loss_is_found() {
    let mut server = Server::start(&program(), &[]);
    let folder = scratch();
    let acks = folder.path().join("acks");
    let acks_flag = format!("--acks={}", acks.display());
    let workload = "--workload=put=3,delete=1,cas=2,txn=1";
    run(
        &server.endpoint(),
        folder.path(),
        &[protocols()[0], workload, "--requests=400", &acks_flag],
    );
    let lines = fs::read_to_string(&acks).expect("the log").lines().count();
    assert!(lines > 200, "{lines}");
    for protocol in protocols() {
        let endpoints = format!("--endpoints={}", server.endpoint());
        let check = || load(&["check", &endpoints, protocol, &acks_flag]);
        let output = check();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.starts_with(&format!("{lines} acknowledged changes are there")), "{text}");
        // A change that nobody ever made.
        let whole = fs::read_to_string(&acks).expect("the log");
        fs::write(&acks, format!("{whole}2\tP\tload/99999999999\t0000000000000001\n"))
            .expect("write");
        let output = check();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("not there"), "{output:?}");
        fs::write(&acks, whole).expect("write");
    }
    server.kill();
}

#[test]
fn a_server_that_dies_is_an_error_and_not_the_end() {
    let mut server = Server::start(&program(), &[]);
    let folder = scratch();
    let json = folder.path().join("run.json");
    let mut child = Generator(
        Command::new(env!("CARGO_BIN_EXE_braid-load"))
            .args(["run", "--warm-up=0", "--duration=3s", "--interval=50ms", protocols()[0]])
            .arg(format!("--endpoints={}", server.endpoint()))
            .arg(format!("--json={}", json.display()))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("run braid-load"),
    );
    // A live line with a rate says that requests are answered; the first ones may come too early.
    let mut stderr = BufReader::new(child.0.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("/s ") || line.contains(" 0.00/s") {
        line.clear();
        assert!(stderr.read_line(&mut line).expect("a live line") > 0, "no request was answered");
    }
    server.kill();
    let drain = std::thread::spawn(move || std::io::read_to_string(stderr));
    assert_eq!(child.0.wait().expect("the generator").code(), Some(1), "64 requests are lost");
    drain.join().expect("no panic").expect("text");
    let json: Value = serde_json::from_slice(&fs::read(json).expect("the JSON")).expect("JSON");
    assert!(json["total"]["answered"].as_u64() > Some(0), "{json}");
    assert_eq!(json["errors"]["connection lost"]["count"], 64, "{}", json["errors"]);
    assert_eq!(json["total"]["failed"], 64, "attempts to connect are no requests: {json}");
    assert!(json["attempts"]["count"].as_u64() > Some(0), "{json}");
}

/// A server that does nothing, and its address.
fn null() -> (Generator, String) {
    let mut null = Generator(
        Command::new(env!("CARGO_BIN_EXE_braid-load"))
            .args(["null", "--listen=127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("run braid-load"),
    );
    let mut line = String::new();
    let mut stdout = BufReader::new(null.0.stdout.take().expect("piped"));
    stdout.read_line(&mut line).expect("its address");
    let address = line.trim().rsplit(' ').next().expect("an address").to_owned();
    (null, address)
}

/// What a run said whose server was stopped for good once it had answered something.
struct Stopped {
    code: Option<i32>,
    json: Value,
    log: String,
    said: String,
}

fn run_against_a_server_that_stops(flags: &[&str]) -> Stopped {
    let (null, address) = null();
    let folder = scratch();
    let (json, log) = (folder.path().join("run.json"), folder.path().join("run.hlog"));
    let mut child = Generator(
        Command::new(env!("CARGO_BIN_EXE_braid-load"))
            .args(["run", "--warm-up=0", "--interval=50ms", "-d=1s", "--drain=300ms"])
            .args(flags)
            .arg(format!("--endpoints={address}"))
            .arg(format!("--json={}", json.display()))
            .arg(format!("--hdr-log={}", log.display()))
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run braid-load"),
    );
    let mut stderr = BufReader::new(child.0.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("/s ") || line.contains(" 0/s") {
        line.clear();
        assert!(stderr.read_line(&mut line).expect("a live line") > 0, "nothing was answered");
    }
    // SAFETY: no memory is touched; the child has not been waited for, so the pid is its.
    unsafe { libc::kill(null.0.id() as libc::pid_t, libc::SIGSTOP) };
    let live = std::io::read_to_string(stderr).expect("text");
    let stdout = child.0.stdout.take().expect("piped");
    let said = live + &std::io::read_to_string(stdout).expect("text");
    let code = child.0.wait().expect("the generator").code();
    let json = serde_json::from_slice(&fs::read(json).expect("the JSON")).expect("JSON");
    Stopped { code, json, log: fs::read_to_string(log).expect("the log"), said }
}

/// A run whose server had stopped for good said p99 3.95 ms, max 11.5 ms and exit 0.
#[test]
fn requests_without_an_answer_count_with_the_time_they_waited() {
    for flags in [
        &["--rate=2000", "--outstanding=4096"][..],
        &["--rate=2000", "--outstanding=8"],
        &["--outstanding=8"],
        &["--outstanding=8", "--protocol=grpc"],
    ] {
        let Stopped { code, json, said, .. } = run_against_a_server_that_stops(flags);
        assert_eq!(code, Some(1), "{flags:?}: {said}");
        assert!(said.contains("not a good run"), "{said}");
        let unanswered = json["errors"]["unanswered"]["count"].as_u64().expect("some");
        let all = json["answered_in_all"].as_u64().expect("a count")
            + unanswered
            + json["unsent"].as_u64().expect("a count");
        let latency = &json["total"]["latency"];
        assert_eq!(latency["count"], all, "{flags:?}: {json}");
        // Who was asked last has waited all of the drain.
        assert!(latency["max"].as_u64() >= Some(300_000_000), "{flags:?}: {latency}");
        if flags[0] == "--rate=2000" {
            assert_eq!(all, 2000, "every request that was due counts once: {json}");
            assert!(said.contains("OVERLOAD: asked 2000/s, reached"), "{said}");
        }
        let empty: Vec<&Value> = json["intervals"]
            .as_array()
            .expect("intervals")
            .iter()
            .filter(|interval| interval["p99"].is_null())
            .collect();
        assert!(!empty.is_empty(), "intervals without an answer show none: {json}");
        assert!(said.lines().any(|line| line.contains("0/s  p50        -")), "{said}");
    }
}

/// The table said p99 2.96 s and the log 1.27 ms: the drain was not in it.
#[test]
fn the_log_the_intervals_and_the_table_have_the_same_requests() {
    let flags = ["--rate=2000", "--outstanding=4096"];
    let Stopped { json, log, .. } = run_against_a_server_that_stops(&flags);
    let total = &json["total"]["latency"];
    let from_log = histogram_of(&log, "put");
    assert_eq!(total["count"], from_log.len());
    assert_eq!(total["p99"], from_log.value_at_quantile(0.99));
    assert_eq!(total["max"], from_log.max());
    let intervals = json["intervals"].as_array().expect("intervals");
    let heat = intervals.iter().flat_map(|interval| interval["heat"].as_object().expect("heat"));
    let heat: u64 = heat.map(|(_, count)| count.as_u64().expect("a count")).sum();
    assert_eq!(total["count"], heat);
    assert_eq!(intervals.last().map(|last| &last["drain"]), Some(&true.into()));
}

/// A run that is shorter than an interval had none.
#[test]
fn a_short_run_has_an_interval() {
    let (_null, address) = null();
    let folder = scratch();
    let log = folder.path().join("run.hlog");
    let flag = format!("--hdr-log={}", log.display());
    for threads in ["--threads=1", "--threads=2"] {
        let flags = ["--requests=500", &flag, threads, "--connections=2"];
        let json = run(&address, folder.path(), &flags);
        let heat = json["intervals"][0]["heat"].as_object().expect("an interval");
        let heat: u64 = heat.values().map(|count| count.as_u64().expect("a count")).sum();
        let log = histogram_of(&fs::read_to_string(&log).expect("the log"), "put");
        assert_eq!((heat, log.len()), (500, 500), "{threads}");
    }
}

/// The points of a sweep could not be told apart in the log.
#[test]
fn points_of_a_sweep_have_tags_and_times_of_their_own() {
    let (_null, address) = null();
    let folder = scratch();
    let log = folder.path().join("run.hlog");
    let output = load(&[
        "run",
        &format!("--endpoints={address}"),
        &format!("--hdr-log={}", log.display()),
        "--sweep-outstanding=1,4",
        "--warm-up=0",
        "-d=100ms",
    ]);
    assert!(output.status.success(), "{output:?}");
    let log = fs::read_to_string(log).expect("the log");
    let lines: Vec<Vec<&str>> = log
        .lines()
        .filter(|line| line.starts_with("Tag="))
        .map(|line| line.split(',').collect())
        .collect();
    let start = |tag: &str| -> f64 {
        let line = lines.iter().find(|line| line[0] == format!("Tag={tag}"));
        let line = line.unwrap_or_else(|| panic!("no {tag}: {log}"));
        line[1].parse().expect("seconds")
    };
    let (first, second) = (start("put/1-outstanding/put"), start("put/4-outstanding/put"));
    assert!(second >= first + 0.1, "{first} {second}");
}

/// All lines of a tag of an HdrHistogram log as one histogram, read as its other tools read it.
fn histogram_of(log: &str, tag: &str) -> hdrhistogram::Histogram<u64> {
    use base64::Engine;
    let mut sum: Option<hdrhistogram::Histogram<u64>> = None;
    for line in log.lines().filter(|line| line.starts_with(&format!("Tag={tag},"))) {
        let encoded = line.rsplit(',').next().expect("the last field");
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
        let one = hdrhistogram::serialization::Deserializer::new()
            .deserialize::<u64, _>(&mut &bytes[..])
            .expect("a histogram");
        match &mut sum {
            Some(sum) => sum.add(one).expect("equal bounds"),
            None => sum = Some(one),
        }
    }
    sum.expect("a line of the tag")
}

/// 6144 errors and no answer were exit 0.
#[test]
fn exit_codes_say_whether_a_run_is_good() {
    let (_null, address) = null();
    let code = |flags: &[&str]| {
        let endpoint = format!("--endpoints={address}");
        load(&[&["run", &endpoint, "--requests=200", "--quiet"], flags].concat()).status.code()
    };
    assert_eq!(code(&[]), Some(0));
    if program().is_etcd() {
        return;
    }
    // Half of the requests are too large for this server.
    let server = Server::start(&program(), &["--max-request-bytes=2000"]);
    let code = |flags: &[&str]| {
        let endpoint = format!("--endpoints={}", server.endpoint());
        let all = [&["run", &endpoint, "--requests=400", "--value-size=4KiB", "--quiet"], flags];
        load(&all.concat()).status.code()
    };
    assert_eq!(code(&["-w=put=1,get=1"]), Some(1));
    assert_eq!(code(&["-w=put=1,get=1", "--allow-errors=10%"]), Some(1));
    assert_eq!(code(&["-w=put=1,get=1", "--allow-errors=75%"]), Some(0));
    assert_eq!(code(&["-w=get"]), Some(0));
    // Without an answer nothing is good, whatever is allowed.
    assert_eq!(code(&["-w=put", "--allow-errors=100%"]), Some(1));
}

/// A compaction took every claim away, and `check` was content; so it was with an empty log.
#[test]
fn a_check_that_verifies_nothing_says_so() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    let acks = folder.path().join("acks");
    let acks_flag = format!("--acks={}", acks.display());
    let endpoints = format!("--endpoints={}", server.endpoint());
    let check = || load(&["check", &endpoints, protocols()[0], &acks_flag]);
    fs::write(&acks, "").expect("an empty log");
    assert_eq!(check().status.code(), Some(3));
    let flags = [protocols()[0], "--workload=put=3,delete=1", "--requests=600", &acks_flag];
    run(&server.endpoint(), folder.path(), &flags);
    // Deletes of what is not there have no revision of their own.
    let revision = "300";
    let braidctl = Command::new(env!("CARGO_BIN_EXE_braidctl"))
        .args([&format!("--endpoints={}", server.endpoint()), "compact", revision])
        .output()
        .expect("run braidctl");
    assert!(braidctl.status.success(), "{braidctl:?}");
    let output = check();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("now: "), "{output:?}");
    assert!(!said.contains(" 0 cannot be verified"), "{said}");
    // A key that its log says is there, and that is not: found though its past is compacted.
    let lines = fs::read_to_string(&acks).expect("the log");
    fs::write(&acks, format!("{lines}2\tP\tload/none\t0000000000000001\n")).expect("write");
    let output = check();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("not there now"), "{output:?}");
}

/// What is read is what was put, by this run or another one; anything else is an error.
#[test]
fn values_that_are_read_are_verified() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    for protocol in protocols() {
        let put = ["--requests=400", "--distribution=sequential", "--seed=7", protocol];
        run(&server.endpoint(), folder.path(), &put);
        for workload in ["-w=get", "-w=range", "-w=prefix", "-w=get-serializable"] {
            let all = ["--requests=400", "--verify=all", workload, protocol];
            let json = run(&server.endpoint(), folder.path(), &all);
            assert!(json["facts"]["values verified"].as_f64() >= Some(400.0), "{json}");
        }
        let sample = ["--requests=400", "-w=get", protocol];
        let json = run(&server.endpoint(), folder.path(), &sample);
        assert_eq!(json["facts"]["values verified"], 6.0, "one answer in 64: {json}");
    }
    // Somebody else's value, under a key of the run.
    let strange = format!("strange{}", "x".repeat(20));
    let put = Command::new(env!("CARGO_BIN_EXE_braidctl"))
        .args([&format!("--endpoints={}", server.endpoint()), "put", "load/00000000000", &strange])
        .output()
        .expect("run braidctl");
    assert!(put.status.success(), "{put:?}");
    let output = load(&[
        "run",
        &format!("--endpoints={}", server.endpoint()),
        "-w=get",
        "--distribution=single",
        "--requests=10",
        "--verify=all",
    ]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains("error wrong value: 10 times") && said.contains("never put"), "{said}");
}

#[test]
fn the_null_server_answers_both_protocols() {
    let (_null, address) = null();
    let address = &*address;
    let folder = scratch();
    for protocol in ["--protocol=frames", "--protocol=grpc"] {
        for workload in ["--workload=put=1,get=1,txn=1", "--workload=delete"] {
            let json = run(address, folder.path(), &[protocol, workload, "--requests=2000"]);
            assert_eq!(json["answered_in_all"], 2000, "{protocol}: {json}");
            assert_eq!(
                (&json["total"]["failed"], &json["total"]["missed"]),
                (&0.into(), &0.into())
            );
        }
    }
}

#[test]
fn what_cannot_be_run_says_why() {
    for (arguments, reason) in [
        (&["run", "--workload=watch,put"][..], "no part of a mixture"),
        (&["run", "--endpoints=127.0.0.1:1"], "127.0.0.1:1"),
        (&["check", "--acks=/nonexistent"], "/nonexistent"),
    ] {
        let output = load(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.starts_with("braid-load: ") && text.contains(reason), "{text}");
    }
}

fn row<'a>(json: &'a Value, name: &str) -> &'a Value {
    let rows = json["rows"].as_array().expect("rows");
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}: {json}"))
}

#[test]
fn watchers_are_told_of_every_put() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    for protocol in protocols() {
        for (flags, targets) in [
            // 200 keys with 3 watchers each, on several streams of two clients.
            (&["--watchers=600", "--streams=3", "--watch-connections=2"][..], 200),
            // 2 prefixes with 5 watchers each, on two threads.
            (&["--watchers=10", "--watch-prefixes", "--threads=2", "--connections=2"], 2),
            // Not every key has a watcher; puts at a rate.
            (&["--watchers=100", "--rate=2000", "--connections=2"], 200),
        ] {
            let all = [*protocol, "-w=watch", "--requests=300"];
            let json = run(&server.endpoint(), folder.path(), &[&all[..], flags].concat());
            assert_eq!(json["errors"], serde_json::json!({}), "{protocol} {flags:?}: {json}");
            let facts = &json["facts"];
            assert_eq!(facts["events expected"], facts["events delivered"], "{facts}");
            let count = |name: &str| row(&json, name)["latency"]["count"].as_u64().expect("one");
            assert_eq!(count("put"), 300);
            let expected = match flags[0] {
                "--watchers=100" => count("to all watchers"),
                flag => 300 * flag[11..].parse::<u64>().expect("a number") / targets,
            };
            assert_eq!(facts["events delivered"], expected as f64, "{flags:?}");
            assert_eq!((count("delivery"), count("after the answer")), (expected, expected));
            assert_eq!(json["answered_in_all"], expected);
            assert_eq!(json["total"]["name"], "delivery");
        }
    }
}

/// Somebody else's puts are not taken for those of the run.
#[test]
fn events_of_other_writers_are_counted_apart() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    let endpoints = format!("--endpoints={}", server.endpoint());
    let mut other = Generator(
        Command::new(env!("CARGO_BIN_EXE_braid-load"))
            .args(["run", "-w=put", "--keyspace=200", "-d=60s", protocols()[0], &endpoints])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("run braid-load"),
    );
    let mut first = [0; 1];
    let mut stderr = other.0.stderr.take().expect("piped");
    std::io::Read::read_exact(&mut stderr, &mut first).expect("a live line");
    let flags = [protocols()[0], "-w=watch", "--watchers=200", "--requests=300"];
    let json = run(&server.endpoint(), folder.path(), &flags);
    assert_eq!(json["errors"], serde_json::json!({}), "{json}");
    assert_eq!(json["facts"]["events delivered"], 300.0, "{}", json["facts"]);
    assert!(json["facts"]["events of other writers"].as_f64() > Some(0.0), "{}", json["facts"]);
}

#[test]
fn leases_are_kept_alive() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    for protocol in protocols() {
        for pace in ["--connections=2", "--rate=3000"] {
            let flags = ["-w=lease-keep-alive", "--leases=50", "--streams=3", "--requests=500"];
            let json =
                run(&server.endpoint(), folder.path(), &[&flags[..], &[*protocol, pace]].concat());
            assert_eq!(json["errors"], serde_json::json!({}), "{protocol} {pace}: {json}");
            assert_eq!(json["answered_in_all"], 500, "{protocol} {pace}: {json}");
            assert_eq!(json["facts"]["leases"], 50.0);
        }
    }
}

#[test]
fn idle_watchers_are_held_and_weighed() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    for protocol in protocols() {
        let flags = [*protocol, "-w=idle-watchers", "--watchers=2000", "-d=100ms"];
        let json = run(&server.endpoint(), folder.path(), &flags);
        let facts = &json["facts"];
        assert_eq!(facts["idle watchers"], 2000.0, "{facts}");
        let bytes = |name: &str| facts[name].as_f64().expect("bytes");
        let (before, with) =
            (bytes("server bytes before idle watchers"), bytes("server bytes with idle watchers"));
        assert!(before > 0.0 && with > 0.0, "{facts}");
        assert_eq!(bytes("server bytes per idle watcher"), (with - before) / 2000.0);
        let flags = [*protocol, "-w=put", "--idle-watchers=1000", "--requests=200"];
        let json = run(&server.endpoint(), folder.path(), &flags);
        assert_eq!(json["answered_in_all"], 200, "{json}");
        assert_eq!(json["facts"]["idle watchers"], 1000.0, "{json}");
        assert_eq!(json["facts"].get("events of idle watchers"), None, "{json}");
    }
}

#[test]
fn leases_expire_while_others_put() {
    let server = Server::start(&program(), &[]);
    let folder = scratch();
    let flags = [
        protocols()[0],
        "-w=put",
        "--expiring-leases=100",
        "--expire-after=5s",
        "--warm-up=100ms",
        "-d=4s",
    ];
    let json = run(&server.endpoint(), folder.path(), &flags);
    assert_eq!(json["errors"], serde_json::json!({}), "{json}");
    assert_eq!(json["facts"]["leases that had expired at the end"], 100.0, "{}", json["facts"]);
    let flags = [protocols()[0], "-w=put", "--expiring-leases=100", "--expire-after=1s"];
    let endpoints = format!("--endpoints={}", server.endpoint());
    let output = load(&[&["run", &endpoints], &flags[..]].concat());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && text.contains("--expire-after"), "{output:?}");
}

/// Killed when dropped.
struct Generator(Child);

impl Drop for Generator {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
