//! Commands: text to the messages of the API.

use braid::protocol::pb::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::range_request::{SortOrder, SortTarget};
use pb::request_op::Request as Op;

use super::parse_lasting::{Concurrency, Lasting, Lease};
use super::words::{self, Word};

/// What a command asks of the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Range(pb::RangeRequest),
    RangeStream(pb::RangeRequest),
    Put(pb::PutRequest),
    DeleteRange(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compact(pb::CompactionRequest),
    /// So many puts of the prefix with a running number.
    Fill {
        prefix: Vec<u8>,
        count: usize,
        value: Vec<u8>,
    },
    Status,
    Hash,
    HashKv(pb::HashKvRequest),
    Defragment,
    MemberList(pb::MemberListRequest),
    /// The member is filled in when it is `self`.
    Alarm {
        request: pb::AlarmRequest,
        own_member: bool,
    },
    /// A read that is repeated until it counts so many keys.
    Await {
        count: i64,
        request: pb::RangeRequest,
    },
    /// The server is killed and started again on what it left.
    Restart,
    Lease(Lease),
    Concurrency(Concurrency),
    Lasting(Lasting),
}

/// Words that are still to be read, and by how much revisions differ from a fresh store's.
pub struct CommandLine {
    words: std::vec::IntoIter<Word>,
    base: i64,
}

/// One command line and the indented lines under it. `base` is added to the revisions in it.
pub fn command(lines: &[&str], base: i64) -> Result<Command, String> {
    let (first, rest) = lines.split_first().ok_or("no command")?;
    let mut line = CommandLine::new(first, base)?;
    let verb = line.keyword("a command")?;
    if verb != "txn" && !rest.is_empty() {
        return Err(format!("{verb} takes no indented lines"));
    }
    let command = line.command(&verb, rest)?;
    line.end()?;
    Ok(command)
}

impl CommandLine {
    fn new(text: &str, base: i64) -> Result<CommandLine, String> {
        Ok(CommandLine { words: words::split(text)?.into_iter(), base })
    }

    /// What stands after the verb; `under` are the indented lines.
    pub fn command(&mut self, verb: &str, under: &[&str]) -> Result<Command, String> {
        let line = self;
        Ok(match verb {
            "get" => Command::Range(line.range()?),
            "stream" => Command::RangeStream(line.range()?),
            "put" => Command::Put(line.put()?),
            "del" => Command::DeleteRange(line.delete()?),
            "txn" => Command::Txn(txn(under, line.base)?),
            "compact" => Command::Compact(pb::CompactionRequest {
                revision: line.revision()?,
                physical: line.flag("physical"),
            }),
            "fill" => Command::Fill {
                prefix: line.bytes("a prefix")?,
                count: line.number("a count")?,
                value: line.bytes("a value")?,
            },
            "status" => Command::Status,
            "hash" => Command::Hash,
            "hashkv" => Command::HashKv(pb::HashKvRequest { revision: line.revision()? }),
            "defragment" => Command::Defragment,
            "members" => Command::MemberList(pb::MemberListRequest {
                linearizable: line.flag("linearizable"),
            }),
            "alarm" => line.alarm()?,
            "restart" => Command::Restart,
            "await" => Command::Await { count: line.number("a count")?, request: line.range()? },
            other => line.more_commands(other)?,
        })
    }

    pub fn end(&mut self) -> Result<(), String> {
        match self.words.next() {
            None => Ok(()),
            Some(word) => Err(format!("unexpected word {}", words::text(&word.bytes))),
        }
    }

    fn word(&mut self, what: &str) -> Result<Word, String> {
        self.words.next().ok_or_else(|| format!("{what} is missing"))
    }

    pub fn bytes(&mut self, what: &str) -> Result<Vec<u8>, String> {
        Ok(self.word(what)?.bytes)
    }

    pub fn keyword(&mut self, what: &str) -> Result<String, String> {
        let word = self.word(what)?;
        word.bare().map(str::to_owned).ok_or_else(|| format!("{what} stands without quotes"))
    }

    pub fn number<N: std::str::FromStr>(&mut self, what: &str) -> Result<N, String> {
        let word = self.keyword(what)?;
        word.parse().map_err(|_| format!("not {what}: {word}"))
    }

    /// Revisions above 0 are counted from a fresh store; 0 and negatives mean themselves.
    pub fn shifted(&self, revision: i64) -> i64 {
        if revision > 0 { revision + self.base } else { revision }
    }

    pub fn revision(&mut self) -> Result<i64, String> {
        let revision = self.number("a revision")?;
        Ok(self.shifted(revision))
    }

    /// Takes the next word if it is this flag.
    pub fn flag(&mut self, name: &str) -> bool {
        let next = self.words.as_slice().first().and_then(Word::bare);
        if next == Some(name) { self.words.next().is_some() } else { false }
    }

