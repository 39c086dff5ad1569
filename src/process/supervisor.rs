//! Telling the service manager how far this process is: systemd's `sd_notify`, for units of
//! `Type=notify` like etcd's own.
//!
//! Each state is one datagram to the socket that `NOTIFY_SOCKET` names: a path, or behind an `@`
//! the name of an abstract socket. Without the variable nothing is sent. This is our own code
//! because the crate that is kept for it (sd-notify 0.5) knows no abstract sockets.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager that started this process, if it asked to be told.
pub(super) struct Supervisor {
    socket: Option<OsString>,
}

impl Supervisor {
    /// Returns the one that the environment names, if any.
    pub fn of_environment() -> Supervisor {
        Supervisor { socket: std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) }
    }

    /// Tells that clients are served from now on. A failure is logged and is no reason to stop.
    pub fn ready(&self) {
        if self.socket.is_none() {
            return;
        }
        tracing::info!("notifying init daemon");
        match self.send("READY=1\n") {
            Ok(()) => tracing::info!("successfully notified init daemon"),
            Err(error) => {
                tracing::error!(error = %error, "failed to notify systemd for readiness");
            }
        }
    }

    /// Tells that the process is on its way down. A failure is logged.
    pub fn stopping(&self) {
        if let Err(error) = self.send("STOPPING=1\n") {
            tracing::warn!(error = %error, "failed to notify systemd of the stop");
        }
    }

    fn send(&self, state: &str) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(socket)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(bound: &UnixDatagram) -> Vec<u8> {
        let mut datagram = [0; 64];
        let bytes = bound.recv(&mut datagram).expect("a datagram");
        datagram[..bytes].to_vec()
    }

    #[test]
    fn states_go_to_a_path_or_to_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("braid-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        let sockets = [(by_path, path.into_os_string()), (by_name, format!("@{name}").into())];
        for (bound, socket) in sockets {
            let supervisor = Supervisor { socket: Some(socket) };
            supervisor.ready();
            assert_eq!(heard(&bound), b"READY=1\n");
            supervisor.stopping();
            assert_eq!(heard(&bound), b"STOPPING=1\n");
        }
    }

    #[test]
    fn a_missing_socket_is_no_failure_of_the_server() {
        Supervisor { socket: None }.ready();
        let gone = Supervisor { socket: Some("/nonexistent/notify".into()) };
        gone.ready();
        gone.stopping();
        assert!(gone.send("READY=1\n").is_err());
    }
}
