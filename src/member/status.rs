//! The answer to Status.

use super::core::Core;
use crate::types::{Alarm, AlarmKind, MemberId, Reply, StatusReply};

impl Core {
    /// The answer to Status.
    pub(super) fn status(&self) -> Reply {
        let sizes = self.shared.sizes();
        let (raft_index, raft_applied_index) = self.shared.indexes();
        let leader = self.shared.leader();
        let mut errors = Vec::new();
        if leader == MemberId(0) {
            errors.push("etcdserver: no leader".to_owned());
        }
        errors.extend(self.alarms.iter().map(alarm_text));
        Reply::Status(Box::new(StatusReply {
            revision: self.shared.sequencer.stable(),
            db_size: sizes.held as i64,
            db_size_in_use: sizes.in_use as i64,
            db_size_quota: self.config.quota_shown,
            leader,
            raft_term: self.shared.term(),
            raft_index,
            raft_applied_index,
            errors,
            is_learner: false,
        }))
    }
}

/// etcd's text, which is protobuf's text form: a member of number 0 is left out of it.
fn alarm_text(alarm: &Alarm) -> String {
    let kind = match alarm.kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    };
    match alarm.member {
        MemberId(0) => format!("alarm:{kind}"),
        member => format!("memberID:{member}  alarm:{kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_of_no_member_is_named_as_etcd_names_it() {
        let text = |member, kind| alarm_text(&Alarm { member: MemberId(member), kind });
        assert_eq!(text(0, AlarmKind::Corrupt), "alarm:CORRUPT");
        assert_eq!(text(0, AlarmKind::NoSpace), "alarm:NOSPACE");
        assert_eq!(text(77, AlarmKind::Corrupt), "memberID:77  alarm:CORRUPT");
    }
}
