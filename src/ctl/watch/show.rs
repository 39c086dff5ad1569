//! Output of a watch: on standard output, and to a program.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt;

use crate::client::Client;
use crate::client::watch::{End, Update, WatchStream, WatcherId};
use crate::ctl::child;
use crate::ctl::exit::{self, Failure};
use crate::ctl::output::{Answer, event_name};
use crate::ctl::session::{Session, warn};
use crate::gotext;
use crate::protocol::pb::{etcdserverpb as pb, mvccpb};

/// The time that a watch is without a server before it says so; it goes on trying.
const SILENCE: Duration = Duration::from_secs(5);

/// Watchers on one stream, and the programs to run for their events.
pub(super) struct Reader {
    client: Client,
    stream: WatchStream,
    commands: BTreeMap<WatcherId, Vec<OsString>>,
    /// Whether the user knows that there is no server.
    warned: bool,
}

/// The result of a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Going,
    /// A watcher has ended.
    Ended,
}

impl Reader {
    pub(super) fn new(client: Client) -> Reader {
        let stream = client.watch_stream();
        Reader { client, stream, commands: BTreeMap::new(), warned: false }
    }

    pub(super) fn watch(&mut self, request: pb::WatchCreateRequest, command: Vec<OsString>) {
        let id = self.stream.watch(request);
        self.commands.insert(id, command);
    }

    pub(super) fn request_progress(&mut self) {
        self.stream.request_progress();
    }

    /// Waits for one update and shows it. A future that is dropped while it waits loses nothing.
    pub(super) async fn turn(&mut self, session: &Session) -> Result<Turn, Failure> {
        let silence = async {
            Timer::after(SILENCE).await;
            None
        };
        let update = match async { Some(self.stream.next().await) }.or(silence).await {
            Some(update) => update,
            None => {
                if let Some(error) = self.stream.failure().filter(|_| !self.warned) {
                    warn("no server to watch; trying on", error);
                    self.warned = true;
                }
                return Ok(Turn::Going);
            }
        };
        self.warned = false;
        match update {
            Ok((_, Update::Created(_))) => Ok(Turn::Going),
            Ok((id, Update::Events(response))) => {
                session.show_next(&Answer::Watch(response.clone()))?;
                run(self.commands.get(&id).map_or(&[], Vec::as_slice), &response)?;
                Ok(Turn::Going)
            }
            Ok((_, Update::Progress(header))) => {
                session.print_next(&format!("progress notify: {}\n", header.revision))?;
                let response = pb::WatchResponse { header: Some(header), ..Default::default() };
                session.show_next(&Answer::Watch(response))?;
                Ok(Turn::Going)
            }
            Ok((id, Update::Canceled(response))) => {
                self.commands.remove(&id);
                ended(session, &End::of(&response), response)
            }
            Err(error) => {
                self.stream = self.client.watch_stream();
                self.commands.clear();
                ended(session, &End::Failed(error), pb::WatchResponse::default())
            }
        }
    }
}

/// As etcd's client tells it: only what compaction has ended comes with the server's response.
fn ended(session: &Session, end: &End, response: pb::WatchResponse) -> Result<Turn, Failure> {
    eprintln!("watch was canceled ({end})");
    let shown = match response.compact_revision {
        0 => pb::WatchResponse { canceled: true, ..Default::default() },
        _ => response,
    };
    session.show_next(&Answer::Watch(shown))?;
    Ok(Turn::Ended)
}

/// Runs the program once for every event. When it fails, so do we.
fn run(command: &[OsString], response: &pb::WatchResponse) -> Result<(), Failure> {
    if command.is_empty() {
        return Ok(());
    }
    let revision = response.header.unwrap_or_default().revision;
    for event in &response.events {
        if let Err(trouble) = child::run(command, &variables(revision, event)) {
            let words: Vec<String> =
                command.iter().map(|word| gotext::quote(OsStr::as_bytes(word))).collect();
            eprintln!("command [{}] error ({})", words.join(" "), trouble.text);
            return Err(Failure::silent(exit::ERROR));
        }
    }
    Ok(())
}

/// Returns the variables that tell the program about an event. Texts are quoted, as Go does.
fn variables(revision: i64, event: &mvccpb::Event) -> [(&'static str, OsString); 4] {
    let kv = event.kv.clone().unwrap_or_default();
    let quoted = |bytes: &[u8]| OsString::from_vec(gotext::quote(bytes).into_bytes());
    [
        ("ETCD_WATCH_REVISION", revision.to_string().into()),
        ("ETCD_WATCH_EVENT_TYPE", quoted(event_name(event.r#type).as_bytes())),
        ("ETCD_WATCH_KEY", quoted(&kv.key)),
        ("ETCD_WATCH_VALUE", quoted(&kv.value)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_of_the_event() {
        let kv = mvccpb::KeyValue {
            key: "k \"1\"".into(),
            value: b"\xff"[..].into(),
            ..Default::default()
        };
        let event = mvccpb::Event { r#type: 1, kv: Some(kv), prev_kv: None };
        let found = variables(12, &event);
        assert_eq!(
            found.map(|(name, value)| format!("{name}={}", value.to_string_lossy())),
            [
                "ETCD_WATCH_REVISION=12",
                "ETCD_WATCH_EVENT_TYPE=\"DELETE\"",
                r#"ETCD_WATCH_KEY="k \"1\"""#,
                r#"ETCD_WATCH_VALUE="\xff""#,
            ]
        );
    }

    #[test]
    fn a_program_that_fails_ends_the_watch() {
        let event = mvccpb::Event::default();
        let response = pb::WatchResponse { events: vec![event], ..Default::default() };
        let command = ["false".into()];
        assert_eq!(run(&command, &response), Err(Failure::silent(exit::ERROR)));
        assert_eq!(run(&command, &pb::WatchResponse::default()), Ok(()));
        assert_eq!(run(&[], &response), Ok(()));
    }
}
