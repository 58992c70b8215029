//! The low and the high mark around a SELECT: between which places of the binlog its result lies.
//!
//! What a SELECT sees must include all that the follower had decoded when the window was opened (LOW), and nothing that stands behind HIGH. Commits reach the
//! binlog before the engine shows them, so the binlog's end alone is no low mark. The ways:
//!
//! - `gtid`: MySQL from 5.7 on adds a transaction to `gtid_executed` after the engine's commit (`MYSQL_BIN_LOG::process_commit_stage_queue`), so once it contains the place,
//!   every later SELECT sees it. The binlog's end after the SELECT is HIGH: it grew before the commit.
//! - `binlog-snapshot`: MariaDB and Percona Server take the binlog's position and the engines' views at one point in START TRANSACTION WITH CONSISTENT SNAPSHOT
//!   and show it as `Binlog_snapshot_file` and `_position`. LOW and HIGH are the same place.
//! - `row-locks`: a SELECT … LOCK IN SHARE MODE waits for transactions that are in the binlog and not committed in the engine yet, for they hold their rows'
//!   locks until they are. What it has read stays so until HIGH is taken, under its locks.
//! - `table-locks`: LOCK TABLES … READ around the SELECT and HIGH, for engines without transactions: writers are done, binlog included, when it is granted.

use std::time::{Duration, Instant};

use common::literal::quote;
use common::{BinlogPosition, Flavor, GtidSet};

use crate::error::ReaderError;
use crate::source::number;

/// How long the engine may take to show what the binlog has.
const VISIBLE_MAX: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// How consistent places are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `gtid`
    Gtid,
    /// `binlog-snapshot`
    BinlogSnapshot,
    /// `row-locks`
    RowLocks,
    /// `table-locks`
    TableLocks,
}

impl Way {
    /// As it stands in Begin and in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Way::Gtid => "gtid",
            Way::BinlogSnapshot => "binlog-snapshot",
            Way::RowLocks => "row-locks",
            Way::TableLocks => "table-locks",
        }
    }
}

/// Someone who answers queries: a connection, in tests a simulation.
pub trait Ask {
    /// The rows of a query as text, NULL as None; none for a statement that answers with OK.
    ///
    /// # Errors
    /// The server's, or the connection's.
    fn ask(&mut self, sql: &str) -> Result<Vec<Vec<Option<Vec<u8>>>>, ReaderError>;
}

fn texts(row: &[Option<Vec<u8>>]) -> Vec<String> {
    row.iter()
        .map(|cell| cell.as_deref().map_or_else(String::new, |text| String::from_utf8_lossy(text).into_owned()))
        .collect()
}

/// What the source is, as far as marks need it.
#[derive(Clone, Debug)]
pub struct Marks {
    way: Way,
    /// Why this way, for the log.
    reason: String,
    flavor: Flavor,
    end: &'static str,
}

impl Marks {
    /// Finds out which way the source allows. `gtids`: `gtid_mode` is ON and the follower goes by GTID.
    ///
    /// # Errors
    /// Failed queries.
    pub fn probe(source: &mut dyn Ask, flavor: Flavor, version: &str, gtids: bool) -> Result<Self, ReaderError> {
        let end = match flavor {
            Flavor::MySql if number(version) >= (8, 2) => "SHOW BINARY LOG STATUS",
            _ => "SHOW MASTER STATUS",
        };
        let snapshots = !source.ask("SHOW STATUS LIKE 'binlog_snapshot_position'")?.is_empty();
        let (way, reason) = match (flavor, gtids, snapshots) {
            (_, _, true) => (Way::BinlogSnapshot, "it shows the binlog's place of a consistent snapshot"),
            // `Gtid_state::update_on_flush` of MySQL 5.6; 5.7 has only `update_on_commit`.
            (Flavor::MySql, true, false) if number(version) < (5, 7) => {
                (Way::RowLocks, "before MySQL 5.7 a transaction is in gtid_executed before its engine has committed it")
            }
            (Flavor::MySql, true, false) => (Way::Gtid, "gtid_mode is ON"),
            (Flavor::MySql, false, false) => (
                Way::RowLocks,
                "it has no GTIDs (gtid_mode is not ON) and shows no binlog place of a consistent snapshot",
            ),
            (Flavor::MariaDb, _, false) => (Way::RowLocks, "it shows no binlog place of a consistent snapshot"),
        };
        Ok(Self { way, reason: reason.to_owned(), flavor, end })
    }

