//! Bringing a member up, core by core, and down.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::core_loop::{Beat, CoreLoop};
use super::directory::{Directory, draw_salt};
use super::metrics::Figures;
use super::{ETCD_CLUSTER_VERSION, ETCD_VERSION, Event};
use crate::budget::Budget;
use crate::config::{Allowed, Config};
use crate::limits::{
    CHECKPOINT_LOG_BYTES, LOG_BATCH_BYTES_MAX, MAILBOX_BATCHES_MAX, READ_SLICE_KEYS, SEGMENT_BYTES,
};
use crate::line::Mailboxes;
use crate::member::{
    Core, Identity, LeaseConfig, Mail, MemberConfig, Service, Shared, WatchLimits,
};
use crate::observe::{CoreMetrics, LinesDropped};
use crate::protocol::convert::{HeaderFields, RequestLimits};
use crate::rt::{
    self, AcceptSettings, Acceptor, DiskReader, DiskRing, DiskSettings, Doorbell, ExecutorSettings,
    Executors, Inbox, InboxSender, Listener, ListenerOptions, Notify, Reserve, Ringer,
};
use crate::server::{Delivery, Front, Keepalive, ListenerKind, STALL_MAX, Settings, Versions};
use crate::types::placement::PLACEMENT_SEED;
use crate::types::{CoreId, Member, ShardId, Term};

/// Connections and commands that may wait for a core.
const INBOX_MAX: usize = 1 << 12;

/// A member under way.
pub(super) struct Running {
    executors: Executors,
    deliveries: Vec<InboxSender<Delivery>>,
    commands: Vec<InboxSender<Command>>,
    _directory: Directory,
}

/// From the main thread to a core.
enum Command {
    /// Every core has recovered: lead, if that is this core's part.
    Begin,
    /// Finish what is in flight, at most for so long.
    Stop(Duration),
}

/// The listeners of `--listen-client-urls` and `--listen-metrics-urls`, bound.
pub(super) struct Bound {
    listeners: Vec<Listener>,
}

/// Binds every listener, so that a port that is taken is told before anything else is done.
pub(super) fn bind(config: &Config) -> Result<Bound, String> {
    let options = ListenerOptions { reuse_port: config.listen.reuse_port };
    let all = config.listen.clients.iter().chain(&config.listen.metrics);
    let listeners: Result<_, _> =
        all.map(|listener| Listener::bind(listener.address, options)).collect();
    Ok(Bound { listeners: listeners.map_err(|error| error.to_string())? })
}

/// Opens the directory and starts the executors; each tells how its recovery went.
pub(super) fn start(
    config: &Config,
    lines_dropped: LinesDropped,
    events: Sender<Event>,
) -> Result<Running, String> {
    let directory = Directory::open(&config.data_dir).map_err(|error| error.to_string())?;
    if directory.is_open_to_others {
        tracing::warn!(
            dir = %config.data_dir.display(),
            "the data directory can be read by others: its permissions should be 0700"
        );
    }
    let identity = identify(config, &directory)?;
    let is_full = look_after_reserve(&directory, identity)?;
    let member = Arc::new(member_config(config, identity));
    let cores = config.layout.cores.min(identity.shards);
    let shared = Arc::new(Shared::new(cores, identity.shards));
    if is_full {
        shared.begin_short();
    }
    let memory = config.bounds.connection_memory_bytes;
    let budget = Budget::new(memory, usize::from(cores));
    let figures = Figures::new(config, &member, &shared, lines_dropped, &budget);
    let figures = Arc::new(figures);
    let mut by_core = Mailboxes::of_all(cores, MAILBOX_BATCHES_MAX);
    let ringers: Arc<Mutex<Vec<Option<Ringer>>>> =
        Arc::new(Mutex::new((0..cores).map(|_| None).collect()));
    let (deliveries, mut inboxes) = make_inboxes::<Delivery>(cores)?;
    let (commands, mut command_inboxes) = make_inboxes::<Command>(cores)?;
    let serving = Arc::new(AtomicUsize::new(usize::from(cores)));
    let mut bodies = Vec::new();
    for core in (0..cores).rev().map(CoreId) {
        bodies.push(CoreStart {
            core,
            config: config.clone(),
            member: Arc::clone(&member),
            shared: Arc::clone(&shared),
            figures: Arc::clone(&figures),
            budget: Arc::clone(&budget),
            path: directory.member.clone(),
            mailboxes: by_core.pop().expect("one for each core"),
            ringers: Arc::clone(&ringers),
            inbox: inboxes.pop().expect("one for each core"),
            commands: command_inboxes.pop().expect("one for each core"),
            deliveries: deliveries.clone(),
            events: events.clone(),
            serving: Arc::clone(&serving),
        });
    }
    bodies.reverse();
    let settings = ExecutorSettings { name: "braid-core".to_owned(), spin: config.layout.spin };
    let bodies = bodies.into_iter().map(|body| move || body.run()).collect();
    let executors = rt::start(&settings, bodies).map_err(|error| error.to_string())?;
    Ok(Running { executors, deliveries, commands, _directory: directory })
}

