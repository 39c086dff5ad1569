//! `-w table`: a box of columns. The same cells, joined by commas, are the simple format.

use comfy_table::{
    Cell, CellAlignment, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle,
};

use super::Answer;
use crate::ctl::go;
use crate::protocol::pb::etcdserverpb as pb;

/// The box; without rows there is no line under its header.
fn lines(rows: bool) -> TableStyle {
    let columns = ContentLineStyle::new('│', '│', '│');
    let style = TableStyle::new()
        .top_border(LineStyle::new('┌', '─', '┬', '┐'))
        .header_lines(columns)
        .content_lines(columns)
        .bottom_border(LineStyle::new('└', '─', '┴', '┘'));
    match rows {
        true => style.header_separator(LineStyle::new('├', '─', '┼', '┤')),
        false => style,
    }
}

/// `None` if there is no table of this answer.
pub fn render(answer: &Answer) -> Option<String> {
    let (names, rows) = cells(answer)?;
    let mut table = Table::new();
    table
        .load_style(lines(!rows.is_empty()))
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(
            names
                .iter()
                .map(|name| Cell::new(name.to_uppercase()).set_alignment(CellAlignment::Center)),
        );
    for row in rows {
        let right = |cell| Cell::new(cell).set_alignment(CellAlignment::Right);
        table.add_row(row.into_iter().map(right));
    }
    Some(format!("{table}\n"))
}

/// Column names and rows.
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
    let size = |bytes: i64| go::bytes(bytes.max(0) as u64);
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
