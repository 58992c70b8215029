//! Accounts that views, routines, triggers and events run as, and the right to make them.

use std::collections::BTreeSet;

use common::config::{Definer, Pipeline};
use mysql_async::Conn;

use super::item::named;
use super::rows::rows;
use super::{Inventory, Items, Session, Verdict};

const SHOWN_MAX: usize = 8;

pub(super) async fn check(
    pipeline: &Pipeline,
    inventory: &Inventory,
    conn: &mut Conn,
    session: &Session,
    items: &mut Items,
) {
    accounts(pipeline, inventory, conn, session, items).await;
    let count = inventory.of_kind("function").len() + inventory.of_kind("trigger").len();
    let trusted = session.is_on("log_bin_trust_function_creators") || !session.is_on("log_bin");
    let fine = count == 0 || trusted || session.grants.global(&["SUPER"]);
    let found = format!(
        "{count} functions and triggers to be made, log_bin_trust_function_creators={}",
        session.variable("log_bin_trust_function_creators")
    );
    let mend = "SET GLOBAL log_bin_trust_function_creators = ON: with a binlog the server lets only SUPER make them else (error 1419)";
    items.is("create-functions", fine, Verdict::Fail, found, mend);
}

async fn accounts(pipeline: &Pipeline, inventory: &Inventory, conn: &mut Conn, session: &Session, items: &mut Items) {
    let mut wanted: BTreeSet<String> = inventory.others.iter().map(|o| o.definer.clone()).collect();
    match &pipeline.snapshot.definer {
        Definer::Keep => {}
        Definer::Invoker => wanted.clear(),
        Definer::As { user, host } if !wanted.is_empty() => wanted = [format!("{user}@{host}")].into(),
        Definer::As { .. } => {}
    }
    if wanted.is_empty() {
        items.add("accounts", Verdict::Pass, "no definer is needed at the destination", "");
        return;
    }
    // Whether it may name others as definers: MySQL before 8.2 SET_USER_ID, from then on SET_ANY_DEFINER; MariaDB from 10.5 on SET USER.
    let privileges = ["SUPER", "SET_USER_ID", "SET_ANY_DEFINER", "SET USER"];
    let others = wanted.iter().any(|definer| session.account != quoted(definer));
    if others && !session.grants.global(&privileges) {
        let privilege = match (session.is_mariadb(), session.version()) {
            (true, version) if version >= (10, 5) => "SET USER",
            (false, version) if version >= (8, 2) => "SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER",
            (false, version) if version >= (8, 0) => "SET_USER_ID",
            _ => "SUPER",
        };
        let found = format!("may not make objects for another definer than itself ({})", list(&wanted));
        let mend = format!("GRANT {privilege} ON *.* TO {}; or set [snapshot] definer = \"invoker\"", session.account);
        items.add("accounts", Verdict::Fail, found, mend);
        return;
    }
    let Ok(known) = rows(conn, "SELECT User, Host FROM mysql.user").await else {
        let found = format!("which of these accounts exist cannot be seen: {}", list(&wanted));
        let mend = format!(
            "GRANT SELECT ON mysql.user TO {}, or look by hand: what runs as an account that does not exist fails when it is used",
            session.account
        );
        items.add("accounts", Verdict::Warn, found, mend);
        return;
    };
    let known: BTreeSet<String> = known.iter().map(|row| format!("{}@{}", row.text(0), row.text(1))).collect();
    let missing: BTreeSet<String> = wanted.difference(&known).cloned().collect();
    let found = match missing.len() {
        0 => format!("all {} definers exist", wanted.len()),
        _ => format!("definers that the destination lacks: {}", list(&missing)),
    };
    let first = missing.iter().next().map(|d| quoted(d)).unwrap_or_default();
    let mend = format!(
        "CREATE USER {first} …, or set [snapshot] definer = \"invoker\" or \"user@host\": views and routines of a definer that does not exist fail when they are used"
    );
    items.is("accounts", missing.is_empty(), Verdict::Warn, found, mend);
}

fn list(accounts: &BTreeSet<String>) -> String {
    named(&accounts.iter().collect::<Vec<_>>(), SHOWN_MAX)
}

fn quoted(account: &str) -> String {
    let (user, host) = account.rsplit_once('@').unwrap_or((account, "%"));
    let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
    format!("{}@{}", quote(user), quote(host))
}
