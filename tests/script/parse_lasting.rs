//! Commands on leases, watches, locks and elections, and on calls that last.

use braid::protocol::pb::etcdserverpb as pb;
use braid::protocol::pb::v3electionpb as election;
use braid::protocol::pb::v3lockpb as lock;
use pb::watch_create_request::FilterType;

use super::parse::{Command, CommandLine, integer, prefix_end};

/// Of the lease service; `name` is what a picked id is called from then on.
#[derive(Clone, Debug, PartialEq)]
pub enum Lease {
    Grant { request: pb::LeaseGrantRequest, name: Option<String> },
    Revoke(pb::LeaseRevokeRequest),
    TimeToLive(pb::LeaseTimeToLiveRequest),
    Leases,
}

/// Of the lock and election services.
#[derive(Clone, Debug, PartialEq)]
pub enum Concurrency {
    Lock { request: lock::LockRequest, name: Option<String> },
    Unlock(lock::UnlockRequest),
    Campaign { request: election::CampaignRequest, name: Option<String> },
    Proclaim(election::ProclaimRequest),
    Leader(election::LeaderRequest),
    Resign(election::ResignRequest),
}

/// On a call that has a name and outlasts its command.
#[derive(Clone, Debug, PartialEq)]
pub enum Lasting {
    /// So many requests of the kind; of creations the last is waited for.
    Watch {
        stream: String,
        request: pb::WatchRequest,
        times: usize,
        wait: bool,
    },
    /// Events until one of this revision has come to each of these watchers, or to any.
    Events {
        stream: String,
        revision: i64,
        watchers: Vec<i64>,
    },
    /// Whatever comes until this watcher is canceled.
    Lost {
        stream: String,
        watcher: i64,
    },
    KeepAlive {
        stream: String,
        id: i64,
        until: Option<String>,
    },
    Observe {
        stream: String,
        request: election::LeaderRequest,
    },
    /// A call whose answer is not waited for.
    Start {
        stream: String,
        call: Concurrency,
    },
    Expect {
        stream: String,
        count: usize,
        watcher: Option<i64>,
    },
    Quiet {
        stream: String,
        millis: u64,
    },
    Finish(String),
    End(String),
    Leave(String),
}

impl CommandLine {
    pub fn more_commands(&mut self, verb: &str) -> Result<Command, String> {
        let command = match verb {
            "grant" => Command::Lease(self.grant()?),
            "revoke" => Command::Lease(Lease::Revoke(pb::LeaseRevokeRequest { id: self.id()? })),
            "ttl" => Command::Lease(Lease::TimeToLive(pb::LeaseTimeToLiveRequest {
                id: self.id()?,
                keys: self.flag("keys"),
            })),
            "leases" => Command::Lease(Lease::Leases),
            "lock" | "unlock" | "campaign" | "proclaim" | "leader" | "resign" => {
                Command::Concurrency(self.lock(verb)?)
            }
            _ => Command::Lasting(self.lasting(verb)?),
        };
        Ok(command)
    }

    fn id(&mut self) -> Result<i64, String> {
        self.number("an id")
    }

    fn grant(&mut self) -> Result<Lease, String> {
        let mut request =
            pb::LeaseGrantRequest { ttl: self.number("a TTL")?, ..Default::default() };
        let mut name = None;
        self.options(|option, value| {
            match option {
                "id" => request.id = integer(value)?,
                "as" => name = Some(value.to_owned()),
                _ => return Err("unknown".to_owned()),
            }
            Ok(())
        })?;
        Ok(Lease::Grant { request, name })
    }

    fn lock(&mut self, verb: &str) -> Result<Concurrency, String> {
        Ok(match verb {
            "lock" => {
                let mut request =
                    lock::LockRequest { name: self.bytes("a name")?.into(), lease: 0 };
                let name = self.lease_options(&mut request.lease)?;
                Concurrency::Lock { request, name }
            }
            "unlock" => {
                Concurrency::Unlock(lock::UnlockRequest { key: self.bytes("a key")?.into() })
            }
            "campaign" => {
                let mut request = election::CampaignRequest {
                    name: self.bytes("a name")?.into(),
                    value: self.argument(&["lease", "as"]).unwrap_or_default().into(),
                    lease: 0,
                };
                let name = self.lease_options(&mut request.lease)?;
                Concurrency::Campaign { request, name }
            }
            "proclaim" => Concurrency::Proclaim(election::ProclaimRequest {
                value: self.bytes("a value")?.into(),
                leader: self.leader_key()?,
            }),
            "leader" => {
                Concurrency::Leader(election::LeaderRequest { name: self.bytes("a name")?.into() })
            }
            "resign" => Concurrency::Resign(election::ResignRequest { leader: self.leader_key()? }),
            other => return Err(format!("{other} is no call of a lock or an election")),
        })
    }

    fn lease_options(&mut self, lease: &mut i64) -> Result<Option<String>, String> {
        let mut name = None;
        self.options(|option, value| {
            match option {
                "lease" => *lease = integer(value)?,
                "as" => name = Some(value.to_owned()),
                _ => return Err("unknown".to_owned()),
            }
            Ok(())
        })?;
        Ok(name)
    }

