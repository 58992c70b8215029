//! `logweir check`: looks at servers, accounts and the store before anything is started. Changes nothing.

use std::path::Path;

use common::config::{Pipeline, Server};
use common::connect;
use mysql_async::Conn;
use serde::Serialize;

use crate::cli::CheckArgs;
use crate::exit::{Exit, Failure};
use crate::out;

mod destination;
mod grants;
mod session;
mod source;

use session::Session;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Pass,
    Warn,
    Fail,
}

/// One item. Its id is stable, for scripts.
#[derive(Clone, Debug, Serialize)]
struct Item {
    /// `source` or the destination's name, or `store`.
    part: String,
    id: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// How to mend it; empty if it passed.
    mend: String,
}

/// The items of one part.
struct Items {
    part: String,
    items: Vec<Item>,
}

impl Items {
    fn of(part: &str) -> Items {
        Items { part: part.to_owned(), items: Vec::new() }
    }

    fn add(&mut self, id: &'static str, verdict: Verdict, found: impl Into<String>, mend: &str) {
        let mend = if verdict == Verdict::Pass { String::new() } else { mend.to_owned() };
        self.items.push(Item { part: self.part.clone(), id, verdict, found: found.into(), mend });
    }

    /// Passes if `fine`, else `otherwise`.
    fn is(&mut self, id: &'static str, fine: bool, otherwise: Verdict, found: impl Into<String>, mend: &str) {
        self.add(id, if fine { Verdict::Pass } else { otherwise }, found, mend);
    }
}

/// Checks everything. Exit code 1 if an item fails.
pub(crate) async fn check(args: CheckArgs) -> Result<Exit, Failure> {
    let pipeline = Pipeline::load(&args.config.config)?;
    let mut items = store_items(&pipeline.store.dir);
    let (source_session, found) = source::check(&pipeline).await;
    items.extend(found);
    for destination in &pipeline.destinations {
        items.extend(destination::check(destination, source_session.as_ref()).await);
    }
    let failed = items.iter().filter(|i| i.verdict == Verdict::Fail).count();
    let warned = items.iter().filter(|i| i.verdict == Verdict::Warn).count();
    if args.json {
        let document = serde_json::json!({
            "pipeline": pipeline.name,
            "ok": failed == 0,
            "failed": failed,
            "warned": warned,
            "items": items,
            "warnings": pipeline.warnings,
        });
        out::json(&document)?;
    } else {
        for warning in &pipeline.warnings {
            eprintln!("warning: {warning}");
        }
        for item in &items {
            let verdict = match item.verdict {
                Verdict::Pass => "pass",
                Verdict::Warn => "WARN",
                Verdict::Fail => "FAIL",
            };
            out::line(&format!("{verdict}  {:12} {:22} {}", item.part, item.id, item.found))?;
            if !item.mend.is_empty() {
                out::line(&format!("      {:35} {}", "", item.mend))?;
            }
        }
        out::line(&format!("{} passed, {warned} warned, {failed} failed", items.len() - failed - warned))?;
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

fn store_items(dir: &Path) -> Vec<Item> {
    let mut items = Items::of("store");
    let mend = "create the folder for the user that the services run as, or change [store] dir";
    // The store itself is made by the reader; its nearest folder that exists has to let it.
    let existing = dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let writable = nix::unistd::access(existing, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK);
    match writable {
        Ok(()) => items.add("store-folder", Verdict::Pass, format!("{} can be written", dir.display()), ""),
        Err(error) => items.add("store-folder", Verdict::Fail, format!("{}: {error}", existing.display()), mend),
    }
    items.items
}

/// Connects, and notes how that went.
async fn connected(server: &Server, items: &mut Items) -> Option<Conn> {
    match connect::open(server).await {
        Ok(conn) => {
            items.add("connect", Verdict::Pass, format!("{} answers", server.url), "");
            Some(conn)
        }
        Err(error) => {
            // The message says what to do.
            items.add("connect", Verdict::Fail, error.to_string(), "");
            None
        }
    }
}
