//! Starting, pinning and joining executors.
//!
//! The **live timer**: glommio can park an executor that has a runnable task. A timer of its own
//! wakes it again. It ticks every 2 ms while the executor has something to do and backs off to
//! 250 ms when it has not, so that a stall under traffic is short and an idle core costs nothing.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::thread;
use std::time::Duration;

use super::task::{sleep, spawn};
use crate::limits::CORES_MAX;

/// Locked memory of one executor: a small slab, since the WAL has its own ring. It is registered
/// with three rings; glommio refuses less than 64 KiB.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// Shortest and longest period of the live timer.
const LIVE_TIMER_MIN: Duration = Duration::from_millis(2);
const LIVE_TIMER_MAX: Duration = Duration::from_millis(250);

/// How executors are started.
#[derive(Clone, Debug)]
pub struct ExecutorSettings {
    /// Threads are called `<name>-<core>`.
    pub name: String,
    /// How long an executor without work polls before it sleeps; zero sleeps at once.
    pub spin: Duration,
}

/// Why executors could not be started.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// Executors under way.
pub struct Executors {
    threads: Vec<glommio::ExecutorJoinHandle<()>>,
}

impl Executors {
    /// Waits until the body of every executor has returned.
    pub fn join(self) -> Result<(), StartError> {
        let mut result = Ok(());
        for (core, thread) in self.threads.into_iter().enumerate() {
            if let Err(error) = thread.join() {
                result = Err(StartError(format!("executor of core {core}: {error}")));
            }
        }
        result
    }
}

/// Starts one executor per body; body `i` runs on core `i`, and its executor ends when it returns.
///
/// Cores are pinned to the CPUs this process may use if there are enough of them for all.
///
/// # Panics
///
/// If there are no bodies or more than [`CORES_MAX`].
pub fn start<B, F>(settings: &ExecutorSettings, bodies: Vec<B>) -> Result<Executors, StartError>
where
    B: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    assert!((1..=CORES_MAX).contains(&bodies.len()), "1 to {CORES_MAX} cores");
    let cpus = cpus_allowed();
    let pinned = cpus.len() >= bodies.len();
    let mut threads = Vec::with_capacity(bodies.len());
    for (core, body) in bodies.into_iter().enumerate() {
        let placement = match pinned {
            true => glommio::Placement::Fixed(cpus[core]),
            false => glommio::Placement::Unbound,
        };
        let thread = glommio::LocalExecutorBuilder::new(placement)
            .name(&format!("{}-{core}", settings.name))
            .io_memory(IO_MEMORY_BYTES)
            .spin_before_park(settings.spin)
            .spawn(move || run(body))
            .map_err(|error| StartError(format!("cannot start core {core}: {error}")))?;
        threads.push(thread);
    }
    Ok(Executors { threads })
}

async fn run<B, F>(body: B)
where
    B: FnOnce() -> F,
    F: Future<Output = ()>,
{
    let _abort = AbortOnPanic;
    let live = spawn(keep_live());
    body().await;
    live.cancel().await;
}

thread_local! {
    /// Counts what the executor did since the live timer last looked.
    static ACTIVITY: Cell<u64> = const { Cell::new(0) };
}

/// Tells the live timer of this executor that there is traffic.
pub(super) fn active() {
    ACTIVITY.set(ACTIVITY.get().wrapping_add(1));
}

async fn keep_live() {
    let mut period = LIVE_TIMER_MIN;
    let mut seen = ACTIVITY.get();
    loop {
        sleep(period).await;
        let activity = ACTIVITY.get();
        period = match activity == seen {
            true => (period * 2).min(LIVE_TIMER_MAX),
            false => LIVE_TIMER_MIN,
        };
        seen = activity;
    }
}

/// A core that panicked must not leave the others serving a store with a hole in it. Release
/// builds abort by themselves (`panic = "abort"`); this is for those that unwind. In tests the
/// panic is the test's failure and goes to whoever joins.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() && !cfg!(test) {
            let name = thread::current().name().unwrap_or("unnamed").to_owned();
            eprintln!("executor {name} panicked; the process stops");
            std::process::abort();
        }
    }
}

/// The CPUs that this process may run on, in order.
fn cpus_allowed() -> Vec<usize> {
    // SAFETY: an all-zero `cpu_set_t` is an empty set, and the size passed is that of the set.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
            return Vec::new();
        }
        set
    };
    // SAFETY: every index is below CPU_SETSIZE, the number of bits in the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}
