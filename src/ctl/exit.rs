//! Exit codes, and the failure that ends a command.

use crate::client;

/// The server or the call failed; also an unknown command or flag.
pub const ERROR: u8 = 1;
/// The server gave no answer, for commands that tell this from a refusal.
pub const BAD_CONNECTION: u8 = 2;
/// Exit code: the input cannot be parsed.
pub const INVALID_INPUT: u8 = 3;
/// The output format or the value of an option is not known.
pub const BAD_FEATURE: u8 = 4;
/// Something ended that was to go on.
pub const INTERRUPTED: u8 = 5;
/// Reading or writing failed.
pub const IO: u8 = 6;
/// Arguments are missing, too many, or contradict one another.
pub const BAD_ARGUMENTS: u8 = 128;

/// Why a command ended without success.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: u8,
    /// Printed after `Error: `; `None` if the command has said all there is.
    pub message: Option<String>,
}

impl Failure {
    /// Makes a failure that exits with `code`.
    pub fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { code, message: Some(message.into()) }
    }

    /// Makes a failure about which everything was printed already.
    pub fn silent(code: u8) -> Failure {
        Failure { code, message: None }
    }

    /// Makes the failure of bad arguments.
    pub fn bad_arguments(message: impl Into<String>) -> Failure {
        Failure::new(BAD_ARGUMENTS, message)
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Failure {
        let code = match &error {
            client::Error::Invalid(_) => BAD_ARGUMENTS,
            _ => ERROR,
        };
        Failure::new(code, error.to_string())
    }
}
