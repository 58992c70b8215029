//! Sources with a known load in their binlogs.
//!
//! Every row is an ordinary one of about 200 bytes: a key, a number, and two texts of which a part repeats from row to row and a part
//! does not. Loops run inside the server, so that the client does not hold the load up.

use crate::Args;
use anyhow::{Context, Result};
use harness::{Server, ServerKind};
use std::path::PathBuf;
use std::time::Instant;

/// What is written to the table `bench.t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// One row inserted per transaction.
    SingleRow,
    /// A hundred rows inserted per transaction, each by a statement of its own.
    HundredRows,
    /// One statement that inserts all rows.
    OneStatement,
    /// One row updated per transaction.
    SingleUpdate,
    /// A hundred rows updated per transaction, each by a statement of its own.
    HundredUpdates,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::SingleRow => "single-row",
            Workload::HundredRows => "100-row",
            Workload::OneStatement => "one-insert",
            Workload::SingleUpdate => "single-update",
            Workload::HundredUpdates => "100-update",
        }
    }

    fn procedure(self) -> &'static str {
        match self {
            Workload::SingleRow => "insert_single",
            Workload::HundredRows => "insert_hundreds",
            Workload::OneStatement => "insert_all",
            Workload::SingleUpdate => "update_single",
            Workload::HundredUpdates => "update_hundreds",
        }
    }
}

/// A source as a production server is set up, but for the speed of the load: nothing is synced, and the tables fit into memory.
pub(crate) async fn start(name: &str, dir: Option<PathBuf>, full_metadata: bool) -> Result<Server> {
    let mut builder = Server::builder(ServerKind::Mysql9).name(name);
    for (option, value) in FAST {
        builder = builder.option(option, value);
    }
    if full_metadata {
        builder = builder.option("binlog_row_metadata", "FULL");
    }
    if let Some(dir) = dir {
        builder = builder.dir(dir);
    }
    builder.start().await
}

/// Options of a server that is filled fast.
pub(crate) const FAST: [(&str, &str); 5] = [
    ("innodb_flush_log_at_trx_commit", "0"),
    ("innodb_buffer_pool_size", "512M"),
    ("innodb_redo_log_capacity", "512M"),
    ("innodb_doublewrite", "OFF"),
    ("innodb_flush_method", "O_DIRECT_NO_FSYNC"),
];

/// A source whose binlogs hold `rows` changes of this kind and nothing else. With `--data` it may be there already.
pub(crate) async fn loaded(workload: Workload, rows: u64, args: &Args) -> Result<Server> {
    let name = format!("source-{}-{rows}", workload.name());
    let server = start(&name, args.data.as_ref().map(|data| data.join(&name)), args.full_metadata).await?;
    let mark = server.dir().join("loaded");
    if !mark.exists() {
        prepare(&server).await?;
        server.exec("RESET BINARY LOGS AND GTIDS").await?;
        load(&server, workload, 0, rows).await?;
        std::fs::write(&mark, "").with_context(|| format!("while writing {}", mark.display()))?;
    }
    Ok(server)
}

/// Makes the database `bench`, its table and the procedures of the load.
pub(crate) async fn prepare(server: &Server) -> Result<()> {
    server.exec(&format!("CREATE DATABASE bench; {TABLE}")).await?;
    for procedure in PROCEDURES {
        server.exec(&procedure.replace("ROW_OF(i)", ROW)).await?;
    }
    Ok(())
}

/// The table without a row.
pub(crate) const TABLE: &str = "CREATE TABLE bench.t (id BIGINT NOT NULL PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL)";

/// Writes `rows` changes, to the rows from `first` on. One connection, so that the order is the same in each run.
pub(crate) async fn load(server: &Server, workload: Workload, first: u64, rows: u64) -> Result<()> {
    let begin = Instant::now();
    let call = format!(
        "SET SESSION cte_max_recursion_depth = 4294967295; CALL bench.{}({first}, {rows})",
        workload.procedure()
    );
    server.exec(&call).await?;
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!("{}: {} with {rows} rows took {seconds:.1} s", server.name(), workload.name());
    Ok(())
}

/// Names and bytes of the source's binlog files, oldest first.
pub(crate) async fn binlogs(server: &Server) -> Result<Vec<(String, u64)>> {
    let rows = server.rows("SHOW BINARY LOGS").await?;
    let text = |cell: Option<&Option<Vec<u8>>>| {
        let bytes = cell.and_then(Option::as_ref).context("SHOW BINARY LOGS has an empty cell")?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(bytes).into_owned())
    };
    rows.iter().map(|row| Ok((text(row.first())?, text(row.get(1))?.parse()?))).collect()
}

const ROW: &str = "i, i % 1000, \
    RPAD(CONCAT('customer ', i, ' ordered from warehouse ', i % 40, ', reference ', SHA2(i, 256)), 119, '.'), \
    RPAD(CONCAT('packed and paid on ', CRC32(i), ' by ', i % 97), 59, ' -')";

const PROCEDURES: [&str; 5] = [
    "CREATE PROCEDURE bench.insert_single(i BIGINT, n BIGINT) BEGIN
        DECLARE last BIGINT DEFAULT i + n;
        WHILE i < last DO INSERT INTO bench.t VALUES (ROW_OF(i)); SET i = i + 1; END WHILE;
    END",
    "CREATE PROCEDURE bench.insert_hundreds(i BIGINT, n BIGINT) BEGIN
        DECLARE last BIGINT DEFAULT i + n;
        WHILE i < last DO
            START TRANSACTION;
            REPEAT INSERT INTO bench.t VALUES (ROW_OF(i)); SET i = i + 1; UNTIL i % 100 = 0 OR i = last END REPEAT;
            COMMIT;
        END WHILE;
    END",
    "CREATE PROCEDURE bench.insert_all(first BIGINT, n BIGINT) BEGIN
        INSERT INTO bench.t WITH RECURSIVE s (i) AS (SELECT first UNION ALL SELECT i + 1 FROM s WHERE i + 1 < first + n)
        SELECT ROW_OF(i) FROM s;
    END",
    "CREATE PROCEDURE bench.update_single(i BIGINT, n BIGINT) BEGIN
        DECLARE last BIGINT DEFAULT i + n;
        WHILE i < last DO UPDATE bench.t SET k = k + 1 WHERE id = i; SET i = i + 1; END WHILE;
    END",
    "CREATE PROCEDURE bench.update_hundreds(i BIGINT, n BIGINT) BEGIN
        DECLARE last BIGINT DEFAULT i + n;
        WHILE i < last DO
            START TRANSACTION;
            REPEAT UPDATE bench.t SET k = k + 1 WHERE id = i; SET i = i + 1; UNTIL i % 100 = 0 OR i = last END REPEAT;
            COMMIT;
        END WHILE;
    END",
];
