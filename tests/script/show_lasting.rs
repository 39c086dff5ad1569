//! Answers of leases, watches, locks and elections as text.

use std::collections::BTreeMap;

use braid::protocol::pb::etcdserverpb as pb;
use braid::protocol::pb::mvccpb::{Event, KeyValue, event::EventType};
use braid::protocol::pb::v3electionpb as election;
use braid::protocol::pb::v3lockpb as lock;

use super::lasting::Answer;
use super::order::Order;
use super::show::Shown;
use super::words::text;

/// More events of one watcher than this are counted.
const EVENTS_LISTED_MAX: usize = 12;
/// More watchers with the same to tell than this are shown as one.
const ALIKE_LISTED_MAX: usize = 8;
/// A machine may be slow, but not that slow.
const SECONDS_GONE_MAX: i64 = 10;

impl Shown {
    pub fn grant(self, grant: &pb::LeaseGrantResponse) -> Vec<String> {
        let mut line = format!(
            "granted: id {}, ttl {}, {}",
            grant.id,
            grant.ttl,
            self.header(grant.header.as_ref())
        );
        if !grant.error.is_empty() {
            line.push_str(&format!(", error {:?}", grant.error));
        }
        vec![line]
    }

    pub fn revoke(self, revoke: &pb::LeaseRevokeResponse) -> Vec<String> {
        vec![format!("revoked: {}", self.header(revoke.header.as_ref()))]
    }

    /// The keys have no order. The seconds that are left are only known from both sides.
    pub fn time_to_live(self, answer: &pb::LeaseTimeToLiveResponse) -> Vec<String> {
        let gone = answer.granted_ttl - answer.ttl;
        let left = if answer.ttl >= 0 && (0..=SECONDS_GONE_MAX).contains(&gone) {
            "nearly all".to_owned()
        } else {
            answer.ttl.to_string()
        };
        let mut keys: Vec<String> = answer.keys.iter().map(|key| text(key)).collect();
        keys.sort();
        let keys =
            if keys.is_empty() { String::new() } else { format!(", keys {}", keys.join(" ")) };
        vec![format!(
            "lease {}: granted {}, left {left}{keys}, {}",
            answer.id,
            answer.granted_ttl,
            self.header(answer.header.as_ref())
        )]
    }

    pub fn leases(self, answer: &pb::LeaseLeasesResponse) -> Vec<String> {
        let ids: Vec<String> = answer.leases.iter().map(|lease| lease.id.to_string()).collect();
        vec![format!("leases [{}]: {}", ids.join(" "), self.header(answer.header.as_ref()))]
    }

    pub fn unlock(self, answer: &lock::UnlockResponse) -> Vec<String> {
        vec![format!("unlocked: {}", self.header(answer.header.as_ref()))]
    }

    pub fn proclaim(self, answer: &election::ProclaimResponse) -> Vec<String> {
        vec![format!("proclaimed: {}", self.header(answer.header.as_ref()))]
    }

    pub fn resign(self, answer: &election::ResignResponse) -> Vec<String> {
        vec![format!("resigned: {}", self.header(answer.header.as_ref()))]
    }