impl Running {
    /// Cores that run: no more than there are shards.
    pub fn cores(&self) -> usize {
        self.commands.len()
    }

    /// Every core has recovered: the member may open its epoch.
    pub fn begin(&self) {
        for core in &self.commands {
            assert!(core.send(Command::Begin).is_ok(), "a core takes its first command");
        }
    }

    /// Starts to accept.
    pub fn accept(&self, bound: Bound, files: u64) -> std::io::Result<Acceptor> {
        let settings = AcceptSettings::for_files(files);
        Acceptor::start(bound.listeners, self.deliveries.clone(), settings)
    }

    /// Finishes what is in flight and ends the executors.
    pub fn stop(self, limit: Duration) {
        for core in &self.commands {
            if core.send(Command::Stop(limit)).is_err() {
                tracing::warn!("a core did not take the command to stop");
            }
        }
        if let Err(error) = self.executors.join() {
            tracing::error!(error = %error, "a core did not stop cleanly");
        }
    }
}

fn identify(config: &Config, directory: &Directory) -> Result<Identity, String> {
    if let Some(identity) = directory.identity().map_err(|error| error.to_string())? {
        if config.layout.shards_asked && config.layout.shards != identity.shards {
            return Err(format!(
                "--shards {} does not fit the data directory, which was created with {} shards: \
                 the number of shards is fixed when a cluster is created; start with --shards {}, \
                 or with another --data-dir",
                config.layout.shards, identity.shards, identity.shards
            ));
        }
        return Ok(identity);
    }
    let mut resolve = |host: &str| {
        use std::net::ToSocketAddrs;
        (host, 0).to_socket_addrs().ok()?.next().map(|address| address.ip())
    };
    let ids = config.initial.identity(&config.name, &config.advertise_peers, &mut resolve)?;
    let salt = draw_salt().map_err(|error| format!("cannot read /dev/urandom: {error}"))?;
    let identity =
        Identity { cluster: ids.cluster, member: ids.member, shards: config.layout.shards, salt };
    directory.adopt(&identity).map_err(|error| error.to_string())?;
    tracing::info!(
        cluster_id = %format!("{:x}", identity.cluster.0),
        member_id = %format!("{:x}", identity.member.0),
        shards = identity.shards,
        "created a new member"
    );
    Ok(identity)
}

/// Makes the reserve or, if the disk is full, gives it up; whether it is full.
fn look_after_reserve(directory: &Directory, identity: Identity) -> Result<bool, String> {
    let groups = u64::from(identity.shards) + 1;
    let found = rt::look_after_reserve(&directory.member, groups)
        .map_err(|error| format!("{}: {error}", directory.member.join("reserve").display()))?;
    let place = directory.member.display().to_string();
    match found {
        Reserve::Kept => {}
        Reserve::GivenUp { free, bytes } => tracing::warn!(
            dir = %place,
            free_bytes = free,
            reserve_bytes = bytes,
            "the disk is full: the reserve is given up, so that reads and deletes are served; \
             writes are refused until there is room and the NOSPACE alarm is disarmed"
        ),
        Reserve::None { free } if found.is_full() => tracing::warn!(
            dir = %place,
            free_bytes = free,
            "the disk is full and there is no reserve: reads are served as long as nothing has to \
             be written; writes are refused until there is room and the NOSPACE alarm is disarmed"
        ),
        Reserve::None { free } => tracing::warn!(
            dir = %place,
            free_bytes = free,
            "there is no room for a reserve: when the disk is full, deletes may be refused"
        ),
    }
    Ok(found.is_full())
}

