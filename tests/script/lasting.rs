//! Calls that outlast their command: streams of watches and of keep-alives, and calls that wait
//! for others. Whatever is said to arrive is waited for; nothing sleeps and hopes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use async_io::Timer;
use braid::client::{Client, Error, Stream};
use braid::protocol::Method;
use braid::protocol::pb::etcdserverpb as pb;
use braid::protocol::pb::v3electionpb as election;
use braid::protocol::pb::v3lockpb as lock;
use futures_lite::FutureExt;
use futures_lite::future::block_on;

use super::call::{COMMAND_WAIT_MAX, status};
use super::order::Order;
use super::parse_lasting::{Concurrency, Lasting};
use super::show::Shown;

/// Far more often than the shortest lease ends.
const KEEP_ALIVE_EVERY: Duration = Duration::from_millis(300);

/// The calls of one case.
#[derive(Default)]
pub struct Calls {
    watches: BTreeMap<String, Watches>,
    keep_alives:
        BTreeMap<String, StreamCall<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse>>,
    others: BTreeMap<String, Box<dyn Arrivals>>,
}

type Watches = StreamCall<pb::WatchRequest, pb::WatchResponse>;

/// An answer that a call may bring many of.
pub trait Answer: prost::Message + Default + 'static {
    /// Every line of it, as it is.
    fn lines(&self, shown: Shown) -> Vec<String>;

    /// The watcher it belongs to.
    fn watcher(&self) -> Option<i64> {
        None
    }

    /// What its stream must hold to.
    fn check(&self, _order: &mut Order) {}
}

/// One call under way.
struct StreamCall<Req, Resp> {
    stream: Stream<Req, Resp>,
    arrived: VecDeque<Resp>,
    order: Order,
}

/// What a wait for the next message came to.
enum Next {
    Message,
    Nothing,
    End,
    Failed(Error),
}

/// A call whose type does not matter.
trait Arrivals {
    fn expect(&mut self, shown: Shown, count: usize, watcher: Option<i64>) -> Vec<String>;
    fn quiet(&mut self, shown: Shown, wait: Duration) -> Vec<String>;
    fn end(&mut self, shown: Shown) -> Vec<String>;
    fn finish(&mut self) -> Result<(), Error>;
}

impl<Req: prost::Message, Resp: Answer> StreamCall<Req, Resp> {
    fn new(stream: Stream<Req, Resp>) -> StreamCall<Req, Resp> {
        StreamCall { stream, arrived: VecDeque::new(), order: Order::default() }
    }

    /// Waits for the next message and queues it.
    fn receive(&mut self, wait: Duration) -> Next {
        let nothing = async {
            Timer::after(wait).await;
            Ok(None)
        };
        let next = async { self.stream.next().await.map(Some) };
        match block_on(next.or(nothing)) {
            Ok(Some(Some(message))) => {
                message.check(&mut self.order);
                self.arrived.push_back(message);
                Next::Message
            }
            Ok(Some(None)) => Next::End,
            Ok(None) => Next::Nothing,
            Err(error) => Next::Failed(error),
        }
    }

    /// Takes the first that has arrived and is wanted, or waits for one.
    fn take(&mut self, wanted: impl Fn(&Resp) -> bool) -> Result<Resp, String> {
        let started = Instant::now();
        let mut seen = 0;
        loop {
            if let Some(at) = self.arrived.iter().skip(seen).position(&wanted) {
                return Ok(self.arrived.remove(seen + at).expect("it is there"));
            }
            seen = self.arrived.len();
            match self.receive(COMMAND_WAIT_MAX.saturating_sub(started.elapsed())) {
                Next::Message => {}
                Next::Nothing => return Err("no answer: nothing came".to_owned()),
                Next::End => return Err("ended".to_owned()),
                Next::Failed(error) => return Err(status(&error)),
            }
        }
    }

    fn shown(&mut self, shown: Shown, messages: impl IntoIterator<Item = Resp>) -> Vec<String> {
        let mut lines: Vec<String> =
            messages.into_iter().flat_map(|message| message.lines(shown)).collect();
        lines.extend(self.order.broken());
        lines
    }
}

