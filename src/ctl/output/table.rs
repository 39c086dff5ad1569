//! `-w table`: a box of columns. The same cells, joined by commas, are the simple format.

use super::Answer;
use crate::gotext;
use crate::protocol::pb::etcdserverpb as pb;

/// Renders a table; `None` if there is none for this answer.
///
/// Names are centred, with the odd space on the right, and cells stand at the right: so the box is
/// drawn here, since the table crates put the odd space on the left.
pub fn render(answer: &Answer) -> Option<String> {
    let (names, rows) = cells(answer)?;
    let columns: Vec<Column> = names
        .iter()
        .enumerate()
        .map(|(index, name)| Column::new(name, rows.iter().map(|row| row[index].as_str())))
        .collect();
    let across = |left: char, crossing: &str, right: char| {
        let parts: Vec<String> =
            columns.iter().map(|column| "─".repeat(column.width + 2)).collect();
        format!("{left}{}{right}\n", parts.join(crossing))
    };
    let line = |cells: Vec<String>| format!("│ {} │\n", cells.join(" │ "));
    let mut text = across('┌', "┬", '┐');
    text += &line(columns.iter().map(Column::centred_name).collect());
    if !rows.is_empty() {
        text += &across('├', "┼", '┤');
    }
    for row in &rows {
        text += &line(columns.iter().zip(row).map(|(column, cell)| column.right(cell)).collect());
    }
    text += &across('└', "┴", '┘');
    Some(text)
}

struct Column {
    name: String,
    /// In characters.
    width: usize,
}

impl Column {
    fn new<'a>(name: &str, cells: impl Iterator<Item = &'a str>) -> Column {
        let name = name.to_uppercase();
        let widths = cells.map(|cell| cell.chars().count());
        let width = widths.fold(name.chars().count(), usize::max);
        Column { name, width }
    }

    fn centred_name(&self) -> String {
        format!("{:^width$}", self.name, width = self.width)
    }

    fn right(&self, cell: &str) -> String {
        format!("{cell:>width$}", width = self.width)
    }
}

/// Returns column names and rows.
pub fn cells(answer: &Answer) -> Option<(&'static [&'static str], Vec<Vec<String>>)> {
    match answer {
        Answer::MemberList(answer) => Some((
            &["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"],
            answer.members.iter().map(member).collect(),
        )),
        Answer::Health(healths) => Some((
            &["endpoint", "health", "took", "error"],
            healths
                .iter()
                .map(|health| {
                    let healthy = health.healthy.to_string();
                    let (took, error) = (health.took.clone(), health.error.clone());
                    vec![health.endpoint.clone(), healthy, took, error]
                })
                .collect(),
        )),
        Answer::Status(answers) => Some((
            &[
                "endpoint",
                "ID",
                "version",
                "storage version",
                "db size",
                "in use",
                "percentage not in use",
                "quota",
                "is leader",
                "is learner",
                "raft term",
                "raft index",
                "raft applied index",
                "errors",
                "downgrade target version",
                "downgrade enabled",
            ],
            answers.iter().map(|(endpoint, answer)| status(endpoint, answer)).collect(),
        )),
        Answer::HashKv(answers) => Some((
            &["endpoint", "hash", "hash revision"],
            answers
                .iter()
                .map(|(endpoint, answer)| {
                    let (hash, revision) = (answer.hash, answer.hash_revision);
                    vec![endpoint.clone(), hash.to_string(), revision.to_string()]
                })
                .collect(),
        )),
        _ => None,
    }
}

fn member(member: &pb::Member) -> Vec<String> {
    let started = if member.name.is_empty() { "unstarted" } else { "started" };
    vec![
        format!("{:x}", member.id),
        started.to_owned(),
        member.name.clone(),
        member.peer_ur_ls.join(","),
        member.client_ur_ls.join(","),
        member.is_learner.to_string(),
    ]
}

fn status(endpoint: &str, status: &pb::StatusResponse) -> Vec<String> {
    let member = status.header.as_ref().map_or(0, |header| header.member_id);
    let size = |bytes: i64| gotext::bytes(bytes.max(0) as u64);
    // A server that reports no size has nothing unused either. (etcdctl divides by zero.)
    let used = (status.db_size_in_use.saturating_mul(100)).checked_div(status.db_size);
    let downgrade = status.downgrade_info.clone().unwrap_or_default();
    vec![
        endpoint.to_owned(),
        format!("{member:x}"),
        status.version.clone(),
        status.storage_version.clone(),
        size(status.db_size),
        size(status.db_size_in_use),
        format!("{}%", 100 - used.unwrap_or(100)),
        size(status.db_size_quota),
        (status.leader == member).to_string(),
        status.is_learner.to_string(),
        status.raft_term.to_string(),
        status.raft_index.to_string(),
        status.raft_applied_index.to_string(),
        status.errors.join(", "),
        downgrade.target_version,
        downgrade.enabled.to_string(),
    ]
}
