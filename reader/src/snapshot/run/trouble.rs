//! What keeps a thread from its work, and what is done about it.

use crate::error::{ReaderError, passes};
use crate::snapshot::desk::Stopped;
use crate::wire::WireError;

/// Why a piece of work is not done.
#[derive(Debug)]
pub enum Trouble {
    /// The reader is stopping, or the run was cancelled.
    Stopped,
    /// The source is gone for the moment: connect again.
    Lost(Box<ReaderError>),
    /// A lock, a deadlock, a table that was altered below an open snapshot: the same again, soon.
    Busy(Box<ReaderError>),
    /// It concerns one table.
    Table(usize, Box<ReaderError>),
    /// It concerns all.
    Fatal(Box<ReaderError>),
}

impl Trouble {
    /// [`Trouble::Busy`]
    #[must_use]
    pub fn busy(error: ReaderError) -> Self {
        Trouble::Busy(error.into())
    }

    /// [`Trouble::Table`]
    #[must_use]
    pub fn table(table: usize, error: ReaderError) -> Self {
        Trouble::Table(table, error.into())
    }

    /// [`Trouble::Fatal`]
    #[must_use]
    pub fn fatal(error: ReaderError) -> Self {
        Trouble::Fatal(error.into())
    }
}

impl From<Stopped> for Trouble {
    fn from(_: Stopped) -> Self {
        Trouble::Stopped
    }
}

/// What an error means that came while a table was read; None = while nothing of one table was read.
#[must_use]
pub fn judge(error: ReaderError, table: Option<usize>) -> Trouble {
    if error.is_transient() {
        return Trouble::Lost(error.into());
    }
    match code(&error) {
        Some(code) if passes(code, "") => Trouble::Lost(error.into()),
        // Lock wait timeout, deadlock, table definition changed, query timed out or was interrupted, snapshot too old.
        Some(1205 | 1213 | 1412 | 1028 | 3024 | 1969 | 1637 | 1020) => Trouble::Busy(error.into()),
        _ => match table {
            Some(table) => Trouble::Table(table, error.into()),
            None => Trouble::Fatal(error.into()),
        },
    }
}

/// The server's number of the error, if it is one of the server.
#[must_use]
pub fn code(error: &ReaderError) -> Option<u16> {
    match error {
        ReaderError::Wire(WireError::Server { code, .. }) => Some(*code),
        ReaderError::Query { source: mysql_async::Error::Server(error), .. } => Some(error.code),
        _ => None,
    }
}

/// Whether the table or a column of it is not there any more.
#[must_use]
pub fn is_other_now(error: &ReaderError) -> bool {
    matches!(code(error), Some(1146 | 1049 | 1054 | 1051 | 1176))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16) -> ReaderError {
        ReaderError::Wire(WireError::Server { code, message: String::new() })
    }

    #[test]
    fn an_error_concerns_the_connection_the_moment_the_table_or_all() {
        assert!(matches!(judge(server(1053), Some(1)), Trouble::Lost(_)));
        assert!(matches!(judge(server(1205), Some(1)), Trouble::Busy(_)));
        assert!(matches!(judge(server(1142), Some(1)), Trouble::Table(1, _)));
        assert!(matches!(judge(server(1227), None), Trouble::Fatal(_)));
        assert!(is_other_now(&server(1146)) && !is_other_now(&server(1142)));
    }
}
