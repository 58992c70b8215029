//! What a destination does with a snapshot: rows are loaded as they are at the source, objects are made, and changes meet a table half copied.

#[path = "support/logged.rs"]
mod logged;
#[path = "support/types.rs"]
mod types;
#[path = "support/writing.rs"]
mod writing;

use anyhow::{Result, ensure};
use applier::worker::Outcome;
use common::config::{DeferIndexes, Definer, OnExisting, OnObjectError, Snapshot};
use common::record::SessionContext;
use common::snapshot::{ObjectKind, ObjectName, SnapshotBegin, SnapshotObject, SnapshotStep, TableName};
use harness::{Server, ServerKind, compare};
use logged::{Change, flavor, logged, source};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use writing::{Logged, Target};

use ServerKind::{Mariadb10, Mariadb11, Mysql9, Mysql56};

fn rows(change: &Change) -> Logged<'_> {
    Logged {
        schema: &change.schema,
        timestamp: change.header.timestamp,
        op: change.op,
        columns_before: &change.columns_before,
        columns_after: &change.columns_after,
        images: &change.images,
    }
}

/// Statements of the types' script, those that only make rows or all of them.
fn statements(script: &str, wanted: impl Fn(&str) -> bool) -> String {
    let all = script.split(";\n").flat_map(|s| s.split("; "));
    all.filter(|s| wanted(s)).collect::<Vec<_>>().join(";\n")
}

fn makes(statement: &str) -> bool {
    statement.starts_with("CREATE") || statement.starts_with("USE")
}

fn fills(statement: &str) -> bool {
    statement.starts_with("INSERT") && statement.contains(" VALUES ")
        || statement.starts_with("INSERT INTO k_") && statement.contains("SELECT v, n FROM t_")
}

