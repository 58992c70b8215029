//! `[snapshot]` from the file.

use std::time::Duration;

use super::super::walk::{Found, Section, nearest};
use super::super::{DeferIndexes, Definer, OnExisting, OnObjectError, Server, ServerUrl, Snapshot, SnapshotMode, Tls};
use super::{Context, YEAR};

const KIB: u64 = 1 << 10;
/// More a second than any server gives; only to refuse what was mistyped.
const PER_SECOND_MAX: u64 = 1 << 40;

/// Reads the section; its replicas have no password and no TLS settings yet: [`log_in_as`].
pub(super) fn snapshot(top: &Section<'_, '_>, context: &Context<'_>) -> Snapshot {
    let section = top.table("snapshot");
    let default = Snapshot::default();
    let modes = [("full", SnapshotMode::Full), ("schema", SnapshotMode::Schema), ("none", SnapshotMode::None)];
    let existing = [("stop", OnExisting::Stop), ("overwrite", OnExisting::Overwrite), ("append", OnExisting::Append)];
    let errors = [("stop", OnObjectError::Stop), ("skip", OnObjectError::Skip)];
    let indexes = [("auto", DeferIndexes::Auto), ("always", DeferIndexes::Always), ("never", DeferIndexes::Never)];
    let found = Snapshot {
        mode: section.word("mode", &modes).unwrap_or_default(),
        threads: section.number("threads", 1..=64).unwrap_or(default.threads),
        chunk_bytes: section.size("chunk_size", 64 * KIB..=64 * KIB * KIB).unwrap_or(default.chunk_bytes),
        max_rows_per_second: section.number("max_rows_per_second", 1..=PER_SECOND_MAX),
        max_bytes_per_second: section.size("max_bytes_per_second", KIB..=PER_SECOND_MAX),
        max_threads_running: section.number("max_threads_running", 1..=1_000_000),
        max_replica_lag: section.duration("max_replica_lag", Duration::from_secs(1)..=YEAR),
        replicas: replicas(&section, context),
        pause_query: section
            .parsed("pause_query", "a query; write \"SELECT …\"", |text| {
                (!text.trim().is_empty()).then(|| text.to_owned())
            })
            .map(|found| found.value),
        definer: definer(&section),
        on_existing: section.word("on_existing", &existing).unwrap_or_default(),
        on_error: section.word("on_error", &errors).unwrap_or_default(),
        defer_indexes: section.word("defer_indexes", &indexes).unwrap_or_default(),
    };
    if found.max_replica_lag.is_some()
        && section.lacks("replicas")
        && let Some(raw) = section.raw("max_replica_lag")
    {
        let problem =
            "needs replicas: the urls of the servers whose lag counts; write replicas = [\"mysql://user@host:3306\"]";
        section.error(raw.span().start, "max_replica_lag", problem);
    }
    section.finish();
    found
}

/// Gives the replicas the source's login, except where a url brings a password of its own.
pub(super) fn log_in_as(snapshot: &mut Snapshot, source: &Server) {
    for replica in &mut snapshot.replicas {
        replica.tls.clone_from(&source.tls);
        if replica.password.is_none() {
            replica.password.clone_from(&source.password);
        }
    }
}

fn replicas(section: &Section<'_, '_>, context: &Context<'_>) -> Vec<Server> {
    let Some(urls) = section.strings("replicas") else { return Vec::new() };
    if let Some(raw) = section.raw("replicas")
        && raw.get_ref().as_array().is_some_and(|list| list.is_empty())
    {
        let problem = "is an empty list; name the servers, or leave replicas and max_replica_lag out";
        section.error(raw.span().start, "replicas", problem);
    }
    let mut servers = Vec::new();
    for Found { value, at } in urls {
        match ServerUrl::parse(&value) {
            Ok((url, password)) => {
                if password.is_some() {
                    let warning = format!("the password for {url} stands in the configuration file");
                    context.warnings.borrow_mut().push(warning);
                }
                servers.push(Server { url, password, tls: Tls::default() });
            }
            Err(problem) => section.error(at, "replicas", problem),
        }
    }
    servers
}

fn definer(section: &Section<'_, '_>) -> Definer {
    let Some(Found { value, at }) = section.string("definer") else { return Definer::default() };
    match value.as_str() {
        "keep" => return Definer::Keep,
        "invoker" => return Definer::Invoker,
        _ => {}
    }
    let account = value.rsplit_once('@').filter(|(user, host)| {
        // The longest that a server of either family takes: USERNAME_CHAR_LENGTH (128 in MariaDB's mysql_com.h, 32 in MySQL's) and HOSTNAME_LENGTH (255).
        let fine = |part: &str, chars_max| {
            !part.is_empty() && part.chars().count() <= chars_max && !part.contains(['\'', '"', '`', '\0'])
        };
        fine(user, 128) && fine(host, 255)
    });
    match account {
        Some((user, host)) => Definer::As { user: user.to_owned(), host: host.to_owned() },
        None => {
            let near = nearest(&value, &["keep", "invoker"]);
            let near = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
            let problem =
                format!("'{value}' is none of keep, invoker, or an account as user@host without quotes{near}");
            section.error(at, "definer", problem);
            Definer::default()
        }
    }
}
