//! A connection to the destination, set so that what the log holds is written as it is.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use common::config::Server;
use common::sql::Dialect;
use common::{Flavor, connect};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, InfileData};

use super::server::ServerFacts;
use crate::error::{ApplyError, Doing, Result};

/// `sql_mode` of sessions that write rows. Strict, so that nothing is cut off in silence; but zero and impossible dates and zeros in
/// AUTO_INCREMENT columns are written as the source held them.
pub(crate) const ROW_SQL_MODE: &str =
    "STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION";

/// Opens sessions.
#[derive(Clone, Debug)]
pub struct Connector {
    server: Server,
    lock_wait_s: u64,
}

impl Connector {
    /// Sessions at this server; a change waits at most `lock_wait` for a lock before it is tried again.
    #[must_use]
    pub fn new(server: Server, lock_wait: Duration) -> Self {
        Self { server, lock_wait_s: lock_wait.as_secs().max(1) }
    }

    /// The server's url, without a password.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url.to_string()
    }

    /// A session as the server gives it, with only the connection's character set set: for DDL, which brings its own context.
    ///
    /// # Errors
    /// When the destination cannot be reached or refuses.
    pub async fn plain(&self) -> Result<Session> {
        // Found rows: an UPDATE that changes nothing is not a missing row.
        let conn = connect::open_with(&self.server, |opts| opts.client_found_rows(true).stmt_cache_size(0)).await;
        let mut conn = conn.map_err(ApplyError::Connect)?;
        conn.query_drop("SET NAMES binary").await.doing(|| "setting up the session at the destination".into())?;
        let facts = ServerFacts::ask(&mut conn).await?;
        Ok(Session { conn, facts })
    }

    /// A session for rows and positions.
    ///
    /// # Errors
    /// As [`Connector::plain`].
    pub async fn open(&self) -> Result<Session> {
        let mut session = self.plain().await?;
        let mut set = format!(
            "SET SESSION sql_mode='{ROW_SQL_MODE}', time_zone='+00:00', autocommit=1, foreign_key_checks=1, unique_checks=1, \
             sql_safe_updates=0, sql_auto_is_null=0, innodb_lock_wait_timeout={}, lock_wait_timeout=3600, net_read_timeout=600, \
             net_write_timeout=600, wait_timeout=604800",
            self.lock_wait_s
        );
        if session.facts.flavor == Flavor::MariaDb {
            set.push_str(", max_statement_time=0");
        }
        if session.facts.is(Flavor::MySql, (8, 0, 30)) {
            // Else a hidden primary key is hidden from us too.
            set.push_str(", show_gipk_in_create_table_and_information_schema=ON");
        }
        session.run(set, || "setting up the session at the destination".into()).await?;
        // The triggers that we have made do nothing then.
        let guard = format!("SET {}=1", crate::ddl::guard::VARIABLE);
        session.run(guard, || "setting up the session at the destination".into()).await?;
        let isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
        session.run(isolation, || "setting up the session at the destination".into()).await?;
        Ok(session)
    }
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    conn: Conn,
    /// The server at its other end.
    pub facts: ServerFacts,
}

impl Session {
    /// Runs one statement (or several, if none is `BINLOG`); gives the rows that the last one found or changed.
    ///
    /// # Errors
    /// When it fails; `doing` says what it was for.
    pub async fn run(&mut self, sql: impl Into<Vec<u8>>, doing: impl FnOnce() -> String) -> Result<u64> {
        self.conn.query_drop(sql.into()).await.doing(doing)?;
        Ok(self.conn.affected_rows())
    }