/// Every value of every type, loaded as text and as INSERT, is the source's.
async fn loaded(from: ServerKind, to: &[ServerKind]) -> Result<()> {
    let source = source(from, "FULL").await?;
    let mut failures = vec![];
    for (n, &kind) in to.iter().enumerate() {
        let database = format!("v_{n}");
        let script = types::script(&database, from, kind);
        let log = logged(&source, "", &statements(&script, |s| makes(s) || fills(s))).await?;
        for way in ["LOAD DATA", "INSERT"] {
            let server = Server::builder(kind).name("there").option("local_infile", "ON").start().await?;
            server.exec(&format!("{}; {}", types::SESSION, statements(&script, makes))).await?;
            let target = Target::new(&server, flavor(&source), source.version()).await?;
            let mut loader = target.loader(Snapshot::default()).await?;
            if way == "INSERT" {
                loader.use_insert();
            }
            ensure!(loader.way() == way, "the server does not allow {way}");
            let mut result = Ok(());
            for change in &log.changes {
                if let Err(error) = loader.load(&target.chunk(&[rows(change)])?, &target.stay()).await {
                    result = Err(anyhow::Error::new(error).context(change.schema.full_name()));
                    break;
                }
            }
            if result.is_ok() {
                ensure!(loader.way() == way, "{way} was given up");
                result = compare::must_be_equal(&source, &server, &[&database]).await;
            }
            let by = format!("{} to {} by {way}", from.name(), kind.name());
            match result {
                Ok(()) => println!(
                    "{by}: {} tables, {} by INSERT after all: equal",
                    log.changes.len(),
                    loader.given_up().len()
                ),
                Err(error) => failures.push(format!("{by}: {error:#}")),
            }
            if way == "LOAD DATA" && !loader.given_up().is_empty() {
                failures.push(format!("{by}: LOAD DATA warns of what is fine in {:?}", loader.given_up()));
            }
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

#[tokio::test]
async fn every_value_of_mysql_9_is_loaded_as_it_is() -> Result<()> {
    loaded(Mysql9, &[Mysql9, Mariadb11, Mariadb10]).await
}

#[tokio::test]
async fn every_value_of_mariadb_11_is_loaded_as_it_is() -> Result<()> {
    loaded(Mariadb11, &[Mariadb11, Mysql9]).await
}

#[tokio::test]
async fn every_value_of_mariadb_10_is_loaded_as_it_is() -> Result<()> {
    loaded(Mariadb10, &[Mariadb10, Mysql9]).await
}

#[tokio::test]
async fn every_value_of_mysql_5_6_is_loaded_as_it_is() -> Result<()> {
    loaded(Mysql56, &[Mysql9, Mariadb11]).await
}

/// Changes of every kind and type to tables of which an arbitrary part is here leave the source's rows behind.
async fn put_in_place(from: ServerKind, kind: ServerKind) -> Result<()> {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let source = source(from, "FULL").await?;
    let script = types::script("v_0", from, kind);
    let keyed = |s: &str| !s.starts_with("INSERT INTO k_") && !s.contains(" k_");
    let first = logged(&source, "", &statements(&script, |s| makes(s) || keyed(s) && fills(s))).await?;
    let second = logged(&source, "USE v_0;", &statements(&script, |s| keyed(s) && !makes(s) && !fills(s))).await?;
    let server = Server::builder(kind).name("there").option("local_infile", "ON").start().await?;
    server.exec(&format!("{}; {}", types::SESSION, statements(&script, makes))).await?;
    let target = Target::new(&server, flavor(&source), source.version()).await?;
    let mut loader = target.loader(Snapshot::default()).await?;
    for change in first.changes.iter().filter(|_| random.random_bool(0.5)) {
        loader.load(&target.chunk(&[rows(change)])?, &target.stay()).await?;
    }
    // Some rows of a table are here, others not.
    server.exec("USE v_0; DELETE FROM t_0 WHERE id % 2 = 1; DELETE FROM t_13 WHERE id > 2").await?;
    let mut worker = target.worker(Snapshot::default()).await?;
    let (mut at, mut seq) = (0, 0);
    while at < second.changes.len() {
        let count = random.random_range(1..40).min(second.changes.len() - at);
        let some: Vec<_> = second.changes[at..at + count].iter().map(rows).collect();
        seq += 1;
        let outcome = worker.execute(&target.piece(&some, seq)?).await?;
        ensure!(outcome == Outcome::Done, "{outcome:?}");
        at += count;
    }
    compare::must_be_equal(&source, &server, &["v_0"]).await
}

#[tokio::test]
async fn changes_of_every_type_are_put_in_place_at_mysql() -> Result<()> {
    put_in_place(Mysql9, Mysql9).await
}

#[tokio::test]
async fn changes_of_every_type_are_put_in_place_at_mariadb() -> Result<()> {
    put_in_place(Mariadb11, Mariadb11).await?;
    put_in_place(Mysql9, Mariadb10).await
}

const UNIQUES: &str = "CREATE DATABASE v_u; USE v_u; \
     CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20) COLLATE utf8mb4_general_ci, b INT, UNIQUE KEY ua (a(3)), UNIQUE KEY ub (b))";

#[tokio::test]
async fn unique_values_that_change_hands_within_a_run_are_put_in_place() -> Result<()> {
    let source = source(Mysql9, "FULL").await?;
    let first =
        logged(&source, "", &format!("{UNIQUES}; INSERT INTO t VALUES (1,'a',1),(2,'b',2),(3,'c',3),(4,'d',NULL)"))
            .await?;
    let second = logged(
        &source,
        "USE v_u;",
        "BEGIN; UPDATE t SET a='x', b=10 WHERE id=1; UPDATE t SET a='a', b=1 WHERE id=2; UPDATE t SET a='b', b=2 WHERE id=1; \
         UPDATE t SET id=30 WHERE id=3; INSERT INTO t VALUES (3,'D2',4); DELETE FROM t WHERE id=4; INSERT INTO t VALUES (4,'d',NULL); \
         DELETE FROM t WHERE id=4; UPDATE t SET a='D' WHERE id=3; COMMIT",
    )
    .await?;
    for here in ["id IN (1,2,3,4)", "id IN (2,3)", "id = 1", "FALSE"] {
        for kind in [Mysql9, Mariadb11] {
            let server = Server::builder(kind).name("there").start().await?;
            server.exec(&format!("{}; {UNIQUES}", types::SESSION)).await?;
            let target = Target::new(&server, flavor(&source), source.version()).await?;
            let mut loader = target.loader(Snapshot::default()).await?;
            loader.load(&target.chunk(&[rows(&first.changes[0])])?, &target.stay()).await?;
            server.exec(&format!("DELETE FROM v_u.t WHERE NOT ({here})")).await?;
            let mut worker = target.worker(Snapshot::default()).await?;
            worker.execute(&target.piece(&second.changes.iter().map(rows).collect::<Vec<_>>(), 1)?).await?;
            compare::must_be_equal(&source, &server, &["v_u"]).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn rows_that_are_here_already_are_passed_over_and_one_in_the_way_stops() -> Result<()> {
    let source = source(Mysql9, "FULL").await?;
    let log = logged(&source, "", &format!("{UNIQUES}; INSERT INTO t VALUES (1,'a',1),(2,'b',2),(3,'c',3)")).await?;
    for kind in [Mysql9, Mariadb10] {
        for (way, local) in [("LOAD DATA", "ON"), ("INSERT", "OFF")] {
            let server = Server::builder(kind).name("there").option("local_infile", local).start().await?;
            server.exec(&format!("{}; {UNIQUES}; INSERT INTO t VALUES (2,'b',2)", types::SESSION)).await?;
            let target = Target::new(&server, flavor(&source), source.version()).await?;
            let mut loader = target.loader(Snapshot::default()).await?;
            ensure!(loader.way() == way);
            let step = target.chunk(&[rows(&log.changes[0])])?;
            loader.load(&step, &target.stay()).await?;
            ensure!(loader.given_up().is_empty(), "a duplicate is no reason to give up LOAD DATA");
            compare::must_be_equal(&source, &server, &["v_u"]).await?;
            // Again: nothing changes.
            loader.load(&step, &target.stay()).await?;
            compare::must_be_equal(&source, &server, &["v_u"]).await?;
            // Another row holds a unique value of ours.
            server.exec("DELETE FROM v_u.t WHERE id = 3; INSERT INTO v_u.t VALUES (77, 'seventy', 3)").await?;
            let error = loader.load(&step, &target.stay()).await.expect_err("a row in the way").to_string();
            ensure!(error.contains("`id`<=>3") && error.contains("v_u.t"), "{error}");
            let left = server.value("SELECT GROUP_CONCAT(id ORDER BY id) FROM v_u.t").await?;
            ensure!(left.as_deref() == Some("1,2,77"), "{left:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_row_that_is_refused_is_named_or_its_table_is_left_out() -> Result<()> {
    let source = source(Mysql9, "FULL").await?;
    let make = "CREATE DATABASE v_r; USE v_r; CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20))";
    let log = logged(&source, "", &format!("{make}; INSERT INTO t VALUES (1,'a'),(2,'much too long'),(3,'c')")).await?;
    for (kind, local) in [(Mysql9, "ON"), (Mysql9, "OFF"), (Mariadb11, "ON"), (Mariadb11, "OFF")] {
        let server = Server::builder(kind).name("there").option("local_infile", local).start().await?;
        server.exec(&make.replace("20", "5")).await?;
        let target = Target::new(&server, flavor(&source), source.version()).await?;
        let step = target.chunk(&[rows(&log.changes[0])])?;
        let mut loader = target.loader(Snapshot::default()).await?;
        let error = loader.load(&step, &target.stay()).await.expect_err("too long").to_string();
        ensure!(error.contains("`id`<=>2") && error.contains("v_r.t") && error.contains("Data too long"), "{error}");
        ensure!(server.value("SELECT COUNT(*) FROM v_r.t").await?.as_deref() == Some("0"), "half a chunk is left");
        drop(loader);
        let mut loader = target.loader(Snapshot { on_error: OnObjectError::Skip, ..Snapshot::default() }).await?;
        ensure!(loader.load(&step, &target.stay()).await? == Outcome::Again(None));
        let incident = server.value("SELECT CONCAT(kind, ' ', object) FROM logweir.incident").await?;
        ensure!(incident.as_deref() == Some("table skipped v_r.t"), "{incident:?}");
    }
    Ok(())
}

fn table(name: &str) -> TableName {
    TableName { database: "shop".into(), table: name.into() }
}

fn object(kind: ObjectKind, name: &str, statement: &str) -> SnapshotObject {
    SnapshotObject {
        run: 7,
        object: ObjectName { kind, database: "shop".into(), name: name.into() },
        statement: statement.into(),
        more: vec![],
        definer: None,
        context: SessionContext { sql_mode: Some(0), ..SessionContext::default() },
        problem: None,
        rows_estimate: 0,
        bytes_estimate: 0,
        keyed: true,
        at: Default::default(),
    }
}

fn begin(tables: &[&str], others: &[(ObjectKind, &str)]) -> SnapshotStep {
    let other = |&(kind, name): &(ObjectKind, &str)| ObjectName { kind, database: "shop".into(), name: name.into() };
    SnapshotStep::Begin(Box::new(SnapshotBegin {
        run: 7,
        tables: tables.iter().map(|name| table(name)).collect(),
        others: others.iter().map(other).collect(),
        ..SnapshotBegin::default()
    }))
}

const ITEM: &str = "CREATE TABLE `item` (
  `id` int NOT NULL,
  `a` int DEFAULT NULL,
  `b` varchar(20) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `u` (`b`,`a`),
  KEY `a` (`a`),
  KEY `b` (`b`(3),`a`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci";

fn objects() -> Vec<SnapshotObject> {
    vec![
        object(ObjectKind::Database, "", "CREATE DATABASE `shop` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci */ /*!80016 DEFAULT ENCRYPTION='N' */"),
        object(ObjectKind::Table, "item", ITEM),
        object(ObjectKind::Table, "log", "CREATE TABLE `log` (`id` int NOT NULL AUTO_INCREMENT, `what` text, PRIMARY KEY (`id`)) ENGINE=InnoDB"),
        object(ObjectKind::Function, "f", "CREATE DEFINER=`nobody`@`nowhere` FUNCTION `f`(x INT) RETURNS int DETERMINISTIC RETURN x + 1"),
        object(ObjectKind::View, "v", "CREATE ALGORITHM=UNDEFINED DEFINER=`nobody`@`nowhere` SQL SECURITY DEFINER VIEW `v` AS select `shop`.`item`.`id` AS `id` from `shop`.`item`"),
        object(ObjectKind::Trigger, "t", "CREATE DEFINER=`nobody`@`nowhere` TRIGGER `t` AFTER INSERT ON `item` FOR EACH ROW BEGIN INSERT INTO log (what) VALUES (CONCAT('neu: ü', NEW.id)); END"),
        object(ObjectKind::Event, "e", "CREATE DEFINER=`nobody`@`nowhere` EVENT `e` ON SCHEDULE EVERY 1 SECOND STARTS '2024-01-01 00:00:00' ON COMPLETION NOT PRESERVE ENABLE DO INSERT INTO log (what) VALUES ('event')"),
    ]
    .into_iter()
    .map(|mut object| {
        object.definer = object.statement.contains("DEFINER=").then(|| "nobody@nowhere".to_owned());
        object
    })
    .collect()
}

const OTHERS: &[(ObjectKind, &str)] =
    &[(ObjectKind::Function, "f"), (ObjectKind::View, "v"), (ObjectKind::Trigger, "t"), (ObjectKind::Event, "e")];

#[tokio::test]
async fn objects_are_made_and_neither_triggers_nor_events_act() -> Result<()> {
    let source = source(Mysql9, "FULL").await?;
    let fill = "INSERT INTO item VALUES (1, 1, 'one'), (2, 2, 'two')";
    let make = format!("CREATE DATABASE shop; USE shop; {ITEM}; {fill}");
    let log = logged(&source, "", &make).await?;
    for (kind, definer) in
        [(Mysql9, Definer::Keep), (Mariadb11, Definer::Keep), (Mysql9, Definer::Invoker), (Mariadb10, Definer::Invoker)]
    {
        let server = Server::builder(kind).name("there").option("event_scheduler", "ON").start().await?;
        let target = Target::new(&server, flavor(&source), source.version()).await?;
        let options = Snapshot { definer: definer.clone(), defer_indexes: DeferIndexes::Always, ..Snapshot::default() };
        let mut worker = target.worker(options.clone()).await?;
        worker.begin_run(&target.work(begin(&["item", "log"], OTHERS), 1)).await?;
        worker.close().await;
        for (n, object) in objects().into_iter().enumerate() {
            let step = SnapshotStep::Object(Box::new(object));
            // A crash after the work and before the position: the same comes again.
            let work = target.work(step, n as u64 + 2);
            for _ in 0..2 {
                server.exec(&format!("UPDATE logweir.position SET seq={}", n + 1)).await?;
                let mut worker = target.worker(options.clone()).await?;
                ensure!(worker.make_object(&work).await? == Outcome::Done);
                worker.close().await;
            }
        }
        let mut worker = target.worker(options.clone()).await?;
        let keys = "SELECT GROUP_CONCAT(DISTINCT LOWER(index_name) ORDER BY LOWER(index_name)) FROM information_schema.statistics \
                    WHERE table_schema='shop' AND table_name='item'";
        ensure!(server.value(keys).await?.as_deref() == Some("primary,u"), "{:?}", server.value(keys).await?);
        let mut loader = target.loader(options.clone()).await?;
        loader.load(&target.chunk(&[rows(&log.changes[0])])?, &target.stay()).await?;
        worker.execute(&target.piece(&[rows(&log.changes[0])], 10)?).await?;
        let end = |name: &str| SnapshotStep::TableEnd { run: 7, table: table(name), rows: 2, at: Default::default() };
        worker.end_table(&target.work(end("item"), 11)).await?;
        worker.end_table(&target.work(end("log"), 12)).await?;
        worker
            .end_run(&target.work(SnapshotStep::End { run: 7, cancelled: false, at: Default::default() }, 13))
            .await?;
        ensure!(server.value(keys).await?.as_deref() == Some("a,b,primary,u"), "{:?}", server.value(keys).await?);
        let show = server.rows("SHOW CREATE TABLE shop.item").await?;
        let show = String::from_utf8(show[0][1].clone().unwrap_or_default())?;
        ensure!(show.contains("KEY `b` (`b`(3),`a`)"), "{show}");
        ensure!(server.value("SELECT COUNT(*) FROM shop.log").await?.as_deref() == Some("0"), "something fired");
        let state = server
            .value("SELECT GROUP_CONCAT(DISTINCT state) FROM logweir.snapshot WHERE kind='table' AND part=0")
            .await?;
        ensure!(state.as_deref() == Some("done"), "{state:?}");
        ensure!(
            server
                .value("SELECT status FROM information_schema.events")
                .await?
                .is_some_and(|s| s.contains("SIDE_DISABLED")),
            "an event is at work"
        );
        let missing = server
            .value(
                "SELECT COUNT(*) FROM logweir.incident WHERE kind='definer missing' AND detail LIKE '%nobody@nowhere%'",
            )
            .await?;
        match definer {
            Definer::Keep => ensure!(missing.as_deref() != Some("0"), "nobody said that the definer is missing"),
            _ => {
                ensure!(missing.as_deref() == Some("0"));
                let security = server.value("SELECT CONCAT((SELECT security_type FROM information_schema.views WHERE table_schema='shop'), (SELECT security_type FROM information_schema.routines WHERE routine_schema='shop'))").await?;
                ensure!(security.as_deref() == Some("INVOKERINVOKER"), "{security:?}");
            }
        }
        // Other people's rows do fire it (as long as its definer exists).
        if definer == Definer::Invoker {
            server.exec("INSERT INTO shop.item VALUES (9, 9, 'nine')").await?;
            let fired = server.value("SELECT what FROM shop.log").await?;
            ensure!(fired.as_deref() == Some("neu: ü9"), "{fired:?}");
        }
        let body = server
            .value("SELECT action_statement FROM information_schema.triggers WHERE trigger_schema='shop'")
            .await?
            .unwrap_or_default();
        let original = applier::ddl::guard::original(body.as_bytes()).map(String::from_utf8_lossy);
        ensure!(
            original.as_deref() == Some("BEGIN INSERT INTO log (what) VALUES (CONCAT('neu: ü', NEW.id)); END"),
            "{body}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_table_that_is_there_stops_the_copy_or_is_replaced_or_kept() -> Result<()> {
    for kind in [Mysql9, Mariadb11] {
        let server = Server::builder(kind).name("there").start().await?;
        server.exec("CREATE DATABASE shop; USE shop; CREATE TABLE item (id INT PRIMARY KEY, z INT); INSERT INTO item VALUES (1,1),(2,2); CREATE VIEW v AS SELECT 1 AS one").await?;
        let target = Target::new(&server, common::Flavor::MySql, "9.7.0").await?;
        let mut worker = target.worker(Snapshot::default()).await?;
        let work = target.work(begin(&["item", "log"], OTHERS), 1);
        let error = worker.begin_run(&work).await.expect_err("on_existing = stop").to_string();
        ensure!(
            error.contains("shop.item (2 rows)") && error.contains("view shop.v") && !error.contains("shop.log"),
            "{error}"
        );
        ensure!(server.value("SELECT COUNT(*) FROM logweir.snapshot").await?.as_deref() == Some("0"));
        let columns = "SELECT GROUP_CONCAT(column_name ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema='shop' AND table_name='item'";
        let kept = Snapshot { on_existing: OnExisting::Append, ..Snapshot::default() };
        let mut worker = target.worker(kept).await?;
        worker.begin_run(&work).await?;
        worker
            .make_object(&target.work(SnapshotStep::Object(Box::new(object(ObjectKind::Table, "item", ITEM))), 2))
            .await?;
        ensure!(server.value(columns).await?.as_deref() == Some("id,z"), "not kept");
        let again = SnapshotStep::TableAgain { run: 7, table: table("item"), gone: false, at: Default::default() };
        worker.table_again(&target.work(again.clone(), 3)).await?;
        ensure!(
            server.value("SELECT COUNT(*) FROM shop.item").await?.as_deref() == Some("2"),
            "a kept table was emptied"
        );
        worker.close().await;
        let replaced = Snapshot { on_existing: OnExisting::Overwrite, ..Snapshot::default() };
        let mut worker = target.worker(replaced).await?;
        worker.begin_run(&target.work(begin(&["item", "log"], OTHERS), 4)).await?;
        worker
            .make_object(&target.work(SnapshotStep::Object(Box::new(object(ObjectKind::Table, "item", ITEM))), 5))
            .await?;
        ensure!(server.value(columns).await?.as_deref() == Some("id,a,b"), "not replaced");
        server.exec("INSERT INTO shop.item VALUES (1, 1, 'x')").await?;
        worker.table_again(&target.work(again, 6)).await?;
        ensure!(server.value("SELECT COUNT(*) FROM shop.item").await?.as_deref() == Some("0"), "not emptied");
    }
    Ok(())
}

#[tokio::test]
async fn a_definition_that_is_refused_stops_or_is_left_out() -> Result<()> {
    let server = Server::builder(Mysql9).name("there").start().await?;
    server.exec("CREATE DATABASE shop").await?;
    let target = Target::new(&server, common::Flavor::MariaDb, "11.8.0-MariaDB").await?;
    let bad =
        object(ObjectKind::Table, "item", "CREATE TABLE `item` (`id` uuid NOT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB");
    let unseen = SnapshotObject {
        problem: Some("the user may not see its body".into()),
        ..object(ObjectKind::Function, "f", "")
    };
    let mut worker = target.worker(Snapshot::default()).await?;
    worker.begin_run(&target.work(begin(&["item"], OTHERS), 1)).await?;
    for object in [&bad, &unseen] {
        let work = target.work(SnapshotStep::Object(Box::new(object.clone())), 2);
        let error = worker.make_object(&work).await.expect_err("refused").to_string();
        ensure!(error.contains(&object.object.name) && error.contains("shop"), "{error}");
    }
    worker.close().await;
    let mut worker = target.worker(Snapshot { on_error: OnObjectError::Skip, ..Snapshot::default() }).await?;
    ensure!(worker.make_object(&target.work(SnapshotStep::Object(Box::new(bad)), 2)).await? == Outcome::Again(None));
    ensure!(worker.make_object(&target.work(SnapshotStep::Object(Box::new(unseen)), 3)).await? == Outcome::Done);
    let incidents =
        server.value("SELECT GROUP_CONCAT(kind, ' ', object ORDER BY id SEPARATOR ', ') FROM logweir.incident").await?;
    ensure!(incidents.as_deref() == Some("object skipped shop.item, object skipped shop.f"), "{incidents:?}");
    let state = server.value("SELECT state FROM logweir.snapshot WHERE kind='table'").await?;
    ensure!(state.as_deref() == Some("skipped"), "{state:?}");
    Ok(())
}