    /// Takes the next word if it is an argument and not one of these options.
    pub fn argument(&mut self, options: &[&str]) -> Option<Vec<u8>> {
        let next = self.words.as_slice().first()?;
        let is_option = next.bare().is_some_and(|bare| {
            options.contains(&bare)
                || bare.split_once('=').is_some_and(|(name, _)| options.contains(&name))
        });
        if is_option { None } else { self.words.next().map(|word| word.bytes) }
    }

    /// Calls `set` with the name and the value (empty for a flag) of every word that is left.
    pub fn options(
        &mut self,
        mut set: impl FnMut(&str, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        while !self.words.as_slice().is_empty() {
            let word = self.keyword("an option")?;
            let (name, value) = word.split_once('=').unwrap_or((&word, ""));
            set(name, value).map_err(|reason| format!("{word}: {reason}"))?;
        }
        Ok(())
    }

    pub fn range(&mut self) -> Result<pb::RangeRequest, String> {
        const OPTIONS: [&str; 12] = [
            "prefix",
            "limit",
            "rev",
            "order",
            "by",
            "serializable",
            "keys_only",
            "count_only",
            "min_mod",
            "max_mod",
            "min_create",
            "max_create",
        ];
        let mut request =
            pb::RangeRequest { key: self.bytes("a key")?.into(), ..Default::default() };
        request.range_end = self.argument(&OPTIONS).unwrap_or_default().into();
        let base = self.base;
        let revision = |text: &str| {
            let revision = integer(text)?;
            Ok::<i64, String>(if revision > 0 { revision + base } else { revision })
        };
        self.options(|name, value| {
            match name {
                "prefix" => request.range_end = prefix_end(&request.key).into(),
                "limit" => request.limit = integer(value)?,
                "rev" => request.revision = revision(value)?,
                "order" => request.sort_order = sort_order(value)?,
                "by" => request.sort_target = sort_target(value)?,
                "serializable" => request.serializable = true,
                "keys_only" => request.keys_only = true,
                "count_only" => request.count_only = true,
                "min_mod" => request.min_mod_revision = revision(value)?,
                "max_mod" => request.max_mod_revision = revision(value)?,
                "min_create" => request.min_create_revision = revision(value)?,
                "max_create" => request.max_create_revision = revision(value)?,
                _ => return Err("unknown".to_owned()),
            }
            Ok(())
        })?;
        Ok(request)
    }

    fn put(&mut self) -> Result<pb::PutRequest, String> {
        const OPTIONS: [&str; 4] = ["lease", "prev_kv", "ignore_value", "ignore_lease"];
        let mut request = pb::PutRequest { key: self.bytes("a key")?.into(), ..Default::default() };
        request.value = self.argument(&OPTIONS).unwrap_or_default().into();
        self.options(|name, value| {
            match name {
                "lease" => request.lease = integer(value)?,
                "prev_kv" => request.prev_kv = true,
                "ignore_value" => request.ignore_value = true,
                "ignore_lease" => request.ignore_lease = true,
                _ => return Err("unknown".to_owned()),
            }
            Ok(())
        })?;
        Ok(request)
    }

    fn delete(&mut self) -> Result<pb::DeleteRangeRequest, String> {
        let mut request =
            pb::DeleteRangeRequest { key: self.bytes("a key")?.into(), ..Default::default() };
        request.range_end = self.argument(&["prefix", "prev_kv"]).unwrap_or_default().into();
        self.options(|name, _| {
            match name {
                "prefix" => request.range_end = prefix_end(&request.key).into(),
                "prev_kv" => request.prev_kv = true,
                _ => return Err("unknown".to_owned()),
            }
            Ok(())
        })?;
        Ok(request)
    }

    fn alarm(&mut self) -> Result<Command, String> {
        let mut request = pb::AlarmRequest::default();
        let action = self.keyword("an action")?.to_uppercase();
        request.action = match pb::alarm_request::AlarmAction::from_str_name(&action) {
            Some(action) => action.into(),
            None => integer(&action)? as i32,
        };
        let mut own_member = false;
        self.options(|name, value| {
            match (name, value) {
                ("member", "self") => own_member = true,
                ("member", id) => request.member_id = integer(id)? as u64,
                (kind, "") => {
                    request.alarm = pb::AlarmType::from_str_name(kind).ok_or("unknown")?.into();
                }
                _ => return Err("unknown".to_owned()),
            }
            Ok(())
        })?;
        Ok(Command::Alarm { request, own_member })
    }

    /// `TARGET KEY [END] OP OPERAND`. The operand of a VALUE is bytes, of others a number;
    /// `target:operand` names another arm of the union than the target's, `nothing` none.
    fn compare(&mut self) -> Result<pb::Compare, String> {
        let target = match self.keyword("a target")?.as_str() {
            "version" => CompareTarget::Version.into(),
            "create" => CompareTarget::Create.into(),
            "mod" => CompareTarget::Mod.into(),
            "value" => CompareTarget::Value.into(),
            "lease" => CompareTarget::Lease.into(),
            other => integer(other)? as i32,
        };
        let key = self.bytes("a key")?.into();
        let mut range_end = Vec::new();
        let result = loop {
            let word = self.word("an operator")?;
            match word.bare() {
                Some("=") => break CompareResult::Equal,
                Some("!=") => break CompareResult::NotEqual,
                Some("<") => break CompareResult::Less,
                Some(">") => break CompareResult::Greater,
                _ if range_end.is_empty() => range_end = word.bytes,
                _ => return Err("expected =, !=, < or >".to_owned()),
            }
        };
        let operand = self.word("an operand")?;
        Ok(pb::Compare {
            result: result.into(),
            target,
            key,
            range_end: range_end.into(),
            target_union: self.operand(target, &operand)?,
        })
    }

    fn operand(&self, target: i32, word: &Word) -> Result<Option<TargetUnion>, String> {
        let bare = word.bare().unwrap_or_default();
        if bare == "nothing" {
            return Ok(None);
        }
        let (arm, text) = match bare.split_once(':') {
            Some((arm, text)) => (arm, text),
            None => match CompareTarget::try_from(target) {
                Ok(CompareTarget::Version) | Err(_) => ("version", bare),
                Ok(CompareTarget::Create) => ("create", bare),
                Ok(CompareTarget::Mod) => ("mod", bare),
                Ok(CompareTarget::Lease) => ("lease", bare),
                Ok(CompareTarget::Value) => {
                    return Ok(Some(TargetUnion::Value(word.bytes.clone().into())));
                }
            },
        };
        Ok(Some(match arm {
            "version" => TargetUnion::Version(integer(text)?),
            "create" => TargetUnion::CreateRevision(self.shifted(integer(text)?)),
            "mod" => TargetUnion::ModRevision(self.shifted(integer(text)?)),
            "lease" => TargetUnion::Lease(integer(text)?),
            "value" => TargetUnion::Value(text.as_bytes().to_vec().into()),
            other => return Err(format!("unknown target {other}")),
        }))
    }
}

/// The lines of one txn, all indented deeper than its own.
fn txn(lines: &[&str], base: i64) -> Result<pb::TxnRequest, String> {
    let mut request = pb::TxnRequest::default();
    let indent = lines.first().map_or(0, |line| depth(line));
    let mut at = 0;
    while at < lines.len() {
        if depth(lines[at]) != indent {
            return Err(format!("bad indentation: {}", lines[at]));
        }
        let nested = lines[at + 1..].iter().take_while(|line| depth(line) > indent).count();
        let under = &lines[at + 1..at + 1 + nested];
        let (part, rest) = lines[at].trim_start().split_once(' ').ok_or("a command is missing")?;
        match part {
            "if" => {
                let mut line = CommandLine::new(rest, base)?;
                request.compare.push(line.compare()?);
                line.end()?;
            }
            "then" => request.success.extend(ops(rest, under, base)?),
            "else" => request.failure.extend(ops(rest, under, base)?),
            other => return Err(format!("expected if, then or else: {other}")),
        }
        at += 1 + nested;
    }
    Ok(request)
}

fn depth(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// One op; `N times COMMAND` is N of it, `#` in the command being the number of each.
fn ops(text: &str, under: &[&str], base: i64) -> Result<Vec<pb::RequestOp>, String> {
    if let Some((count, rest)) = text.split_once(" times ") {
        let count: usize = count.parse().map_err(|_| format!("not a count: {count}"))?;
        return (0..count).map(|n| op(&rest.replace('#', &n.to_string()), under, base)).collect();
    }
    Ok(vec![op(text, under, base)?])
}

fn op(text: &str, under: &[&str], base: i64) -> Result<pb::RequestOp, String> {
    if text == "nothing" {
        return Ok(pb::RequestOp { request: None });
    }
    let lines: Vec<&str> = [text].into_iter().chain(under.iter().copied()).collect();
    let request = match command(&lines, base)? {
        Command::Range(request) => Op::RequestRange(request),
        Command::Put(request) => Op::RequestPut(request),
        Command::DeleteRange(request) => Op::RequestDeleteRange(request),
        Command::Txn(request) => Op::RequestTxn(request),
        _ => return Err(format!("not an operation of a txn: {text}")),
    };
    Ok(pb::RequestOp { request: Some(request) })
}

pub fn integer(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

/// A number stands for itself, so that values outside the enum can be sent.
fn sort_order(name: &str) -> Result<i32, String> {
    match SortOrder::from_str_name(name) {
        Some(order) => Ok(order.into()),
        None => Ok(integer(name)? as i32),
    }
}

fn sort_target(name: &str) -> Result<i32, String> {
    match SortTarget::from_str_name(name) {
        Some(target) => Ok(target.into()),
        None => Ok(integer(name)? as i32),
    }
}

/// What etcd's clients send as the end of a prefix.
pub fn prefix_end(key: &[u8]) -> Vec<u8> {
    let Some(last) = key.iter().rposition(|byte| *byte != 0xff) else {
        return vec![0];
    };
    let mut end = key[..=last].to_vec();
    end[last] += 1;
    end
}
