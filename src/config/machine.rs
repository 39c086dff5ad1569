//! The facts about the machine that reading the configuration needs.

use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};

/// Facts that some settings default to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores that this process may run on.
    pub cores: usize,
    /// The address that the default route leaves from; `None` if there is no such route.
    pub default_host: Option<IpAddr>,
}

impl Machine {
    /// Looks at the machine.
    pub fn look() -> Machine {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Machine { cores, default_host: default_host() }
    }
}

/// Connecting a UDP socket sends nothing; it only asks the kernel for the route. The destination is
/// one of the addresses that are set aside for documentation.
fn default_host() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

/// The first address of a host name, IPv4 before IPv6 as Go has it; for [`super::Resolve`].
pub fn look_up(host: &str) -> Option<IpAddr> {
    let found: Vec<IpAddr> =
        (host, 0).to_socket_addrs().ok()?.map(|address| address.ip()).collect();
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_core_and_knows_itself() {
        let machine = Machine::look();
        assert!(machine.cores >= 1);
        assert!(machine.default_host.is_none_or(|host| !host.is_loopback()));
        assert_eq!(look_up("127.0.0.1"), Some("127.0.0.1".parse().unwrap()));
    }
}
