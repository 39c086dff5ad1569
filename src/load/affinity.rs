//! On which processors the threads of a generator run.
//!
//! Executors pin themselves to the first processors, where a server on the same machine has its
//! cores, too. A generator rather leaves the choice to the system, unless it is told.

/// The processors that may be used, or the one of each thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cpus {
    /// Thread `i` runs on the `i`th of these, again from the first when there are more threads;
    /// empty leaves it to the system.
    pinned: Vec<usize>,
    all: Vec<usize>,
}

impl Cpus {
    /// Reads a list like `1` or `0,2,3`. To be called before threads are started.
    pub(super) fn parse(list: Option<&str>) -> Result<Cpus, String> {
        let all = allowed();
        let mut pinned = Vec::new();
        for cpu in list.into_iter().flat_map(|list| list.split(',')) {
            let number = cpu.trim().parse().map_err(|_| format!("cpu {cpu:?} is no number"))?;
            if !all.contains(&number) {
                return Err(format!("cpu {number} is not among those of this process: {all:?}"));
            }
            pinned.push(number);
        }
        Ok(Cpus { pinned, all })
    }

    /// Moves the calling thread to where it belongs.
    pub(super) fn apply(&self, thread: usize) {
        let wanted = match self.pinned.get(thread % self.pinned.len().max(1)) {
            Some(cpu) => std::slice::from_ref(cpu),
            None => &self.all[..],
        };
        if wanted.is_empty() {
            return;
        }
        // SAFETY: an all-zero set is empty, the numbers are below CPU_SETSIZE (`allowed`), and the
        // size is that of the set. A refusal leaves the thread where it is.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            wanted.iter().for_each(|&cpu| libc::CPU_SET(cpu, &mut set));
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }
}

fn allowed() -> Vec<usize> {
    // SAFETY: as in `apply`.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
            return Vec::new();
        }
        (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &set)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        let first = allowed()[0];
        let cpus = Cpus::parse(Some(&format!("{first}, {first}"))).expect("a processor we have");
        assert_eq!(cpus.pinned, [first, first]);
        assert!(Cpus::parse(None).expect("no list").pinned.is_empty());
        assert!(Cpus::parse(Some("x")).expect_err("no number").contains("no number"));
        assert!(Cpus::parse(Some("1023")).expect_err("too high").contains("not among"));
    }
}
