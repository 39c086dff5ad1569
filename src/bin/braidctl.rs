//! The command line client: parse, build, run.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = std::env::args_os().collect();
    let environment = std::env::vars_os().collect();
    ExitCode::from(braid::ctl::main(arguments, environment))
}
