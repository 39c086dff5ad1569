//! The facts about the machine that reading the configuration needs.

use std::fs;
use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};

/// Facts that some settings default to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores that this process may run on.
    pub cores: usize,
    /// Memory that this process may use: the machine's, or less if a control group says so.
    pub memory_bytes: u64,
    /// The address that the default route leaves from; `None` if there is no such route.
    pub default_host: Option<IpAddr>,
}

impl Machine {
    /// Looks at the machine.
    pub fn look() -> Machine {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory_bytes = memory_bytes(&read);
        Machine { cores, memory_bytes, default_host: default_host() }
    }
}

/// Returns the least of the machine's memory and of what the process's control groups allow, those
/// above it included. Both versions of control groups are asked.
fn memory_bytes(read: &dyn Fn(&str) -> String) -> u64 {
    let installed = read("/proc/meminfo");
    let installed = installed.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = installed.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    // If not even that can be read, the machine is taken to have little.
    let mut least = kib.map_or(1 << 30, |kib| kib << 10);
    for line in read("/proc/self/cgroup").lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // Within a container the path may be the host's: the root is asked in any case.
        let mut group = group.trim_end_matches('/');
        loop {
            // "max" is no number, and no limit.
            if let Ok(bytes) = read(&format!("{root}{group}/{file}")).trim().parse() {
                least = least.min(bytes);
            }
            let Some((above, _)) = group.rsplit_once('/') else { break };
            group = above;
        }
    }
    least
}

/// Connecting a UDP socket sends nothing; it only asks the kernel for the route. The destination is
/// one of the addresses that are set aside for documentation.
fn default_host() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

/// Returns the first address of a host name, IPv4 before IPv6 as Go has it; for [`super::Resolve`].
pub fn look_up(host: &str) -> Option<IpAddr> {
    let found: Vec<IpAddr> =
        (host, 0).to_socket_addrs().ok()?.map(|address| address.ip()).collect();
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the files of a made-up machine come to.
    fn memory(files: &[(&str, &str)]) -> u64 {
        let meminfo = ("/proc/meminfo", "MemTotal:  16384 kB\nMemFree: 1 kB\n");
        memory_bytes(&|path| {
            let found = files.iter().chain([&meminfo]).find(|(name, _)| *name == path);
            found.map_or(String::new(), |(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn memory_is_the_least_that_any_control_group_allows() {
        assert_eq!(memory(&[]), 16 << 20);
        let second = ("/proc/self/cgroup", "0::/a/b\n");
        assert_eq!(memory(&[second, ("/sys/fs/cgroup/a/b/memory.max", "max\n")]), 16 << 20);
        assert_eq!(memory(&[second, ("/sys/fs/cgroup/a/memory.max", "4096\n")]), 4096);
        assert_eq!(memory(&[second, ("/sys/fs/cgroup/memory.max", "8192\n")]), 8192);
        assert_eq!(memory(&[("/proc/self/cgroup", "0::/\n"), second]), 16 << 20);
        let first = ("/proc/self/cgroup", "5:cpu,memory:/x\n3:pids:/y\n");
        let limit = "/sys/fs/cgroup/memory/x/memory.limit_in_bytes";
        assert_eq!(memory(&[first, (limit, "1000\n")]), 1000);
        assert_eq!(memory(&[first, (limit, "9223372036854771712\n")]), 16 << 20);
    }

    #[test]
    fn the_machine_has_a_core_and_knows_itself() {
        let machine = Machine::look();
        assert!(machine.memory_bytes > 1 << 20);
        assert!(machine.cores >= 1);
        assert!(machine.default_host.is_none_or(|host| !host.is_loopback()));
        assert_eq!(look_up("127.0.0.1"), Some("127.0.0.1".parse().unwrap()));
    }
}
