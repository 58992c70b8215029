//! What we ask the source by SQL: who it is, what it still has, and whether it is set up so that it can be followed.

mod checks;
mod collations;
pub(crate) mod table;

use std::collections::HashMap;
use std::time::Duration;

use common::config::Server;
use common::selection::Selection;
use common::{BinlogPosition, Flavor, GtidSet, connect};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::error::ReaderError;
pub use checks::check;
pub use collations::Collations;

/// The state of a source.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Family.
    pub flavor: Flavor,
    /// `@@version`
    pub version: String,
    /// `@@server_uuid`; empty for MariaDB and MySQL 5.5.
    pub server_uuid: String,
    /// `@@server_id`
    pub server_id: u32,
    /// GTIDs are on (MySQL: `gtid_mode=ON`; MariaDB: always).
    pub gtids: bool,
    /// What it has committed.
    pub executed: GtidSet,
    /// What it has removed from its binlogs (MySQL only).
    pub purged: GtidSet,
    /// The end of its binlog.
    pub end: BinlogPosition,
    /// `binlog_row_metadata=FULL`
    pub full_metadata: bool,
    /// Some global variables, by lower-case name.
    pub variables: HashMap<String, String>,
}

/// A connection for queries, for use from a thread without a runtime.
#[derive(Debug)]
pub struct Session {
    runtime: tokio::runtime::Runtime,
    conn: Conn,
    collations: Collations,
}

const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'version_comment', 'server_uuid', 'server_id', 'log_bin', \
     'binlog_format', 'binlog_row_image', 'binlog_row_metadata', 'gtid_mode', 'log_bin_compress', 'log_slave_updates', 'log_replica_updates', \
     'binlog_checksum', 'gtid_domain_id', 'innodb_native_foreign_keys')";

