//! Raw settings in, one [`Config`] out: every rule of etcd's with its own text, then ours.
//!
//! Order matters to whoever reads the one error they get: first what etcd refuses, then what Braid
//! does not have yet.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::gotext::{GoDuration, quote};

use super::bootstrap::{ClusterState, Initial};
use super::derived::{
    Allowed, Config, HttpAccess, Keepalive, Layout, Listen, Listener, LogFormat, LogOutput,
    LogSettings, Quota, RequestBounds, Timing,
};
use super::exit::ConfigError;
use super::gates::FeatureGates;
use super::level::LogLevel;
use super::machine::Machine;
use super::note::{FieldValue, Note};
use super::raw::{Raw, Value};
use super::table::{self, DEPRECATED, Kind, Standing};
use super::url::{Scheme, Url, join};
use crate::limits;

const ELECTION_MS_MAX: u64 = 50_000;
const QUOTA_DEFAULT_BYTES: i64 = 2 << 30;
/// etcd warns above it.
const REQUEST_ADVISED_BYTES: u64 = 10 << 20;

/// The one refusal that etcd follows up with a second line.
pub const ADVERTISE_MISSING: &str =
    "--advertise-client-urls is required when --listen-client-urls is set explicitly";

/// The source of the settings: one rule differs between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Flags,
    File,
}

/// Checks everything once and derives what the program runs on.
pub fn check(
    raw: &Raw,
    source: Source,
    machine: &Machine,
    notes: &mut Vec<Note>,
) -> Result<Config, ConfigError> {
    if raw.text("discovery-fallback") == "proxy" {
        return Err("v2 proxy is deprecated, and --discovery-fallback can't be configured as \
                    \"proxy\""
            .into());
    }
    let log = log_settings(raw)?;
    let listen = listen(raw)?;
    let advertise = advertised(raw, source)?;
    let timing = timing(raw)?;
    compaction_mode(raw)?;
    let gates = feature_gates(raw)?;
    name_advice(raw, notes);
    tls_versions(raw)?;
    refuse_absent(raw)?;
    if let Some(gate) = gates.refused() {
        return Err(format!("--feature-gates: {gate} is not supported yet: leave it unset").into());
    }
    let (advertise_peers, advertise_clients) = fill_in_host(advertise, raw, machine, notes);
    let name = raw.text("name").to_string();
    let data_dir = match raw.text("data-dir") {
        "" => {
            let default = format!("{name}.etcd");
            notes.push(
                Note::warn("'data-dir' was empty; using default")
                    .with("data-dir", default.as_str()),
            );
            PathBuf::from(default)
        }
        given => PathBuf::from(given),
    };
    Ok(Config {
        initial: initial(raw, &advertise_peers),
        name,
        data_dir,
        listen,
        advertise_peers,
        advertise_clients,
        quota: quota(raw),
        bounds: bounds(raw, machine, notes)?,
        keepalive: keepalive(raw),
        http: HttpAccess {
            gateway: raw.flag("enable-grpc-gateway"),
            cors: Allowed::of(raw.texts("cors")),
            hosts: Allowed::of(raw.texts("host-whitelist")),
        },
        timing,
        log,
        gates,
        layout: layout(raw, machine)?,
        metrics_extensive: raw.text("metrics") == "extensive",
    })
}

/// Returns etcd's remarks about flags that it deprecates.
pub fn deprecations(raw: &Raw) -> impl Iterator<Item = Note> {
    DEPRECATED.iter().filter(|(name, _)| raw.is_set(name)).map(|(_, line)| Note::warn(*line))
}

