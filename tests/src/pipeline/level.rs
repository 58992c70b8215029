//! Waiting until the destinations hold all that the source has.

use super::{Pipeline, Service};
use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use rand::Rng;
use std::time::{Duration, Instant};

/// The database of our marker rows.
const DATABASE: &str = "logweir_probe";

impl Pipeline {
    /// Waits until every destination holds all that the source had committed at the call.
    ///
    /// It does not believe what the services say about themselves: a marker row is written at the source, and has to arrive.
    /// Then `logweir wait` has to say the same.
    ///
    /// # Errors
    /// When that takes longer than `limit`, or a service ends meanwhile; the message holds the ends of the logs.
    pub async fn wait_level(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        self.wait_marker(limit).await?;
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(10));
        let timeout = format!("{}s", left.as_secs());
        let (code, _, err) = self.command(&["wait", "--timeout", &timeout], left + Duration::from_secs(10)).await?;
        if code != 0 {
            bail!("the marker is there, but `logweir wait` ended with code {code}: {err}\n{}", self.logs());
        }
        Ok(())
    }

    /// The first half of [`Pipeline::wait_level`]: a row that is written at the source now arrives everywhere.
    ///
    /// # Errors
    /// When that takes longer than `limit`, or a service ends meanwhile; the message holds the ends of the logs.
    pub async fn wait_marker(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let marker: u64 = rand::rng().random_range(1..1 << 60);
        let mut conn = Conn::new(self.source.clone()).await.context("while writing a marker at the source")?;
        conn.query_drop(format!("CREATE DATABASE IF NOT EXISTS {DATABASE}")).await?;
        conn.query_drop(format!("CREATE TABLE IF NOT EXISTS {DATABASE}.marker (id BIGINT NOT NULL PRIMARY KEY)"))
            .await?;
        conn.query_drop(format!("INSERT INTO {DATABASE}.marker VALUES ({marker})")).await?;
        conn.disconnect().await?;
        for (name, opts) in &self.destinations {
            let mut conn = None;
            while !arrived(&mut conn, opts, marker).await {
                for service in [Service::Reader, Service::applier(name)] {
                    if self.process(&service).is_ok() {
                        self.must_run(&service)?;
                    }
                }
                if Instant::now() >= deadline {
                    bail!("destination {name} was not level after {limit:?}\n{}", self.logs());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}

/// Whether the marker is at the destination. A destination that cannot be asked now is asked again.
async fn arrived(conn: &mut Option<Conn>, opts: &Opts, marker: u64) -> bool {
    if conn.is_none() {
        *conn = Conn::new(opts.clone()).await.ok();
    }
    let Some(open) = conn else { return false };
    let sql = format!("SELECT id FROM {DATABASE}.marker WHERE id = {marker}");
    match open.query_first::<u64, _>(sql).await {
        Ok(found) => found.is_some(),
        // The table is not there yet.
        Err(mysql_async::Error::Server(_)) => false,
        Err(_) => {
            *conn = None;
            false
        }
    }
}
