//! How a command ended.

use std::fmt;
use std::process::ExitCode;

use common::config::ConfigErrors;
use store::StoreError;

/// The exit codes of all our programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// 0: done.
    Done = 0,
    /// 1: failed.
    Failed = 1,
    /// 2: bad usage or configuration.
    Usage = 2,
    /// 3: the store is damaged.
    Damaged = 3,
    /// 4: source and destination differ.
    Differ = 4,
    /// 5: timed out.
    TimedOut = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The meaning of a service's exit code.
    #[must_use]
    pub fn from_code(code: i32) -> Exit {
        match code {
            0 => Exit::Done,
            2 => Exit::Usage,
            3 => Exit::Damaged,
            4 => Exit::Differ,
            5 => Exit::TimedOut,
            _ => Exit::Failed,
        }
    }
}

/// Why a command did not do what it was asked, and the exit code for that.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with this code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        match error.downcast::<StoreError>() {
            Ok(error) => error.into(),
            Err(error) => Failure::new(Exit::Failed, format!("{error:#}")),
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Failure {
        let count = errors.errors.len();
        let head = if count == 1 {
            "the configuration has an error".into()
        } else {
            format!("the configuration has {count} errors")
        };
        Failure::new(Exit::Usage, format!("{head}:\n{errors}"))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let exit = if error.is_damage() { Exit::Damaged } else { Exit::Failed };
        Failure::new(exit, error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        // Whoever read our output has seen enough: `logweir store dump | head`.
        let exit = if error.kind() == std::io::ErrorKind::BrokenPipe { Exit::Done } else { Exit::Failed };
        Failure::new(exit, error.to_string())
    }
}