fn member_config(config: &Config, identity: Identity) -> MemberConfig {
    let urls = |urls: &[crate::config::url::Url]| urls.iter().map(ToString::to_string).collect();
    let heartbeat = config.timing.heartbeat.as_nanos().max(1);
    let ticks = config.timing.election.as_nanos() / heartbeat;
    let ticks = usize::try_from(ticks).unwrap_or(10).max(2);
    let checkpoints = config.gates.is_enabled("LeaseCheckpoint");
    MemberConfig {
        identity,
        member: Member {
            id: identity.member.0,
            name: config.name.clone(),
            peer_urls: urls(&config.advertise_peers),
            client_urls: urls(&config.advertise_clients),
            is_learner: false,
        },
        election_ticks: ticks,
        request_timeout: config.timing.request.as_nanos() as u64,
        quota: config.quota.bytes.unwrap_or(0),
        quota_shown: config.quota.shown,
        segment_bytes: SEGMENT_BYTES,
        batch_bytes_max: LOG_BATCH_BYTES_MAX,
        checkpoint_log_bytes: CHECKPOINT_LOG_BYTES,
        read_slice_keys: READ_SLICE_KEYS,
        watch_progress_interval: config.timing.watch_progress.as_nanos() as u64,
        watch_limits: WatchLimits::default(),
        leases: LeaseConfig::of(ticks as u64, heartbeat as u64, checkpoints),
    }
}

/// The ends of one inbox per core.
type Inboxes<T> = (Vec<InboxSender<T>>, Vec<Inbox<T>>);

fn make_inboxes<T>(cores: u16) -> Result<Inboxes<T>, String> {
    let pairs: Result<Vec<_>, _> = (0..cores).map(|_| Inbox::new(INBOX_MAX)).collect();
    Ok(pairs.map_err(|error| format!("cannot make an eventfd: {error}"))?.into_iter().unzip())
}

/// The arguments of a core's thread.
struct CoreStart {
    core: CoreId,
    config: Config,
    member: Arc<MemberConfig>,
    shared: Arc<Shared>,
    figures: Arc<Figures>,
    budget: Arc<Budget>,
    path: std::path::PathBuf,
    mailboxes: Mailboxes<Mail>,
    ringers: Arc<Mutex<Vec<Option<Ringer>>>>,
    inbox: Inbox<Delivery>,
    commands: Inbox<Command>,
    deliveries: Vec<InboxSender<Delivery>>,
    events: Sender<Event>,
    /// Cores with connections, or with tasks of theirs.
    serving: Arc<AtomicUsize>,
}

/// Between two looks at whether the other cores are done.
const OTHERS_PAUSE: Duration = Duration::from_millis(1);

/// A core that has recovered.
struct Opened {
    core: Core,
    disk: DiskRing,
    bell: Doorbell,
}

impl CoreStart {
    async fn run(self) {
        let work = Rc::new(Notify::new());
        let mut opened = match self.open(&work) {
            Ok(opened) => opened,
            Err(error) => {
                // The main thread ends the process; if it has gone, there is nothing left to do.
                let _ = self.events.send(Event::Recovered(Err(error)));
                return;
            }
        };
        self.ringers.lock().expect("no core panics here")[usize::from(self.core.0)] =
            Some(opened.bell.ringer());
        let accounts = opened.core.take_accounts();
        let _ = self.events.send(Event::Recovered(Ok(accounts)));
        self.serve(opened, work).await;
    }

