//! `logweir check`: looks at servers, accounts, settings and what is to be copied before anything is started. Changes nothing.
//!
//! Everything is asked by a handful of statements for each server, so that it takes seconds with ten thousand tables too.

use common::config::{Pipeline, Server, TlsMode};
use common::connect;
use mysql_async::Conn;

use crate::cli::CheckArgs;
use crate::exit::{Exit, Failure};
use crate::out;

mod capacity;
mod definers;
mod destination;
mod existing;
mod fit;
mod grants;
mod inventory;
mod item;
mod privileges;
mod rows;
mod session;
mod source;
mod store;
mod tables;

use inventory::Inventory;
use item::Items;
pub(crate) use item::{Item, Verdict};
use session::Session;

/// Checks everything. Exit code 1 if an item fails.
pub(crate) async fn check(args: CheckArgs) -> Result<Exit, Failure> {
    let unknown = item::unknown(&args.ignore);
    if !unknown.is_empty() {
        return Err(Failure::new(Exit::Usage, unknown.join("\n")));
    }
    let pipeline = Pipeline::load(&args.config.config)?;
    let mut items = look(&pipeline).await;
    item::ignore(&mut items, &args.ignore);
    let count = |verdict| items.iter().filter(|i| i.verdict == verdict).count();
    let (failed, warned, noted) = (count(Verdict::Fail), count(Verdict::Warn), count(Verdict::Note));
    if args.json {
        let document = serde_json::json!({
            "pipeline": pipeline.name,
            "ok": failed == 0,
            "failed": failed,
            "warned": warned,
            "ignored": noted,
            "items": items,
            "warnings": pipeline.warnings,
        });
        out::json(&document)?;
    } else {
        for warning in &pipeline.warnings {
            eprintln!("warning: {warning}");
        }
        for item in &items {
            out::line(&text(item))?;
        }
        let ignored = if noted > 0 { format!(", {noted} ignored") } else { String::new() };
        let passed = items.len() - failed - warned - noted;
        out::line(&format!("{passed} passed, {warned} warned, {failed} failed{ignored}"))?;
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

/// The same look before `logweir run`: prints what is not as it should be, warnings in a line each.
///
/// # Errors
/// When an item fails.
pub(crate) async fn before_start(pipeline: &Pipeline) -> Result<(), Failure> {
    let items = look(pipeline).await;
    let mut failed = 0;
    for item in &items {
        match item.verdict {
            Verdict::Warn => eprintln!("warning: {}, {}: {}; {}", item.part, item.id, item.found, item.mend),
            Verdict::Fail => {
                failed += 1;
                eprintln!("{}", text(item));
            }
            Verdict::Pass | Verdict::Note => {}
        }
    }
    if failed == 0 {
        return Ok(());
    }
    let message = format!(
        "{failed} items of the check fail, nothing is started; mend them (`logweir check` shows all), or start with --no-check"
    );
    Err(Failure::new(Exit::Failed, message))
}

/// An item in one line, and a second one on how to mend it.
fn text(item: &Item) -> String {
    let mut text = format!("{}  {:12} {:18} {}", item.verdict.name(), item.part, item.id, item.found);
    if !item.mend.is_empty() {
        text.push_str(&format!("\n      {:31} {}", "", item.mend));
    }
    text
}

/// All items of all parts.
async fn look(pipeline: &Pipeline) -> Vec<Item> {
    let mut items = store::check(pipeline);
    let (source, found) = source::check(pipeline).await;
    items.extend(found);
    for destination in &pipeline.destinations {
        items.extend(destination::check(pipeline, destination, source.as_ref()).await);
    }
    items
}

/// What the source showed, for the checks of destinations.
struct Source {
    session: Session,
    inventory: Inventory,
}

/// Connects, and notes how that went and whether the connection is protected.
async fn connected(server: &Server, items: &mut Items) -> Option<(Conn, Session)> {
    let mut conn = match connect::open(server).await {
        Ok(conn) => conn,
        Err(error) => {
            // The message says what to do.
            items.add("connect", Verdict::Fail, error.to_string(), "");
            return None;
        }
    };
    items.add("connect", Verdict::Pass, format!("{} answers", server.url), "");
    match Session::read(&mut conn).await {
        Ok(session) => {
            tls(server, &session, items);
            Some((conn, session))
        }
        Err(error) => {
            items.unanswered("read-variables", &error);
            None
        }
    }
}

fn tls(server: &Server, session: &Session, items: &mut Items) {
    let local = match &server.url.host {
        common::config::Host::Unix(_) => true,
        common::config::Host::Tcp(host, _) => {
            host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
    };
    let verified = matches!(server.tls.mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity);
    let found = match (session.cipher.as_str(), verified) {
        ("", _) if local => "not encrypted, and does not leave this machine".to_owned(),
        ("", _) => "the connection is NOT encrypted".to_owned(),
        (cipher, true) => format!("{cipher}, the server's certificate is verified"),
        (cipher, false) => format!("{cipher}, the server's certificate is not looked at"),
    };
    let mend = "switch TLS on at the server, and set tls = { mode = \"verify-identity\", ca = \"…\" }: passwords are safe, but rows can be read on the way";
    items.is("tls", !session.cipher.is_empty() || local, Verdict::Warn, found, mend);
}
