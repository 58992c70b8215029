//! Servers that are killed, connections that break, processes that freeze: the pipeline goes on by itself, and nothing is lost or doubled.

use anyhow::{Result, ensure};
use harness::load::{self, Load};
use harness::proxy::Mode;
use harness::{Pipeline, Proxy, Server, ServerKind, Service, compare};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// What the services may warn of when their servers are away.
const AWAY: &[&str] = &[
    "again",
    "retry",
    "lost",
    "connect",
    "refused",
    "closed",
    "reset",
    "Reset",
    "silent",
    "timed out",
    "no heartbeat",
    "shutdown",
    "gone",
];

struct Setting {
    source: Server,
    destinations: [Server; 2],
    proxies: [Proxy; 3],
    pipeline: Pipeline,
    load: Load,
    rng: StdRng,
}

async fn setting(kinds: [ServerKind; 3]) -> Result<Setting> {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let source = Server::builder(kinds[0]).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let a = Server::builder(kinds[1]).name("a").start().await?;
    let b = Server::builder(kinds[2]).name("b").start().await?;
    let proxies = [Proxy::start(source.port()).await?, Proxy::start(a.port()).await?, Proxy::start(b.port()).await?];
    let url = |proxy: &Proxy| format!("mysql://root@127.0.0.1:{}", proxy.port());
    let pipeline = Pipeline::builder(&source)
        .source_url(&url(&proxies[0]))
        .destination_at("a", &a, &url(&proxies[1]))
        .destination_at("b", &b, &url(&proxies[2]))
        .build()?;
    pipeline.start()?;
    let options = load::Options { seed, sessions: 2, rate: Some(100.0), ..load::Options::default() };
    load::prepare(&source, &options).await?;
    let load = Load::start(&source, &options);
    pipeline.wait_marker(Duration::from_secs(60)).await?;
    Ok(Setting { source, destinations: [a, b], proxies, pipeline, load, rng: StdRng::seed_from_u64(seed) })
}

impl Setting {
    /// Lets the fault last, then checks that all comes level again.
    async fn recovered(&self, fault: &str, limit: u64) -> Result<()> {
        ensure!(!self.load.is_finished(), "the load ended during: {fault}");
        let started = std::time::Instant::now();
        let level = self.pipeline.wait_marker(Duration::from_secs(limit)).await;
        println!("{fault}: level after {:.1} s", started.elapsed().as_secs_f64());
        level.map_err(|error| error.context(fault.to_owned()))
    }

    async fn finish(self) -> Result<()> {
        let report = self.load.stop().await?;
        println!("{report:?}");
        self.pipeline.wait_level(Duration::from_secs(60)).await?;
        for destination in &self.destinations {
            let ledger = load::check_ledger(&self.source, destination, "shop").await?;
            ensure!(
                ledger.lost == 0 && ledger.doubled == 0 && ledger.written > 200,
                "{}: {ledger:?}",
                destination.name()
            );
            compare::must_be_equal(&self.source, destination, &["shop"]).await?;
        }
        self.pipeline.stop_with(AWAY).await
    }
}

async fn sleep(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

async fn goes_on_after_servers_die(kinds: [ServerKind; 3]) -> Result<()> {
    let mut s = setting(kinds).await?;
    for round in 0..2 {
        sleep(s.rng.random_range(200..800)).await;
        s.source.kill().await?;
        sleep(s.rng.random_range(0..1500)).await;
        s.source.restart().await?;
        s.recovered(&format!("kill -9 of the source, {round}"), 40).await?;
        for destination in &s.destinations {
            sleep(s.rng.random_range(0..500)).await;
            destination.kill().await?;
            sleep(s.rng.random_range(0..1500)).await;
            destination.restart().await?;
        }
        s.recovered(&format!("kill -9 of the destinations, {round}"), 40).await?;
    }
    s.source.restart().await?;
    s.destinations[0].restart().await?;
    s.recovered("orderly restarts", 40).await?;
    s.finish().await
}

#[tokio::test]
async fn mysql_to_mysql_and_mariadb_goes_on_after_servers_die() -> Result<()> {
    goes_on_after_servers_die([ServerKind::Mysql9, ServerKind::Mysql9, ServerKind::Mariadb10]).await
}

#[tokio::test]
async fn mariadb_to_mariadb_and_mysql_goes_on_after_servers_die() -> Result<()> {
    goes_on_after_servers_die([ServerKind::Mariadb10, ServerKind::Mariadb11, ServerKind::Mysql9]).await
}

#[tokio::test]
async fn broken_connections_and_frozen_processes_lose_nothing() -> Result<()> {
    let mut s = setting([ServerKind::Mysql9, ServerKind::Mysql9, ServerKind::Mariadb10]).await?;
    for n in 0..20 {
        // In the middle of an event or of an answer, wherever that is.
        let bytes = s.rng.random_range(1..20_000);
        let proxy = &s.proxies[n % 3];
        proxy.cut_after(bytes);
        sleep(s.rng.random_range(50..400)).await;
    }
    s.recovered("20 connections cut in the middle", 40).await?;
    for (mode, lasts) in [
        (Mode::Reset, 700),
        (Mode::Close, 700),
        (Mode::Stall, 4000),
        (Mode::Delay(Duration::from_millis(60)), 1500),
        (Mode::Throttle(64 << 10), 1500),
    ] {
        for proxy in &s.proxies {
            proxy.set(mode);
        }
        sleep(lasts).await;
        for proxy in &s.proxies {
            proxy.set(Mode::Forward);
        }
        s.recovered(&format!("{mode:?}"), 60).await?;
    }
    for service in [Service::Reader, Service::applier("a"), Service::applier("b")] {
        let process = s.pipeline.process(&service)?;
        process.pause()?;
        sleep(2000).await;
        process.cont()?;
        s.recovered(&format!("{service:?} frozen"), 40).await?;
    }
    for server in [&s.source, &s.destinations[0], &s.destinations[1]] {
        server.pause()?;
        sleep(3000).await;
        server.cont()?;
        s.recovered(&format!("server {} frozen", server.name()), 40).await?;
    }
    s.finish().await
}
