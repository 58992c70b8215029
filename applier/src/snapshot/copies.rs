//! Where the copy of each table stands, in the order of the log.

use common::snapshot::{RunId, TableName};

/// Where the copy of a table stands at this destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stand {
    /// It is to be copied: its changes are passed over, the copy will hold them.
    Pending,
    /// It is made and being filled: its changes are put in place by key.
    Copying,
    /// It is copied: its changes are strict.
    Done,
    /// It could not be made here and `on_error` says skip: all of it is passed over until another run brings it.
    Skipped,
}

impl Stand {
    /// As the destination's table `snapshot` holds it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Copying => "copying",
            Self::Done => "done",
            Self::Skipped => "skipped",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Copying, Self::Done, Self::Skipped].into_iter().find(|stand| stand.name() == name)
    }
}

/// Where the copy of one table stands, as the destination remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStand {
    /// The run that copies it.
    pub run: RunId,
    /// The table, by its name at the source.
    pub table: TableName,
    /// Where its copy stands.
    pub stand: Stand,
    /// Rows of its chunks that are here, for people.
    pub rows: u64,
    /// Rows that the source's statistics say, for people.
    pub rows_estimate: u64,
}

/// What the destination remembers of runs: those that have begun here and not ended, and every table that is not done, also of runs that have ended
/// (a cancelled one leaves its tables as they are).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Runs that have begun and not ended, oldest first; also those without tables.
    pub runs: Vec<RunId>,
    /// Tables of these runs, and those of earlier runs that are not done.
    pub tables: Vec<TableStand>,
}