    /// The way.
    #[must_use]
    pub fn way(&self) -> Way {
        self.way
    }

    /// Why this one.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The same source, read under table locks: for a table whose engine has no transactions.
    #[must_use]
    pub fn with_table_locks(&self) -> Self {
        Self { way: Way::TableLocks, reason: "its engine has no transactions".to_owned(), ..self.clone() }
    }

    /// The end of the source's binlog now.
    ///
    /// # Errors
    /// Failed queries, a missing privilege.
    pub fn end(&self, source: &mut dyn Ask) -> Result<BinlogPosition, ReaderError> {
        let rows = source.ask(self.end)?;
        let row = rows.first().map(|row| texts(row)).unwrap_or_default();
        match row.as_slice() {
            [file, offset, ..] if !file.is_empty() => {
                let offset = offset
                    .parse()
                    .map_err(|_| ReaderError::Source(format!("the source says that its binlog ends at '{offset}'")))?;
                Ok(BinlogPosition { file: file.clone(), offset })
            }
            _ => Err(ReaderError::Source(
                "the source does not write a binlog any more; set log_bin and restart it".to_owned(),
            )),
        }
    }

    /// Makes sure that a SELECT from now on sees all up to `position`/`gtids`; answers with HIGH where that is known now already. `tables` (quoted names) are what
    /// will be read. End with [`Marks::close`].
    ///
    /// # Errors
    /// Failed queries; the engine does not show what the binlog has.
    pub fn open(
        &self,
        source: &mut dyn Ask,
        position: &BinlogPosition,
        gtids: &GtidSet,
        tables: &[Vec<u8>],
    ) -> Result<Option<BinlogPosition>, ReaderError> {
        match self.way {
            Way::Gtid => self.wait_executed(source, gtids).map(|()| None),
            Way::BinlogSnapshot => self.consistent(source, position).map(Some),
            Way::RowLocks => {
                source.ask("START TRANSACTION")?;
                Ok(None)
            }
            Way::TableLocks => {
                source.ask(&lock_tables(tables))?;
                Ok(None)
            }
        }
    }

    /// What a connection that reads chunks must be told once. Locks are waited for no longer than that, since others queue up behind one who waits for a table.
    #[must_use]
    pub fn session(&self) -> [&'static str; 2] {
        match self.way {
            // Locks on the rows alone, and not on the gaps between them.
            Way::RowLocks => [
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                "SET SESSION lock_wait_timeout=10, innodb_lock_wait_timeout=10",
            ],
            _ => ["SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SET SESSION lock_wait_timeout=10"],
        }
    }

