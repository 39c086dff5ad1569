//! Starting, pinning and joining executors, and what they do when no task is ready.
//!
//! ```text
//!   glommio: tasks, in the order in which they became ready
//!  ┌▶ A ─▶ B ─▶ ... ─▶ poller ─┐    tasks ran since its last turn: yield, some may be woken
//!  └───────────────────────────┘    none did: look at sockets, bells and timers, asleep if need be
//! ```
//!
//! An executor is glommio's: its threads, tasks, wakers, scheduling. What its tasks wait for is
//! ours (`reactor`), and one task, the *poller*, drives it. It yields to itself, so glommio's queue
//! is never empty, and its preemption timer does not run out in the life of a process: glommio
//! never comes to its own rings. With that left to glommio, every round of the loop entered the
//! kernel four to six times.
//!
//! Invariants: every task is spawned by this room and counts its turns; the queue is first come,
//! first served. So when the poller has its turn and no other task had one since its last, none is
//! ready, and it may block the thread. Tasks are woken by tasks of their executor or by the
//! reactor; another thread rings a [`Doorbell`](super::Doorbell).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use super::reactor::Reactor;
use super::task::now;
use crate::limits::CORES_MAX;

/// Locked memory of one executor: a small slab, since the WAL has its own ring. It is registered
/// with three rings; glommio refuses less than 64 KiB.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// Entries of glommio's rings, which carry nothing but its timers.
const RING_DEPTH: usize = 16;

/// Preemption interval: effectively never. glommio would leave its tasks only to look at its own
/// rings, and nothing waits for those.
///
/// It arms a timer of this length and then looks whether it has run out. If it has, no task was
/// run, and glommio takes that for "none is ready" and sleeps, for ever where nothing is under way
/// in its rings. A thread that lost its CPU right after arming one of 10 ms did just that.
const PREEMPT_TIMER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The time that tasks run before the sockets are looked at again.
const SLICE: Duration = Duration::from_micros(200);

/// The slack that the kernel may add to a sleep: timers here are set to the microsecond.
const TIMER_SLACK_NANOS: libc::c_ulong = 1_000;

/// How executors are started.
#[derive(Clone, Debug)]
pub struct ExecutorSettings {
    /// Threads are called `<name>-<core>`.
    pub name: String,
    /// The time that an executor without work polls before it sleeps; zero sleeps at once.
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
    let mut starting = Vec::with_capacity(bodies.len());
    for (core, body) in bodies.into_iter().enumerate() {
        let spin = settings.spin;
        let placement = match pinned {
            true => glommio::Placement::Fixed(cpus[core]),
            false => glommio::Placement::Unbound,
        };
        let thread = glommio::LocalExecutorBuilder::new(placement)
            .name(&format!("{}-{core}", settings.name))
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(RING_DEPTH)
            .preempt_timer(PREEMPT_TIMER)
            .spawn({
                let (started, starts) = mpsc::channel();
                starting.push(starts);
                move || run(body, spin, started)
            })
            .map_err(|error| StartError(format!("cannot start core {core}: {error}")))?;
        threads.push(thread);
    }
    // The rings are made on the thread: that they could not be shows in nothing but its end.
    for (core, starts) in starting.into_iter().enumerate() {
        if starts.recv().is_err() {
            let why = threads.swap_remove(core).join().err();
            let why = why.map_or("it ended at once".to_owned(), |error| error.to_string());
            return Err(StartError(format!("cannot start core {core}: {why}")));
        }
    }
    Ok(Executors { threads })
}

/// The state that a thread's executor has besides glommio's.
pub(super) struct Local {
    pub(super) reactor: Rc<Reactor>,
    /// Turns of tasks other than the poller.
    turns: Cell<u64>,
    /// The body has returned.
    ended: Cell<bool>,
}

