//! Whole command lines, environments and files.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::time::Duration;

use super::*;

fn machine() -> Machine {
    let default_host = Some("10.1.2.3".parse().unwrap());
    Machine { cores: 4, memory_bytes: 16 << 30, default_host }
}

fn read(
    arguments: &[&str],
    environment: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Parsed, Exit> {
    parse(
        arguments.iter().map(OsString::from),
        environment.iter().map(|(key, value)| (OsString::from(key), OsString::from(value))),
        |path| match file {
            Some(text) => Ok(text.as_bytes().to_vec()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("{path} is not there"))),
        },
        &machine(),
    )
}

fn config(arguments: &[&str]) -> Config {
    read(arguments, &[], None).unwrap_or_else(|exit| panic!("{arguments:?}: {exit:?}")).config
}

fn from_file(text: &str) -> Result<Parsed, Exit> {
    read(&["--config-file", "x.yaml"], &[], Some(text))
}

fn error(arguments: &[&str]) -> String {
    let exit = read(arguments, &[], None).expect_err("a setting that will not do");
    assert_eq!(exit.code, 1, "{exit:?}");
    exit.error().expect("an error").to_string()
}

fn messages(notes: &[Note]) -> Vec<&str> {
    notes.iter().map(|note| note.message.as_str()).collect()
}

fn identity(config: &Config) -> Result<Identity, String> {
    config.initial.identity(&config.name, &config.advertise_peers, &mut |_| None)
}

#[test]
fn without_any_setting_it_is_etcds_default_member() {
    let Parsed { config, notes } = read(&[], &[], None).unwrap();
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir.to_str(), Some("default.etcd"));
    assert_eq!(config.listen.clients.len(), 1);
    assert_eq!(config.listen.clients[0].address, "127.0.0.1:2379".parse().unwrap());
    assert_eq!(config.listen.peers[0].address, "127.0.0.1:2380".parse().unwrap());
    assert!(config.listen.metrics.is_empty());
    assert_eq!(url::join(&config.advertise_clients), "http://localhost:2379");
    assert_eq!(config.quota, Quota { bytes: Some(2 << 30), shown: 2 << 30 });
    assert_eq!(config.bounds.txn_ops_max, 128);
    assert_eq!(config.bounds.request_bytes_max, 1_572_864);
    assert_eq!(config.bounds.concurrent_streams_max, u32::MAX);
    assert_eq!(config.keepalive.interval, Some(Duration::from_secs(7200)));
    assert_eq!(config.timing.request, Duration::from_secs(7));
    assert_eq!(config.timing.warning_unary, Duration::from_millis(300));
    assert_eq!(config.log.level, LogLevel::Info);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.log.outputs, [LogOutput::Stderr]);
    assert_eq!(config.http.hosts, Allowed::Any);
    assert_eq!(config.layout.shards, 4);
    assert!(!config.layout.shards_asked);
    assert_eq!(config.layout.cores, 4);
    assert_eq!(config.layout.spin, Duration::ZERO);
    let found = identity(&config).unwrap();
    assert_eq!(format!("{:x}", found.member.0), "8e9e05c52164694d");
    assert_eq!(format!("{:x}", found.cluster.0), "cdf818194e3a8c32");
    assert_eq!(messages(&notes).last(), Some(&"Running: "));
    assert!(messages(&notes).contains(&"'data-dir' was empty; using default"));
}

/// etcd's advice about its own ways to serve and to store is not true of Braid's.
#[test]
fn advice_that_does_not_fit_is_not_given() {
    let settings = [
        "--name=a",
        "--data-dir=/d",
        "--quota-backend-bytes=100000000000",
        "--feature-gates=LeaseCheckpoint=true",
    ];
    let Parsed { notes, .. } = read(&settings, &[], None).unwrap();
    assert_eq!(messages(&notes), ["Running: "]);
}

