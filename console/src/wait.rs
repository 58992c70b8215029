//! `logweir wait`: until all that the source has committed by now is stored and applied.

use std::time::{Duration, Instant};

use anyhow::Context;
use common::config::{Pipeline, Source};
use common::control::{self, Answer, Place, Request};
use common::{BinlogPosition, GtidSet, connect};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use store::Consumer;

use crate::cli::WaitArgs;
use crate::exit::{Exit, Failure};
use crate::part::{self, Part};
use crate::{out, place};

/// Between two looks.
const POLL: Duration = Duration::from_millis(50);
/// Between two looks into the store itself, which costs more.
const POLL_STORE: Duration = Duration::from_secs(1);

/// Waits as the command line says.
pub(crate) async fn wait(args: WaitArgs) -> Result<Exit, Failure> {
    let pipeline = Pipeline::load(&args.config.config)?;
    let names = part::destinations(&pipeline, args.destination.as_deref())?;
    let started = Instant::now();
    let deadline = started + args.timeout;
    let wanted = tokio::time::timeout(args.timeout, source_position(&pipeline.source)).await;
    let Ok(wanted) = wanted else {
        return Err(Failure::new(Exit::TimedOut, "the source did not tell its position in time"));
    };
    let wanted = wanted?;
    match level(&pipeline, &names, &wanted, deadline).await {
        Ok(seq) => {
            let took = humantime::format_duration(Duration::from_millis(started.elapsed().as_millis() as u64));
            out::line(&format!("level with {wanted} at seq {seq} after {took}"))?;
            Ok(Exit::Done)
        }
        Err(missing) => Err(Failure::new(Exit::TimedOut, format!("timed out after {:?}: {missing}", args.timeout))),
    }
}

/// A place in the source.
pub(crate) struct Wanted {
    /// Empty for a source without GTIDs.
    pub(crate) gtids: GtidSet,
    pub(crate) binlog: Option<BinlogPosition>,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.binlog {
            _ if !self.gtids.is_empty() => write!(f, "{}", self.gtids),
            Some(binlog) => write!(f, "{binlog}"),
            None => f.write_str("an empty source"),
        }
    }
}

/// Where the source is now.
pub(crate) async fn source_position(source: &Source) -> anyhow::Result<Wanted> {
    let mut problem = None;
    for server in &source.servers {
        match connect::open(server).await {
            Ok(mut conn) => {
                let wanted = ask(&mut conn).await.context("while asking the source for its position")?;
                // It is gone when it is dropped; only its farewell would be missing.
                let _ = conn.disconnect().await;
                return Ok(wanted);
            }
            Err(error) => problem = Some(error),
        }
    }
    Err(problem.map_or_else(|| anyhow::anyhow!("no source is configured"), anyhow::Error::from))
}

async fn ask(conn: &mut Conn) -> mysql_async::Result<Wanted> {
    let version: String = conn.query_first("SELECT @@version").await?.unwrap_or_default();
    // MySQL renamed the statement in 8.2 and dropped the old name in 8.4; MariaDB keeps the old one.
    let mut row: Option<Row> = match conn.query_first("SHOW BINARY LOG STATUS").await {
        Ok(row) => row,
        Err(mysql_async::Error::Server(_)) => conn.query_first("SHOW MASTER STATUS").await?,
        Err(error) => return Err(error),
    };
    let binlog = row.as_mut().and_then(|row| {
        let (file, offset) = (row.take::<String, _>(0)?, row.take::<u64, _>(1)?);
        Some(BinlogPosition { file, offset })
    });
    let variable = if version.contains("MariaDB") { "gtid_binlog_pos" } else { "gtid_executed" };
    let gtids: Option<String> = match conn.query_first(format!("SELECT @@global.{variable}")).await {
        Ok(text) => text,
        // No such variable: a server without GTIDs.
        Err(mysql_async::Error::Server(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(Wanted { gtids: gtids.and_then(|text| text.parse().ok()).unwrap_or_default(), binlog })
}

/// Waits until the store has `wanted` and the destinations have what the store has there. Returns the seq, or what is missing.
pub(crate) async fn level(
    pipeline: &Pipeline,
    names: &[String],
    wanted: &Wanted,
    deadline: Instant,
) -> Result<u64, String> {
    let mut looked: Option<Instant> = None;
    let seq = loop {
        let (place, running) = reader_place(pipeline, &mut looked).await;
        if let Some(place) = &place
            && place::has_reached(place, &wanted.gtids, wanted.binlog.as_ref())
        {
            break place.seq;
        }
        if Instant::now() >= deadline {
            let state = if running { "the reader" } else { "the reader does not run, and the store" };
            let at = place.and_then(|p| p.binlog).map_or_else(|| "nothing".to_owned(), |at| at.to_string());
            return Err(format!("{state} has {at}, the source is at {wanted}"));
        }
        tokio::time::sleep(POLL).await;
    };
    for name in names {
        loop {
            let (applied, running) = applier_seq(pipeline, name).await;
            if applied >= seq {
                break;
            }
            if Instant::now() >= deadline {
                let state = if running { "" } else { " (its applier does not run)" };
                return Err(format!("{name}{state} has applied seq {applied} of {seq}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(seq)
}

/// The reader's place and whether it runs; without a reader the store's own end, looked at now and then.
async fn reader_place(pipeline: &Pipeline, looked: &mut Option<Instant>) -> (Option<Place>, bool) {
    let dir = &pipeline.store.dir;
    if let Ok(Answer::Reader(status)) = control::request(&Part::Reader.socket(dir), Request::Status).await {
        return (Some(status.position), true);
    }
    if looked.is_some_and(|at| at.elapsed() < POLL_STORE) {
        return (None, false);
    }
    *looked = Some(Instant::now());
    let dir = dir.clone();
    let end = tokio::task::spawn_blocking(move || place::store_end(&dir)).await;
    (end.ok().and_then(Result::ok).flatten(), false)
}

async fn applier_seq(pipeline: &Pipeline, name: &str) -> (u64, bool) {
    let dir = &pipeline.store.dir;
    let socket = Part::Applier(name.to_owned()).socket(dir);
    if let Ok(Answer::Applier(status)) = control::request(&socket, Request::Status).await {
        return (status.position.seq, true);
    }
    let known = Consumer::list(dir).ok().and_then(|all| all.into_iter().find(|c| c.name == name));
    (known.and_then(|c| c.position).map_or(0, |p| p.0), false)
}
