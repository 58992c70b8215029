//! The position that a destination keeps for us, in the same transaction as the rows.
//!
//! One row per worker. `seq` says: everything up to here is applied, as far as that worker knew when it committed; `beyond` lists what it
//! has itself applied above that, out of order (empty for a serial applier). A restart joins the rows ([`Position::join`])
//! and applies what is in none of them. Every update names the value that it replaces, so a second writer cannot go unnoticed.

use std::fmt::Write as _;

use common::{BinlogPosition, Gtid, Seq};

use super::session::{Session, ident, quote};
use crate::error::{ApplyError, Result};

/// Whose position it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The database at the destination that holds our tables.
    pub database: String,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Name of the destination in its configuration.
    pub destination: String,
    /// Uuid of the store that the seq numbers belong to.
    pub store: String,
}

impl Identity {
    /// The condition that selects our rows in each of our tables.
    #[must_use]
    pub fn condition(&self) -> String {
        format!("pipeline={} AND destination={}", quote(&self.pipeline), quote(&self.destination))
    }

    /// The name of one of our tables, qualified.
    #[must_use]
    pub fn table(&self, name: &str) -> String {
        format!("{}.{}", ident(&self.database), ident(name))
    }
}

/// The end of what one destination transaction brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last source transaction in it.
    pub seq: Seq,
    /// Its end in the source's binlog.
    pub end: BinlogPosition,
    /// Its GTID.
    pub gtid: Option<Gtid>,
    /// Microseconds since 1970 UTC of its commit at the source.
    pub committed_us: u64,
}

/// What the destination says is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last source transaction.
    pub seq: Seq,
    /// Its end in the source's binlog.
    pub end: BinlogPosition,
    /// Its GTID as text, empty if none.
    pub gtid: String,
    /// Microseconds since 1970 UTC of its commit at the source.
    pub committed_us: u64,
    /// Uuid of the store.
    pub store: String,
    /// Applied above `seq`: disjoint, sorted ranges, both ends included.
    pub beyond: Vec<(u64, u64)>,
}

impl Position {
    /// The rows of all workers as one: the highest `seq`, and what is applied above it.
    #[must_use]
    pub fn join(rows: &[Position]) -> Option<Position> {
        // Of equals the first: worker 0's, whose end of the binlog counts.
        let mut joined = rows.iter().reduce(|best, row| if row.seq > best.seq { row } else { best })?.clone();
        let mut ranges: Vec<_> = rows.iter().flat_map(|row| row.beyond.iter().copied()).collect();
        ranges.sort_unstable();
        joined.beyond.clear();
        for (start, end) in ranges {
            let low = joined.seq.0;
            match joined.beyond.last_mut() {
                _ if end <= low => {}
                // What follows on directly is no gap.
                None if start <= low + 1 => joined.seq = Seq(end),
                Some(last) if start <= last.1 + 1 => last.1 = last.1.max(end),
                _ => joined.beyond.push((start, end)),
            }
        }
        Some(joined)
    }

    /// The end of the last source transaction.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { seq: self.seq, end: self.end.clone(), gtid: self.gtid.parse().ok(), committed_us: self.committed_us }
    }

    /// Whether this seq is applied.
    #[must_use]
    pub fn holds(&self, seq: Seq) -> bool {
        seq <= self.seq || self.beyond.iter().any(|&(start, end)| start <= seq.0 && seq.0 <= end)
    }
}

fn print_ranges(ranges: &[(u64, u64)]) -> String {
    let mut out = String::new();
    for (i, (start, end)) in ranges.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(out, "{comma}{start}-{end}");
    }
    out
}

fn parse_ranges(text: &str) -> Option<Vec<(u64, u64)>> {
    let range = |part: &str| {
        let (start, end) = part.split_once('-')?;
        Some((start.parse().ok()?, end.parse().ok()?))
    };
    text.split(',').filter(|part| !part.is_empty()).map(range).collect()
}

/// How a loader moves its own position row: a statement inside the transaction that loads its chunk.
#[derive(Clone, Debug)]
pub struct LoaderMove {
    /// Finds (and changes) exactly one row, unless someone else moved it.
    pub sql: String,
    /// The row's worker, from 1.
    pub worker: u32,
}

