//! The server's own replication: what a source's state was at an earlier place of its binlog, for comparison.
//!
//! ```no_run
//! # async fn example(source: &harness::Server) -> anyhow::Result<()> {
//! use harness::{BinlogPlace, Server};
//! // Of the source's kind; its binlogs must be there from the first on.
//! let then = Server::replica_builder(source).name("then").start().await?;
//! then.replicate_from(source).await?;
//! then.replicate_until(&BinlogPlace { file: "binlog.000001".to_owned(), offset: 4711 }).await?;
//! # Ok(()) }
//! ```

use crate::kind::ServerKind;
use crate::server::{Builder, Server, TextRow};
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a replica may take to one place.
const LIMIT: Duration = Duration::from_secs(120);

/// A place in a source's binlog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinlogPlace {
    /// The file, as the source names it.
    pub file: String,
    /// Byte offset: the end of an event.
    pub offset: u64,
}

impl BinlogPlace {
    /// Files are ordered by their numbers.
    fn order(&self) -> (u64, u64) {
        let number = self.file.rsplit_once('.').and_then(|(_, n)| n.parse().ok()).unwrap_or_default();
        (number, self.offset)
    }
}

impl std::fmt::Display for BinlogPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

impl Server {
    /// Begins the description of a server that can be a replica of this one: of its kind, with its ways of GTIDs.
    pub fn replica_builder(source: &Server) -> Builder {
        let mut builder = Server::builder(source.kind());
        for name in ["gtid_mode", "enforce_gtid_consistency", "lower_case_table_names", "innodb_page_size"] {
            if let Some(value) = source.given_option(name) {
                builder = builder.option(name, value);
            }
        }
        // One after the other, so that it can stand between any two transactions.
        builder = match source.kind() {
            ServerKind::Mysql9 => builder.option("replica_parallel_workers", "0"),
            ServerKind::Mysql56 | ServerKind::Mariadb10 | ServerKind::Mariadb11 => builder,
        };
        builder.option("skip_slave_start", "ON")
    }

    /// The end of its binlog.
    ///
    /// # Errors
    /// When it has none, or does not answer.
    pub async fn binlog_end(&self) -> Result<BinlogPlace> {
        let sql = if self.kind() == ServerKind::Mysql9 { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
        let row = self.rows(sql).await?.into_iter().next().context("the server has no binlog")?;
        Ok(BinlogPlace { file: cell(&row, 0), offset: cell(&row, 1).parse().context("a binlog offset is no number")? })
    }

    /// Makes this server a replica of `source` from its first binlog on. Nothing is applied before [`Server::replicate_until`].
    ///
    /// # Errors
    /// When either does not answer, or this server refuses.
    pub async fn replicate_from(&self, source: &Server) -> Result<()> {
        let first = source.rows("SHOW BINARY LOGS").await?.into_iter().next().context("the source has no binlog")?;
        let (port, file) = (source.port(), cell(&first, 0));
        let sql = match self.kind() {
            ServerKind::Mysql9 => format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = 'root', \
                 SOURCE_LOG_FILE = '{file}', SOURCE_LOG_POS = 4, SOURCE_AUTO_POSITION = 0, GET_SOURCE_PUBLIC_KEY = 1"
            ),
            ServerKind::Mysql56 => format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'root', \
                 MASTER_LOG_FILE = '{file}', MASTER_LOG_POS = 4, MASTER_AUTO_POSITION = 0"
            ),
            ServerKind::Mariadb10 | ServerKind::Mariadb11 => format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'root', \
                 MASTER_LOG_FILE = '{file}', MASTER_LOG_POS = 4, MASTER_USE_GTID = no{}",
                // 11.8 checks certificates unless told; the source's is its own.
                if self.kind() == ServerKind::Mariadb11 { ", MASTER_SSL_VERIFY_SERVER_CERT = 0" } else { "" }
            ),
        };
        self.exec(&sql).await
    }

    /// Applies what the source has up to this place, and stops there. To be called with later and later places.
    ///
    /// # Errors
    /// When replication fails or does not come that far in two minutes; the message holds its state.
    pub async fn replicate_until(&self, place: &BinlogPlace) -> Result<()> {
        let (file, offset) = (&place.file, place.offset);
        let (start, stop) = if self.kind() == ServerKind::Mysql9 {
            (format!("START REPLICA UNTIL SOURCE_LOG_FILE = '{file}', SOURCE_LOG_POS = {offset}"), "STOP REPLICA")
        } else {
            (format!("START SLAVE UNTIL MASTER_LOG_FILE = '{file}', MASTER_LOG_POS = {offset}"), "STOP SLAVE")
        };
        if self.replica_state().await?.is_there(place) {
            return Ok(());
        }
        self.exec(&start).await?;
        let deadline = Instant::now() + LIMIT;
        loop {
            let state = self.replica_state().await?;
            // MariaDB's dump thread may meet an event that is being written; the next try finds it whole.
            if state.error.contains("truncated in the middle") {
                self.exec(stop).await?;
                self.exec(&start).await?;
                continue;
            }
            ensure!(state.error.is_empty(), "{} cannot replicate up to {place}: {state:?}", self.name());
            if state.is_there(place) {
                self.exec(stop).await?;
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} is not at {place} after {LIMIT:?}: {state:?}\n{}", self.name(), self.log_tail(10));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn replica_state(&self) -> Result<ReplicaState> {
        let sql = if self.kind() == ServerKind::Mysql9 { "SHOW REPLICA STATUS" } else { "SHOW SLAVE STATUS" };
        let mut conn = self.conn().await?;
        let found = named_row(&mut conn, sql).await.with_context(|| self.name().to_owned())?;
        conn.disconnect().await?;
        let of = |names: [&str; 2]| names.iter().find_map(|n| found.get(*n)).cloned().unwrap_or_default();
        let errors = [of(["Last_SQL_Error", ""]), of(["Last_IO_Error", ""])];
        Ok(ReplicaState {
            applied: BinlogPlace {
                file: of(["Relay_Source_Log_File", "Relay_Master_Log_File"]),
                offset: of(["Exec_Source_Log_Pos", "Exec_Master_Log_Pos"]).parse().unwrap_or_default(),
            },
            error: errors.iter().filter(|e| !e.is_empty()).cloned().collect::<Vec<_>>().join("; "),
        })
    }
}

/// How far a replica is.
#[derive(Debug)]
struct ReplicaState {
    applied: BinlogPlace,
    error: String,
}

impl ReplicaState {
    fn is_there(&self, place: &BinlogPlace) -> bool {
        self.applied.order() >= place.order()
    }
}

async fn named_row(conn: &mut mysql_async::Conn, sql: &str) -> Result<HashMap<String, String>> {
    use mysql_async::prelude::Queryable;
    let row: mysql_async::Row = conn.query_first(sql).await?.context("the server is no replica")?;
    let names: Vec<String> = row.columns_ref().iter().map(|c| c.name_str().into_owned()).collect();
    let values = row.unwrap().into_iter().map(|value| match value {
        mysql_async::Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    });
    Ok(names.into_iter().zip(values).collect())
}

fn cell(row: &TextRow, index: usize) -> String {
    row.get(index).and_then(Option::as_ref).map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default()
}
