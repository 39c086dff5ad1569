//! The language of the scenario files in `tests/cases/`.
//!
//! A file is a row of blocks, each: comment lines (`#`), commands, `---`, the expected output, an
//! empty line. A first line `server FLAG...` asks for a server of its own with these flags; other
//! files share a server, on which every revision is shown as on a fresh store: the first write of
//! the file gets revision 2. A line `only gRPC` keeps a case from frames.
//!
//! | command | options |
//! |---|---|
//! | `put KEY [VALUE]` | `lease=N prev_kv ignore_value ignore_lease` |
//! | `get KEY [END]` | `prefix limit=N rev=N order=NONE\|ASCEND\|DESCEND by=KEY\|VERSION\|CREATE\|MOD\|VALUE serializable keys_only count_only min_mod=N max_mod=N min_create=N max_create=N` |
//! | `stream KEY [END]` | as `get`; the sizes of the chunks, then their merge |
//! | `del KEY [END]` | `prefix prev_kv` |
//! | `txn`, then indented `if TARGET KEY [END] OP OPERAND`, `then COMMAND`, `else COMMAND` | nested by indentation; see `parse` |
//! | `compact REV` | `physical` |
//! | `fill PREFIX COUNT VALUE` | `COUNT` puts of `PREFIX0001`…; shows the last |
//! | `status`, `hash`, `hashkv REV`, `defragment`, `members [linearizable]` | |
//! | `alarm get\|activate\|deactivate [NOSPACE\|CORRUPT\|NONE] [member=self\|N]` | |
//! | `await COUNT KEY [END]` | as `get`, read again and again until there are `COUNT` keys |
//! | `restart` | kills the server, one of the case's own, and starts it on what it left |
//! | `grant TTL` | `id=N as=NAME` |
//! | `revoke ID`, `ttl ID [keys]`, `leases` | |
//! | `lock NAME`, `campaign NAME [VALUE]` | `lease=ID as=NAME` |
//! | `unlock KEY`, `leader NAME` | |
//! | `proclaim VALUE`, `resign` | `name=N key=K rev=R lease=ID`: the leader, none of it is none |
//!
//! A lease whose id the server picks is called `NAME` from `as=NAME` on: `$NAME` is its id, and
//! `<NAME>` the same in hexadecimal, in commands and in output.
//!
//! Calls that last have a name, here `W`. The first `watch`, `keepalive`, `observe` or `start` of a
//! name opens it, on a connection of its own but for `start`.
//!
//! | command | |
//! |---|---|
//! | `watch W KEY [END]` | a watcher: `prefix id=N rev=N prev_kv noput nodelete filter=N fragment progress_notify`, `times=N` of it; shows its created response, which it does not wait for with `later` |
//! | `cancel W ID`, `progress W`, `malformed W` | what else is sent on a stream of watches |
//! | `keepalive W ID [until V]` | one keep-alive, or so many until something arrives on `V` |
//! | `observe W NAME` | |
//! | `start W CALL` | `lock` or `campaign`, not waited for |
//! | `expect W COUNT [of ID]` | the strict form: the next responses, each as it came |
//! | `events W REV [of ID...]` | the normalised form: by watcher, whatever came until an event of `REV`, however it was packed; with ids (`3`, `0..9`), until each of these has one |
//! | `lost W ID` | how watcher `ID` is canceled, whatever it is sent before |
//! | `quiet W MS` | what comes in that time; hopefully `nothing` |
//! | `finish W`, `end W`, `leave W` | no more is sent; what comes until the server ends it; gone |
//!
//! All that arrives on a stream of watches is held against the promises in `order`; what breaks one
//! is printed as `BROKEN`. A line `only outside` keeps a case from members in this process.
//!
//! Words are separated by spaces; in quotes, `\xNN \n \" \\` are bytes. `{x*100}` is `x` a hundred
//! times. A quoted word is never an option.

// Each driver that speaks it uses its own part.
#![allow(dead_code)]

mod call;
mod file;
mod inside;
mod lasting;
mod order;
mod parse;
mod parse_lasting;
mod show;
mod show_lasting;
mod words;

pub use call::Target;
pub use file::CaseFile;