impl LoaderMove {
    /// Checks how many rows [`LoaderMove::sql`] found.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] when the row was not where this loader left it.
    pub fn check(&self, found: u64) -> Result<()> {
        if found == 1 {
            return Ok(());
        }
        Err(ApplyError::refused(
            format!(
                "the position row of loader {} at the destination is no more where it was left: someone else changed it",
                self.worker
            ),
            "make sure that only one applier writes there, then start again",
        ))
    }
}

/// Reads and writes position rows of one worker.
#[derive(Clone, Debug)]
pub struct PositionStore {
    /// Whose they are.
    pub identity: Identity,
    /// Which worker, from 0.
    pub worker: u32,
}

impl PositionStore {
    /// Makes the database and the tables if they are missing.
    ///
    /// # Errors
    /// When the destination refuses; the message names the grant.
    pub async fn create(&self, session: &mut Session) -> Result<()> {
        let id = &self.identity;
        let exists = format!(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema={} AND table_name IN ('position','intent','prepared','incident')",
            quote(&id.database)
        );
        let checking = || format!("looking for our tables in {}", id.database);
        if session.first::<u64>(exists, checking).await? == Some(4) {
            return Ok(());
        }
        let creating = || {
            format!(
                "creating our tables in {} (the user needs CREATE, SELECT, INSERT, UPDATE and DELETE on {0}.*)",
                id.database
            )
        };
        let utf8 = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";
        let key = "pipeline VARCHAR(64) NOT NULL, destination VARCHAR(64) NOT NULL";
        for sql in [
            format!("CREATE DATABASE IF NOT EXISTS {}", ident(&id.database)),
            format!(
                "CREATE TABLE IF NOT EXISTS {} ({key}, worker INT UNSIGNED NOT NULL, store CHAR(36) NOT NULL, seq BIGINT UNSIGNED NOT NULL, \
                 beyond LONGTEXT NOT NULL, binlog_file VARCHAR(512) NOT NULL, binlog_offset BIGINT UNSIGNED NOT NULL, \
                 gtid VARCHAR(128) NOT NULL, committed_us BIGINT UNSIGNED NOT NULL, \
                 applied_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), \
                 PRIMARY KEY (pipeline, destination, worker)) {utf8}",
                id.table("position")
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {} ({key}, seq BIGINT UNSIGNED NOT NULL, part INT UNSIGNED NOT NULL, statement LONGBLOB NOT NULL, \
                 fingerprint LONGBLOB NOT NULL, started_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), \
                 PRIMARY KEY (pipeline, destination, seq, part)) {utf8}",
                id.table("intent")
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {} ({key}, xid VARBINARY(140) NOT NULL, part INT UNSIGNED NOT NULL, seq BIGINT UNSIGNED NOT NULL, \
                 kind TINYINT UNSIGNED NOT NULL, payload LONGBLOB NOT NULL, PRIMARY KEY (pipeline, destination, xid, part)) {utf8}",
                id.table("prepared")
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {} (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, {key}, seq BIGINT UNSIGNED NOT NULL, \
                 kind VARCHAR(32) NOT NULL, object VARCHAR(512) NOT NULL, detail LONGTEXT NOT NULL, \
                 happened_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)) {utf8}",
                id.table("incident")
            ),
        ] {
            session.run(sql, creating).await?;
        }
        Ok(())
    }

    /// The joined position of all workers; None if this destination has applied nothing yet. Waits for a transaction of ours that is still
    /// ending on a lost connection: its COMMIT decides what the answer is.
    ///
    /// # Errors
    /// When it cannot be read, or belongs to another store.
    pub async fn read(&self, session: &mut Session) -> Result<Option<Position>> {
        type Row = (u64, String, String, u64, String, u64, String);
        let id = &self.identity;
        let sql = format!(
            "SELECT seq, beyond, binlog_file, binlog_offset, gtid, committed_us, store FROM {} WHERE {} ORDER BY worker FOR UPDATE",
            id.table("position"),
            id.condition()
        );
        let rows: Vec<Row> = session.rows(sql, || "reading the position at the destination".into()).await?;
        let mut parsed = Vec::with_capacity(rows.len());
        for (seq, beyond, file, offset, gtid, committed_us, store) in rows {
            if store != id.store {
                return Err(ApplyError::refused(
                    format!(
                        "the position at the destination (seq {seq}) belongs to the store {store}, but this store is {}",
                        id.store
                    ),
                    format!(
                        "use the store that it belongs to; for a new store take a new snapshot, then delete the row from {}.position",
                        id.database
                    ),
                ));
            }
            let beyond = parse_ranges(&beyond).ok_or_else(|| {
                ApplyError::refused(
                    format!("the position row holds '{beyond}' in column beyond"),
                    "restore the row, or take a new snapshot",
                )
            })?;
            let end = BinlogPosition { file, offset };
            parsed.push(Position { seq: Seq(seq), end, gtid, committed_us, store, beyond });
        }
        Ok(Position::join(&parsed))
    }

    /// Writes the first row: nothing applied up to `before`.
    ///
    /// # Errors
    /// When the destination refuses.
    pub async fn begin_at(&self, session: &mut Session, before: Seq) -> Result<()> {
        let id = &self.identity;
        let sql = format!(
            "INSERT INTO {} (pipeline, destination, worker, store, seq, beyond, binlog_file, binlog_offset, gtid, committed_us) \
             VALUES ({}, {}, {}, {}, {}, '', '', 0, '', 0)",
            id.table("position"),
            quote(&id.pipeline),
            quote(&id.destination),
            self.worker,
            quote(&id.store),
            before
        );
        session.run(sql, || "writing the first position at the destination".into()).await?;
        Ok(())
    }

    /// Removes all position rows of this destination: an operator's named act.
    ///
    /// # Errors
    /// When the destination refuses.
    pub async fn forget(&self, session: &mut Session) -> Result<()> {
        let id = &self.identity;
        let sql = format!("DELETE FROM {} WHERE {}", id.table("position"), id.condition());
        session.run(sql, || "removing the position at the destination".into()).await?;
        Ok(())
    }

    /// Locks our row inside the open transaction and makes sure that it still is where we left it.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] when someone else moved it.
    pub async fn hold(&self, session: &mut Session, from: Seq) -> Result<()> {
        let sql = format!(
            "SELECT seq FROM {} WHERE {} AND worker={} FOR UPDATE",
            self.identity.table("position"),
            self.identity.condition(),
            self.worker
        );
        let seq: Option<u64> = session.first(sql, || "locking the position at the destination".into()).await?;
        if seq == Some(from.0) { Ok(()) } else { Err(self.moved(from, seq)) }
    }

    /// The statement that moves our row on (SYSDATE, because `BINLOG` sets what NOW() is to the time of its events); [`PositionStore::check_moved`] then wants one row found.
    #[must_use]
    pub fn advance_sql(&self, from: (Seq, &[(u64, u64)]), to: &Progress, beyond: &[(u64, u64)]) -> String {
        let gtid = to.gtid.as_ref().map(ToString::to_string).unwrap_or_default();
        format!(
            "UPDATE {} SET seq={}, beyond='{}', binlog_file={}, binlog_offset={}, gtid={}, committed_us={}, \
             applied_at=SYSDATE(6) WHERE {} AND worker={} AND seq={} AND beyond='{}' AND store={}",
            self.identity.table("position"),
            to.seq,
            print_ranges(beyond),
            quote(&to.end.file),
            to.end.offset,
            quote(&gtid),
            to.committed_us,
            self.identity.condition(),
            self.worker,
            from.0,
            print_ranges(from.1),
            quote(&self.identity.store)
        )
    }

    /// Writes the joined position into our row and removes those of loaders of an earlier life, together.
    ///
    /// # Errors
    /// When the destination refuses.
    pub async fn collapse(&self, session: &mut Session, joined: &Position) -> Result<()> {
        let id = &self.identity;
        let (table, whose) = (id.table("position"), id.condition());
        let sql = format!(
            "BEGIN; UPDATE {table} SET seq={}, beyond='{}', applied_at=SYSDATE(6) WHERE {whose} AND worker=0; \
             DELETE FROM {table} WHERE {whose} AND worker>0; COMMIT",
            joined.seq,
            print_ranges(&joined.beyond)
        );
        session.run(sql, || "joining the positions of loaders at the destination".into()).await?;
        Ok(())
    }

    /// Makes a loader's row anew: it has loaded nothing. `life` is no two loaders' the same: who holds an earlier row of this number finds none.
    ///
    /// # Errors
    /// When the destination refuses.
    pub async fn begin_loader(&self, session: &mut Session, life: u64) -> Result<()> {
        let id = &self.identity;
        let sql = format!(
            "REPLACE INTO {} (pipeline, destination, worker, store, seq, beyond, binlog_file, binlog_offset, gtid, committed_us) \
             VALUES ({}, {}, {}, {}, 0, '', '', 0, '', {life})",
            id.table("position"),
            quote(&id.pipeline),
            quote(&id.destination),
            self.worker,
            quote(&id.store)
        );
        session.run(sql, || "writing a loader's position at the destination".into()).await?;
        Ok(())
    }

    /// How a loader's row moves from what it says to what it is to say.
    #[must_use]
    pub fn loader_move(&self, life: u64, from: &[(u64, u64)], to: &[(u64, u64)]) -> LoaderMove {
        let id = &self.identity;
        let sql = format!(
            "UPDATE {} SET beyond='{}', applied_at=SYSDATE(6) WHERE {} AND worker={} AND committed_us={life} AND beyond='{}' AND store={}",
            id.table("position"),
            print_ranges(to),
            id.condition(),
            self.worker,
            print_ranges(from),
            quote(&id.store)
        );
        LoaderMove { sql, worker: self.worker }
    }

    /// Whether a loader's row holds this seq: its COMMIT came through although the answer did not. Waits for a transaction that still holds the row.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn loader_holds(&self, session: &mut Session, seq: Seq) -> Result<bool> {
        let id = &self.identity;
        let sql = format!(
            "SELECT beyond FROM {} WHERE {} AND worker={} FOR UPDATE",
            id.table("position"),
            id.condition(),
            self.worker
        );
        let found: Option<String> = session.first(sql, || "reading a loader's position".into()).await?;
        let ranges = found.as_deref().and_then(parse_ranges).unwrap_or_default();
        Ok(ranges.iter().any(|&(start, end)| start <= seq.0 && seq.0 <= end))
    }

    /// Checks the count of [`PositionStore::advance_sql`].
    ///
    /// # Errors
    /// [`ApplyError::Refused`] when the row was not where we left it.
    pub fn check_moved(&self, from: Seq, found: u64) -> Result<()> {
        if found == 1 { Ok(()) } else { Err(self.moved(from, None)) }
    }

    fn moved(&self, from: Seq, found: Option<u64>) -> ApplyError {
        let found = found.map_or_else(|| "no such row".to_owned(), |seq| format!("seq {seq}"));
        ApplyError::refused(
            format!(
                "the position at the destination is no more at seq {from} where we left it ({found}): someone else changed it"
            ),
            "make sure that only one applier writes there, then start again",
        )
    }

    /// Writes down something that an operator must be able to find later (a skipped row, an object that was not created).
    ///
    /// # Errors
    /// When the destination refuses.
    pub async fn record(&self, session: &mut Session, seq: Seq, kind: &str, object: &str, detail: &str) -> Result<()> {
        let id = &self.identity;
        let object: String = object.chars().take(512).collect();
        let sql = format!(
            "INSERT INTO {} (pipeline, destination, seq, kind, object, detail) VALUES ({}, {}, {}, {}, {}, {})",
            id.table("incident"),
            quote(&id.pipeline),
            quote(&id.destination),
            seq,
            quote(kind),
            quote(&object),
            quote(detail)
        );
        session.run(sql, || format!("recording {kind} of {object}")).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_joined_rows_hold_what_any_worker_applied(
            rows in prop::collection::vec((0u64..20, prop::collection::btree_set(1u64..40, 0..12)), 1..4),
        ) {
            let positions: Vec<Position> = rows
                .iter()
                .map(|(low, set)| {
                    let beyond: Vec<_> = set.iter().filter(|n| *n > low).map(|&n| (n, n)).collect();
                    let text = print_ranges(&beyond);
                    Position { seq: Seq(*low), beyond: parse_ranges(&text).unwrap(), ..Position::default() }
                })
                .collect();
            let joined = Position::join(&positions).unwrap();
            for seq in 1..45 {
                prop_assert_eq!(joined.holds(Seq(seq)), positions.iter().any(|p| p.holds(Seq(seq))), "seq {}", seq);
            }
            prop_assert!(!joined.holds(Seq(joined.seq.0 + 1)), "what follows on directly belongs to seq");
        }
    }
}
