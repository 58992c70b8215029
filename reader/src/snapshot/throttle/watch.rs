//! Looks at the source and its replicas about once a second, for all that wait.

use std::sync::Weak;
use std::time::Duration;

use common::Flavor;
use common::config::Server;

use super::Shared;
use super::gate::Seen;
use super::limits::{LAG, Limits, PAUSE, THREADS};
use crate::error::ReaderError;
use crate::source::{Session, number, text};

const EVERY: Duration = Duration::from_secs(1);

/// Starts it. It ends by itself when nobody asks any more.
pub(super) fn start(shared: Weak<Shared>, source: &Server, replicas: &[Server]) -> Result<(), String> {
    let mut watcher = Watcher { source: Watched::new(source), replicas: replicas.iter().map(Watched::new).collect() };
    let thread = std::thread::Builder::new().name("snapshot-watch".to_owned());
    let run = move || {
        loop {
            let Some(limits) = shared.upgrade().and_then(|shared| shared.gate().watch(shared.now())) else { return };
            let hold = watcher.look(&limits);
            let Some(shared) = shared.upgrade() else { return };
            shared.gate().saw(&limits, Seen { at: shared.now(), hold });
            shared.changed.notify_all();
            drop(shared);
            std::thread::sleep(EVERY);
        }
    };
    thread.spawn(run).map(|_| ()).map_err(|error| format!("this system gives no thread to watch with: {error}"))
}

/// A server, with a connection when there is one.
struct Watched {
    server: Server,
    session: Option<Session>,
}

impl Watched {
    fn new(server: &Server) -> Self {
        Self { server: server.clone(), session: None }
    }

    /// Asks; a connection that failed is not used again.
    fn ask<T>(&mut self, ask: impl FnOnce(&mut Session) -> Result<T, ReaderError>) -> Result<T, ReaderError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.server)?,
        };
        let answer = ask(&mut session)?;
        self.session = Some(session);
        Ok(answer)
    }
}

struct Watcher {
    source: Watched,
    replicas: Vec<Watched>,
}

impl Watcher {
    /// Which limit says no, and why. What cannot be asked says no, too.
    fn look(&mut self, limits: &Limits) -> Option<(&'static str, String)> {
        let said = |key: &'static str, answer: Result<Option<String>, ReaderError>| {
            let text = answer.unwrap_or_else(|error| Some(format!("cannot be looked at: {error}")));
            text.map(|text| (key, format!("{key}: {text}")))
        };
        if let Some(allowed) = limits.threads_running
            && let Some(hold) = said(THREADS, self.source.ask(|session| threads_running(session, allowed)))
        {
            return Some(hold);
        }
        if let Some(query) = &limits.pause_query
            && let Some(hold) = said(PAUSE, self.source.ask(|session| pause(session, query)))
        {
            return Some(hold);
        }
        let allowed = limits.replica_lag?;
        self.replicas.iter_mut().find_map(|replica| {
            let name = replica.server.url.to_string();
            said(LAG, replica.ask(|session| lag(session, &name, allowed)))
        })
    }
}

fn threads_running(session: &mut Session, allowed: u64) -> Result<Option<String>, ReaderError> {
    let rows = session.rows("counting its threads", "SHOW GLOBAL STATUS LIKE 'Threads_running'")?;
    let running: u64 = rows.first().and_then(|row| text(row, 1)?.parse().ok()).unwrap_or(0);
    Ok((running > allowed).then(|| format!("{running} are running, {allowed} are allowed")))
}

fn pause(session: &mut Session, query: &str) -> Result<Option<String>, ReaderError> {
    let value = session.text("running the pause_query", query)?.unwrap_or_default();
    Ok(pauses(&value).then(|| format!("the query's answer is {}", value.chars().take(100).collect::<String>())))
}

/// Whether an answer of the pause_query means a pause: neither NULL (empty here), nor empty, nor 0.
fn pauses(value: &str) -> bool {
    let value = value.trim();
    !value.is_empty() && value.parse::<f64>() != Ok(0.0)
}

fn lag(session: &mut Session, name: &str, allowed: Duration) -> Result<Option<String>, ReaderError> {
    let version = session.text("asking for its version", "SELECT VERSION()")?.unwrap_or_default();
    let flavor = if version.to_ascii_lowercase().contains("mariadb") { Flavor::MariaDb } else { Flavor::MySql };
    // SHOW REPLICA STATUS came with 8.0.22, SHOW SLAVE STATUS went with 8.4. Where there are several sources each has a row.
    let query = match flavor {
        Flavor::MariaDb => "SHOW ALL SLAVES STATUS",
        Flavor::MySql if number(&version) >= (8, 1) => "SHOW REPLICA STATUS",
        Flavor::MySql => "SHOW SLAVE STATUS",
    };
    let rows = session
        .rows("asking for its lag (needs the privilege REPLICATION CLIENT, on MariaDB REPLICA MONITOR)", query)?;
    let seconds = rows.iter().map(|row| {
        let is_lag = |name: &str| name.to_ascii_lowercase().starts_with("seconds_behind_");
        let index = row.columns_ref().iter().position(|column| is_lag(&column.name_str()))?;
        text(row, index)?.parse::<u64>().ok()
    });
    Ok(lags(name, &seconds.collect::<Vec<_>>(), allowed))
}

/// What these lags, one for each source of the replica, say against going on.
fn lags(name: &str, seconds: &[Option<u64>], allowed: Duration) -> Option<String> {
    if seconds.is_empty() {
        return Some(format!("{name} is no replica"));
    }
    if seconds.contains(&None) {
        return Some(format!("replication at {name} is stopped"));
    }
    let most = seconds.iter().flatten().max().copied().unwrap_or(0);
    (Duration::from_secs(most) > allowed)
        .then(|| format!("{name} is {most} s behind, {} s are allowed", allowed.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_what_is_neither_zero_nor_empty() {
        for (value, expected) in
            [("", false), ("0", false), ("0.000", false), (" ", false), ("1", true), ("-1", true), ("yes", true)]
        {
            assert_eq!(pauses(value), expected, "{value}");
        }
    }

    #[test]
    fn a_replica_that_is_stopped_holds_as_one_does_that_is_late() {
        let lags = |seconds: &[Option<u64>]| lags("r", seconds, Duration::from_secs(5));
        assert_eq!(lags(&[Some(5), Some(0)]), None);
        assert_eq!(lags(&[Some(0), Some(6)]).unwrap(), "r is 6 s behind, 5 s are allowed");
        assert_eq!(lags(&[Some(0), None]).unwrap(), "replication at r is stopped");
        assert_eq!(lags(&[]).unwrap(), "r is no replica");
    }
}