    /// Runs several statements that give no rows, one packet for all; gives what each found or changed, and the error of the one at
    /// which it ended, if one failed.
    ///
    /// # Errors
    /// When the connection is lost; a server's refusal is part of the answer.
    pub async fn run_many(
        &mut self,
        sql: Vec<u8>,
        doing: impl Fn() -> String,
    ) -> Result<(Vec<u64>, Option<ApplyError>)> {
        let mut counts = Vec::new();
        let mut refused = None;
        let mut result = match self.conn.query_iter(sql).await.doing(&doing) {
            Ok(result) => result,
            Err(error) if error.server_code().is_some() => return Ok((counts, Some(error))),
            Err(error) => return Err(error),
        };
        loop {
            counts.push(result.affected_rows());
            if result.is_empty() {
                break;
            }
            match result.for_each(|_| ()).await.doing(&doing) {
                Ok(()) => {}
                Err(error) if error.server_code().is_some() => {
                    refused = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok((counts, refused))
    }

    /// Runs a query and gives all its rows.
    ///
    /// # Errors
    /// When it fails.
    pub async fn rows<T>(&mut self, sql: impl Into<Vec<u8>>, doing: impl FnOnce() -> String) -> Result<Vec<T>>
    where
        T: FromRow + Send + 'static,
    {
        self.conn.query(sql.into()).await.doing(doing)
    }

    /// Runs a query and gives its first row.
    ///
    /// # Errors
    /// When it fails.
    pub async fn first<T>(&mut self, sql: impl Into<Vec<u8>>, doing: impl FnOnce() -> String) -> Result<Option<T>>
    where
        T: FromRow + Send + 'static,
    {
        self.conn.query_first(sql.into()).await.doing(doing)
    }

    /// Runs LOAD DATA LOCAL INFILE; `text` is what the file would hold, each part at most as large as the server's packets.
    ///
    /// # Errors
    /// When it fails. Values that do not fit are no error here but warnings, and so are duplicates: look at the counts.
    pub async fn load(&mut self, sql: String, text: Vec<Bytes>, doing: impl Fn() -> String) -> Result<LoadCounts> {
        self.conn.set_infile_handler(async move {
            let text: InfileData = Box::pin(futures_util::stream::iter(text.into_iter().map(Ok)));
            Ok(text)
        });
        self.conn.query_drop(sql).await.doing(&doing)?;
        let info = self.conn.info().into_owned();
        LoadCounts::parse(&info).ok_or_else(|| {
            ApplyError::refused(
                format!("while {}: the server answers '{info}', which holds no counts", doing()),
                "set local_infile=0 at the destination, so that rows go as INSERT",
            )
        })
    }

    /// The server's id of this connection.
    #[must_use]
    pub fn connection_id(&self) -> u32 {
        self.conn.id()
    }

    /// Warnings of the last statement.
    #[must_use]
    pub fn warnings(&self) -> u16 {
        self.conn.get_warnings()
    }

    /// Ends it. An error does not matter any more.
    pub async fn close(self) {
        let _ = tokio::time::timeout(Duration::from_secs(5), self.conn.disconnect()).await;
    }
}

/// What LOAD DATA says that it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadCounts {
    /// Rows in the text.
    pub records: u64,
    /// Rows that went because a new one took their place.
    pub deleted: u64,
    /// Rows that were left out.
    pub skipped: u64,
    /// Warnings.
    pub warnings: u64,
}

impl LoadCounts {
    /// From the server's `Records: 3  Deleted: 0  Skipped: 0  Warnings: 0`.
    #[must_use]
    pub fn parse(info: &str) -> Option<Self> {
        let mut numbers = info.split(':').skip(1).map(|part| {
            let digits = part.trim_start().split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            digits.parse().ok()
        });
        let mut next = || numbers.next().flatten();
        Some(Self { records: next()?, deleted: next()?, skipped: next()?, warnings: next()? })
    }
}

/// A name in backticks.
pub(crate) fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Bytes as a hexadecimal literal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2 + 3);
    out.push_str("x'");
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out.push('\'');
    out
}

/// A text in quotes, where only a plain string may stand (an account's name).
pub(crate) fn quote_text(text: &str, dialect: Dialect) -> String {
    let text = if dialect.backslash_escapes { text.replace('\\', "\\\\") } else { text.to_owned() };
    format!("'{}'", text.replace('\'', "''"))
}

/// A text as a literal that no `sql_mode` and no character set can misread.
pub(crate) fn quote(text: &str) -> String {
    format!("_utf8mb4 {}", hex(text.as_bytes()))
}
