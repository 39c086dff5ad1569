//! The checks behind `/health`, `/livez` and `/readyz`. Each is a request to the core, as if a
//! client had sent it, with etcd's request timeout.

use bytes::Bytes;

use super::site::Query;
use crate::protocol::status;
use crate::rt;
use crate::server::front::Front;
use crate::types::{
    AlarmAction, AlarmKind, AlarmRequest, KeyRange, MemberId, Nanos, RangeRequest, Refusal, Reply,
    Request, StatusReply,
};

/// One check of `/livez` or `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

pub(super) const LIVEZ: &[Check] = &[Check::SerializableRead];
pub(super) const READYZ: &[Check] =
    &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

impl Check {
    pub(super) fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    async fn run(self, front: &Front) -> Result<(), String> {
        match self {
            Check::DataCorruption => match alarms(front).await?.contains(&AlarmKind::Corrupt) {
                true => Err("alarm activated: CORRUPT".to_owned()),
                false => Ok(()),
            },
            Check::SerializableRead => read(front, true).await,
            Check::LinearizableRead => read(front, false).await,
            Check::NonLearner => match status_of(front).await?.is_learner {
                true => Err("not supported for learner".to_owned()),
                false => Ok(()),
            },
        }
    }
}

/// The result of a group of checks.
pub(super) struct Outcome {
    pub(super) failed: bool,
    /// One for each check; only if asked for, or if something failed.
    pub(super) lines: String,
}

/// Runs `checks` for `path`, except those that the query excludes.
pub(super) async fn checks(
    front: &Front,
    path: &str,
    checks: &[Check],
    query: &Query<'_>,
) -> Outcome {
    let endpoint = if path.starts_with("/livez") { "livez" } else { "readyz" };
    let mut failed = false;
    let mut lines = String::new();
    for check in checks {
        let name = check.name();
        if query.values("exclude").any(|excluded| excluded == name) {
            continue;
        }
        let held = check.run(front).await;
        front.settings.figures.health_check(rt::now().0, endpoint, name, held.is_ok());
        match held {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(error) => {
                failed = true;
                lines.push_str(&format!("[-]{name} failed: {error}\n"));
            }
        }
    }
    if !failed && !query.has("verbose") {
        lines.clear();
    }
    Outcome { failed, lines }
}

/// `/health`: the reason why the member is not healthy, if it is not.
pub(super) async fn health(front: &Front, query: &Query<'_>) -> Option<String> {
    let serializable = query.values("serializable").next() == Some("true");
    let alarms = match alarms(front).await {
        Ok(alarms) => alarms,
        Err(error) => return Some(format!("RANGE ERROR:{error}")),
    };
    for (kind, name) in [(AlarmKind::NoSpace, "NOSPACE"), (AlarmKind::Corrupt, "CORRUPT")] {
        let excluded = query.values("exclude").any(|excluded| excluded == name);
        if alarms.contains(&kind) && !excluded {
            return Some(format!("ALARM {name}"));
        }
    }
    if !serializable {
        match status_of(front).await {
            Ok(status) if status.leader == MemberId(0) => {
                return Some("RAFT NO LEADER".to_owned());
            }
            Ok(_) => {}
            Err(error) => return Some(format!("RANGE ERROR:{error}")),
        }
    }
    read(front, serializable).await.err().map(|error| format!("RANGE ERROR:{error}"))
}

async fn alarms(front: &Front) -> Result<Vec<AlarmKind>, String> {
    let request = AlarmRequest { action: AlarmAction::Get, member: MemberId(0), kind: None };
    match ask(front, Request::Alarm(request)).await? {
        Reply::Alarm(reply) => Ok(reply.alarms.iter().map(|alarm| alarm.kind).collect()),
        other => Err(unexpected(&other)),
    }
}

async fn status_of(front: &Front) -> Result<Box<StatusReply>, String> {
    match ask(front, Request::Status).await? {
        Reply::Status(reply) => Ok(reply),
        other => Err(unexpected(&other)),
    }
}

async fn read(front: &Front, serializable: bool) -> Result<(), String> {
    let range = RangeRequest {
        serializable,
        limit: 1,
        keys_only: true,
        ..RangeRequest::of(KeyRange::single(Bytes::from_static(b"health")))
    };
    ask(front, Request::Range(range)).await.map(|_| ())
}

async fn ask(front: &Front, request: Request) -> Result<Reply, String> {
    let timeout = front.settings.request_timeout;
    let deadline = Nanos(rt::now().0 + timeout.as_nanos() as u64);
    let answer = rt::within(timeout, front.ask(request, Some(deadline))).await;
    answer
        .unwrap_or(Err(Refusal::DeadlineExceeded))
        .map_err(|refusal| status::of(&refusal).message.into_owned())
}

fn unexpected(reply: &Reply) -> String {
    format!("unexpected answer {reply:?}")
}