#[test]
fn a_level_that_is_none_exits_as_etcd_does() {
    let said =
        "unrecognized level: \"foo\": it is debug, info, warn, error, dpanic, panic or fatal";
    for (exit, code) in [
        (read(&["--log-level=foo"], &[], None), 2),
        (read(&[], &[("ETCD_LOG_LEVEL", "foo")], None), 2),
        (from_file("log-level: foo"), 2),
        (read(&["--log-format=foo"], &[], None), 1),
        (read(&["--logger=foo"], &[], None), 1),
    ] {
        let exit = exit.expect_err("a level or form that is none");
        assert_eq!(exit.code, code, "{exit:?}");
        assert!(code == 1 || exit.error() == Some(said), "{exit:?}");
    }
}

#[test]
fn flags_are_read_as_go_reads_them() {
    for arguments in [
        &["--name", "a", "--max-txn-ops=7", "-metrics", "extensive"][..],
        &["-name=a", "-max-txn-ops", "0x7", "--metrics=extensive", "--"],
        &["--name=b", "--name=a", "--max-txn-ops=7", "--metrics=extensive", "--v=3", "--force"],
        &["--name=a", "--pre-vote", "--max-txn-ops=7", "--pre-vote=F", "--metrics=extensive"],
    ] {
        let config = config(arguments);
        assert_eq!(config.name, "a");
        assert_eq!(config.bounds.txn_ops_max, 7);
        assert!(config.metrics_extensive);
    }
    // A value may hold anything, also what looks like a flag.
    assert_eq!(config(&["--name", "--data-dir"]).name, "--data-dir");
    assert_eq!(config(&["--name=a=b"]).name, "a=b");
}

#[test]
fn what_is_no_flag_is_a_usage_error() {
    for (arguments, message) in [
        (&["--nope"][..], "flag provided but not defined: -nope"),
        (&["-nope=1"], "flag provided but not defined: -nope"),
        (&["--experimental-max-learners=1"], "flag provided but not defined: -experimental-"),
        (&["--discovery=x"], "flag provided but not defined: -discovery"),
        (&["---name"], "bad flag syntax: ---name"),
        (&["--=x"], "bad flag syntax: --=x"),
        (&["--name"], "flag needs an argument: -name"),
        (&["--pre-vote=yes"], "invalid boolean value \"yes\" for -pre-vote: parse error"),
        (&["--max-txn-ops=x"], "invalid value \"x\" for flag -max-txn-ops: parse error"),
        (
            &["--max-txn-ops", "99999999999999999999"],
            "invalid value \"99999999999999999999\" for flag -max-txn-ops: value out of range",
        ),
        (&["--grpc-keepalive-timeout=5"], "invalid value \"5\" for flag -grpc-keepalive-timeout"),
        (
            &["--listen-client-urls=127.0.0.1:1"],
            "invalid value \"127.0.0.1:1\" for flag -listen-client-urls: parse \
             \"127.0.0.1:1\": first path segment in URL cannot contain colon",
        ),
        (
            &["--initial-cluster-state=old"],
            "invalid value \"old\" for flag -initial-cluster-state: invalid value",
        ),
        (
            &["--feature-gates=X=true"],
            "invalid value \"X=true\" for flag -feature-gates: unrecognized feature gate: X",
        ),
    ] {
        let exit = read(arguments, &[], None).expect_err("no flag");
        assert_eq!(exit.code, 2, "{arguments:?}");
        assert!(exit.stderr.starts_with(message), "{arguments:?}: {}", exit.stderr);
        assert!(exit.stderr.contains("Usage:"));
        assert!(exit.stdout.is_empty() && exit.notes.is_empty());
    }
    assert_eq!(error(&["--name=a", "x", "--nope"]), "\"x\" is not a valid flag");
    let exit = read(&["--name=a", "x"], &[], None).unwrap_err();
    let args = FieldValue::Texts(vec!["--name=a".into(), "x".into()]);
    assert_eq!(messages(&exit.notes), ["Running: ", "failed to verify flags"]);
    assert_eq!(exit.notes[0].fields, [("args", args)]);
    assert_eq!(error(&["--", "--name=a"]), "\"--name=a\" is not a valid flag");
    assert_eq!(error(&["-"]), "\"-\" is not a valid flag");
}

