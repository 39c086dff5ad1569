//! `completion`: a script for the shell.

use clap::Args;
use clap_complete::Shell;

use super::exit::{self, Failure};
use super::{arguments, print};
use crate::gotext;

#[derive(Args, Debug)]
pub struct Completion {
    /// bash, zsh, fish or powershell
    #[arg(value_name = "SHELL")]
    arguments: Vec<String>,
}

impl Completion {
    pub fn run(&self) -> Result<(), Failure> {
        print(&self.script()?)
    }

    fn script(&self) -> Result<Vec<u8>, Failure> {
        let [shell] = &self.arguments[..] else {
            let given = self.arguments.len();
            let why = format!("accepts 1 arg(s), received {given}");
            return Err(Failure::new(exit::ERROR, why));
        };
        let shell = match shell.as_str() {
            "bash" => Shell::Bash,
            "zsh" => Shell::Zsh,
            "fish" => Shell::Fish,
            "powershell" => Shell::PowerShell,
            other => {
                let quoted = gotext::quote(other);
                let why = format!("invalid argument {quoted} for \"braidctl completion\"");
                return Err(Failure::new(exit::ERROR, why));
            }
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut arguments::command(), "braidctl", &mut script);
        Ok(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in ["bash", "zsh", "fish", "powershell"] {
            let completion = Completion { arguments: vec![shell.to_owned()] };
            let script = completion.script().expect("a known shell");
            let script = String::from_utf8(script).expect("scripts are text");
            for word in ["compaction", "hashkv", "print-value-only", "write-out"] {
                assert!(script.contains(word), "{shell} knows no {word}");
            }
        }
        let tcsh = Completion { arguments: vec!["tcsh".to_owned()] };
        assert_eq!(tcsh.script().expect_err("an unknown shell").code, 1);
    }
}
