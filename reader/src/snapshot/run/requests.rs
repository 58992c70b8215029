//! What operators ask for.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use common::config::SnapshotMode;
use common::control::{Answer, Request};
use common::selection::Selection;

use super::due::{Wanted, Which};
use super::trouble::Trouble;
use super::{Shared, begin};

impl Shared {
    pub(super) fn request(&self, request: Request) -> Answer {
        let refused = |reason: String| Answer::Refused { reason };
        match request {
            Request::Snapshot { tables, destination } => self.snapshot(&tables, destination).unwrap_or_else(refused),
            Request::CancelSnapshot => {
                if self.desk.state().runs.is_empty() {
                    return refused("no snapshot is under way".to_owned());
                }
                self.cancel.store(true, Ordering::Relaxed);
                Answer::Done
            }
            Request::Tune { key, value } => self.tune(&key, &value).map_or_else(refused, |()| Answer::Done),
            _ => refused("this is not for the snapshot".to_owned()),
        }
    }

    fn tune(&self, key: &str, value: &str) -> Result<(), String> {
        if key == "threads" {
            let threads = value.parse().ok().filter(|threads| (1..=64).contains(threads));
            let threads = threads.ok_or_else(|| format!("threads: '{value}' is not a number from 1 to 64"))?;
            self.threads.store(threads, Ordering::Relaxed);
            return Ok(());
        }
        let throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match throttle {
            Some(throttle) => throttle.tune(key, value),
            None => {
                // Before the first connection. Looked at as it will be then.
                let Some(server) = self.pipeline.source.servers.first() else {
                    return Err("there is no source".to_owned());
                };
                crate::snapshot::throttle::Throttle::new(&self.pipeline.snapshot, server).tune(key, value)?;
                self.tuned.lock().unwrap_or_else(PoisonError::into_inner).push((key.to_owned(), value.to_owned()));
                Ok(())
            }
        }
    }

    fn snapshot(&self, patterns: &[String], destination: Option<String>) -> Result<Answer, String> {
        if let Some(name) = &destination
            && !self.pipeline.destinations.iter().any(|known| known.name == *name)
        {
            let known: Vec<_> = self.pipeline.destinations.iter().map(|known| known.name.as_str()).collect();
            return Err(format!("there is no destination '{name}'; this pipeline has {}", known.join(", ")));
        }
        let which = if patterns.is_empty() {
            Which::All
        } else {
            let selection = Selection::new(patterns, &[]).map_err(|error| error.to_string())?;
            Which::Matching(Box::new(selection))
        };
        let wanted = Wanted {
            destinations: destination.clone().into_iter().collect(),
            whole: patterns.is_empty(),
            schema_only: self.pipeline.snapshot.mode == SnapshotMode::Schema,
            again: true,
            tables: which,
            reason: "an operator asked for it".to_owned(),
        };
        let explain = |trouble: Trouble| match trouble {
            Trouble::Stopped => "the reader is stopping".to_owned(),
            Trouble::Lost(error) | Trouble::Busy(error) | Trouble::Table(_, error) | Trouble::Fatal(error) => {
                error.to_string()
            }
        };
        // A table that another run has not brought yet would be in both.
        let busy = self.unfinished();
        let selection = self.selection().map_err(explain)?;
        let mut link = self.link().map_err(explain)?;
        let catalog = begin::catalog(&mut link, &selection).map_err(explain)?;
        drop(link);
        let named: Vec<_> =
            catalog.tables.iter().map(|table| &table.name).filter(|name| wanted.tables.has(name)).collect();
        if named.is_empty() {
            return Err(match patterns {
                [] => "the source has no table that is selected".to_owned(),
                _ => format!(
                    "no table of the source that its include and exclude select matches {}",
                    patterns.join(", ")
                ),
            });
        }
        if let Some(both) = named.iter().find(|name| busy.contains(name)) {
            return Err(format!("{both} is being copied by a run that has not ended; wait for it, or cancel it first"));
        }
        match self.begin(&wanted).map_err(explain)? {
            Some(tables) => {
                self.woken.notify_all();
                Ok(Answer::Begun { tables: tables.iter().map(ToString::to_string).collect() })
            }
            None => Err("there is nothing to copy".to_owned()),
        }
    }
}
