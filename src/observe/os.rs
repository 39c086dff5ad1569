//! Figures of the kernel about this process, from `/proc`.

use std::fs;

/// The figures behind `process_*` and `os_fd_*`. What cannot be read is 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OsFigures {
    pub cpu_seconds: f64,
    pub start_time_seconds: f64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub virtual_bytes_max: u64,
    pub open_fds: u64,
    pub max_fds: u64,
    pub network_received_bytes: u64,
    pub network_sent_bytes: u64,
}

impl OsFigures {
    /// Looks at the process. A few small reads; none waits for a disk.
    pub fn look() -> OsFigures {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let units = Units::of_this_machine();
        let mut figures = OsFigures::default();
        figures.read_stat(&read("/proc/self/stat"), &read("/proc/stat"), units);
        figures.read_limits(&read("/proc/self/limits"));
        figures.read_network(&read("/proc/self/net/netstat"));
        // The folder that is being listed is open itself.
        figures.open_fds = fs::read_dir("/proc/self/fd").map_or(0, |list| list.count() as u64 - 1);
        figures
    }

    /// `stat` counts in ticks and pages, from the boot on that `system` names.
    fn read_stat(&mut self, stat: &str, system: &str, units: Units) {
        // The second field is the program's name, in brackets, and may hold anything.
        let Some((_, rest)) = stat.rsplit_once(')') else {
            return;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| -> u64 {
            fields.get(number - 3).and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        let seconds = |ticks: u64| ticks as f64 / units.ticks_per_second;
        self.cpu_seconds = seconds(field(14) + field(15));
        let boot: f64 = value_after(system, "btime").unwrap_or(0) as f64;
        self.start_time_seconds = boot + seconds(field(22));
        self.virtual_bytes = field(23);
        self.resident_bytes = field(24) * units.page_bytes;
    }

    fn read_limits(&mut self, limits: &str) {
        let soft = |name: &str| -> u64 {
            limits
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_whitespace().next())
                .map_or(0, |text| text.parse().unwrap_or(u64::MAX))
        };
        self.max_fds = soft("Max open files");
        self.virtual_bytes_max = soft("Max address space");
    }

    /// Pairs of lines: names, then numbers.
    fn read_network(&mut self, netstat: &str) {
        let mut lines = netstat.lines().filter(|line| line.starts_with("IpExt:"));
        let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else {
            return;
        };
        for (name, number) in names.split_whitespace().zip(numbers.split_whitespace()) {
            match name {
                "InOctets" => self.network_received_bytes = number.parse().unwrap_or(0),
                "OutOctets" => self.network_sent_bytes = number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

fn value_after(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The units of `/proc/self/stat`.
#[derive(Clone, Copy, Debug)]
struct Units {
    ticks_per_second: f64,
    page_bytes: u64,
}

impl Units {
    fn of_this_machine() -> Units {
        // SAFETY: sysconf takes a number and returns one; it touches no memory of ours.
        let (ticks, page) =
            unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
        Units { ticks_per_second: ticks.max(1) as f64, page_bytes: page.max(1) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let mut figures = OsFigures::default();
        let units = Units { ticks_per_second: 100.0, page_bytes: 4096 };
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18 1000 2048 3 21";
        figures.read_stat(stat, "cpu 1 2\nbtime 1000\n", units);
        assert_eq!(figures.cpu_seconds, 2.0);
        assert_eq!(figures.start_time_seconds, 1010.0);
        assert_eq!((figures.virtual_bytes, figures.resident_bytes), (2048, 3 * 4096));
        figures.read_limits(
            "Limit  Soft  Hard\nMax open files            1024     4096     files\n\
             Max address space         unlimited            unlimited            bytes\n",
        );
        assert_eq!((figures.max_fds, figures.virtual_bytes_max), (1024, u64::MAX));
        figures.read_network("TcpExt: A\nTcpExt: 1\nIpExt: X InOctets OutOctets\nIpExt: 1 20 30\n");
        assert_eq!((figures.network_received_bytes, figures.network_sent_bytes), (20, 30));
    }

    #[test]
    fn what_is_not_there_is_0() {
        let mut figures = OsFigures::default();
        let units = Units { ticks_per_second: 100.0, page_bytes: 4096 };
        figures.read_stat("", "", units);
        figures.read_limits("");
        figures.read_network("IpExt: InOctets");
        assert_eq!(figures, OsFigures::default());
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let figures = OsFigures::look();
        assert!(figures.resident_bytes > 0 && figures.open_fds > 2 && figures.max_fds > 2);
        assert!(figures.start_time_seconds > 1e9);
    }
}
