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
//!
//! Words are separated by spaces; in quotes, `\xNN \n \" \\` are bytes. `{x*100}` is `x` a hundred
//! times. A quoted word is never an option.

// Each driver that speaks it uses its own part.
#![allow(dead_code)]

mod call;
mod file;
mod inside;
mod parse;
mod show;
mod words;

pub use call::Target;
pub use file::CaseFile;
