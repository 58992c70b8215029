//! A seeded random load on a source: inserts, updates and deletes of one or many rows on tables of all common types, with and without
//! keys, with foreign keys that cascade, rollbacks, savepoints and DDL.
//!
//! Every statement that changes rows also writes one row with a number of its own into the table `ledger`, which has no key, in the
//! same transaction. A number that is missing at a destination was lost; one that is there twice was applied twice. [`check_ledger`] counts both.

mod statements;
mod wild;

use crate::server::Server;
use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How long a load goes on trying while its server does not answer.
const RECONNECT_LIMIT: Duration = Duration::from_secs(120);

/// What load to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the randomness begins. One session with one seed sends the same statements again.
    pub seed: u64,
    /// The database that [`prepare`] creates.
    pub database: String,
    /// Connections that write side by side.
    pub sessions: u32,
    /// At most so many transactions a second, over all sessions.
    pub rate: Option<f64>,
    /// Ends by itself after so many transactions, over all sessions.
    pub transactions: Option<u64>,
    /// The most rows that one statement inserts.
    pub rows_max: u32,
    /// Whether the first session also changes tables: one statement in twenty transactions.
    pub ddl: bool,
    /// Every other transaction also changes rows anywhere in tables that [`fill`] gave so many rows: keys move and change places, many rows change at
    /// once, whole transactions are rolled back. 0 for none of that.
    pub wild: u32,
}

impl Default for Options {
    fn default() -> Self {
        let database = "shop".to_owned();
        Options { seed: 1, database, sessions: 2, rate: None, transactions: None, rows_max: 20, ddl: true, wild: 0 }
    }
}

/// What a load has done so far. Rows are those of committed transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Transactions committed.
    pub transactions: u64,
    /// Transactions rolled back on purpose.
    pub rolled_back: u64,
    /// Rows inserted, without those of the ledger.
    pub inserted: u64,
    /// Rows updated.
    pub updated: u64,
    /// Rows deleted, without those that a foreign key took with them.
    pub deleted: u64,
    /// Statements that changed tables.
    pub ddl: u64,
    /// Transactions that the server refused: deadlocks, duplicate keys, missing parents.
    pub refused: u64,
    /// Connections lost and made again. A transaction whose COMMIT was not answered is in none of the counts above.
    pub reconnected: u64,
}

#[derive(Debug, Default)]
struct Counters {
    transactions: AtomicU64,
    rolled_back: AtomicU64,
    inserted: AtomicU64,
    updated: AtomicU64,
    deleted: AtomicU64,
    ddl: AtomicU64,
    refused: AtomicU64,
    reconnected: AtomicU64,
    /// Transactions begun, against the limit.
    begun: AtomicU64,
}

/// A running load. Dropping it stops it.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
    sessions: Vec<JoinHandle<Result<()>>>,
}

/// Creates the database and its tables.
///
/// # Errors
/// When the server refuses it.
pub async fn prepare(server: &Server, options: &Options) -> Result<()> {
    server.exec(&statements::schema(server.kind(), &options.database)).await
}

/// Gives the tables of [`prepare`] about so many rows each, and adds two with keys of strings (`word`, `pair`): a source that is there already.
///
/// # Errors
/// When the server refuses it.
pub async fn fill(server: &Server, options: &Options, rows: u32) -> Result<()> {
    server.exec(&wild::tables(&options.database)).await?;
    let mut statements = statements::Statements::new(StdRng::seed_from_u64(!options.seed), options.rows_max);
    wild::fill(server, &options.database, &mut statements, rows).await
}

impl Load {
    /// Begins the load on a server where [`prepare`] has run.
    pub fn start(server: &Server, options: &Options) -> Load {
        let (stop, counters) = (Arc::new(AtomicBool::new(false)), Arc::new(Counters::default()));
        let opts: Opts = server.opts_builder().db_name(Some(&options.database)).into();
        let sessions = (0..options.sessions).map(|number| {
            let rng = StdRng::seed_from_u64(options.seed.wrapping_add(u64::from(number) << 32));
            let statements = statements::Statements::new(rng, options.rows_max);
            let session = Session {
                number,
                opts: opts.clone(),
                options: options.clone(),
                stop: stop.clone(),
                counters: counters.clone(),
                statements,
                next_op: 0,
                ddl: None,
            };
            tokio::spawn(session.run())
        });
        Load { sessions: sessions.collect(), stop, counters }
    }

