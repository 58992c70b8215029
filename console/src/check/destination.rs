//! Checks of a destination, alone and against the source.

use common::config::{Destination, Pipeline, SnapshotMode};
use mysql_async::Conn;

use super::{Item, Items, Session, Source, Verdict, capacity, connected, definers, existing, fit, privileges};

/// Checks one.
pub(super) async fn check(pipeline: &Pipeline, destination: &Destination, source: Option<&Source>) -> Vec<Item> {
    let mut items = Items::of(&destination.name);
    if let Some((mut conn, session)) = connected(&destination.server, &mut items).await {
        alone(&session, &mut items);
        match source {
            Some(source) => against(pipeline, destination, source, &mut conn, &session, &mut items).await,
            None => {
                capacity::packets("the destination", &session, &mut items);
                privileges::of_destination(pipeline, destination, &session, None, &mut items);
            }
        }
        // It is gone when it is dropped.
        let _ = conn.disconnect().await;
    }
    items.items
}

fn alone(session: &Session, items: &mut Items) {
    let (maria, version) = (session.is_mariadb(), session.version());
    let known = if maria { version >= (10, 2) } else { version >= (5, 6) };
    let mend = "use a MySQL server from 5.6 on, or a MariaDB server from 10.2 on";
    items.is("version", known, Verdict::Fail, session.variable("version"), mend);
    let super_user = session.grants.global(&["SUPER", "CONNECTION_ADMIN", "READ_ONLY ADMIN", "READ ONLY ADMIN"]);
    let locked = session.is_on("super_read_only") || (session.is_on("read_only") && !super_user);
    let mend = "SET GLOBAL read_only = OFF, or name the server that takes writes";
    items.is("writable", !locked, Verdict::Fail, if locked { "read_only" } else { "takes writes" }, mend);
}

async fn against(
    pipeline: &Pipeline,
    destination: &Destination,
    source: &Source,
    conn: &mut Conn,
    session: &Session,
    items: &mut Items,
) {
    let inventory = source.inventory.of(destination);
    other_server(&source.session, session, items);
    privileges::of_destination(pipeline, destination, session, Some(&inventory), items);
    privileges::row_events(destination, &source.session, session, items);
    capacity::packets_against(&source.session, session, items);
    let (ours, theirs) = ("lower_case_table_names", session.variable("lower_case_table_names"));
    let at_source = source.session.variable(ours);
    let found = format!("{ours}={theirs}, {at_source} at the source");
    let mend =
        "names that differ only by case would fall together; set it as at the source before the server's first start";
    items.is("name-case", theirs == at_source, Verdict::Warn, found, mend);
    fit::check(&source.session, &inventory, conn, session, items).await;
    if pipeline.snapshot.mode == SnapshotMode::None {
        return;
    }
    capacity::destination_space(pipeline, &inventory, items);
    let on = session.is_on("local_infile");
    let found = format!("local_infile={}", session.variable("local_infile"));
    let mend = "SET GLOBAL local_infile = ON while the copy runs: without it rows go as INSERT instead of LOAD DATA, which takes up to twice as long";
    items.is("load-data", on, Verdict::Warn, found, mend);
    definers::check(pipeline, &inventory, conn, session, items).await;
    existing::check(pipeline, destination, &inventory, conn, items).await;
}

fn other_server(source: &Session, session: &Session, items: &mut Items) {
    let same = |name: &str| !session.variable(name).is_empty() && session.variable(name) == source.variable(name);
    // MariaDB has no uuid of its own; a host and port that two servers share are one server.
    let one = same("server_uuid")
        || (session.is_mariadb() && same("hostname") && same("port") && same("datadir") && same("server_id"));
    let found = if one { "this is the source itself" } else { "another server than the source" };
    items.is("other-server", !one, Verdict::Fail, found, "name the destination's own url");
}