fn log_settings(raw: &Raw) -> Result<LogSettings, ConfigError> {
    match raw.text("logger") {
        "zap" => {}
        "capnslog" => return Err("--logger=capnslog is removed in v3.5".into()),
        other => return Err(format!("unknown logger option {}", quote(other)).into()),
    }
    let names = raw.texts("log-outputs");
    if names.len() > 1 && names.iter().any(|name| name == "default") {
        return Err("multi logoutput for \"default\" is not supported yet".into());
    }
    let level = raw.text("log-level");
    let level = LogLevel::parse(level).ok_or_else(|| {
        let levels = "it is debug, info, warn, error, dpanic, panic or fatal";
        let why = format!("unrecognized level: {}: {levels}", quote(level));
        // etcd panics here.
        ConfigError { why, code: 2 }
    })?;
    let format = match raw.text("log-format") {
        "json" | "" => LogFormat::Json,
        "console" => LogFormat::Console,
        other => {
            let why = format!("unknown log format: {other}, supported values json, console");
            return Err(why.into());
        }
    };
    if names.iter().any(|name| name == "systemd/journal") {
        return Err("--log-outputs: systemd/journal is not supported yet: use stderr, which \
                    systemd collects"
            .into());
    }
    // As in etcd, one output that discards silences them all.
    let discards = names.iter().any(|name| name == "/dev/null");
    let outputs: BTreeSet<LogOutput> = names
        .iter()
        .filter(|name| !discards || *name == "/dev/null")
        .map(|name| match name.as_str() {
            "default" | "stderr" | "" => LogOutput::Stderr,
            "stdout" => LogOutput::Stdout,
            path => LogOutput::File(PathBuf::from(path)),
        })
        .collect();
    let mut outputs: Vec<LogOutput> = outputs.into_iter().collect();
    if outputs.is_empty() {
        outputs.push(LogOutput::Stderr);
    }
    Ok(LogSettings { level, format, outputs })
}

fn listen(raw: &Raw) -> Result<Listen, String> {
    for name in
        ["listen-peer-urls", "listen-client-urls", "listen-client-http-urls", "listen-metrics-urls"]
    {
        for url in raw.urls(name).iter().filter(|url| !url.scheme.is_socket_file()) {
            url.bind_address()?;
        }
    }
    Ok(Listen {
        peers: listeners(raw, "listen-peer-urls", |url| {
            let (host, port) = url.host_and_port()?;
            Err(format!(
                "cannot listen on TLS for {host}:{port}: KeyFile and CertFile are not presented"
            ))
        })?,
        clients: listeners(raw, "listen-client-urls", |url| {
            Err(format!(
                "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} \
                 with HTTPS scheme"
            ))
        })?,
        metrics: listeners(raw, "listen-metrics-urls", |_| {
            Err("client TLS key/cert (--cert-file, --key-file) must be provided for metrics \
                 secure url"
                .to_string())
        })?,
        reuse_port: raw.flag("socket-reuse-port"),
        reuse_address: raw.flag("socket-reuse-address"),
    })
}

/// Returns the listeners of one flag. TLS is refused as etcd refuses it without a certificate; with
/// one, the certificate is refused.
fn listeners(
    raw: &Raw,
    name: &str,
    without_certificate: impl Fn(&Url) -> Result<(), String>,
) -> Result<Vec<Listener>, String> {
    let certificate = if name == "listen-peer-urls" { "peer-cert-file" } else { "cert-file" };
    let mut listeners = Vec::new();
    for url in raw.urls(name) {
        match url.scheme {
            Scheme::Http => {}
            Scheme::Https if raw.text(certificate).is_empty() => without_certificate(url)?,
            Scheme::Https => return Err(not_yet(certificate, raw.text(certificate))),
            Scheme::Unix | Scheme::Unixs => {
                return Err(format!(
                    "--{name}: {url}: unix sockets are not supported yet: listen on http://"
                ));
            }
        }
        listeners.push(Listener { url: url.clone(), address: url.bind_address()? });
    }
    if listeners.is_empty() && name != "listen-metrics-urls" {
        return Err(format!("--{name} must hold at least one URL"));
    }
    Ok(listeners)
}

/// Checks the advertised peer and client URLs, and the rules on who sets them.
fn advertised(raw: &Raw, source: Source) -> Result<(Vec<Url>, Vec<Url>), String> {
    let peers = raw.urls("initial-advertise-peer-urls").to_vec();
    let clients = raw.urls("advertise-client-urls").to_vec();
    // A file keeps the default when it says nothing; flags do not.
    let unset = source == Source::Flags
        && raw.is_set("listen-client-urls")
        && !raw.is_set("advertise-client-urls");
    for url in &peers {
        url.check_host().map_err(|why| {
            format!(
                "--initial-advertise-peer-urls {} must be \"host:port\" ({why})",
                quote(join(&peers))
            )
        })?;
    }
    for url in clients.iter().filter(|_| !unset) {
        url.check_host().map_err(|why| {
            format!(
                "--advertise-client-urls {} must be in the format \"host:port\", \
                 \"unix:/path/to/socket\" or \"unixs:/path/to/socket\" ({why})",
                quote(join(&clients))
            )
        })?;
    }
    bootstrap_choice(raw)?;
    heartbeats(raw)?;
    if unset {
        return Err(ADVERTISE_MISSING.to_string());
    }
    Ok((peers, clients))
}

