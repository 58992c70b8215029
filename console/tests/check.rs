//! `logweir check` against real servers: items are seen passing and failing.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::{Server, ServerKind};
use serde_json::Value;

/// A folder with a configuration between two servers.
struct Site {
    dir: tempfile::TempDir,
    config: PathBuf,
}

impl Site {
    /// `snapshot` are lines of that section; urls are complete.
    fn new(source: &str, destination: &str, snapshot: &str) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("logweir.toml");
        let text = format!(
            "name = \"site\"\n[source]\nurl = \"{source}\"\n[snapshot]\n{snapshot}\n[store]\ndir = \"store\"\n\
             [[destination]]\nname = \"replica\"\nurl = \"{destination}\"\n"
        );
        std::fs::write(&config, text).unwrap();
        Site { dir, config }
    }

    async fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_logweir"));
        command.args(args).arg("--config").arg(&self.config).env_remove("LOGWEIR_CONFIG").kill_on_drop(true);
        let output = command.output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    async fn check(&self, args: &[&str]) -> Seen {
        let (code, out, err) = self.run(&[&["check", "--json"], args].concat()).await;
        let seen: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        assert_eq!(code, Some(if seen["failed"] == 0 { 0 } else { 1 }), "{seen:#}");
        Seen(seen)
    }
}

/// What a check said.
struct Seen(Value);

impl Seen {
    fn item(&self, part: &str, id: &str) -> &Value {
        let items = self.0["items"].as_array().unwrap();
        let item = items.iter().find(|item| item["part"] == part && item["id"] == id);
        item.unwrap_or_else(|| panic!("no item {part} {id} in {:#}", self.0))
    }

    /// The item has this verdict, and what was found and how to mend it hold these words.
    fn is(&self, part: &str, id: &str, verdict: &str, words: &[&str]) {
        let item = self.item(part, id);
        assert_eq!(item["verdict"], verdict, "{item:#}");
        let text = format!("{} {}", item["found"].as_str().unwrap(), item["mend"].as_str().unwrap());
        for word in words {
            assert!(text.contains(word), "no '{word}' in {item:#}");
        }
    }

    /// The ids that failed or warned, as `part id`.
    fn complaints(&self) -> BTreeSet<String> {
        let items = self.0["items"].as_array().unwrap().iter();
        items
            .filter(|item| item["verdict"] != "pass")
            .map(|item| format!("{} {}", item["part"].as_str().unwrap(), item["id"].as_str().unwrap()))
            .collect()
    }
}

async fn mysql(name: &str, options: &[(&str, &str)]) -> Server {
    let mut builder = Server::builder(ServerKind::Mysql9).name(name);
    for (option, value) in options {
        builder = builder.option(option, value);
    }
    builder.start().await.unwrap()
}

const SHOP: &str = "CREATE DATABASE shop; USE shop;
    CREATE TABLE orders (id INT PRIMARY KEY, note VARCHAR(80)); INSERT INTO orders VALUES (1, 'a'), (2, 'b');
    CREATE TABLE parts (id INT PRIMARY KEY, amount DECIMAL(10,2));
    CREATE VIEW open_orders AS SELECT * FROM orders;
    CREATE TRIGGER parts_in BEFORE INSERT ON parts FOR EACH ROW SET NEW.amount = 1;
    CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2;
    CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM orders WHERE id < 0;";