    /// `name=N key=K rev=R lease=L`; nothing of it is no leader.
    fn leader_key(&mut self) -> Result<Option<election::LeaderKey>, String> {
        let mut leader = None;
        let base = self.shifted(1) - 1;
        self.options(|option, value| {
            let leader = leader.get_or_insert_with(election::LeaderKey::default);
            match option {
                "name" => leader.name = value.as_bytes().to_vec().into(),
                "key" => leader.key = value.as_bytes().to_vec().into(),
                "rev" => leader.rev = integer(value)? + base,
                "lease" => leader.lease = integer(value)?,
                _ => return Err("unknown".to_owned()),
            }
            Ok(())
        })?;
        Ok(leader)
    }

    fn lasting(&mut self, verb: &str) -> Result<Lasting, String> {
        use pb::watch_request::RequestUnion as Ask;
        const VERBS: [&str; 14] = [
            "watch",
            "cancel",
            "progress",
            "malformed",
            "events",
            "lost",
            "keepalive",
            "observe",
            "start",
            "expect",
            "quiet",
            "finish",
            "end",
            "leave",
        ];
        if !VERBS.contains(&verb) {
            return Err(format!("unknown command {verb}"));
        }
        let stream = self.keyword("the name of a stream")?;
        let ask = |stream, ask| Lasting::Watch {
            stream,
            request: pb::WatchRequest { request_union: ask },
            times: 1,
            wait: false,
        };
        Ok(match verb {
            "watch" => {
                let (create, times, wait) = self.watch()?;
                let request_union = Some(Ask::CreateRequest(create));
                Lasting::Watch { stream, request: pb::WatchRequest { request_union }, times, wait }
            }
            "cancel" => {
                let cancel = pb::WatchCancelRequest { watch_id: self.id()? };
                ask(stream, Some(Ask::CancelRequest(cancel)))
            }
            "progress" => ask(stream, Some(Ask::ProgressRequest(pb::WatchProgressRequest {}))),
            "malformed" => ask(stream, None),
            "events" => {
                let revision = self.revision()?;
                let watchers = if self.flag("of") { self.rest()? } else { Vec::new() };
                Lasting::Events { stream, revision, watchers }
            }
            "lost" => Lasting::Lost { stream, watcher: self.id()? },
            "keepalive" => Lasting::KeepAlive {
                stream,
                id: self.id()?,
                until: if self.flag("until") { Some(self.keyword("a stream")?) } else { None },
            },
            "observe" => {
                let request = election::LeaderRequest { name: self.bytes("a name")?.into() };
                Lasting::Observe { stream, request }
            }
            "start" => {
                let verb = self.keyword("a call")?;
                Lasting::Start { stream, call: self.lock(&verb)? }
            }
            "expect" => Lasting::Expect {
                stream,
                count: self.number("a count")?,
                watcher: if self.flag("of") { Some(self.id()?) } else { None },
            },
            "quiet" => Lasting::Quiet { stream, millis: self.number("milliseconds")? },
            "finish" => Lasting::Finish(stream),
            "end" => Lasting::End(stream),
            _ => Lasting::Leave(stream),
        })
    }

    fn rest(&mut self) -> Result<Vec<i64>, String> {
        let mut ids = Vec::new();
        self.options(|id, _| {
            match id.split_once("..") {
                Some((first, last)) => ids.extend(integer(first)?..=integer(last)?),
                None => ids.push(integer(id)?),
            }
            Ok(())
        })?;
        Ok(ids)
    }

    fn watch(&mut self) -> Result<(pb::WatchCreateRequest, usize, bool), String> {
        const OPTIONS: [&str; 11] = [
            "prefix",
            "id",
            "rev",
            "prev_kv",
            "noput",
            "nodelete",
            "filter",
            "fragment",
            "progress_notify",
            "times",
            "later",
        ];
        let mut request =
            pb::WatchCreateRequest { key: self.bytes("a key")?.into(), ..Default::default() };
        request.range_end = self.argument(&OPTIONS).unwrap_or_default().into();
        let (mut times, mut wait) = (1, true);
        let base = self.shifted(1) - 1;
        self.options(|name, value| {
            match name {
                "prefix" => request.range_end = prefix_end(&request.key).into(),
                "id" => request.watch_id = integer(value)?,
                "rev" => {
                    let revision = integer(value)?;
                    request.start_revision = revision + if revision > 0 { base } else { 0 };
                }
                "prev_kv" => request.prev_kv = true,
                "noput" => request.filters.push(FilterType::Noput.into()),
                "nodelete" => request.filters.push(FilterType::Nodelete.into()),
                "filter" => request.filters.push(integer(value)? as i32),
                "times" => times = integer(value)? as usize,
                "fragment" => request.fragment = true,
                "progress_notify" => request.progress_notify = true,
                "later" => wait = false,
                _ => return Err("unknown".to_owned()),
            }
            Ok(())
        })?;
        Ok((request, times, wait))
    }
}