/// Checks that there is one way to find the cluster, not several.
fn bootstrap_choice(raw: &Raw) -> Result<(), String> {
    let state = raw.text("initial-cluster-state");
    if !matches!(state, "new" | "existing" | "") {
        return Err(format!("unexpected clusterState {}", quote(state)));
    }
    let endpoints = raw.texts("discovery-endpoints");
    let discovers = !endpoints.is_empty()
        || !raw.text("discovery-srv").is_empty()
        || !raw.text("discovery-srv-name").is_empty();
    let named = raw.is_set("initial-cluster") && !raw.text("initial-cluster").is_empty();
    let ways = [
        named || (!discovers && !raw.text("initial-cluster").is_empty()),
        !raw.text("discovery-srv").is_empty(),
        !endpoints.is_empty(),
    ];
    if ways.into_iter().filter(|&way| way).count() > 1 {
        return Err("multiple discovery or bootstrap flags are set. Choose one of \
                    \"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\""
            .to_string());
    }
    if raw.text("discovery-token").is_empty() != endpoints.is_empty() {
        return Err("both --discovery-token and --discovery-endpoints must be set".to_string());
    }
    if endpoints.iter().any(|endpoint| endpoint.trim().is_empty()) {
        return Err("--discovery-endpoints must not contain empty endpoints".to_string());
    }
    Ok(())
}

fn heartbeats(raw: &Raw) -> Result<(), String> {
    let (heartbeat, election) = (raw.uint("heartbeat-interval"), raw.uint("election-timeout"));
    if heartbeat == 0 {
        return Err("--heartbeat-interval must be >0 (set to 0ms)".to_string());
    }
    if election == 0 {
        return Err("--election-timeout must be >0 (set to 0ms)".to_string());
    }
    if heartbeat.saturating_mul(5) > election {
        return Err(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as \
             --heartbeat-interval[{heartbeat}ms]"
        ));
    }
    if election > ELECTION_MS_MAX {
        return Err(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than \
             {ELECTION_MS_MAX}ms"
        ));
    }
    Ok(())
}

fn timing(raw: &Raw) -> Result<Timing, String> {
    let heartbeat = raw.uint("heartbeat-interval");
    // etcd counts an election in whole heartbeats.
    let election = Duration::from_millis(raw.uint("election-timeout") / heartbeat * heartbeat);
    let or_default = |name: &str| {
        let value = raw.duration(name);
        let flag = table::flag(name).expect("named in the table");
        match Value::default_of(flag.kind) {
            Value::Duration(default) if value == GoDuration(0) => default.to_std(),
            _ => value.to_std(),
        }
    };
    Ok(Timing {
        heartbeat: Duration::from_millis(heartbeat),
        election,
        request: Duration::from_secs(5) + 2 * election,
        warning_unary: or_default("warning-unary-request-duration"),
        warning_apply: raw.duration("warning-apply-duration").to_std(),
        watch_progress: watch_progress(raw),
    })
}

/// Applies etcd's rule: 0 is 10 minutes, and less than 100 ms is 100 ms.
fn watch_progress(raw: &Raw) -> Duration {
    match raw.duration("watch-progress-notify-interval").to_std() {
        Duration::ZERO => Duration::from_secs(600),
        interval => interval.max(Duration::from_millis(100)),
    }
}

/// Applies etcd's rules on compaction, then ours: whatever means "off" is accepted.
fn compaction_mode(raw: &Raw) -> Result<(), String> {
    match raw.text("auto-compaction-mode") {
        "periodic" | "revision" => {}
        "" => return Err("undefined auto-compaction-mode".to_string()),
        other => return Err(format!("unknown auto-compaction-mode {}", quote(other))),
    }
    let retention = raw.text("auto-compaction-retention");
    let off = match retention {
        "" => true,
        text => match text.parse::<u64>() {
            Ok(count) => count == 0,
            Err(_) => {
                let length = GoDuration::parse(text)
                    .map_err(|why| format!("error parsing CompactionRetention: {why}"))?;
                length == GoDuration(0)
            }
        },
    };
    if off { Ok(()) } else { Err(not_yet("auto-compaction-retention", retention)) }
}

