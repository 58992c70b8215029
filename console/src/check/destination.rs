//! Checks of a destination.

use common::config::{Destination, Write};

use super::{Item, Items, Session, Verdict, connected};

const PACKET_BYTES: u64 = 16 << 20;

/// Checks a destination, alone and against the source.
pub(super) async fn check(destination: &Destination, source: Option<&Session>) -> Vec<Item> {
    let mut items = Items::of(&destination.name);
    if let Some(mut conn) = connected(&destination.server, &mut items).await {
        match Session::read(&mut conn).await {
            Ok(session) => {
                alone(destination, &session, &mut items);
                if let Some(source) = source {
                    against(destination, source, &session, &mut items);
                }
            }
            Err(error) => items.add("read-variables", Verdict::Fail, error.to_string(), "run the check again"),
        }
        // It is gone when it is dropped.
        let _ = conn.disconnect().await;
    }
    items.items
}

fn alone(destination: &Destination, session: &Session, items: &mut Items) {
    items.add("version", Verdict::Pass, session.variable("version"), "");
    let locked = session.is_on("super_read_only") || (session.is_on("read_only") && !session.grants.global(&["SUPER"]));
    let mend = "SET GLOBAL read_only = OFF, or name the server that takes writes";
    items.is("writable", !locked, Verdict::Fail, if locked { "read_only" } else { "takes writes" }, mend);
    let database = &destination.position_database;
    let missing: Vec<&str> = ["CREATE", "SELECT", "INSERT", "UPDATE", "DELETE"]
        .into_iter()
        .filter(|privilege| !session.grants.on_database(privilege, database))
        .collect();
    let found = match missing.as_slice() {
        [] => format!("{database} can be written"),
        some => format!("{} on {database} not granted", some.join(", ")),
    };
    let mend = format!("GRANT ALL ON `{database}`.* TO the user: its position rows are kept there");
    items.is("position-database", missing.is_empty(), Verdict::Fail, found, &mend);
    let have = ["CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE"];
    let missing: Vec<&str> = have.into_iter().filter(|privilege| !session.grants.anywhere(privilege)).collect();
    let found = if missing.is_empty() { "granted".to_owned() } else { format!("{} not granted", missing.join(", ")) };
    let mend = "GRANT these on the databases that are replicated: DDL is applied too";
    items.is("may-write", missing.is_empty(), Verdict::Fail, found, mend);
    let packet = session.number("max_allowed_packet").unwrap_or(0);
    let found = format!("max_allowed_packet={}", common::config::about_size(packet));
    let mend = "SET GLOBAL max_allowed_packet = 1073741824: a row that is larger than this cannot be written";
    items.is("packet-size", packet >= PACKET_BYTES, Verdict::Warn, found, mend);
}

fn against(destination: &Destination, source: &Session, session: &Session, items: &mut Items) {
    let same_family = source.is_mariadb() == session.is_mariadb();
    let granted = session.grants.global(&["BINLOG_ADMIN", "BINLOG REPLAY", "REPLICATION_APPLIER", "SUPER"]);
    let found = match (same_family, granted) {
        (true, true) => "row events can be used",
        (true, false) => "row events need a privilege",
        (false, _) => "another family than the source: rows are written as SQL",
    };
    let (fine, otherwise) = match destination.write {
        Write::Sql => (true, Verdict::Pass),
        Write::Auto => (granted || !same_family, Verdict::Warn),
        Write::RowEvents => (granted && same_family, Verdict::Fail),
    };
    let mend = if same_family {
        "GRANT BINLOG_ADMIN (MariaDB: BINLOG REPLAY) ON *.* TO the user; or write = \"sql\", which is slower"
    } else {
        "set write = \"auto\" or \"sql\""
    };
    items.is("row-events", fine, otherwise, found, mend);
    let (ours, theirs) = (session.variable("lower_case_table_names"), source.variable("lower_case_table_names"));
    let found = format!("lower_case_table_names={ours}, {theirs} at the source");
    let mend =
        "names that differ only by case would fall together; set it as at the source before the server's first start";
    items.is("name-case", ours == theirs, Verdict::Warn, found, mend);
    let (ours, theirs) = (session.number("innodb_page_size"), source.number("innodb_page_size"));
    let show = |n: Option<u64>| n.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    let found = format!("innodb_page_size={}, {} at the source", show(ours), show(theirs));
    items.is(
        "page-size",
        ours >= theirs,
        Verdict::Warn,
        found,
        "tables with long rows or keys may not fit at the destination",
    );
}
