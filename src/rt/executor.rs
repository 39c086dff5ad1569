//! Executors: one thread each, pinned; its tasks, and the loop that runs them.
//!
//! ```text
//!  ┌▶ run every task that is ready ─▶ look at sockets, bells, timers ─┐
//!  │        (they make others ready)    sleeping there if none is     │
//!  └──────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Tasks run in the order in which they became ready, pass by pass; the sockets are looked at when
//! nothing is ready or a slice of time is over. An executor without work makes no system call and
//! keeps no timer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_task::Runnable;
use slab::Slab;

use super::doorbell::{Doorbell, Parts, Ringer};
use super::reactor::Reactor;
use super::task::now;
use crate::limits::CORES_MAX;

/// So long tasks run before the sockets are looked at again.
const SLICE: Duration = Duration::from_micros(200);

/// What the kernel may add to a sleep: timers here are set to the microsecond.
const TIMER_SLACK_NANOS: libc::c_ulong = 1_000;

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
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Executors {
    /// Waits until the body of every executor has returned.
    pub fn join(self) -> Result<(), StartError> {
        let mut result = Ok(());
        for (core, thread) in self.threads.into_iter().enumerate() {
            let failed = match thread.join() {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => match panic.downcast_ref::<String>() {
                    Some(text) => format!("panicked: {text}"),
                    None => "panicked".to_owned(),
                },
            };
            result = Err(StartError(format!("executor of core {core}: {failed}")));
        }
        result
    }
}

/// Starts one executor per body; body `i` runs on core `i`, and its executor ends when it returns.
/// Tasks that are left then are dropped.
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
        let cpu = pinned.then(|| cpus[core]);
        let spin = settings.spin;
        let thread = thread::Builder::new()
            .name(format!("{}-{core}", settings.name))
            .spawn(move || {
                settle(cpu);
                run(body, spin)
            })
            .map_err(|error| StartError(format!("cannot start core {core}: {error}")))?;
        threads.push(thread);
    }
    Ok(Executors { threads })
}

/// Pins the thread, and has its sleeps end when they should. Neither is worth failing for.
fn settle(cpu: Option<usize>) {
    // SAFETY: an all-zero `cpu_set_t` is an empty set, the size passed is that of the set, and
    // `prctl` is passed no pointer.
    unsafe {
        if let Some(cpu) = cpu {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
        libc::prctl(libc::PR_SET_TIMERSLACK, TIMER_SLACK_NANOS);
    }
}

/// The executor of one thread.
pub(super) struct Local {
    ready: RefCell<VecDeque<Runnable>>,
    /// Every task that has not ended, to drop those that are left at the end.
    tasks: RefCell<Slab<Waker>>,
    pub(super) reactor: Rc<Reactor>,
    remote: Arc<Remote>,
}

/// Where other threads put tasks of this executor that they woke.
struct Remote {
    woken: Mutex<Vec<Runnable>>,
    ringer: Ringer,
}

thread_local! {
    static LOCAL: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

/// The executor of the calling thread.
///
/// # Panics
///
/// Outside an executor.
pub(super) fn local() -> Rc<Local> {
    LOCAL.with_borrow(|local| local.clone()).expect("on the thread of an executor")
}

impl Remote {
    fn schedule(self: &Arc<Remote>, runnable: Runnable) {
        let mut runnable = Some(runnable);
        // During the thread's end there is no executor any more.
        let _ = LOCAL.try_with(|local| {
            if let Ok(local) = local.try_borrow()
                && let Some(local) = &*local
                && Arc::ptr_eq(&local.remote, self)
            {
                local.ready.borrow_mut().extend(runnable.take());
            }
        });
        if let Some(runnable) = runnable {
            self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(runnable);
            self.ringer.ring();
        }
    }
}

impl Local {
    pub(super) fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> async_task::Task<T> {
        let mut tasks = self.tasks.borrow_mut();
        let listed = Listed(tasks.vacant_key());
        let future = async move {
            let _listed = listed;
            future.await
        };
        let remote = self.remote.clone();
        let schedule = move |runnable| remote.schedule(runnable);
        let (runnable, task) = async_task::spawn_local(future, schedule);
        tasks.insert(runnable.waker());
        drop(tasks);
        runnable.schedule();
        task
    }

    /// Runs what is ready and what that makes ready, for a slice of time at most.
    fn run_ready(&self) {
        let mut end = None;
        loop {
            let count = self.ready.borrow().len();
            if count == 0 {
                return;
            }
            for _ in 0..count {
                let Some(runnable) = self.ready.borrow_mut().pop_front() else { return };
                runnable.run();
            }
            let now = now().0;
            if now >= *end.get_or_insert(now + SLICE.as_nanos() as u64) {
                return;
            }
        }
    }

    fn wait(&self, spin: Duration) {
        let busy = !self.ready.borrow().is_empty();
        if busy || spin.is_zero() {
            self.reactor.poll(busy);
            return;
        }
        let end = now().0 + spin.as_nanos() as u64;
        while !self.reactor.poll(true) {
            if now().0 >= end {
                self.reactor.poll(false);
                return;
            }
        }
    }

    /// Makes ready what other threads have woken.
    fn take_woken(&self) {
        let mut woken = self.remote.woken.lock().unwrap_or_else(PoisonError::into_inner);
        self.ready.borrow_mut().extend(woken.drain(..));
    }

    /// Drops every task that has not ended, and what they leave behind.
    fn drop_tasks(&self) {
        loop {
            let wakers: Vec<Waker> = self.tasks.borrow_mut().drain().collect();
            wakers.into_iter().for_each(Waker::wake);
            self.take_woken();
            let Some(runnable) = self.ready.borrow_mut().pop_front() else { return };
            drop(runnable);
        }
    }
}

/// A task's place in the list of its executor, until its future is gone.
struct Listed(usize);

impl Drop for Listed {
    fn drop(&mut self) {
        let _ = LOCAL.try_with(|local| {
            if let Ok(local) = local.try_borrow()
                && let Some(local) = &*local
            {
                // At the end the list is emptied before the tasks are dropped.
                local.tasks.borrow_mut().try_remove(self.0);
            }
        });
    }
}

fn run<B, F>(body: B, spin: Duration) -> io::Result<()>
where
    B: FnOnce() -> F,
    F: Future<Output = ()> + 'static,
{
    let _abort = AbortOnPanic;
    let parts = Parts::new()?;
    let remote = Arc::new(Remote { woken: Mutex::default(), ringer: parts.ringer() });
    let local = Rc::new(Local {
        ready: RefCell::default(),
        tasks: RefCell::default(),
        reactor: Reactor::new()?,
        remote: remote.clone(),
    });
    LOCAL.set(Some(local.clone()));
    let _left = Leave;
    let woken = Rc::downgrade(&local);
    let take_woken = move || woken.upgrade().iter().for_each(|local| local.take_woken());
    let _bell = Doorbell::on(parts, Rc::new(take_woken))?;
    let body = local.spawn(body());
    loop {
        local.run_ready();
        if body.is_finished() {
            break;
        }
        local.wait(spin);
    }
    body.detach();
    local.drop_tasks();
    Ok(())
}

/// Takes the executor off its thread.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        let local = LOCAL.take();
        drop(local);
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