fn feature_gates(raw: &Raw) -> Result<FeatureGates, String> {
    let gates = FeatureGates::parse(raw.text("feature-gates"))?;
    if gates.is_enabled("LeaseCheckpointPersist") && !gates.is_enabled("LeaseCheckpoint") {
        return Err("enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
                    LeaseCheckpoint"
            .to_string());
    }
    let check_time = raw.duration("compact-hash-check-time");
    if check_time.0 <= 0 {
        return Err(format!("--compact-hash-check-time must be >0 (set to {check_time})"));
    }
    Ok(gates)
}

fn name_advice(raw: &Raw, notes: &mut Vec<Note>) {
    if raw.text("name") == "default" {
        notes.push(
            Note::warn(
                "it isn't recommended to use default name, please set a value for --name. Note \
                 that etcd might run into issue when multiple members have the same default name",
            )
            .with("name", "default"),
        );
    }
}

fn tls_versions(raw: &Raw) -> Result<(), String> {
    let number = |name: &str| match raw.text(name) {
        "" => Ok(0),
        "TLS1.2" => Ok(2),
        "TLS1.3" => Ok(3),
        other => {
            Err(format!("unexpected TLS version {} (must be one of: TLS1.2, TLS1.3)", quote(other)))
        }
    };
    let (oldest, newest) = (number("tls-min-version")?, number("tls-max-version")?);
    if newest != 0 && oldest > newest {
        return Err(format!(
            "min version ({}) is greater than max version ({})",
            raw.text("tls-min-version"),
            raw.text("tls-max-version")
        ));
    }
    if oldest == 3 && !raw.texts("cipher-suites").is_empty() {
        return Err("cipher suites cannot be configured when only TLS1.3 is enabled".to_string());
    }
    Ok(())
}

/// Refuses by name what is not there yet, unless it has its default.
fn refuse_absent(raw: &Raw) -> Result<(), String> {
    let absent = table::flags()
        .filter(|flag| flag.standing == Standing::Absent)
        // It has several ways to say "off"; `compaction_mode` knows them.
        .filter(|flag| flag.name != "auto-compaction-retention");
    for flag in absent {
        if !raw.is_default(flag) {
            return Err(not_yet(flag.name, &shown(flag.name, raw)));
        }
    }
    Ok(())
}

fn not_yet(name: &str, value: &str) -> String {
    let default = table::flag(name).map(|flag| flag.kind);
    let advice = match default {
        Some(Kind::Bool(default)) => format!("leave it {default}"),
        _ => "leave it unset".to_string(),
    };
    format!("--{name} is not supported yet (set to {}): {advice}", quote(value))
}