    /// What a SELECT must end with.
    #[must_use]
    pub fn suffix(&self) -> &'static str {
        match self.way {
            // Understood by all versions; FOR SHARE only by MySQL 8.
            Way::RowLocks => " LOCK IN SHARE MODE",
            _ => "",
        }
    }

    /// Ends what [`Marks::open`] began, and answers with HIGH.
    ///
    /// # Errors
    /// Failed queries.
    pub fn close(&self, source: &mut dyn Ask, known: Option<BinlogPosition>) -> Result<BinlogPosition, ReaderError> {
        let high = match known {
            Some(place) => place,
            None => self.end(source)?,
        };
        match self.way {
            Way::Gtid => {}
            Way::BinlogSnapshot | Way::RowLocks => drop(source.ask("COMMIT")?),
            Way::TableLocks => drop(source.ask("UNLOCK TABLES")?),
        }
        Ok(high)
    }

    /// Waits until the engine shows all of `gtids`.
    ///
    /// # Errors
    /// Failed queries; it takes longer than a minute.
    pub fn wait_executed(&self, source: &mut dyn Ask, gtids: &GtidSet) -> Result<(), ReaderError> {
        if gtids.is_empty() {
            return Ok(());
        }
        let query = format!("SELECT GTID_SUBSET('{gtids}', @@GLOBAL.gtid_executed)");
        let since = Instant::now();
        loop {
            let rows = source.ask(&query)?;
            if rows.first().is_some_and(|row| texts(row).first().is_some_and(|text| text == "1")) {
                return Ok(());
            }
            if since.elapsed() > VISIBLE_MAX {
                return Err(ReaderError::Source(format!(
                    "the source wrote {gtids} to its binlog and does not show them as executed after {} s; is it waiting for a replica (semi-synchronous), or is its disk full?",
                    VISIBLE_MAX.as_secs()
                )));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// A consistent snapshot at or behind `position`, and its place.
    ///
    /// # Errors
    /// Failed queries; it never comes to stand behind `position`.
    fn consistent(&self, source: &mut dyn Ask, position: &BinlogPosition) -> Result<BinlogPosition, ReaderError> {
        let since = Instant::now();
        loop {
            source.ask("START TRANSACTION WITH CONSISTENT SNAPSHOT")?;
            let place = self.snapshot_place(source)?;
            if place >= *position {
                return Ok(place);
            }
            source.ask("COMMIT")?;
            if since.elapsed() > VISIBLE_MAX {
                return Err(ReaderError::Source(format!(
                    "a consistent snapshot of the source stands at {place}, before {position}, which was read from its binlog {} s ago",
                    VISIBLE_MAX.as_secs()
                )));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn snapshot_place(&self, source: &mut dyn Ask) -> Result<BinlogPosition, ReaderError> {
        let mut place = BinlogPosition::default();
        for row in source.ask("SHOW STATUS LIKE 'binlog_snapshot_%'")? {
            if let [name, value, ..] = texts(&row).as_slice() {
                match name.to_ascii_lowercase().as_str() {
                    "binlog_snapshot_file" => place.file.clone_from(value),
                    "binlog_snapshot_position" => place.offset = value.parse().unwrap_or(0),
                    _ => {}
                }
            }
        }
        if place.file.is_empty() || place.offset == 0 {
            return Err(ReaderError::Source(
                "the source does not say at which place of its binlog a consistent snapshot stands (Binlog_snapshot_file is empty)".to_owned(),
            ));
        }
        Ok(place)
    }

    /// Opens a snapshot that stays: for reading whole tables at one point. Answers with its place where the source tells it.
    ///
    /// # Errors
    /// Failed queries.
    pub fn open_lasting(&self, source: &mut dyn Ask) -> Result<Option<BinlogPosition>, ReaderError> {
        source.ask("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
        source.ask("START TRANSACTION WITH CONSISTENT SNAPSHOT")?;
        match self.way {
            Way::BinlogSnapshot => self.snapshot_place(source).map(Some),
            _ => Ok(None),
        }
    }

    /// The source's family.
    #[must_use]
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }
}

/// `LOCK TABLES a READ, b READ`
#[must_use]
pub fn lock_tables(tables: &[Vec<u8>]) -> String {
    let list: Vec<String> = tables.iter().map(|table| format!("{} READ", String::from_utf8_lossy(table))).collect();
    format!("LOCK TABLES {}", list.join(", "))
}

/// `` `database`.`table` ``
#[must_use]
pub fn quoted(table: &common::snapshot::TableName) -> Vec<u8> {
    let mut out = Vec::new();
    quote::name(&table.database, &mut out);
    out.push(b'.');
    quote::name(&table.table, &mut out);
    out
}

#[cfg(test)]
mod tests;