#[test]
fn help_and_version_leave_with_0() {
    for argument in ["--help", "-h", "-help"] {
        let exit = read(&[argument], &[], None).unwrap_err();
        assert_eq!(exit.code, 0);
        assert_eq!(exit.stderr, "");
        assert!(exit.stdout.starts_with("Usage:"));
        let (there, absent) =
            exit.stdout.split_once("\nNot yet; any value but the default is refused:\n").unwrap();
        assert!(absent.lines().all(|line| line.len() <= 100));
        let absent: Vec<&str> = absent.split_whitespace().collect();
        for flag in table::flags() {
            let name = format!("--{}", flag.name);
            let is_absent = flag.standing == table::Standing::Absent;
            assert_eq!(absent.contains(&&*name), is_absent, "{name}");
            assert_eq!(there.contains(&format!("\n  {name}")), !is_absent, "{name}");
        }
        assert!(exit.stdout.contains("  --grpc-keepalive-interval '2h0m0s'\n"));
    }
    let exit = read(&["--version", "--name", "x"], &[], None).unwrap_err();
    assert_eq!(exit.code, 0);
    let lines: Vec<&str> = exit.stdout.lines().collect();
    assert_eq!(lines[0], "etcd Version: 3.7.1");
    assert!(lines[1].starts_with("Git SHA: "));
    assert!(lines[2].starts_with("Go Version: "));
    assert!(lines[3].starts_with("Go OS/Arch: linux/"));
    assert_eq!(lines[4], format!("Braid Version: {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn variables_set_what_the_command_line_does_not() {
    let environment = [
        ("ETCD_NAME", "e"),
        ("ETCD_MAX_TXN_OPS", "9"),
        ("ETCD_DATA_DIR", ""),
        ("BRAID_SHARDS", "3"),
        ("ETCD_SERVICE_HOST", "1.2.3.4"),
        ("ETCD_VERSION", "v3"),
        ("PATH", "/bin"),
    ];
    let Parsed { config, notes } = read(&["--metrics=basic"], &environment, None).unwrap();
    assert_eq!(config.name, "e");
    assert_eq!(config.data_dir.to_str(), Some("e.etcd"));
    assert_eq!(config.bounds.txn_ops_max, 9);
    assert_eq!((config.layout.shards, config.layout.shards_asked), (3, true));
    let said = messages(&notes);
    assert_eq!(said[0], "cannot set special environment variable");
    assert_eq!(
        said.iter().filter(|m| **m == "recognized and used environment variable").count(),
        3
    );
    let unknown: Vec<&Note> =
        notes.iter().filter(|note| note.message == "unrecognized environment variable").collect();
    // An empty variable is unset, and its name is then nobody's.
    let shown: Vec<&FieldValue> = unknown.iter().map(|note| &note.fields[0].1).collect();
    assert_eq!(
        shown,
        [&FieldValue::from("ETCD_DATA_DIR="), &FieldValue::from("ETCD_SERVICE_HOST=1.2.3.4"),]
    );
}

#[test]
fn a_flag_and_its_variable_are_fatal_together() {
    for (argument, variable) in [("--name=a", "ETCD_NAME"), ("--shards=2", "BRAID_SHARDS")] {
        let exit = read(&[argument], &[(variable, "2")], None).unwrap_err();
        let last = exit.notes.last().unwrap();
        assert_eq!((exit.code, last.level), (1, LogLevel::Fatal));
        assert_eq!(
            last.message,
            "conflicting environment variable is shadowed by corresponding command-line flag \
             (either unset environment variable or disable flag))"
        );
        assert_eq!(last.fields, [("environment-variable", FieldValue::from(variable))]);
    }
}

#[test]
fn a_variable_that_cannot_be_read_is_named() {
    let exit = read(&[], &[("ETCD_PRE_VOTE", "maybe")], None).unwrap_err();
    assert_eq!(exit.code, 1);
    assert_eq!(exit.error(), Some("invalid value \"maybe\" for ETCD_PRE_VOTE: parse error"));
}

#[test]
fn settings_that_do_not_fit_are_refused_in_etcds_words() {
    for (arguments, text) in [
        (
            &["--listen-client-urls=http://a.example:1", "--advertise-client-urls=http://a:1"][..],
            "expected IP in URL for binding (http://a.example:1)",
        ),
        (
            &["--listen-metrics-urls=http://a.example:1"],
            "expected IP in URL for binding (http://a.example:1)",
        ),
        (
            &["--initial-advertise-peer-urls=http://:1"],
            "--initial-advertise-peer-urls \"http://:1\" must be \"host:port\" \
             (unexpected empty host (http://:1))",
        ),
        (
            &["--advertise-client-urls=http://:1"],
            "--advertise-client-urls \"http://:1\" must be in the format \"host:port\", \
             \"unix:/path/to/socket\" or \"unixs:/path/to/socket\" \
             (unexpected empty host (http://:1))",
        ),
        (
            &["--listen-client-urls=http://127.0.0.1:1"],
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            &["--discovery-srv=example.com", "--initial-cluster=a=http://a:1"],
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
             \"discovery-endpoints\" or \"discovery-srv\"",
        ),
        (&["--discovery-token=x"], "both --discovery-token and --discovery-endpoints must be set"),
        (
            &["--discovery-token=x", "--discovery-endpoints=a,"],
            "--discovery-endpoints must not contain empty endpoints",
        ),
        (&["--heartbeat-interval=0"], "--heartbeat-interval must be >0 (set to 0ms)"),
        (&["--election-timeout=0"], "--election-timeout must be >0 (set to 0ms)"),
        (
            &["--election-timeout=400"],
            "--election-timeout[400ms] should be at least as 5 times as \
             --heartbeat-interval[100ms]",
        ),
        (
            &["--election-timeout=50001"],
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
        ),
        (&["--auto-compaction-mode=x"], "unknown auto-compaction-mode \"x\""),
        (&["--auto-compaction-mode="], "undefined auto-compaction-mode"),
        (
            &["--auto-compaction-retention=x"],
            "error parsing CompactionRetention: time: invalid duration \"x\"",
        ),
        (&["--compact-hash-check-time=0"], "--compact-hash-check-time must be >0 (set to 0s)"),
        (
            &["--discovery-fallback=proxy"],
            "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"",
        ),
        (&["--logger=capnslog"], "--logger=capnslog is removed in v3.5"),
        (&["--logger=x"], "unknown logger option \"x\""),
        (&["--log-format=x"], "unknown log format: x, supported values json, console"),
        (&["--log-outputs=default,stdout"], "multi logoutput for \"default\" is not supported yet"),
        (
            &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            &["--tls-min-version=SSL3"],
            "unexpected TLS version \"SSL3\" (must be one of: TLS1.2, TLS1.3)",
        ),
        (
            &["--tls-min-version=TLS1.3", "--cipher-suites=X"],
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
        (
            &["--feature-gates=LeaseCheckpointPersist=true"],
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
             LeaseCheckpoint",
        ),
        (
            &["--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=http://a:1"],
            "TLS key/cert (--cert-file, --key-file) must be provided for client url \
             https://127.0.0.1:1 with HTTPS scheme",
        ),
        (
            &["--listen-peer-urls=https://127.0.0.1:1"],
            "cannot listen on TLS for 127.0.0.1:1: KeyFile and CertFile are not presented",
        ),
        (
            &["--listen-metrics-urls=https://127.0.0.1:1"],
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
        ),
    ] {
        assert_eq!(error(arguments), text, "{arguments:?}");
    }
}

/// Of every flag whose feature is not there, one value that is not its default.
#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    for flag in table::flags().filter(|flag| flag.standing == table::Standing::Absent) {
        let value = match flag.kind {
            table::Kind::Bool(default) => (!default).to_string(),
            table::Kind::Int(_) | table::Kind::Uint(_) => "7".to_string(),
            table::Kind::Duration(_) => "7s".to_string(),
            table::Kind::Urls(_) => "http://127.0.0.1:7".to_string(),
            _ if flag.name == "auto-compaction-retention" => "1h".to_string(),
            _ => "x".to_string(),
        };
        let mut arguments = vec![format!("--{}={value}", flag.name)];
        match flag.name {
            "discovery-token" => arguments.push("--discovery-endpoints=x".to_string()),
            "discovery-endpoints" => arguments.push("--discovery-token=x".to_string()),
            _ => {}
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let text = error(&arguments);
        assert!(text.contains("is not supported yet (set to "), "{arguments:?}: {text}");
        assert!(text.starts_with("--"), "{arguments:?}: {text}");
    }
    assert_eq!(
        error(&["--cert-file=a.pem"]),
        "--cert-file is not supported yet (set to \"a.pem\"): leave it unset"
    );
    assert_eq!(
        error(&["--auto-tls"]),
        "--auto-tls is not supported yet (set to \"true\"): leave it false"
    );
    assert_eq!(
        error(&["--feature-gates=InitialCorruptCheck=true"]),
        "--feature-gates: InitialCorruptCheck is not supported yet: leave it unset"
    );
    assert_eq!(
        error(&["--listen-client-urls=unix:///x", "--advertise-client-urls=http://a:1"]),
        "--listen-client-urls: unix:///x: unix sockets are not supported yet: listen on http://"
    );
    assert!(error(&["--discovery-password=secret"]).contains("(set to \"...\")"));
}

/// The same flags, set to what they are anyway, and every flag that has no effect, set to another.
#[test]
fn defaults_and_flags_without_effect_are_accepted() {
    for flag in table::flags() {
        let value = match (flag.standing, flag.kind) {
            (_, table::Kind::Bool(default)) => default.to_string(),
            (table::Standing::Absent, table::Kind::Int(default)) => default.to_string(),
            (table::Standing::Absent, table::Kind::Uint(default)) => default.to_string(),
            (table::Standing::Absent, table::Kind::Duration(default)) => default.to_string(),
            (table::Standing::Absent, table::Kind::Text(default)) => default.to_string(),
            (table::Standing::Absent, table::Kind::Urls(default)) => default.to_string(),
            (table::Standing::Inert(_), table::Kind::Int(_) | table::Kind::Uint(_)) => "7".into(),
            (table::Standing::Inert(_), table::Kind::Duration(_)) => "7s".to_string(),
            (table::Standing::Inert(_), table::Kind::SomeOf(choices)) => choices.join(","),
            (table::Standing::Inert(_), table::Kind::List) => "x".to_string(),
            (table::Standing::Inert(_), table::Kind::Text(default)) => match flag.name {
                "auto-compaction-mode" => "revision".to_string(),
                "tls-min-version" | "tls-max-version" => "TLS1.3".to_string(),
                _ => format!("{default}x"),
            },
            _ => continue,
        };
        config(&[&format!("--{}={value}", flag.name)]);
    }
    for retention in ["0", "0h", "", "0s"] {
        config(&[&format!("--auto-compaction-retention={retention}")]);
    }
}

#[test]
fn deprecated_flags_are_remarked_upon() {
    let parsed = read(&["--max-snapshots=3", "--v2-deprecation=gone"], &[], None).unwrap();
    let said = messages(&parsed.notes);
    assert!(
        said.contains(&"--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.")
    );
    assert!(said.iter().any(|line| line.starts_with("--v2-deprecation is deprecated")));
}

#[test]
fn a_name_alone_names_the_cluster_too() {
    let config = config(&["--name=a", "--initial-advertise-peer-urls=http://10.0.0.1:2380"]);
    assert_eq!(config.initial.cluster, "a=http://10.0.0.1:2380");
    let expected = ids::member_id(&["http://10.0.0.1:2380".into()], "etcd-cluster");
    assert_eq!(identity(&config).unwrap().member, expected);
}

#[test]
fn listening_everywhere_advertises_the_machines_address() {
    let arguments = [
        "--name=a",
        "--listen-peer-urls=http://0.0.0.0:7380",
        "--listen-client-urls=http://0.0.0.0:7379",
        "--advertise-client-urls=http://localhost:2379",
    ];
    let Parsed { config, notes } = read(&arguments, &[], None).unwrap();
    assert_eq!(url::join(&config.advertise_peers), "http://10.1.2.3:7380");
    assert_eq!(url::join(&config.advertise_clients), "http://10.1.2.3:7379");
    assert_eq!(config.initial.cluster, "a=http://10.1.2.3:7380");
    assert!(messages(&notes).contains(&"detected default host for advertise"));
    // What is said explicitly stays, and so do other listen addresses.
    let config = self::config(&[
        "--listen-peer-urls=http://0.0.0.0:7380",
        "--initial-advertise-peer-urls=http://me:1",
    ]);
    assert_eq!(url::join(&config.advertise_peers), "http://me:1");
}

#[test]
fn numbers_are_derived_once() {
    let config = config(&[
        "--quota-backend-bytes=-1",
        "--heartbeat-interval=300",
        "--election-timeout=1550",
        "--grpc-keepalive-interval=0s",
        "--warning-unary-request-duration=0",
        "--host-whitelist=a,b",
        "--cors=http://x:1",
        "--log-outputs=stdout,/tmp/x.log,stderr",
        "--log-level=warn",
        "--log-format=console",
        "--cores=2",
        "--spin-us=50",
    ]);
    assert_eq!(config.quota, Quota { bytes: None, shown: -1 });
    assert_eq!(config.timing.election, Duration::from_millis(1500));
    assert_eq!(config.timing.request, Duration::from_secs(8));
    assert_eq!(config.keepalive.interval, None);
    assert_eq!(config.timing.warning_unary, Duration::from_millis(300));
    assert!(config.http.hosts.allows("a") && !config.http.hosts.allows("c"));
    assert_eq!(config.http.cors, Allowed::Only(BTreeSet::from(["http://x:1".to_string()])));
    assert_eq!(
        config.log.outputs,
        [LogOutput::Stderr, LogOutput::Stdout, LogOutput::File("/tmp/x.log".into())]
    );
    assert_eq!(config.log.level, LogLevel::Warn);
    assert_eq!((config.layout.cores, config.layout.shards), (2, 2));
    assert_eq!(config.layout.spin, Duration::from_micros(50));
}

#[test]
fn our_own_flags_have_bounds() {
    for (argument, text) in [
        ("--shards=0", "--shards must be between 1 and 128 (set to 0)"),
        ("--shards=129", "--shards must be between 1 and 128 (set to 129)"),
        ("--cores=129", "--cores must be between 1 and 128 (set to 129)"),
        ("--cores=5", "--cores must be at most the 4 that this process may run on (set to 5)"),
        ("--spin-us=1000001", "--spin-us must be at most 1000000, a second (set to 1000001)"),
        (
            "--max-request-bytes=134217729",
            "--max-request-bytes must be at most 134217728 (set to 134217729)",
        ),
        (
            "--max-txn-ops=4294967296",
            "--max-txn-ops must be at most 4294967295 (set to 4294967296)",
        ),
    ] {
        assert_eq!(error(&[argument]), text);
    }
    assert_eq!(config(&["--shards=128"]).layout.shards, 128);
    let most = config(&["--max-request-bytes=134217728"]).bounds.request_bytes_max;
    assert_eq!(most, 128 << 20);
}

#[test]
fn a_file_is_all_there_is() {
    let parsed = read(
        &["--name=flag", "--config-file=x.yaml"],
        &[("ETCD_NAME", "variable"), ("ETCD_NOPE", "1")],
        Some("data-dir: /d\nmax-txn-ops: 5\n"),
    )
    .unwrap();
    assert_eq!(parsed.config.name, "default");
    assert_eq!(parsed.config.bounds.txn_ops_max, 5);
    assert_eq!(parsed.config.data_dir.to_str(), Some("/d"));
    assert_eq!(
        messages(&parsed.notes)[0],
        "loaded server configuration, other configuration command line flags and environment \
         variables will be ignored if provided"
    );
    let by_variable =
        read(&[], &[("ETCD_CONFIG_FILE", "x.json")], Some("{\"name\": \"j\"}")).unwrap();
    assert_eq!(by_variable.config.name, "j");
    let missing = read(&["--config-file=gone"], &[], None).unwrap_err();
    assert_eq!(missing.error(), Some("open gone: gone is not there"));
}

#[test]
fn a_file_is_read_as_etcd_reads_it() {
    let text = "
# A comment.
Name: '12'
data-dir:
listen-client-urls: http://127.0.0.1:1, http://127.0.0.1:2
quota-backend-bytes: 1000
max-request-bytes: 100
pre-vote: off
enable-grpc-gateway: no
grpc-keepalive-interval: 600000000000
initial-cluster-state: ''
initial-cluster-token: t
log-outputs: [stdout, a.log]
cipher-suites: null
host-whitelist: a,b
socket-options:
  reuse-port: true
client-transport-security:
  cert-file:
  client-cert-auth: false
  allowed-cn: []
peer-transport-security:
discovery-config:
  token: ''
  client: {endpoints: []}
discovery: x
proxy: 'off'
shards: 3
v2-deprecation: not-yet
max-txn-ops: 1
max-txn-ops: 2
";
    let Parsed { config, .. } = from_file(text).unwrap();
    assert_eq!(config.name, "12");
    assert_eq!(config.data_dir.to_str(), Some("12.etcd"));
    assert_eq!(config.listen.clients.len(), 2);
    // Unlike flags, a file keeps the default here.
    assert_eq!(url::join(&config.advertise_clients), "http://localhost:2379");
    assert_eq!(config.quota.bytes, Some(1000));
    assert!(!config.http.gateway);
    assert!(config.listen.reuse_port);
    assert_eq!(config.keepalive.interval, Some(Duration::from_secs(600)));
    assert_eq!(config.initial.state, ClusterState::New);
    assert_eq!(config.initial.token, "t");
    assert_eq!(config.log.outputs, [LogOutput::Stdout, LogOutput::File("a.log".into())]);
    assert_eq!(config.layout.shards, 3);
    assert_eq!(config.bounds.txn_ops_max, 2);
    assert!(from_file("").is_ok());
}

/// As etcd 3.7.1 was seen to read each of these.
#[test]
fn numbers_in_a_file_have_every_form_that_yaml_gives_them() {
    for text in [
        "1e3",
        "1E3",
        "1e+3",
        "10e2",
        "1000.0",
        "1_000",
        "1__000",
        "1_000.0",
        "0x3e8",
        "0o1750",
        "01750",
        "+1000",
        "1000.",
        "1000_",
        "0b1111101000",
        "0x3_e8",
    ] {
        let parsed = from_file(&format!("quota-backend-bytes: {text}\nmax-txn-ops: {text}\n"));
        let config = parsed.unwrap_or_else(|exit| panic!("{text}: {exit:?}")).config;
        assert_eq!(config.quota.shown, 1000, "{text}");
        assert_eq!(config.bounds.txn_ops_max, 1000, "{text}");
    }
    let interval = |text: &str| {
        let parsed = from_file(&format!("grpc-keepalive-interval: {text}"));
        parsed.map(|parsed| parsed.config.keepalive.interval)
    };
    assert_eq!(interval("6e11").unwrap(), Some(Duration::from_secs(600)));
    for text in
        ["1.5", "1e-1", "1e19", "1e400", ".inf", ".nan", "9223372036854775808", "'x'", "true"]
    {
        let exit = interval(text).expect_err(text);
        let said = exit.error().unwrap();
        let by_key = said.starts_with("\"grpc-keepalive-interval\" must be an integer");
        assert!(by_key || said.contains("non-finite"), "{said}");
    }
    assert_eq!(from_file("quota-backend-bytes: -1").unwrap().config.quota.shown, -1);
    let most = from_file("quota-backend-bytes: 9223372036854775807").unwrap();
    assert_eq!(most.config.quota.shown, i64::MAX);
}

#[test]
fn a_file_that_will_not_do_says_which_key() {
    for (text, message) in [
        (
            "grpc-keepalive-interval: 10m",
            "\"grpc-keepalive-interval\" must be an integer, in nanoseconds (600000000000 for \
             10m), not the text \"10m\"",
        ),
        ("max-txn-ops: -1", "\"max-txn-ops\" must be an integer of 0 or more, not the number -1"),
        ("pre-vote: 7", "\"pre-vote\" must be a boolean, not the number 7"),
        ("name: [a]", "\"name\" must be a text, not a list"),
        ("name: 010", "\"name\" must be a text, not the number 8: put it in quotes"),
        ("name: yes", "\"name\" must be a text, not the boolean true: put it in quotes"),
        (
            "auto-compaction-retention: 1",
            "\"auto-compaction-retention\" must be a text, not the number 1: put it in quotes",
        ),
        ("log-outputs: {}", "\"log-outputs\" must be a text, not a map"),
        ("peer-transport-security: x", "invalid peer-transport-security"),
        ("[1]", "the file must hold keys and values, not a list"),
        ("initial-cluster-state: old", "unexpected clusterState \"old\""),
        (
            "listen-peer-urls: localhost",
            "unexpected error setting up listen-peer-urls: URL scheme must be http, https, unix, \
             or unixs: localhost",
        ),
        (
            "client-transport-security: {cert-file: c.pem}",
            "--cert-file is not supported yet (set to \"c.pem\"): leave it unset",
        ),
        (
            "client-transport-security: {allowed-cn: [a]}",
            "\"client-transport-security.allowed-cn\" is not supported yet: remove it",
        ),
        (
            "peer-transport-security: {auto-tls: true}",
            "--peer-auto-tls is not supported yet (set to \"true\"): leave it false",
        ),
        (
            "discovery-config: {token: x, client: {endpoints: [a]}}",
            "--discovery-token is not supported yet (set to \"x\"): leave it unset",
        ),
    ] {
        let exit = from_file(text).expect_err(text);
        assert_eq!(exit.error(), Some(message), "{text}");
    }
    let exit = from_file("a: [").expect_err("no YAML");
    assert!(exit.error().unwrap().starts_with("error converting YAML to JSON: "));
}

/// Reading is a function of its arguments and never panics, whatever they are.
#[test]
fn no_argument_makes_it_panic() {
    use proptest::prelude::*;
    let words = prop::sample::select(
        table::flags().map(|flag| format!("--{}", flag.name)).collect::<Vec<_>>(),
    );
    let strategy = prop::collection::vec((words, "[-=,:/a-z0-9.\\[\\]*]{0,12}"), 0..4);
    proptest!(|(pairs in strategy, file in ".{0,60}")| {
        let arguments: Vec<String> =
            pairs.iter().map(|(flag, value)| format!("{flag}={value}")).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if let Ok(parsed) = read(&arguments, &[], Some(&file)) {
            let _ = identity(&parsed.config);
        }
        let keyed: String =
            pairs.iter().map(|(flag, value)| format!("{}: {value}\n", &flag[2..])).collect();
        let _ = from_file(&keyed);
    });
}