    async fn serve(self, opened: Opened, work: Rc<Notify>) {
        let Opened { core, disk, bell } = opened;
        let commands = self.commands.open().expect("the eventfd is there");
        if let Command::Stop(_) = commands.receive().await {
            return;
        }
        // Every core has recovered, so every doorbell is there.
        let ringers = self.ringers.lock().expect("no core panics here").clone();
        let ringers: Vec<Ringer> = ringers.into_iter().flatten().collect();
        let core = Rc::new(RefCell::new(core));
        core.borrow_mut().start();
        let service: Rc<RefCell<dyn Service>> = core.clone();
        let figures = Arc::clone(&self.figures);
        let number = usize::from(self.core.0);
        let scrape = Rc::new(move || figures.scrape(number));
        let own = Arc::clone(self.figures.core(usize::from(self.core.0)));
        let counted = Counted { figures: own, metrics: scrape, budget: self.budget };
        let settings = settings(&self.config, &self.member, &self.shared, counted);
        let front =
            Front::new(self.core, settings, service, Rc::clone(&work), self.deliveries.clone());
        let inbox = self.inbox.open().expect("the eventfd is there");
        let receiving = rt::spawn(Rc::clone(&front).receive(inbox));
        let heartbeat = self.config.timing.heartbeat;
        let beat = Beat {
            core: Rc::clone(&core),
            front: Rc::clone(&front),
            work: Rc::clone(&work),
            figures: Arc::clone(&self.figures),
            shared: Arc::clone(&self.shared),
        };
        let ticking = rt::spawn(beat.run(heartbeat));
        let stopping = Rc::new(Cell::new(false));
        let events = self.events.clone();
        let on_ready: Option<Box<dyn FnOnce()>> = (self.core == self.shared.leader_core())
            .then(|| Box::new(move || drop(events.send(Event::Ready))) as Box<dyn FnOnce()>);
        let turning = rt::spawn(
            CoreLoop {
                core,
                front: Rc::clone(&front),
                shared: Arc::clone(&self.shared),
                work: Rc::clone(&work),
                mailboxes: self.mailboxes,
                ringers,
                disk,
                _bell: bell,
                stopping: Rc::clone(&stopping),
                on_ready,
                figures: self.figures,
            }
            .run(),
        );
        let limit = loop {
            if let Command::Stop(limit) = commands.receive().await {
                break limit;
            }
        };
        front.shut_down(limit).await;
        // Requests of connections on other cores may still need this one.
        self.serving.fetch_sub(1, Ordering::AcqRel);
        while self.serving.load(Ordering::Acquire) > 0 {
            rt::sleep(OTHERS_PAUSE).await;
        }
        stopping.set(true);
        work.notify();
        // Operations that the disk has under way are waited for, but not without end.
        rt::within(Duration::from_secs(2), turning).await;
        receiving.cancel().await;
        ticking.cancel().await;
    }

    fn open(&self, work: &Rc<Notify>) -> Result<Opened, String> {
        let reading = DiskReader::new(&self.path);
        let core = Core::recover(&self.member, self.core, &self.shared, &reading)
            .map_err(|error| error.to_string())?;
        for warning in core.warnings() {
            tracing::warn!(warning, "recovered from an older checkpoint");
        }
        let bell = Doorbell::new(Rc::clone(work)).map_err(|error| error.to_string())?;
        let disk = DiskRing::open(&self.path, &bell, DiskSettings::default())
            .map_err(|error| format!("cannot open the log's ring: {error}"))?;
        if let Some(warning) = disk.warning().filter(|_| self.core == CoreId(0)) {
            tracing::warn!("{warning}");
        }
        Ok(Opened { core, disk, bell })
    }
}

/// The counters and the budget of a core's connections.
struct Counted {
    figures: Arc<CoreMetrics>,
    metrics: Rc<dyn Fn() -> String>,
    budget: Arc<Budget>,
}

fn settings(config: &Config, member: &MemberConfig, shared: &Shared, counted: Counted) -> Settings {
    let Counted { figures, metrics, budget } = counted;
    let kinds = config.listen.clients.iter().map(|_| ListenerKind::Client);
    let scraped = config.listen.metrics.iter().map(|_| ListenerKind::Metrics);
    let never = Duration::ZERO;
    Settings {
        listeners: kinds.chain(scraped).collect(),
        header: HeaderFields {
            cluster_id: member.identity.cluster,
            member_id: member.identity.member,
            raft_term: Term(shared.term()),
        },
        limits: RequestLimits {
            max_request_bytes: config.bounds.request_bytes_max,
            max_txn_ops: config.bounds.txn_ops_max,
        },
        request_bytes_max: config.bounds.request_bytes_max,
        request_timeout: config.timing.request,
        election_timeout: config.timing.election,
        stall: STALL_MAX,
        slow: config.timing.warning_unary,
        streams_max: config.bounds.concurrent_streams_max,
        keepalive: Keepalive {
            ping_interval_min: config.keepalive.min_time,
            interval: config.keepalive.interval.unwrap_or(never),
            timeout: config.keepalive.timeout.unwrap_or(never),
        },
        versions: Versions {
            braid: env!("CARGO_PKG_VERSION").to_owned(),
            server: ETCD_VERSION.to_owned(),
            cluster: ETCD_CLUSTER_VERSION.to_owned(),
            storage: ETCD_CLUSTER_VERSION.to_owned(),
        },
        shard_cores: (0..shared.shards).map(|shard| shared.core_of(ShardId(shard))).collect(),
        hash_seed: PLACEMENT_SEED,
        hosts: match &config.http.hosts {
            Allowed::Any => Vec::new(),
            Allowed::Only(hosts) => hosts.iter().cloned().collect(),
        },
        times_methods: config.metrics_extensive,
        figures,
        metrics,
        budget,
    }
}