/// A query to the source takes no longer than this, or the source counts as unreachable.
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// Why the server cannot be reached or does not let us in.
    pub fn open(server: &Server) -> Result<Self, ReaderError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            ReaderError::Source(format!("this system gives no resources for a connection: {error}"))
        })?;
        let conn = runtime.block_on(connect::open(server)).map_err(|error| ReaderError::Connect(Box::new(error)))?;
        Ok(Self { runtime, conn, collations: Collations::default() })
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// [`ReaderError::Query`]
    pub fn rows(&mut self, what: &'static str, query: &str) -> Result<Vec<Row>, ReaderError> {
        let conn = &mut self.conn;
        let answer = self.runtime.block_on(async { tokio::time::timeout(QUERY_TIMEOUT, conn.query(query)).await });
        let timed_out = || mysql_async::Error::Io(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        answer.unwrap_or_else(|_| Err(timed_out())).map_err(|source| ReaderError::Query { what, source })
    }

    /// The first value of a query's first row, as text.
    ///
    /// # Errors
    /// [`ReaderError::Query`]
    pub fn text(&mut self, what: &'static str, query: &str) -> Result<Option<String>, ReaderError> {
        Ok(self.rows(what, query)?.first().and_then(|row| text(row, 0)))
    }

    /// The ids of its collations; asked for once in a session.
    ///
    /// # Errors
    /// [`ReaderError::Query`]
    pub fn collations(&mut self) -> Result<&Collations, ReaderError> {
        let mut collations = std::mem::take(&mut self.collations);
        let known = collations.know(self);
        self.collations = collations;
        known.map(|()| &self.collations)
    }

    /// Looks at the source.
    ///
    /// # Errors
    /// Failed queries, a missing privilege.
    pub fn facts(&mut self) -> Result<Facts, ReaderError> {
        let variables: HashMap<String, String> = self
            .rows("reading its settings", VARIABLES)?
            .iter()
            .filter_map(|row| Some((text(row, 0)?.to_ascii_lowercase(), text(row, 1)?)))
            .collect();
        let variable = |name: &str| variables.get(name).cloned().unwrap_or_default();
        let version = variable("version");
        let mariadb = version.to_ascii_lowercase().contains("mariadb")
            || variable("version_comment").to_ascii_lowercase().contains("mariadb");
        let flavor = if mariadb { Flavor::MariaDb } else { Flavor::MySql };
        let end = if variable("log_bin") == "ON" {
            self.end(flavor, &version)?
        } else {
            (BinlogPosition::default(), String::new())
        };
        let (end, status_gtids) = end;
        let gtids = mariadb || variable("gtid_mode") == "ON";
        let set = |text: String| -> Result<GtidSet, ReaderError> {
            text.parse().map_err(|error| ReaderError::Source(format!("the source's GTID set: {error}")))
        };
        let (executed, purged) = if mariadb {
            let query = format!("SELECT BINLOG_GTID_POS('{}', {})", end.file, end.offset);
            let text = match self.text("reading its GTID position", &query)? {
                Some(text) if !text.is_empty() => text,
                _ => self.text("reading its GTID position", "SELECT @@GLOBAL.gtid_binlog_pos")?.unwrap_or_default(),
            };
            (set(text)?, GtidSet::new())
        } else if variables.contains_key("gtid_mode") {
            let purged = self.text("reading gtid_purged", "SELECT @@GLOBAL.gtid_purged")?.unwrap_or_default();
            (set(status_gtids)?, set(purged)?)
        } else {
            (GtidSet::new(), GtidSet::new())
        };
        Ok(Facts {
            flavor,
            server_uuid: variable("server_uuid"),
            server_id: variable("server_id").parse().unwrap_or(0),
            gtids,
            executed,
            purged,
            end,
            full_metadata: variable("binlog_row_metadata").eq_ignore_ascii_case("FULL"),
            version,
            variables,
        })
    }

    /// The end of the binlog, and on MySQL the GTIDs up to there.
    fn end(&mut self, flavor: Flavor, version: &str) -> Result<(BinlogPosition, String), ReaderError> {
        // SHOW MASTER STATUS went in 8.4; SHOW BINARY LOG STATUS came in 8.2.
        let query = match flavor {
            Flavor::MySql if number(version) >= (8, 2) => "SHOW BINARY LOG STATUS",
            _ => "SHOW MASTER STATUS",
        };
        let rows = self.rows("asking for the end of its binlog (needs the privilege REPLICATION CLIENT)", query)?;
        let row = rows.first().ok_or_else(|| {
            ReaderError::Source("the source does not write a binlog; set log_bin and restart it".to_owned())
        })?;
        let file = text(row, 0).unwrap_or_default();
        let offset = text(row, 1).and_then(|text| text.parse().ok()).unwrap_or(4);
        let gtids = if flavor == Flavor::MySql { text(row, 4).unwrap_or_default() } else { String::new() };
        Ok((BinlogPosition { file, offset }, gtids))
    }

    /// The binlog files that it still has, oldest first, with their sizes.
    ///
    /// # Errors
    /// [`ReaderError::Query`]
    pub fn files(&mut self) -> Result<Vec<(String, u64)>, ReaderError> {
        let rows = self.rows("listing its binlogs (needs the privilege REPLICATION CLIENT)", "SHOW BINARY LOGS")?;
        Ok(rows.iter().filter_map(|row| Some((text(row, 0)?, text(row, 1)?.parse().ok()?))).collect())
    }

    /// Selected tables, up to `limit` of them.
    ///
    /// # Errors
    /// [`ReaderError::Query`]
    pub fn selected_tables(&mut self, selection: &Selection, limit: usize) -> Result<Vec<String>, ReaderError> {
        let query = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' \
                     AND table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')";
        let rows = self.rows("listing its tables", query)?;
        Ok(rows
            .iter()
            .filter_map(|row| Some((text(row, 0)?, text(row, 1)?)))
            .filter(|(database, table)| selection.selects(database, table))
            .map(|(database, table)| format!("{database}.{table}"))
            .take(limit)
            .collect())
    }
}

/// Column `index` as text; None for NULL.
pub(crate) fn text(row: &Row, index: usize) -> Option<String> {
    match row.as_ref(index)? {
        mysql_async::Value::NULL => None,
        mysql_async::Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        mysql_async::Value::Int(value) => Some(value.to_string()),
        mysql_async::Value::UInt(value) => Some(value.to_string()),
        other => Some(other.as_sql(true)),
    }
}

/// Major and minor number of a version.
#[must_use]
pub(crate) fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