#[tokio::test]
async fn two_good_servers_pass_every_item() {
    let (source, replica) = tokio::join!(mysql("source", &[("binlog_row_metadata", "FULL")]), mysql("replica", &[]));
    source.exec(SHOP).await.unwrap();
    replica.exec("SET GLOBAL log_bin_trust_function_creators = ON").await.unwrap();
    let site = Site::new(&source.url("root"), &replica.url("root"), "mode = \"full\"");
    let seen = site.check(&[]).await;
    assert_eq!(seen.complaints(), BTreeSet::new(), "{:#}", seen.0);
    seen.is("source", "selection", "pass", &["2 tables in 1 databases"]);
    seen.is("source", "triggers", "pass", &["1 triggers"]);
    seen.is("source", "events", "pass", &["1 events", "disabled"]);
    seen.is("source", "server-id", "pass", &["ours is"]);
    seen.is("replica", "destination-space", "pass", &["the copy needs about"]);
    seen.is("replica", "existing-objects", "pass", &["none of the tables exists yet"]);
    assert!(!site.dir.path().join("store").exists(), "a check changes nothing");

    // The same as text, and a store's folder that cannot be written.
    let (code, out, _) = site.run(&["check"]).await;
    assert!(code == Some(0) && out.contains("0 warned, 0 failed"), "{out}");
    let (code, _, err) = site.run(&["check", "--ignore", "gitd"]).await;
    assert!(code == Some(2) && err.contains("there is no item 'gitd'"), "{err}");
}

#[tokio::test]
async fn settings_of_the_source_that_do_not_serve_are_found() {
    let options = [
        ("gtid_mode", "OFF"),
        ("enforce_gtid_consistency", "OFF"),
        ("binlog_expire_logs_seconds", "600"),
        ("binlog_ignore_db", "audit"),
        ("max_allowed_packet", "1M"),
        ("binlog_row_value_options", "PARTIAL_JSON"),
    ];
    let (source, replica) = tokio::join!(mysql("source", &options), mysql("replica", &[]));
    source
        .exec("SET GLOBAL binlog_format = STATEMENT; SET GLOBAL binlog_row_image = MINIMAL; SET GLOBAL binlog_checksum = NONE")
        .await
        .unwrap();
    source
        .exec(
            "CREATE DATABASE shop; CREATE TABLE shop.plain (id INT PRIMARY KEY) ENGINE=MyISAM;
             CREATE TABLE shop.keyless (a INT, b INT NULL, UNIQUE (b))",
        )
        .await
        .unwrap();
    let site = Site::new(&source.url("root"), &replica.url("root"), "max_rows_per_second = 1");
    let seen = site.check(&[]).await;
    seen.is("source", "binlog-format", "fail", &["binlog_format=STATEMENT"]);
    seen.is("source", "row-image", "fail", &["MINIMAL", "SET GLOBAL binlog_row_image = FULL"]);
    seen.is("source", "binlog-filter", "fail", &["binlog_ignore_db=audit"]);
    seen.is("source", "gtid", "warn", &["gtid_mode=OFF"]);
    seen.is("source", "checksum", "warn", &["binlog_checksum=NONE"]);
    seen.is("source", "row-metadata", "warn", &["MINIMAL"]);
    seen.is("source", "partial-json", "warn", &["PARTIAL_JSON"]);
    seen.is("source", "binlog-expiry", "warn", &["10m", "binlog_expire_logs_seconds = 86400"]);
    seen.is("source", "packet-size", "warn", &["1.0 MiB"]);
    seen.is("source", "keyless-tables", "warn", &["1 without a key: shop.keyless", "at one point"]);
    seen.is("source", "transactions", "warn", &["shop.plain (MyISAM)"]);
    // A warning becomes a note; a failed item does not.
    let ignored = site.check(&["--ignore", "keyless-tables", "--ignore", "binlog-filter"]).await;
    ignored.is("source", "keyless-tables", "note", &[]);
    ignored.is("source", "binlog-filter", "fail", &[]);
    assert_eq!((ignored.0["ignored"].as_u64(), &ignored.0["ok"]), (Some(1), &Value::Bool(false)));

    // `run` does not start anything then, and says why; without the check it would.
    let (code, _, err) = site.run(&["run", "--plain"]).await;
    assert!(code == Some(1) && err.contains("FAIL  source       binlog-filter"), "{err}");
    assert!(err.contains("warning: source, gtid: gtid_mode=OFF") && err.contains("--no-check"), "{err}");
    assert!(!site.dir.path().join("store").exists(), "something was started");

    // Following only asks for less.
    let follow = Site::new(&source.url("root"), &replica.url("root"), "mode = \"none\"");
    follow.check(&[]).await.is("source", "row-image", "warn", &[]);
    // A destination that is the source itself, and an id that is taken.
    let odd = Site::new(&source.url("root"), &source.url("root"), "mode = \"none\"");
    odd.check(&[]).await.is("replica", "other-server", "fail", &["the source itself"]);
    let text = std::fs::read_to_string(&odd.config).unwrap();
    std::fs::write(&odd.config, text.replace("[source]", &format!("[source]\nserver_id = {}", source.port()))).unwrap();
    odd.check(&[]).await.is("source", "server-id", "fail", &["set [source] server_id"]);
    let nowhere = Site::new("mysql://u@127.0.0.1:1", &replica.url("root"), "mode = \"none\"");
    nowhere.check(&[]).await.is("source", "connect", "fail", &["cannot be reached"]);
}