fn shown(name: &str, raw: &Raw) -> String {
    match raw.value(name) {
        // Secrets are not repeated in a log.
        Value::Text(_) if name == "discovery-password" => "...".to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Duration(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::Urls(urls) => join(urls),
        Value::Texts(texts) => texts.join(","),
    }
}

/// Advertises the machine's own address for a member that listens everywhere and says nothing else.
fn fill_in_host(
    (mut peers, mut clients): (Vec<Url>, Vec<Url>),
    raw: &Raw,
    machine: &Machine,
    notes: &mut Vec<Note>,
) -> (Vec<Url>, Vec<Url>) {
    let Some(host) = machine.default_host else {
        return (peers, clients);
    };
    let mut used = false;
    for (urls, advertise, listen) in [
        (&mut peers, "initial-advertise-peer-urls", "listen-peer-urls"),
        (&mut clients, "advertise-client-urls", "listen-client-urls"),
    ] {
        let flag = table::flag(advertise).expect("named in the table");
        let Some(Ok(("0.0.0.0", port))) = raw.urls(listen).first().map(Url::host_and_port) else {
            continue;
        };
        if raw.is_default(flag) {
            let host = if host.is_ipv6() { format!("[{host}]") } else { host.to_string() };
            *urls = vec![Url { scheme: urls[0].scheme, authority: format!("{host}:{port}") }];
            used = true;
        }
    }
    if used {
        notes
            .push(Note::info("detected default host for advertise").with("host", host.to_string()));
    }
    (peers, clients)
}

fn initial(raw: &Raw, advertise_peers: &[Url]) -> Initial {
    let name = raw.text("name");
    let flag = table::flag("initial-cluster").expect("named in the table");
    let cluster = if raw.is_default(flag) && name != "default" {
        let name = if name.is_empty() { "default" } else { name };
        let pairs: Vec<String> =
            advertise_peers.iter().map(|url| format!("{name}={url}")).collect();
        pairs.join(",")
    } else {
        raw.text("initial-cluster").to_string()
    };
    let state = match raw.text("initial-cluster-state") {
        "existing" => ClusterState::Existing,
        _ => ClusterState::New,
    };
    Initial { cluster, token: raw.text("initial-cluster-token").to_string(), state }
}

fn quota(raw: &Raw) -> Quota {
    let shown = match raw.int("quota-backend-bytes") {
        0 => QUOTA_DEFAULT_BYTES,
        bytes => bytes,
    };
    Quota { bytes: u64::try_from(shown).ok(), shown }
}

fn bounds(raw: &Raw, machine: &Machine, notes: &mut Vec<Note>) -> Result<RequestBounds, String> {
    let request_bytes = raw.uint("max-request-bytes");
    if request_bytes > REQUEST_ADVISED_BYTES {
        notes.push(
            Note::warn("exceeded recommended request limit")
                .with("max-request-bytes", FieldValue::Unsigned(request_bytes))
                .with("recommended-request-bytes", FieldValue::Unsigned(REQUEST_ADVISED_BYTES)),
        );
    }
    let most = limits::REQUEST_BYTES_MAX as u64;
    if request_bytes > most {
        return Err(format!("--max-request-bytes must be at most {most} (set to {request_bytes})"));
    }
    let ops = raw.uint("max-txn-ops");
    // Positions of operations in a txn have 32 bits.
    if ops > u64::from(u32::MAX) {
        return Err(format!("--max-txn-ops must be at most {} (set to {ops})", u32::MAX));
    }
    Ok(RequestBounds {
        txn_ops_max: ops as usize,
        request_bytes_max: request_bytes as usize,
        concurrent_streams_max: raw.uint("max-concurrent-streams") as u32,
        connection_memory_bytes: connection_memory(raw, machine)?,
    })
}

/// Returns the budget of all connections: as asked for, or a part of the memory that there is.
fn connection_memory(raw: &Raw, machine: &Machine) -> Result<usize, String> {
    const LEAST: usize = limits::BUDGET_ASKED_BYTES_MIN;
    match raw.uint("connection-memory-bytes") {
        0 => {
            let part = machine.memory_bytes / limits::BUDGET_MEMORY_PARTS;
            Ok((part as usize).max(limits::BUDGET_BYTES_MIN))
        }
        bytes if bytes < LEAST as u64 => Err(format!(
            "--connection-memory-bytes must be at least {LEAST}, or 0 for a part of the machine's \
             memory (set to {bytes})"
        )),
        bytes => Ok(bytes as usize),
    }
}

fn keepalive(raw: &Raw) -> Keepalive {
    let on = |name: &str| Some(raw.duration(name).to_std()).filter(|time| !time.is_zero());
    Keepalive {
        min_time: raw.duration("grpc-keepalive-min-time").to_std(),
        interval: on("grpc-keepalive-interval"),
        timeout: on("grpc-keepalive-timeout"),
    }
}

fn layout(raw: &Raw, machine: &Machine) -> Result<Layout, String> {
    let within = |name: &str, most: usize| match raw.uint(name) {
        0 if raw.is_set(name) => Err(format!("--{name} must be between 1 and {most} (set to 0)")),
        0 => Ok(None),
        count if count <= most as u64 => Ok(Some(count as u16)),
        count => Err(format!("--{name} must be between 1 and {most} (set to {count})")),
    };
    let machine_cores = machine.cores.clamp(1, limits::CORES_MAX) as u16;
    let cores = within("cores", limits::CORES_MAX)?;
    if cores.is_some_and(|cores| cores > machine_cores) {
        return Err(format!(
            "--cores must be at most the {machine_cores} that this process may run on (set to {})",
            raw.uint("cores")
        ));
    }
    let cores = cores.unwrap_or(machine_cores);
    let shards = within("shards", limits::SHARDS_MAX)?;
    let spin = raw.uint("spin-us");
    if spin > 1_000_000 {
        return Err(format!("--spin-us must be at most 1000000, a second (set to {spin})"));
    }
    Ok(Layout {
        shards: shards.unwrap_or(cores.min(limits::SHARDS_MAX as u16)),
        shards_asked: shards.is_some(),
        cores,
        spin: Duration::from_micros(spin),
    })
}
