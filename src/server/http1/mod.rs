//! HTTP/1.1: version, health, metrics, by hyper.
//!
//! | file | what |
//! |---|---|
//! | `site` | which path is answered how |
//! | `health` | the checks behind `/health`, `/livez` and `/readyz` |
//! | `io` | the socket as hyper sees it |
//!
//! Bodies, codes and header values are etcd's.

mod health;
mod io;
mod site;

use std::cell::Cell;
use std::convert::Infallible;
use std::io::{Error, Result};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use self::io::{Socket, Watch};
use super::front::Front;
use super::meters::Gauge;
use super::pulse::Pulse;
use super::turn::Turn;
use crate::rt::{self, TcpStream};

/// The time that a client may be silent while it waits for nothing.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Bytes of a request's head at most.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Which paths are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    /// A client URL.
    Client,
    /// A metrics URL: no `/version`.
    Metrics,
}

/// Serves HTTP/1.1 until the connection ends. `input` is what was read already.
pub(super) async fn serve(
    front: &Rc<Front>,
    stream: Rc<TcpStream>,
    pulse: Rc<Pulse>,
    input: BytesMut,
    site: Site,
) -> Result<()> {
    let _counted = Gauge::up(&front.meters().connections_http);
    let watch = Rc::new(Watch { pulse, busy: Cell::new(0), heard: Cell::new(rt::now()) });
    let turn = Rc::new(Turn::new(&front.settings.figures));
    let socket = Socket::new(stream.clone(), input, watch.clone(), turn.clone());
    let service = service_fn(|request| {
        let (front, watch) = (front.clone(), watch.clone());
        async move {
            watch.pulse.owes(None);
            let _busy = Gauge::up(&watch.busy);
            Ok::<_, Infallible>(site::answer(&front, site, request).await)
        }
    });
    let connection =
        http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).serve_connection(socket, service);
    let mut connection = std::pin::pin!(connection);
    let silent = async {
        loop {
            let quiet = Duration::from_nanos(rt::now().0.saturating_sub(watch.heard.get().0));
            if watch.busy.get() == 0 && quiet >= SILENCE_MAX {
                return;
            }
            rt::sleep(SILENCE_MAX.saturating_sub(quiet).max(Duration::from_secs(1))).await;
        }
    };
    let mut silent = std::pin::pin!(silent);
    let mut closing = std::pin::pin!(front.closing().wait());
    let mut is_closing = false;
    std::future::poll_fn(|cx| {
        turn.begin();
        if !is_closing && closing.as_mut().poll(cx).is_ready() {
            is_closing = true;
            connection.as_mut().graceful_shutdown();
        }
        if silent.as_mut().poll(cx).is_ready() {
            return std::task::Poll::Ready(Ok(()));
        }
        let polled = connection.as_mut().poll(cx);
        // Half a request is not waited for, and nothing else is left to say.
        if is_closing && watch.busy.get() == 0 && stream.blocked_since().is_none() {
            return std::task::Poll::Ready(Ok(()));
        }
        polled
    })
    .await
    .map_err(Error::other)
}
