//! `logweir snapshot`: copies tables (again) on a running pipeline, ends a copy, and changes the limits that spare the source.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use common::config::Pipeline;
use common::control::{self, Answer, ControlError, Request, StopNote};
use serde_json::{Value as Json, json};

use crate::cli::SnapshotArgs;
use crate::exit::{Exit, Failure};
use crate::observe::observe;
use crate::part::{self, Part};
use crate::run::live::Live;
use crate::{out, progress};

/// Between two looks.
const POLL: Duration = Duration::from_millis(500);
/// A run that the reader has begun is shown in its status after this at the latest; one that is not, is over already.
const SHOWN_AFTER: Duration = Duration::from_secs(3);
/// For how long a service may be away: `logweir run` starts it again after at most half of it.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// Tables that are named of those that are begun; `--json` has them all.
const NAMED_MAX: usize = 20;

/// Does what the command line says, in this order: change limits, cancel or begin, wait.
pub(crate) async fn snapshot(args: SnapshotArgs) -> Result<Exit, Failure> {
    let pipeline = part::load_without_passwords(&args.config.config)?;
    let names = part::destinations(&pipeline, args.destination.as_deref())?;
    let reader = Reader { pipeline: &pipeline, config: &args.config.config };
    let mut told = serde_json::Map::new();
    for setting in &args.set {
        reader.ask(Request::Tune { key: setting.key.clone(), value: setting.value.clone() }).await?;
        if !args.json {
            let value = if setting.value.is_empty() { "no limit".to_owned() } else { setting.value.clone() };
            out::line(&format!("{} is {value} until the reader's next start", setting.key))?;
        }
    }
    let set: Vec<Json> = args.set.iter().map(|s| json!({ "key": s.key, "value": s.value })).collect();
    told.insert("set".into(), set.into());
    if args.cancel {
        reader.ask(Request::CancelSnapshot).await?;
        told.insert("cancelled".into(), true.into());
        if !args.json {
            out::line("the copy ends after the chunks in hand; tables that are not done stay as they are")?;
        }
    } else if args.begins() {
        let started = Instant::now();
        let tables = reader.begin(&args).await?;
        if !args.json {
            out::line(&begun(&tables, args.destination.as_deref()))?;
        }
        told.insert("begun".into(), tables.into());
        told.insert("destinations".into(), names.clone().into());
        if args.wait {
            let live = Live::new(args.json || !std::io::stderr().is_terminal());
            let result = wait(&pipeline, &names, args.timeout, SHOWN_AFTER, &live).await;
            live.finish();
            let seq = result?;
            told.insert("seq".into(), seq.into());
            told.insert("seconds".into(), started.elapsed().as_secs_f64().into());
            if !args.json {
                let took = progress::duration(started.elapsed().as_secs_f64());
                out::line(&format!("copied after {took}: {} at seq {seq} or behind it", names.join(", ")))?;
            }
        }
    }
    if args.json {
        out::json(&told)?;
    }
    Ok(Exit::Done)
}

/// What was begun, in words.
fn begun(tables: &[String], destination: Option<&str>) -> String {
    let to = destination.map_or_else(|| "all destinations".to_owned(), ToOwned::to_owned);
    let mut named = tables.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if tables.len() > NAMED_MAX {
        named.push_str(&format!(" and {} more", tables.len() - NAMED_MAX));
    }
    let count = if tables.len() == 1 { "1 table".to_owned() } else { format!("{} tables", tables.len()) };
    format!("{count} will be copied to {to}: {named}")
}

/// The running reader.
struct Reader<'a> {
    pipeline: &'a Pipeline,
    config: &'a Path,
}

impl Reader<'_> {
    async fn ask(&self, request: Request) -> Result<Answer, Failure> {
        let socket = Part::Reader.socket(&self.pipeline.store.dir);
        match control::request(&socket, request).await {
            Ok(Answer::Refused { reason }) => Err(Failure::new(Exit::Failed, format!("the reader refuses: {reason}"))),
            Ok(answer) => Ok(answer),
            Err(ControlError::NotRunning { .. }) => {
                let config = self.config.display();
                let message = format!(
                    "the reader of pipeline {} does not run; start it with `logweir run --config {config}` or `logweir-reader --config {config}`",
                    self.pipeline.name
                );
                Err(Failure::new(Exit::Failed, message))
            }
            Err(error) => Err(Failure::new(Exit::Failed, error.to_string())),
        }
    }

    async fn begin(&self, args: &SnapshotArgs) -> Result<Vec<String>, Failure> {
        let tables = args.tables.iter().flat_map(|list| list.0.iter().cloned()).collect();
        let request = Request::Snapshot { tables, destination: args.destination.clone() };
        match self.ask(request).await? {
            Answer::Begun { tables } => Ok(tables),
            other => Err(Failure::new(Exit::Failed, format!("the reader answered something else: {other:?}"))),
        }
    }
}