#[tokio::test]
async fn privileges_that_are_missing_come_with_the_statement_that_grants_them() {
    let (source, replica) = tokio::join!(mysql("source", &[]), mysql("replica", &[]));
    source.exec(SHOP).await.unwrap();
    source.exec("CREATE TABLE shop.keyless (a INT); CREATE USER repl@'%' IDENTIFIED BY 'x'").await.unwrap();
    source.exec("GRANT SELECT ON shop.orders TO repl@'%'").await.unwrap();
    replica.exec("CREATE USER sync@'%' IDENTIFIED BY 'x'; GRANT SELECT, INSERT ON shop.* TO sync@'%'").await.unwrap();
    let site = Site::new(&source.url("repl:x"), &replica.url("sync:x"), "");
    let seen = site.check(&[]).await;
    seen.is("source", "may-replicate", "fail", &["GRANT REPLICATION SLAVE ON *.* TO 'repl'@'%'"]);
    seen.is("source", "may-see-position", "fail", &["GRANT REPLICATION CLIENT ON *.* TO 'repl'@'%'"]);
    // Only the one table that it may see is listed: nothing else can be said to be missing.
    seen.is("source", "may-see-tables", "pass", &[]);
    source.exec("GRANT INSERT ON shop.* TO repl@'%'").await.unwrap();
    seen.is(
        "source",
        "may-see-objects",
        "warn",
        &["GRANT SHOW VIEW, TRIGGER, EVENT ON `shop`.* TO 'repl'@'%'", "SHOW_ROUTINE"],
    );
    let again = site.check(&[]).await;
    again.is("source", "may-see-tables", "fail", &["GRANT SELECT ON `shop`.* TO 'repl'@'%'"]);
    again.is("source", "may-lock-tables", "warn", &["shop", "GRANT LOCK TABLES ON `shop`.* TO 'repl'@'%'"]);
    again.is("replica", "position-database", "fail", &["CREATE, SELECT", "GRANT ALL ON `logweir`.* TO 'sync'@'%'"]);
    again.is(
        "replica",
        "may-write",
        "fail",
        &["GRANT UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES, CREATE VIEW"],
    );
    again.is("replica", "row-events", "warn", &["GRANT REPLICATION_APPLIER ON *.* TO 'sync'@'%'"]);

    // What the statements say, done: every privilege passes, also those of a role.
    for statement in [
        "GRANT REPLICATION SLAVE, REPLICATION CLIENT, SHOW_ROUTINE ON *.* TO repl@'%'",
        "CREATE ROLE shop_copy; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON `shop`.* TO shop_copy",
        "GRANT shop_copy TO repl@'%'; SET DEFAULT ROLE shop_copy TO repl@'%'",
    ] {
        source.exec(statement).await.unwrap();
    }
    replica
        .exec(
            "GRANT ALL ON logweir.* TO sync@'%'; GRANT ALL ON shop.* TO sync@'%'; GRANT REPLICATION_APPLIER ON *.* TO sync@'%'",
        )
        .await
        .unwrap();
    let seen = site.check(&[]).await;
    for id in ["may-replicate", "may-see-position", "may-see-tables", "may-see-objects", "may-lock-tables"] {
        seen.is("source", id, "pass", &[]);
    }
    for id in ["position-database", "may-write", "row-events"] {
        seen.is("replica", id, "pass", &[]);
    }
    seen.is(
        "replica",
        "create-functions",
        "fail",
        &["2 functions and triggers", "log_bin_trust_function_creators = ON"],
    );
    seen.is("replica", "accounts", "fail", &["root@", "GRANT SET_ANY_DEFINER"]);
    replica
        .exec("SET GLOBAL log_bin_trust_function_creators = ON; GRANT SET_ANY_DEFINER ON *.* TO sync@'%'")
        .await
        .unwrap();
    let seen = site.check(&[]).await;
    seen.is("replica", "create-functions", "pass", &[]);
    seen.is("replica", "accounts", "warn", &["cannot be seen"]);
}

