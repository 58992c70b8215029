//! Checks of the source: what it writes into its binlog, and how.

use common::config::{Pipeline, SnapshotMode};
use mysql_async::Conn;

use super::inventory::selection;
use super::rows::{first, rows};
use super::{Inventory, Item, Items, Session, Source, Verdict, capacity, connected, privileges, tables};

/// Checks every server of the source; what is returned is of the first that answers.
pub(super) async fn check(pipeline: &Pipeline) -> (Option<Source>, Vec<Item>) {
    let mut first = None;
    let mut all = Vec::new();
    for server in &pipeline.source.servers {
        let mut items = Items::of("source");
        if let Some((mut conn, session)) = connected(server, &mut items).await {
            settings(pipeline, &session, &mut items);
            replication(&mut conn, pipeline, &session, &mut items).await;
            if let Some(selection) = selection(pipeline) {
                match Inventory::read(&mut conn, &selection).await {
                    Ok(inventory) => {
                        privileges::of_source(pipeline, &session, &inventory, &mut items);
                        capacity::of_source(pipeline, &session, &inventory, &mut items);
                        tables::check(&session, &inventory, &mut items);
                        first.get_or_insert(Source { session, inventory });
                    }
                    Err(error) => items.unanswered("may-see-tables", &error),
                }
            }
            // It is gone when it is dropped.
            let _ = conn.disconnect().await;
        }
        all.extend(items.items);
    }
    (first, all)
}

fn settings(pipeline: &Pipeline, session: &Session, items: &mut Items) {
    let copies = pipeline.snapshot.mode == SnapshotMode::Full;
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
    // Keys and whole rows are needed to tell which rows of a chunk have changed meanwhile.
    let otherwise = if copies { Verdict::Fail } else { Verdict::Warn };
    let mend = "SET GLOBAL binlog_row_image = FULL, and in my.cnf: the copy needs whole rows, and without them a divergence at a destination can go unnoticed";
    let full = matches!(image, "FULL" | "FULL_NODUP" | "");
    items.is("row-image", full, otherwise, format!("binlog_row_image={image}"), mend);
    if !maria {
        let options = session.variable("binlog_row_value_options");
        let found = format!("binlog_row_value_options={}", if options.is_empty() { "(none)" } else { options });
        let mend = "SET GLOBAL binlog_row_value_options = '': chunks of a table whose JSON columns change in part are read again and again";
        items.is("partial-json", !(copies && options.contains("PARTIAL_JSON")), Verdict::Warn, found, mend);
    }
    let metadata = session.variable("binlog_row_metadata");
    let (found, mend) = (
        format!("binlog_row_metadata={}", if metadata.is_empty() { "(none)" } else { metadata }),
        "SET GLOBAL binlog_row_metadata = FULL (MySQL from 8.0.1, MariaDB from 10.5 on): else column names are read from information_schema, and a change of a table that runs at the same moment stops it",
    );
    items.is("row-metadata", metadata == "FULL", Verdict::Warn, found, mend);
    gtid(session, items);
    let checksum = session.variable("binlog_checksum");
    let mend = "SET GLOBAL binlog_checksum = CRC32: without it damage on the way stays unseen";
    items.is("checksum", checksum == "CRC32", Verdict::Warn, format!("binlog_checksum={checksum}"), mend);
    capacity::packets("the source", session, items);
}

fn gtid(session: &Session, items: &mut Items) {
    if session.is_mariadb() {
        let found = format!("MariaDB's own GTIDs, gtid_strict_mode={}", session.variable("gtid_strict_mode"));
        items.add("gtid", Verdict::Pass, found, "");
        return;
    }
    let mode = session.variable("gtid_mode");
    let consistency = session.variable("enforce_gtid_consistency");
    let purged = session.variable("gtid_purged").len();
    let found = match purged {
        0 => format!("gtid_mode={mode}, enforce_gtid_consistency={consistency}, nothing purged"),
        _ => format!("gtid_mode={mode}, enforce_gtid_consistency={consistency}, older transactions are purged"),
    };
    let mend = "switch GTIDs on (gtid_mode and enforce_gtid_consistency ON): following by file and offset works, but does not survive a failover of the source, and the copy takes short locks";
    items.is("gtid", mode == "ON", Verdict::Warn, found, mend);
}

