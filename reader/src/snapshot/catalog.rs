//! What exists at the source: databases, sequences, tables, and all that is built on them.

use common::selection::Selection;
use common::snapshot::{ObjectName, TableName};

use crate::error::ReaderError;
use crate::source::{Facts, Session};

/// What the selection selects of what exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Databases, by name.
    pub databases: Vec<Database>,
    /// MariaDB's sequences.
    pub sequences: Vec<ObjectName>,
    /// Base tables, by database and name.
    pub tables: Vec<Table>,
    /// Functions, procedures, views, triggers and events, in an order in which they can be made.
    pub others: Vec<ObjectName>,
    /// Foreign keys among the tables (child, parent) whose rules change rows of the child.
    cascades: Vec<(TableName, TableName)>,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// `DEFAULT_CHARACTER_SET_NAME`
    pub character_set: String,
    /// `DEFAULT_COLLATION_NAME`
    pub collation: String,
}

/// A base table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// `ENGINE`; empty where the server cannot open the table.
    pub engine: String,
    /// Rows, as the statistics say.
    pub rows: u64,
    /// `DATA_LENGTH`, bytes, as the statistics say.
    pub bytes: u64,
    /// Seconds since 1970 of its creation or last rebuild; 0 where the engine does not tell.
    pub created: u64,
    /// MariaDB keeps older versions of its rows in it (`WITH SYSTEM VERSIONING`).
    pub versioned: bool,
}

impl Catalog {
    /// Asks the source.
    ///
    /// # Errors
    /// Failed queries.
    pub fn read(session: &mut Session, facts: &Facts, selection: &Selection) -> Result<Self, ReaderError> {
        let _ = (session, facts, selection);
        Err(ReaderError::Source("the catalog of the source cannot be read yet".to_owned()))
    }

    /// Groups of two or more tables that must be read at one point, because foreign keys change rows of one when another is changed and the source does
    /// not log that; none where it does.
    #[must_use]
    pub fn groups(&self, logs_cascades: bool) -> Vec<Vec<TableName>> {
        let _ = (logs_cascades, &self.cascades);
        Vec::new()
    }
}

/// Whether the source logs the rows that its foreign keys change.
#[must_use]
pub fn logs_cascades(facts: &Facts) -> bool {
    let _ = facts;
    false
}