    /// What it has done so far.
    pub fn report(&self) -> Report {
        let c = &self.counters;
        Report {
            transactions: c.transactions.load(Relaxed),
            rolled_back: c.rolled_back.load(Relaxed),
            inserted: c.inserted.load(Relaxed),
            updated: c.updated.load(Relaxed),
            deleted: c.deleted.load(Relaxed),
            ddl: c.ddl.load(Relaxed),
            refused: c.refused.load(Relaxed),
            reconnected: c.reconnected.load(Relaxed),
        }
    }

    /// Whether all sessions have ended: at the limit of transactions, or by an error that [`Load::finish`] tells.
    pub fn is_finished(&self) -> bool {
        self.sessions.iter().all(JoinHandle::is_finished)
    }

    /// Stops after the transactions in hand, and says what was done.
    ///
    /// # Errors
    /// When a session had to give up.
    pub async fn stop(self) -> Result<Report> {
        self.stop.store(true, Relaxed);
        self.finish().await
    }

    /// Waits for the limit of transactions, and says what was done.
    ///
    /// # Errors
    /// When a session had to give up.
    pub async fn finish(mut self) -> Result<Report> {
        for session in std::mem::take(&mut self.sessions) {
            session.await.context("a session of the load panicked")??;
        }
        Ok(self.report())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

struct Session {
    number: u32,
    opts: Opts,
    options: Options,
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
    statements: statements::Statements,
    next_op: u64,
    /// The next statement that changes tables, until it is known to have run; and whether it was sent before.
    ddl: Option<(String, bool)>,
}

/// What one transaction has changed, counted when it is committed.
#[derive(Default)]
struct Changed {
    inserted: u64,
    updated: u64,
    deleted: u64,
}

impl Session {
    async fn run(mut self) -> Result<()> {
        let mut conn = self.connect().await?;
        let started = Instant::now();
        let mut sent = 0_u32;
        while !self.stop.load(Relaxed) {
            let begun = self.counters.begun.fetch_add(1, Relaxed);
            if self.options.transactions.is_some_and(|limit| begun >= limit) {
                break;
            }
            if let Some(rate) = self.options.rate {
                let due = f64::from(sent) * f64::from(self.options.sessions) / rate;
                tokio::time::sleep_until((started + Duration::from_secs_f64(due)).into()).await;
            }
            sent += 1;
            match self.transaction(&mut conn).await {
                Ok(()) => {}
                Err(mysql_async::Error::Server(error)) if statements::is_refusal(error.code) => {
                    self.counters.refused.fetch_add(1, Relaxed);
                    if conn.query_drop("ROLLBACK").await.is_err() {
                        conn = self.reconnect().await?;
                    }
                }
                // The server ends connections with 1053 (shutdown) and 1927 / 3169 (killed); all other errors of its own are our mistakes.
                Err(mysql_async::Error::Server(error)) if ![1053, 1927, 3169].contains(&error.code) => {
                    bail!("the load sent a statement that the server refuses: {error}");
                }
                Err(_) => conn = self.reconnect().await?,
            }
        }
        // A connection that breaks now has nothing left to do.
        let _ = conn.disconnect().await;
        Ok(())
    }

    async fn transaction(&mut self, conn: &mut Conn) -> mysql_async::Result<()> {
        if self.options.ddl && self.number == 0 && self.statements.rng.random_ratio(1, 20) {
            return self.ddl(conn).await;
        }
        let mut changed = Changed::default();
        conn.query_drop("BEGIN").await?;
        let mut undone = false;
        if self.options.wild > 0 && self.statements.rng.random_ratio(1, 2) {
            let (statements, undo) = self.statements.wild(self.options.wild);
            for (kind, sql) in statements {
                self.change(conn, &mut changed, kind, sql).await?;
            }
            undone = undo;
        }
        for _ in 0..self.statements.rng.random_range(1..=4) {
            self.statement(conn, &mut changed).await?;
        }
        if self.statements.rng.random_ratio(1, 10) {
            conn.query_drop("SAVEPOINT half").await?;
            self.statement(conn, &mut Changed::default()).await?;
            conn.query_drop("ROLLBACK TO SAVEPOINT half").await?;
        }
        if undone || self.statements.rng.random_ratio(1, 12) {
            conn.query_drop("ROLLBACK").await?;
            self.counters.rolled_back.fetch_add(1, Relaxed);
            return Ok(());
        }
        conn.query_drop("COMMIT").await?;
        self.counters.transactions.fetch_add(1, Relaxed);
        self.counters.inserted.fetch_add(changed.inserted, Relaxed);
        self.counters.updated.fetch_add(changed.updated, Relaxed);
        self.counters.deleted.fetch_add(changed.deleted, Relaxed);
        Ok(())
    }

    /// The next statement that changes tables. Where an answer was lost it is sent again, and may find itself done.
    async fn ddl(&mut self, conn: &mut Conn) -> mysql_async::Result<()> {
        let (sql, sent) = self.ddl.take().unwrap_or_else(|| (self.statements.next_ddl(), false));
        match conn.query_drop(&sql).await {
            Ok(()) => {}
            Err(mysql_async::Error::Server(error)) if sent && statements::is_done_already(error.code) => {}
            // MySQL, killed in the middle of a TRUNCATE, may come back with a table that has lost its file: nothing but a DROP helps.
            Err(mysql_async::Error::Server(error)) if sent && error.code == 1812 => {
                conn.query_drop(sql.replacen("TRUNCATE TABLE", "DROP TABLE IF EXISTS", 1)).await?;
            }
            Err(error) => {
                self.ddl = Some((sql, true));
                return Err(error);
            }
        }
        self.counters.ddl.fetch_add(1, Relaxed);
        Ok(())
    }

    /// One statement that changes rows, and its entry in the ledger.
    async fn statement(&mut self, conn: &mut Conn, changed: &mut Changed) -> mysql_async::Result<()> {
        let (kind, sql) = self.statements.next();
        self.change(conn, changed, kind, sql).await
    }

    async fn change(
        &mut self,
        conn: &mut Conn,
        changed: &mut Changed,
        kind: statements::Kind,
        sql: String,
    ) -> mysql_async::Result<()> {
        conn.query_drop(sql).await?;
        let rows = conn.affected_rows();
        match kind {
            statements::Kind::Insert => changed.inserted += rows,
            statements::Kind::Update => changed.updated += rows,
            statements::Kind::Delete => changed.deleted += rows,
        }
        let op = u64::from(self.number) << 40 | self.next_op;
        self.next_op += 1;
        conn.query_drop(format!("INSERT INTO ledger VALUES ({op}, {rows}, '{kind:?}')")).await
    }

    async fn connect(&self) -> Result<Conn> {
        let deadline = Instant::now() + RECONNECT_LIMIT;
        loop {
            let error = match Conn::new(self.opts.clone()).await {
                Ok(mut conn) => match conn.query_drop(statements::SESSION).await {
                    Ok(()) => return Ok(conn),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if Instant::now() > deadline || self.stop.load(Relaxed) {
                return Err(error).context("the load cannot connect to its server");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn reconnect(&self) -> Result<Conn> {
        self.counters.reconnected.fetch_add(1, Relaxed);
        self.connect().await
    }
}

/// How a destination's ledger compares with the source's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Entries at the source.
    pub written: u64,
    /// Of these, missing at the destination.
    pub lost: u64,
    /// Entries at the destination beyond those of the source: applied twice, or never committed at the source.
    pub doubled: u64,
}

/// Compares the ledgers of a source and a destination, both at rest.
///
/// # Errors
/// When a server does not answer.
pub async fn check_ledger(source: &Server, destination: &Server, database: &str) -> Result<Ledger> {
    let sql = format!("SELECT op, affected, kind FROM `{database}`.ledger");
    let mut counts: HashMap<_, i64> = HashMap::new();
    let mut ledger = Ledger::default();
    for row in source.rows(&sql).await? {
        *counts.entry(row).or_default() += 1;
        ledger.written += 1;
    }
    for row in destination.rows(&sql).await? {
        *counts.entry(row).or_default() -= 1;
    }
    for count in counts.into_values() {
        if count > 0 {
            ledger.lost += count.unsigned_abs();
        } else {
            ledger.doubled += count.unsigned_abs();
        }
    }
    Ok(ledger)
}