/// Server ids, filters of the binlog, and what a source that is a replica itself must do.
async fn replication(conn: &mut Conn, pipeline: &Pipeline, session: &Session, items: &mut Items) {
    let own = session.number("server_id").unwrap_or(0);
    let ours = u64::from(pipeline.source.server_id);
    let others = replicas(conn).await;
    let found = format!("server_id={own}, ours is {ours}, {} other replicas", others.len());
    if own == 0 {
        items.add(
            "server-id",
            Verdict::Fail,
            found,
            "SET GLOBAL server_id to a number of its own: with 0 no replica is let in",
        );
    } else if own == ours {
        items.add(
            "server-id",
            Verdict::Fail,
            found,
            "set [source] server_id to a number that nobody else in the topology has",
        );
    } else {
        // One that is registered with our id may well be our own reader.
        let running = common::control::reader_socket(&pipeline.store.dir).exists();
        let mend = "another replica is registered with our id; if it is not this pipeline's reader, set [source] server_id to a free number";
        items.is("server-id", !others.contains(&ours) || running, Verdict::Warn, found, mend);
    }
    filters(conn, items).await;
    let replica = match first(conn, "SHOW REPLICA STATUS").await {
        Err(mysql_async::Error::Server(_)) => first(conn, "SHOW SLAVE STATUS").await,
        other => other,
    };
    let Ok(Some(_)) = replica else { return };
    let updates = session.is_on("log_replica_updates") || session.is_on("log_slave_updates");
    let mend = "start the server with log_replica_updates (log_slave_updates): what it gets from its own source is not in its binlog";
    if !updates {
        items.add("replica-source", Verdict::Fail, "a replica that does not log what it applies", mend);
        return;
    }
    let workers = ["replica_parallel_workers", "slave_parallel_workers"]
        .iter()
        .find_map(|name| session.number(name))
        .unwrap_or(0);
    let ordered = session.is_on("replica_preserve_commit_order") || session.is_on("slave_preserve_commit_order");
    let fine = workers < 2 || ordered || session.is_mariadb();
    let mend = "SET PERSIST replica_preserve_commit_order = ON: its binlog has another order than its own source's";
    items.is("replica-source", fine, Verdict::Warn, format!("a replica with {workers} parallel workers"), mend);
}

/// The ids of replicas that are registered; empty if we may not see them.
async fn replicas(conn: &mut Conn) -> Vec<u64> {
    let all = match rows(conn, "SHOW REPLICAS").await {
        Err(mysql_async::Error::Server(_)) => rows(conn, "SHOW SLAVE HOSTS").await,
        other => other,
    };
    all.unwrap_or_default().iter().map(|row| row.number(0)).collect()
}

/// `binlog_do_db` and `binlog_ignore_db` are shown nowhere else.
async fn filters(conn: &mut Conn, items: &mut Items) {
    let status = match first(conn, "SHOW BINARY LOG STATUS").await {
        Err(mysql_async::Error::Server(_)) => first(conn, "SHOW MASTER STATUS").await,
        other => other,
    };
    let Ok(Some(row)) = status else { return };
    let (only, never) = (row.text(2), row.text(3));
    let found = match (only.as_str(), never.as_str()) {
        ("", "") => "the binlog holds all databases".to_owned(),
        _ => format!("binlog_do_db={only}, binlog_ignore_db={never}"),
    };
    let mend = "start the server without these: what it does not log cannot be followed";
    items.is("binlog-filter", only.is_empty() && never.is_empty(), Verdict::Fail, found, mend);
}