/// Waits until the reader has no run under way and the destinations have all that was in the log then. Returns that seq. A run that is not shown
/// after `shown_after` is over already.
pub(crate) async fn wait(
    pipeline: &Pipeline,
    names: &[String],
    limit: Duration,
    shown_after: Duration,
    live: &Live,
) -> Result<u64, Failure> {
    let started = Instant::now();
    let mut shown = false;
    let mut quiet = 0;
    let mut reached = None;
    let mut away = Away::default();
    loop {
        let seen = observe(pipeline, false).await;
        live.draw(&seen);
        let reader = &seen.reader;
        if reached.is_none() {
            away.look("the reader", reader.running, last_word(reader.stopped.as_ref()))?;
            shown |= reader.status.snapshot.is_some();
            let over = reader.running && reader.status.snapshot.is_none();
            quiet = if over && (shown || started.elapsed() >= shown_after) { quiet + 1 } else { 0 };
            // The last step may be behind what is durable at the first look; at the second it is not.
            reached = (quiet >= 2).then_some(reader.status.position.seq);
        }
        if let Some(seq) = reached {
            let mut missing = None;
            for applier in seen.destinations.iter().filter(|d| names.contains(&d.status.destination)) {
                if applier.status.position.seq < seq {
                    let note = last_word(applier.stopped.as_ref());
                    away.look(&applier.status.destination, applier.running, note)?;
                    missing.get_or_insert(&applier.status.destination);
                }
            }
            if missing.is_none() {
                return Ok(seq);
            }
        }
        if started.elapsed() >= limit {
            let what = if reached.is_none() { "is not in the log yet" } else { "is not at all destinations yet" };
            let message = format!("timed out after {limit:?}: the copy {what}; it goes on, see `logweir status`");
            return Err(Failure::new(Exit::TimedOut, message));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Services that do not run, and since when.
#[derive(Default)]
struct Away(std::collections::HashMap<String, Instant>);

impl Away {
    /// An error if the service has been away for so long that nobody will start it again, or ended with a code that needs an operator.
    fn look(&mut self, who: &str, running: bool, stopped: Option<(i32, String)>) -> Result<(), Failure> {
        if running {
            self.0.remove(who);
            return Ok(());
        }
        let since = *self.0.entry(who.to_owned()).or_insert_with(Instant::now);
        let final_code = stopped.as_ref().is_some_and(|(code, _)| [2, 3, 4].contains(code));
        if !final_code && since.elapsed() < AWAY_MAX {
            return Ok(());
        }
        let why = stopped.map_or_else(String::new, |(code, reason)| format!(" (exit code {code}: {reason})"));
        Err(Failure::new(Exit::Failed, format!("{who} does not run{why}; the copy goes on when it is started again")))
    }
}

fn last_word(note: Option<&StopNote>) -> Option<(i32, String)> {
    note.map(|note| (note.exit_code, note.reason.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_said_in_words() {
        assert_eq!(begun(&["shop.t".into()], Some("crm")), "1 table will be copied to crm: shop.t");
        let many: Vec<String> = (0..30).map(|n| format!("s.t{n}")).collect();
        let text = begun(&many, None);
        assert!(text.starts_with("30 tables will be copied to all destinations: s.t0, s.t1,"), "{text}");
        assert!(text.ends_with("s.t19 and 10 more"), "{text}");
    }

    #[test]
    fn a_service_that_needs_an_operator_ends_the_waiting_at_once() {
        let mut away = Away::default();
        away.look("replica", false, Some((1, "lost".into()))).unwrap();
        away.look("replica", true, None).unwrap();
        let error = away.look("replica", false, Some((4, "a row is missing".into()))).unwrap_err();
        assert!(error.to_string().contains("replica does not run (exit code 4: a row is missing)"), "{error}");
    }
}
