//! Checks of the source.

use common::config::{Pipeline, SnapshotMode};
use common::selection::Selection;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::{Item, Items, Session, Verdict, connected};

const DAY_SECONDS: u64 = 86_400;

/// Checks every server of the source; the session is that of the first that answers.
pub(super) async fn check(pipeline: &Pipeline) -> (Option<Session>, Vec<Item>) {
    let mut first = None;
    let mut all = Vec::new();
    for server in &pipeline.source.servers {
        let mut items = Items::of("source");
        if let Some(mut conn) = connected(server, &mut items).await {
            match Session::read(&mut conn).await {
                Ok(session) => {
                    settings(&session, &mut items);
                    privileges(&session, &mut items);
                    tables(&mut conn, pipeline, &mut items).await;
                    first.get_or_insert(session);
                }
                Err(error) => items.add("read-variables", Verdict::Fail, error.to_string(), "run the check again"),
            }
            // It is gone when it is dropped.
            let _ = conn.disconnect().await;
        }
        all.extend(items.items);
    }
    (first, all)
}

fn settings(session: &Session, items: &mut Items) {
    let (maria, version) = (session.is_mariadb(), session.version());
    let known = if maria { version >= (10, 2) } else { version >= (5, 6) };
    let mend = "follow a MySQL server from 5.6 on, or a MariaDB server from 10.2 on";
    items.is("version", known, Verdict::Fail, session.variable("version"), mend);
    let found = format!("log_bin={}", session.variable("log_bin"));
    items.is("binary-log", session.is_on("log_bin"), Verdict::Fail, found, "start the server with --log-bin");
    let format = session.variable("binlog_format");
    let mend = "SET PERSIST binlog_format = ROW (before MySQL 8: SET GLOBAL, and in my.cnf), then end the sessions that began before";
    items.is("binlog-format", format == "ROW", Verdict::Fail, format!("binlog_format={format}"), mend);
    let image = session.variable("binlog_row_image");
    let mend = "SET GLOBAL binlog_row_image = FULL: without it a divergence at a destination can go unnoticed";
    items.is("row-image", matches!(image, "FULL" | ""), Verdict::Warn, format!("binlog_row_image={image}"), mend);
    let metadata = session.variable("binlog_row_metadata");
    let (found, mend) = (
        format!("binlog_row_metadata={}", if metadata.is_empty() { "(none)" } else { metadata }),
        "SET GLOBAL binlog_row_metadata = FULL (MySQL from 8.0.1, MariaDB from 10.5 on): else column names are read from information_schema, and a change of a table that runs at the same moment stops it",
    );
    items.is("row-metadata", metadata == "FULL", Verdict::Warn, found, mend);
    if !maria {
        let mode = session.variable("gtid_mode");
        let mend = "switch GTIDs on: following by file and offset works, but does not survive a failover of the source";
        items.is("gtid", mode == "ON", Verdict::Warn, format!("gtid_mode={mode}"), mend);
    }
    let checksum = session.variable("binlog_checksum");
    let mend = "SET GLOBAL binlog_checksum = CRC32: without it damage on the way stays unseen";
    items.is("checksum", checksum == "CRC32", Verdict::Warn, format!("binlog_checksum={checksum}"), mend);
    let days = session.number("expire_logs_days").unwrap_or(0) * DAY_SECONDS;
    let seconds = session.number("binlog_expire_logs_seconds").filter(|s| *s > 0).unwrap_or(days);
    let found = match seconds {
        0 => "binlogs are kept until they are purged by hand".to_owned(),
        s => format!("binlogs are kept for {}", humantime::format_duration(std::time::Duration::from_secs(s))),
    };
    let mend = "keep binlogs for at least a day: the reader needs those of the time in which it was away";
    items.is("binlog-expiry", seconds == 0 || seconds >= DAY_SECONDS, Verdict::Warn, found, mend);
}

fn privileges(session: &Session, items: &mut Items) {
    let grants = &session.grants;
    let mend = "GRANT REPLICATION SLAVE ON *.* TO the user";
    let have = grants.global(&["REPLICATION SLAVE", "REPLICATION REPLICA"]);
    let said = |have| if have { "granted" } else { "not granted" };
    items.is("may-replicate", have, Verdict::Fail, format!("REPLICATION SLAVE is {}", said(have)), mend);
    let have = grants.global(&["REPLICATION CLIENT", "BINLOG MONITOR", "SUPER"]);
    let mend = "GRANT REPLICATION CLIENT ON *.* TO the user (MariaDB from 10.5 on: BINLOG MONITOR)";
    items.is("may-see-position", have, Verdict::Fail, format!("REPLICATION CLIENT is {}", said(have)), mend);
    let have = grants.anywhere("SELECT");
    let mend = "GRANT SELECT on the tables to the user: their columns and keys are read from information_schema";
    items.is("may-see-tables", have, Verdict::Fail, format!("SELECT is {}", said(have)), mend);
}

/// With a snapshot mode that would have to copy, and a new store, there must be nothing to copy yet.
async fn tables(conn: &mut Conn, pipeline: &Pipeline, items: &mut Items) {
    if pipeline.snapshot.mode == SnapshotMode::None || store::list_segments(&pipeline.store.dir).is_ok() {
        return;
    }
    let Ok(selection) = Selection::new(&pipeline.source.include, &pipeline.source.exclude) else { return };
    let selection = selection.without_databases(pipeline.position_databases());
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE'";
    match conn.query::<(String, String), _>(sql).await {
        Ok(tables) => {
            let count = tables.iter().filter(|(database, table)| selection.selects(database, table)).count();
            let mend = "copying what exists is not available yet; set [snapshot] mode = \"none\" to follow from now on";
            items.is("nothing-to-copy", count == 0, Verdict::Fail, format!("{count} selected tables exist"), mend);
        }
        Err(error) => items.add("nothing-to-copy", Verdict::Fail, error.to_string(), "run the check again"),
    }
}
