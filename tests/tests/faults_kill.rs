//! kill -9 of reader and appliers at random moments, 100 times over the tests of this file, under a load with DDL and tables without
//! a key: the ledger shows nothing lost and nothing doubled, and all tables are equal.

use anyhow::{Context, Result, ensure};
use harness::load::{self, Load};
use harness::{Pipeline, Server, ServerKind, Service, compare};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

use ServerKind::{Mariadb10, Mariadb11, Mysql9};

/// `LOGWEIR_SEED` repeats a run's choices.
fn seed() -> Result<u64> {
    match std::env::var("LOGWEIR_SEED") {
        Ok(text) => text.parse().context("LOGWEIR_SEED is no number"),
        Err(_) => Ok(rand::rng().random()),
    }
}

async fn nothing_is_lost_or_doubled(kinds: [ServerKind; 3], writes: [&str; 2], kills: u32) -> Result<()> {
    let seed = seed()?;
    println!("repeat with LOGWEIR_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let source = Server::builder(kinds[0]).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let (a, b) =
        (Server::builder(kinds[1]).name("a").start().await?, Server::builder(kinds[2]).name("b").start().await?);
    let pipeline = Pipeline::builder(&source)
        // Small segments, so that kills meet their ends too.
        .store_line("segment_size = \"1MiB\"")
        .destination("a", &a)
        .destination_line(&format!("write = {:?}", writes[0]))
        .destination("b", &b)
        .destination_line(&format!("write = {:?}", writes[1]))
        .build()?;
    pipeline.start()?;
    let options = load::Options { seed, sessions: 3, rate: Some(120.0), ..load::Options::default() };
    load::prepare(&source, &options).await?;
    let load = Load::start(&source, &options);
    pipeline.wait_marker(Duration::from_secs(60)).await?;
    let services = [Service::Reader, Service::applier("a"), Service::applier("b")];
    let started = Instant::now();
    let mut done = 0;
    while done < kills {
        ensure!(!load.is_finished(), "the load ended: {:?}", load.stop().await);
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..1200))).await;
        // Mostly one service, sometimes several at one moment.
        let chosen: Vec<&Service> = match rng.random_range(0..10) {
            0 => services.iter().collect(),
            n => vec![&services[n % 3]],
        };
        for service in &chosen {
            pipeline.must_run(service).with_context(|| format!("after {done} kills"))?;
            pipeline.kill(service).await?;
            done += 1;
        }
        for service in chosen {
            pipeline.start_service(service)?;
        }
        if done % 10 == 0 {
            // What has been killed comes level again, so that not every kill meets a start.
            pipeline.wait_marker(Duration::from_secs(60)).await.with_context(|| format!("after {done} kills"))?;
        }
    }
    let report = load.stop().await?;
    println!("{done} kills in {:.1} s; the load: {report:?}", started.elapsed().as_secs_f64());
    ensure!(report.transactions > 1000 && report.ddl > 10, "too little load: {report:?}");
    pipeline.wait_level(Duration::from_secs(90)).await?;
    for destination in [&a, &b] {
        let ledger = load::check_ledger(&source, destination, "shop").await?;
        println!("{}: {ledger:?}", destination.name());
        ensure!(ledger.lost == 0 && ledger.doubled == 0, "{}: {ledger:?}\n{}", destination.name(), pipeline.logs());
        compare::must_be_equal(&source, destination, &["shop"]).await?;
    }
    pipeline.stop_with(AFTER_A_KILL).await
}

/// What a service may warn of when it or its neighbour was killed.
const AFTER_A_KILL: &[&str] = &["killed", "interrupted", "unfinished", "was cut", "left by"];

#[tokio::test]
async fn mysql_to_mysql_and_mariadb_survives_60_kills() -> Result<()> {
    nothing_is_lost_or_doubled([Mysql9, Mysql9, Mariadb10], ["row-events", "sql"], 60).await
}

#[tokio::test]
async fn mariadb_to_mariadb_and_mysql_survives_40_kills() -> Result<()> {
    nothing_is_lost_or_doubled([Mariadb11, Mariadb11, Mysql9], ["row-events", "auto"], 40).await
}