#[tokio::test]
async fn what_a_destination_lacks_or_has_already_is_named() {
    let options = [("local_infile", "OFF"), ("lower_case_table_names", "1"), ("max_allowed_packet", "16M")];
    let (source, replica) = tokio::join!(mysql("source", &[]), mysql("replica", &options));
    source.exec(SHOP).await.unwrap();
    source.exec("CREATE USER boss@localhost; CREATE DEFINER=boss@localhost VIEW shop.bossy AS SELECT 1").await.unwrap();
    replica.exec("CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY)").await.unwrap();
    replica.exec("INSERT INTO shop.orders VALUES (1), (2), (3); SET GLOBAL super_read_only = ON").await.unwrap();
    let stop = Site::new(&source.url("root"), &replica.url("root"), "");
    let seen = stop.check(&[]).await;
    seen.is("replica", "existing-objects", "fail", &["1 of the tables exist: shop.orders (3 rows)", "on_existing"]);
    seen.is("replica", "writable", "fail", &["read_only"]);
    seen.is("replica", "load-data", "warn", &["local_infile=OFF"]);
    seen.is("replica", "name-case", "warn", &["lower_case_table_names=1, 0 at the source"]);
    seen.is("replica", "packet-size", "warn", &["16.0 MiB, 64.0 MiB at the source"]);
    seen.is("replica", "accounts", "warn", &["boss@localhost", "CREATE USER 'boss'@'localhost'"]);
    for (line, word) in
        [("on_existing = \"overwrite\"", "DROPPED"), ("on_existing = \"append\"", "replaces one of the same key")]
    {
        let site = Site::new(&source.url("root"), &replica.url("root"), &format!("{line}\ndefiner = \"invoker\""));
        let seen = site.check(&[]).await;
        seen.is("replica", "existing-objects", "warn", &[word]);
        seen.is("replica", "accounts", "pass", &[]);
    }
    // A destination that has begun has its tables by right.
    replica
        .exec("SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF; CREATE DATABASE logweir")
        .await
        .unwrap();
    replica
        .exec("CREATE TABLE logweir.position (pipeline VARCHAR(64), destination VARCHAR(64)); INSERT INTO logweir.position VALUES ('site', 'replica')")
        .await
        .unwrap();
    let seen = stop.check(&[]).await;
    seen.is("replica", "existing-objects", "pass", &["has begun already"]);
    seen.is("replica", "writable", "pass", &[]);
}