thread_local! {
    static LOCAL: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

/// Returns the state of the calling thread's executor.
///
/// # Panics
///
/// Outside an executor.
pub(super) fn local() -> Rc<Local> {
    LOCAL.with_borrow(|local| local.clone()).expect("on the thread of an executor")
}

/// Starts a task, whose turns are counted.
pub(super) fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> glommio::Task<T> {
    let mut future = Box::pin(future);
    let turns = Turns(local());
    // It is ready from now on: also where nobody's turn has brought it about.
    turns.count();
    glommio::spawn_local(poll_fn(move |cx| {
        turns.count();
        future.as_mut().poll(cx)
    }))
}

/// Counts the turns of a task. The last is the one in which it goes: a cancelled task is not polled
/// again, and yet whoever waits for its end becomes ready.
struct Turns(Rc<Local>);

impl Turns {
    fn count(&self) {
        self.0.turns.set(self.0.turns.get().wrapping_add(1));
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.count();
    }
}

async fn run<B, F>(body: B, spin: Duration, started: mpsc::Sender<()>)
where
    B: FnOnce() -> F,
    F: Future<Output = ()> + 'static,
{
    let _abort = AbortOnPanic;
    // The caller waits for this, unless it has given up already.
    let _ = started.send(());
    // SAFETY: no pointer is passed. It is no more than a wish.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, TIMER_SLACK_NANOS) };
    let reactor = Reactor::new().expect("an epoll instance for each core");
    let local = Rc::new(Local { reactor, turns: Cell::new(0), ended: Cell::new(false) });
    LOCAL.set(Some(local.clone()));
    let poller = glommio::spawn_local(Poller::new(local.clone(), spin));
    // A task as the others: the poller must see its turns.
    spawn(body()).await;
    local.ended.set(true);
    poller.await;
    let left = LOCAL.take();
    drop(left);
}

/// Polls the sockets whenever the executor has no task to run.
struct Poller {
    local: Rc<Local>,
    spin: Duration,
    /// The turns at its own last one.
    seen: u64,
    /// When it last looked at the sockets.
    looked: u64,
}

impl Poller {
    /// glommio runs it at once, before there is a task that could be woken: its first turn must
    /// not wait.
    fn new(local: Rc<Local>, spin: Duration) -> Poller {
        Poller { local, spin, seen: u64::MAX, looked: 0 }
    }

    /// Nothing is ready: waits for something.
    fn wait(&self) {
        if self.spin.is_zero() {
            self.local.reactor.poll(false);
            return;
        }
        let end = now().0 + self.spin.as_nanos() as u64;
        while !self.local.reactor.poll(true) {
            if now().0 >= end {
                self.local.reactor.poll(false);
                return;
            }
        }
    }
}

impl Future for Poller {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.local.ended.get() {
            return Poll::Ready(());
        }
        let turns = self.local.turns.get();
        if std::mem::replace(&mut self.seen, turns) == turns {
            self.wait();
            self.looked = now().0;
        } else if now().0 - self.looked >= SLICE.as_nanos() as u64 {
            self.local.reactor.poll(true);
            self.looked = now().0;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
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

/// Returns the CPUs that this process may run on, in order.
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

#[cfg(test)]
mod tests {
    use std::task::{Wake, Waker};

    use super::*;

    struct Rung(mpsc::Sender<()>);

    impl Wake for Rung {
        fn wake(self: std::sync::Arc<Rung>) {
            self.0.send(()).expect("the test waits");
        }
    }

    /// A member in some hundred did not become ready on a busy machine: the poller slept before
    /// there was a task. From its second turn on it waits when nobody has had a turn.
    #[test]
    fn the_first_turn_of_the_poller_does_not_wait() {
        let (sender, turns) = mpsc::channel();
        let (woken, wakes) = mpsc::channel();
        // On a thread of its own: what must not sleep would sleep for ever.
        thread::spawn(move || {
            let reactor = Reactor::new().expect("an epoll instance");
            let local = Rc::new(Local { reactor, turns: Cell::new(0), ended: Cell::new(false) });
            let mut poller = Pin::new(Box::new(Poller::new(local.clone(), Duration::ZERO)));
            let mut turn = || poller.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            sender.send(turn()).expect("the test waits");
            local.reactor.set_timer(now(), Waker::from(std::sync::Arc::new(Rung(woken))));
            sender.send(turn()).expect("the test waits");
        });
        let patience = Duration::from_secs(20);
        assert_eq!(turns.recv_timeout(patience), Ok(Poll::Pending), "it sleeps");
        assert_eq!(turns.recv_timeout(patience), Ok(Poll::Pending));
        assert!(wakes.try_recv().is_ok(), "nobody has had a turn, so it looked what there is");
    }
}