impl<Req: prost::Message, Resp: Answer> Arrivals for StreamCall<Req, Resp> {
    fn expect(&mut self, shown: Shown, count: usize, watcher: Option<i64>) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            match self.take(|message| watcher.is_none() || message.watcher() == watcher) {
                Ok(message) => lines.extend(message.lines(shown)),
                Err(end) => {
                    lines.push(end);
                    break;
                }
            }
        }
        lines.extend(self.order.broken());
        lines
    }

    fn quiet(&mut self, shown: Shown, wait: Duration) -> Vec<String> {
        if self.arrived.is_empty() {
            match self.receive(wait) {
                Next::Nothing => return vec!["nothing".to_owned()],
                Next::Message => {}
                Next::End => return vec!["ended".to_owned()],
                Next::Failed(error) => return vec![status(&error)],
            }
        }
        let messages = std::mem::take(&mut self.arrived);
        self.shown(shown, messages)
    }

    fn end(&mut self, shown: Shown) -> Vec<String> {
        let end = self.take(|_| false).err().expect("nothing is wanted");
        let messages = std::mem::take(&mut self.arrived);
        let mut lines = self.shown(shown, messages);
        lines.push(end);
        lines
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.stream.finish()
    }
}

impl Calls {
    /// Carries a command out on one of the calls. `fresh` opens connections of their own, so that
    /// a stream that nobody reads holds up nobody else.
    pub fn run(
        &mut self,
        command: &Lasting,
        client: &Client,
        fresh: impl Fn() -> Result<Client, Error>,
        shown: Shown,
    ) -> Result<Vec<String>, Error> {
        Ok(match command {
            Lasting::Watch { stream, request, times, wait } => {
                self.watch(stream, request, (*times, *wait), fresh, shown)?
            }
            Lasting::Events { stream, revision, watchers } => {
                events(self.watches_of(stream), *revision, watchers, shown)
            }
            Lasting::Lost { stream, watcher } => lost(self.watches_of(stream), *watcher, shown),
            Lasting::KeepAlive { stream, id, until } => {
                self.keep_alive(stream, *id, until.as_deref(), fresh)?
            }
            Lasting::Observe { stream, request } => {
                let client = fresh()?.with_timeout(None);
                let opened = client.server_stream(Method::Observe, request);
                let call: StreamCall<_, election::LeaderResponse> =
                    StreamCall::new(block_on(opened)?);
                self.others.insert(stream.clone(), Box::new(call));
                Vec::new()
            }
            Lasting::Start { stream, call } => {
                self.others.insert(stream.clone(), start(client, call)?);
                Vec::new()
            }
            Lasting::Expect { stream, count, watcher } => {
                self.named(stream).expect(shown, *count, *watcher)
            }
            Lasting::Quiet { stream, millis } => {
                self.named(stream).quiet(shown, Duration::from_millis(*millis))
            }
            Lasting::Finish(stream) => {
                self.named(stream).finish()?;
                Vec::new()
            }
            Lasting::End(stream) => {
                let lines = self.named(stream).end(shown);
                self.leave(stream);
                lines
            }
            Lasting::Leave(stream) => {
                self.leave(stream);
                Vec::new()
            }
        })
    }

    fn watches_of(&mut self, name: &str) -> &mut Watches {
        let unknown = || panic!("no stream of watches is named {name}");
        self.watches.get_mut(name).unwrap_or_else(unknown)
    }

    fn named(&mut self, name: &str) -> &mut dyn Arrivals {
        if let Some(call) = self.watches.get_mut(name) {
            return call;
        }
        if let Some(call) = self.keep_alives.get_mut(name) {
            return call;
        }
        self.others.get_mut(name).unwrap_or_else(|| panic!("no call is named {name}")).as_mut()
    }

    fn leave(&mut self, name: &str) {
        let watch = self.watches.remove(name).is_some();
        let keep_alive = self.keep_alives.remove(name).is_some();
        let other = self.others.remove(name).is_some();
        assert!(watch || keep_alive || other, "no call is named {name}");
    }

