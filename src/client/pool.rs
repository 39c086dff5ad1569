//! The connections of a client: endpoints in turn, one dial at a time for each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::endpoint::Endpoint;
use super::options::{Options, Transport};
use super::transport::{Connection, Purpose};
use super::{Error, retry};

/// Endpoints, and what is connected to them.
pub(super) struct Pool {
    options: Options,
    places: Vec<EndpointSlot>,
    /// The endpoint that requests go to; moves on when it fails.
    current: AtomicUsize,
}

/// One endpoint and its connections.
struct EndpointSlot {
    endpoint: Arc<Endpoint>,
    connections: Mutex<BTreeMap<Purpose, Connection>>,
    /// Held while dialling, so that many waiting requests make one connection.
    dialling: async_lock::Mutex<()>,
}

/// A connection and where it leads, for [`Pool::give_up_on`].
pub(super) struct Route {
    pub(super) connection: Connection,
    place: usize,
}

impl Pool {
    pub(super) fn new(options: Options) -> Result<Pool, Error> {
        if options.endpoints.is_empty() {
            return Err(Error::Invalid("no endpoint is given".to_owned()));
        }
        let place = |text: &String| {
            Ok(EndpointSlot {
                endpoint: Arc::new(Endpoint::parse(text.trim())?),
                connections: Mutex::new(BTreeMap::new()),
                dialling: async_lock::Mutex::new(()),
            })
        };
        let places = options.endpoints.iter().map(place).collect::<Result<_, Error>>()?;
        Ok(Pool { options, places, current: AtomicUsize::new(0) })
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Returns a connection to the current endpoint, or to the next one that takes one; for a
    /// request on one `key` the one that its core owns, if there are such.
    pub(super) async fn route(
        &self,
        token: Option<&Arc<str>>,
        key: Option<&[u8]>,
    ) -> Result<Route, Error> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failure = None;
        for step in 0..self.places.len() {
            let place = (first + step) % self.places.len();
            match self.places[place].connection_for(token, key, &self.options).await {
                Ok(connection) => {
                    if step > 0 {
                        self.current.store(place, Ordering::Relaxed);
                    }
                    return Ok(Route { connection, place });
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("a pool has an endpoint"))
    }

    /// Returns the text of the endpoint that a route leads to.
    pub(super) fn endpoint_of(&self, route: &Route) -> &str {
        &self.places[route.place].endpoint.text
    }

    /// Moves on, so that the next request goes to the endpoint after this one, unless that was
    /// decided already.
    pub(super) fn give_up_on(&self, route: &Route) {
        let next = (route.place + 1) % self.places.len();
        let order = Ordering::Relaxed;
        // Lost races are fine: somebody else moved on.
        let _ = self.current.compare_exchange(route.place, next, order, order);
    }

    /// Returns the pause after so many failures: zero while there are endpoints that were not tried
    /// yet.
    pub(super) fn backoff(&self, failures: usize) -> std::time::Duration {
        retry::backoff(failures, self.places.len())
    }
}

impl EndpointSlot {
    async fn connection_for(
        &self,
        token: Option<&Arc<str>>,
        key: Option<&[u8]>,
        options: &Options,
    ) -> Result<Connection, Error> {
        // With gRPC the token goes with every request.
        let token = token.filter(|_| options.transport != Transport::Grpc).cloned();
        let any = Purpose { core: None, token };
        let first = self.connection(&any, options).await?;
        let key = key.filter(|_| options.core_connections);
        let Some(core) = key.and_then(|key| first.better_core(key)) else { return Ok(first) };
        // The core is a hint: every connection answers every request.
        let own = Purpose { core: Some(core), ..any };
        Ok(self.connection(&own, options).await.unwrap_or(first))
    }

    async fn connection(&self, purpose: &Purpose, options: &Options) -> Result<Connection, Error> {
        if let Some(connection) = self.live(purpose) {
            return Ok(connection);
        }
        let _dialling = self.dialling.lock().await;
        if let Some(connection) = self.live(purpose) {
            return Ok(connection);
        }
        let connection = Connection::open(&self.endpoint, options, purpose).await?;
        self.connections().insert(purpose.clone(), connection.clone());
        Ok(connection)
    }

    fn live(&self, purpose: &Purpose) -> Option<Connection> {
        self.connections().get(purpose).filter(|connection| connection.is_live()).cloned()
    }

    fn connections(&self) -> MutexGuard<'_, BTreeMap<Purpose, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