    fn event(self, event: &Event) -> String {
        let Some(kv) = &event.kv else { return "an event of nothing".to_owned() };
        let mut line = match event.r#type() {
            EventType::Put => format!("put {}", self.key_value(kv)),
            EventType::Delete => {
                let bare = KeyValue {
                    key: kv.key.clone(),
                    mod_revision: kv.mod_revision,
                    ..Default::default()
                };
                let rest = if *kv == bare { "" } else { ", and more in its kv" };
                format!("delete {} (mod {}){rest}", text(&kv.key), self.revision(kv.mod_revision))
            }
        };
        if let Some(before) = &event.prev_kv {
            line.push_str(&format!(" before: {}", self.key_value(before)));
        }
        line
    }

    fn listed(self, events: &[&Event]) -> Vec<String> {
        if events.len() <= EVENTS_LISTED_MAX {
            return events.iter().map(|event| format!("  {}", self.event(event))).collect();
        }
        let revisions: Vec<i64> =
            events.iter().map(|event| event.kv.as_ref().map_or(0, |kv| kv.mod_revision)).collect();
        let mut distinct = revisions.clone();
        distinct.dedup();
        vec![
            format!("  {}", self.event(events[0])),
            format!("  ... {} events of {} revisions in all ...", revisions.len(), distinct.len()),
            format!("  {}", self.event(events[events.len() - 1])),
        ]
    }

    /// The normalised form: the events of each watcher, however they were packed.
    pub fn events(self, responses: &[pb::WatchResponse]) -> Vec<String> {
        let mut watchers: BTreeMap<i64, (Vec<&Event>, Vec<String>)> = BTreeMap::new();
        let mut torn: BTreeMap<i64, Option<i64>> = BTreeMap::new();
        for response in responses {
            let (events, others) = watchers.entry(response.watch_id).or_default();
            events.extend(&response.events);
            if response.created || response.canceled {
                others.push(format!("  {}", self.watch_head(response)));
            }
            // That a revision was torn is its size's doing; how revisions were packed is not shown.
            let revisions =
                response.events.iter().map(|e| e.kv.as_ref().map_or(0, |kv| kv.mod_revision));
            let (first, last) = (revisions.clone().next(), revisions.last());
            let was_torn = torn.remove(&response.watch_id).flatten();
            let note = "  a revision in fragments".to_owned();
            if was_torn.is_some() && was_torn == first && !others.contains(&note) {
                others.push(note);
            }
            if response.fragment {
                torn.insert(response.watch_id, last);
            }
        }
        let told = watchers.into_iter().map(|(id, (events, others))| {
            let mut lines = self.listed(&events);
            lines.extend(others);
            (id, lines)
        });
        let told: Vec<(i64, Vec<String>)> = told.filter(|(_, lines)| !lines.is_empty()).collect();
        let mut lines = Vec::new();
        for alike in told.chunk_by(|one, next| one.1 == next.1) {
            if alike.len() > ALIKE_LISTED_MAX {
                lines.push(format!("watchers {} to {}:", alike[0].0, alike[alike.len() - 1].0));
                lines.extend(alike[0].1.clone());
                continue;
            }
            for (id, told) in alike {
                lines.push(format!("watcher {id}:"));
                lines.extend(told.clone());
            }
        }
        lines
    }

    fn watch_head(self, response: &pb::WatchResponse) -> String {
        let mut head = String::new();
        let flags = [
            (response.created, "created, "),
            (response.canceled, "canceled, "),
            (response.fragment, "fragment, "),
        ];
        flags.iter().filter(|(set, _)| *set).for_each(|(_, name)| head.push_str(name));
        head.push_str(&self.header(response.header.as_ref()));
        if response.compact_revision != 0 {
            head.push_str(&format!(", compacted {}", self.revision(response.compact_revision)));
        }
        if !response.cancel_reason.is_empty() {
            head.push_str(&format!(", {:?}", response.cancel_reason));
        }
        head
    }
}

impl Answer for pb::WatchResponse {
    fn lines(&self, shown: Shown) -> Vec<String> {
        let mut lines = vec![format!("watcher {}: {}", self.watch_id, shown.watch_head(self))];
        lines.extend(shown.listed(&self.events.iter().collect::<Vec<_>>()));
        lines
    }

    fn watcher(&self) -> Option<i64> {
        Some(self.watch_id)
    }

    fn check(&self, order: &mut Order) {
        order.receive(self);
    }
}

impl Answer for pb::LeaseKeepAliveResponse {
    fn lines(&self, shown: Shown) -> Vec<String> {
        let header = shown.header(self.header.as_ref());
        vec![format!("kept alive: id {}, ttl {}, {header}", self.id, self.ttl)]
    }
}

impl Answer for lock::LockResponse {
    fn lines(&self, shown: Shown) -> Vec<String> {
        vec![format!("locked {}: {}", text(&self.key), shown.header(self.header.as_ref()))]
    }
}

impl Answer for election::CampaignResponse {
    fn lines(&self, shown: Shown) -> Vec<String> {
        let header = shown.header(self.header.as_ref());
        let Some(leader) = &self.leader else { return vec![format!("no leader key: {header}")] };
        vec![format!(
            "elected: name {}, key {}, rev {}, lease {}, {header}",
            text(&leader.name),
            text(&leader.key),
            shown.revision(leader.rev),
            leader.lease
        )]
    }
}

impl Answer for election::LeaderResponse {
    fn lines(&self, shown: Shown) -> Vec<String> {
        let header = shown.header(self.header.as_ref());
        let leader = self.kv.as_ref().map(|kv| shown.key_value(kv));
        vec![format!("leader {}: {header}", leader.as_deref().unwrap_or("without a kv"))]
    }
}