#[tokio::test]
async fn what_the_other_family_lacks_is_named_both_ways() {
    let maria = Server::builder(ServerKind::Mariadb10).name("maria").start();
    let (source, maria) = tokio::join!(mysql("source", &[]), maria);
    let maria = maria.unwrap();
    source
        .exec(
            "CREATE DATABASE shop COLLATE utf8mb4_0900_ai_ci; CREATE TABLE shop.t (id INT PRIMARY KEY, v VECTOR(3));
             CREATE TABLE shop.j (id INT PRIMARY KEY, j JSON, n VARCHAR(5) COLLATE utf8mb4_0900_ai_ci)",
        )
        .await
        .unwrap();
    let site = Site::new(&source.url("root"), &maria.url("root"), "");
    let seen = site.check(&[]).await;
    seen.is("replica", "column-types", "fail", &["vector (shop.t)"]);
    seen.is("replica", "collations", "warn", &["utf8mb4_0900_ai_ci", "nearest"]);
    seen.is("replica", "engines", "pass", &[]);
    seen.is("replica", "row-events", "pass", &["SQL"]);
    seen.is("replica", "page-size", "pass", &[]);
    seen.is("replica", "index-size", "pass", &[]);

    maria
        .exec(
            "CREATE DATABASE crm; CREATE SEQUENCE crm.numbers; CREATE TABLE crm.a (id UUID PRIMARY KEY) ENGINE=InnoDB;
             CREATE TABLE crm.aria (id INT PRIMARY KEY, x VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin) ENGINE=Aria;
             CREATE TABLE crm.h (id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
        )
        .await
        .unwrap();
    let site = Site::new(&maria.url("root"), &source.url("root"), "");
    let seen = site.check(&[]).await;
    seen.is("source", "gtid", "pass", &["MariaDB"]);
    seen.is("source", "may-see-objects", "pass", &[]);
    seen.is("source", "transactions", "warn", &["crm.aria (Aria)"]);
    seen.is("replica", "column-types", "fail", &["uuid (crm.a)", "system versioning (crm.h)"]);
    seen.is("replica", "sequences", "fail", &["crm.numbers"]);
    seen.is("replica", "engines", "fail", &["Aria (crm.aria)"]);
    seen.is("replica", "collations", "fail", &["utf8mb4_nopad_bin"]);
}

#[tokio::test]
async fn an_old_source_is_checked_too() {
    let old = Server::builder(ServerKind::Mysql56).name("old").option("expire_logs_days", "3").start();
    let (old, replica) = tokio::join!(old, mysql("replica", &[]));
    let old = old.unwrap();
    old.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, n VARCHAR(20) CHARACTER SET utf8)")
        .await
        .unwrap();
    let seen = Site::new(&old.url("root"), &replica.url("root"), "").check(&[]).await;
    seen.is("source", "version", "pass", &["5.6"]);
    seen.is("source", "binlog-expiry", "pass", &["3days"]);
    seen.is("replica", "collations", "pass", &[]);
    let seen = Site::new(&replica.url("root"), &old.url("root"), "").check(&[]).await;
    seen.is("replica", "index-size", "warn", &["767", "innodb_large_prefix"]);
    seen.is("replica", "version", "pass", &["5.6"]);
}

#[tokio::test]
async fn thousands_of_tables_take_seconds() {
    let (source, replica) = tokio::join!(mysql("source", &[]), mysql("replica", &[]));
    source.exec("CREATE DATABASE many").await.unwrap();
    for some in (0..2_000).collect::<Vec<_>>().chunks(500) {
        let sql: Vec<String> = some
            .iter()
            .map(|n| format!("CREATE TABLE many.t{n} (id INT PRIMARY KEY, a VARCHAR(20), b DATETIME)"))
            .collect();
        source.exec(&sql.join(";")).await.unwrap();
    }
    let site = Site::new(&source.url("root"), &replica.url("root"), "");
    let started = Instant::now();
    let seen = site.check(&[]).await;
    let took = started.elapsed();
    seen.is("source", "selection", "pass", &["2000 tables"]);
    println!("checked in {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_fails() {
    let site = Site::new("mysql://u@127.0.0.1:1", "mysql://u@127.0.0.1:1", "");
    let text = std::fs::read_to_string(&site.config).unwrap();
    // /proc takes nothing, not even from root.
    std::fs::write(&site.config, text.replace("dir = \"store\"", "dir = \"/proc/store\"")).unwrap();
    let seen = site.check(&[]).await;
    assert!(Path::new("/proc").exists());
    let item = seen.item("store", "store-space");
    assert!(item["verdict"] != "pass", "{item:#}");
}