    fn watch(
        &mut self,
        name: &str,
        request: &pb::WatchRequest,
        (times, wait): (usize, bool),
        fresh: impl Fn() -> Result<Client, Error>,
        shown: Shown,
    ) -> Result<Vec<String>, Error> {
        if !self.watches.contains_key(name) {
            let stream = block_on(fresh()?.open(Method::Watch))?;
            self.watches.insert(name.to_owned(), StreamCall::new(stream));
        }
        let call = self.watches.get_mut(name).expect("just opened");
        let mut lines = Vec::new();
        for _ in 0..times {
            block_on(call.stream.send(request))?;
            if wait {
                lines = match call.take(|response| response.created) {
                    Ok(response) => call.shown(shown, [response]),
                    Err(end) => return Ok(vec![end]),
                };
            }
        }
        Ok(lines)
    }

    /// Sends one keep-alive, or one after the other until something arrives on another call.
    fn keep_alive(
        &mut self,
        name: &str,
        id: i64,
        until: Option<&str>,
        fresh: impl Fn() -> Result<Client, Error>,
    ) -> Result<Vec<String>, Error> {
        if !self.keep_alives.contains_key(name) {
            let stream = block_on(fresh()?.open(Method::LeaseKeepAlive))?;
            self.keep_alives.insert(name.to_owned(), StreamCall::new(stream));
        }
        let call = self.keep_alives.get_mut(name).expect("just opened");
        let request = pb::LeaseKeepAliveRequest { id };
        let Some(until) = until else {
            block_on(call.stream.send(&request))?;
            return Ok(Vec::new());
        };
        let clock = self.watches.get_mut(until).expect("an open stream of watches");
        let (started, mut ttls) = (Instant::now(), Vec::new());
        while clock.arrived.is_empty() && started.elapsed() < COMMAND_WAIT_MAX {
            block_on(call.stream.send(&request))?;
            match call.take(|_| true) {
                Ok(answer) => ttls.push(answer.ttl),
                Err(end) => return Ok(vec![end]),
            }
            clock.receive(KEEP_ALIVE_EVERY);
        }
        ttls.dedup();
        Ok(vec![format!("kept alive with a TTL of {ttls:?}")])
    }
}

/// A call that is sent and not waited for.
fn start(client: &Client, call: &Concurrency) -> Result<Box<dyn Arrivals>, Error> {
    let client = client.with_timeout(None);
    Ok(match call {
        Concurrency::Lock { request, .. } => Box::new(StreamCall::new(block_on(
            client.server_stream::<_, lock::LockResponse>(Method::Lock, request),
        )?)),
        Concurrency::Campaign { request, .. } => Box::new(StreamCall::new(block_on(
            client.server_stream::<_, election::CampaignResponse>(Method::Campaign, request),
        )?)),
        other => panic!("nothing waits in {other:?}"),
    })
}

/// Whatever has come by the time that an event of this revision has, whole: by watcher, without
/// a trace of how the events were packed into responses.
fn events(call: &mut Watches, revision: i64, watchers: &[i64], shown: Shown) -> Vec<String> {
    let mut taken: Vec<pb::WatchResponse> = Vec::new();
    let mut missing: Vec<i64> = watchers.to_vec();
    let end = loop {
        let wanted = |response: &pb::WatchResponse| {
            watchers.is_empty() || watchers.contains(&response.watch_id)
        };
        let response = match call.take(wanted) {
            Ok(response) => response,
            Err(end) => break Some(end),
        };
        let reached = response.events.last().and_then(|event| event.kv.as_ref());
        let reached = !response.fragment && reached.is_some_and(|kv| kv.mod_revision >= revision);
        if reached {
            missing.retain(|id| *id != response.watch_id);
        }
        taken.push(response);
        if reached && missing.is_empty() {
            break None;
        }
    };
    let mut lines = shown.events(&taken);
    lines.extend(call.order.broken());
    lines.extend(end);
    lines
}

/// How a watcher was canceled. How much it was sent before is not shown, only checked.
fn lost(call: &mut Watches, watcher: i64, shown: Shown) -> Vec<String> {
    loop {
        match call.take(|response| response.watch_id == watcher) {
            Ok(response) if !response.canceled => {}
            Ok(response) => return call.shown(shown, [response]),
            Err(end) => return vec![end],
        }
    }
}
