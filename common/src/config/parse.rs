//! From the text of a file to a [`Pipeline`], or to everything that is wrong with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::walk::{Found, Notes, Section};
use super::{
    ConfigErrors, Destination, Log, LogFormat, Metrics, OnDivergence, Pipeline, Secret, Server, ServerUrl, Snapshot,
    SnapshotMode, Source, Start, Store, Tls, TlsMode, Write,
};
use crate::selection::Pattern;
use crate::{BinlogPosition, LogPosition};

mod snapshot;

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(366 * 86_400);
const MIB: u64 = 1 << 20;
/// A destination's name becomes part of file names and of a socket's path, which ends at 107 bytes.
const NAME_CHARS_MAX: usize = 48;

/// What the sections have in common.
struct Context<'a> {
    dir: &'a Path,
    env: &'a dyn Fn(&str) -> Option<String>,
    warnings: std::cell::RefCell<Vec<String>>,
}

pub(super) fn pipeline(
    text: &str,
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Pipeline, ConfigErrors> {
    let notes = Notes::new(text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        notes.error(error.span().map_or(0, |s| s.start), "", format!("is not TOML: {}", error.message()));
    }
    if !syntax.is_empty() {
        // What follows a syntax error may be read wrongly; to complain about that would mislead.
        return Err(ConfigErrors { path: path.to_owned(), errors: notes.finish() });
    }
    let context = Context { dir: path.parent().unwrap_or(Path::new("")), env, warnings: Default::default() };
    let top = Section::top(&notes, document.get_ref());
    let name = name(&top, 64);
    let mut snapshot = snapshot::snapshot(&top, &context);
    let source = source(&top, &context, &snapshot, name.as_deref());
    if let Some(server) = source.as_ref().and_then(|source| source.servers.first()) {
        snapshot::log_in_as(&mut snapshot, server);
    }
    let store = store(&top, &context);
    let destinations = destinations(&top, &context);
    let (metrics, log) = (metrics(&top), log(&top));
    top.finish();
    let errors = notes.finish();
    match (name, source, store) {
        (Some(name), Some(source), Some(store)) if errors.is_empty() => {
            let warnings = context.warnings.into_inner();
            Ok(Pipeline { name, source, snapshot, store, destinations, metrics, log, warnings })
        }
        _ => Err(ConfigErrors { path: path.to_owned(), errors }),
    }
}

fn name(section: &Section<'_, '_>, chars_max: usize) -> Option<String> {
    let Some(Found { value, at }) = section.string("name") else {
        if section.lacks("name") {
            section.missing("name", "is missing; write name = \"shop\"");
        }
        return None;
    };
    let fine = value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !fine || value.is_empty() || value.len() > chars_max || value.starts_with('-') {
        section.error(
            at,
            "name",
            format!(
                "'{value}' does not serve as a name: 1 to {chars_max} of a-z, A-Z, 0-9, _ and -, not beginning with -"
            ),
        );
        return None;
    }
    Some(value)
}

fn source(top: &Section<'_, '_>, context: &Context<'_>, snapshot: &Snapshot, name: Option<&str>) -> Option<Source> {
    let missing = !top.has("source");
    let lacks = top.lacks("source");
    let section = top.table("source");
    if lacks {
        top.missing("source", "is missing; write [source] with url = \"mysql://user@host:3306\"");
    }
    let servers = servers(&section, context, missing);
    let (include, exclude) = selection(&section);
    let retry_for = section.duration("retry_for", Duration::ZERO..=YEAR).unwrap_or(12 * HOUR);
    let heartbeat = section.duration("heartbeat", Duration::from_millis(100)..=HOUR).unwrap_or(Duration::from_secs(1));
    let server_id = section.number("server_id", 1..=u64::from(u32::MAX)).map(|n| n as u32);
    let mut start = Start::Latest;
    if let Some(Found { value, at }) = section.string("start") {
        match read_start(&value) {
            Ok(found) => start = found,
            Err(problem) => section.error(at, "start", problem),
        }
        if snapshot.mode != SnapshotMode::None {
            let problem = "needs [snapshot] mode = \"none\": a snapshot begins at the source's present position";
            section.error(at, "start", problem);
        }
    }
    section.finish();
    let server_id = server_id.unwrap_or_else(|| default_server_id(name.unwrap_or_default()));
    Some(Source { servers: servers?, include, exclude, retry_for, server_id, heartbeat, start })
}

/// A fixed id from the pipeline's name, well above what people give by hand: between 2^30 and 2^31.
fn default_server_id(name: &str) -> u32 {
    (1 << 30) | (crc32fast::hash(name.as_bytes()) >> 2)
}

fn read_start(text: &str) -> Result<Start, String> {
    let wanted = "write \"latest\", \"earliest\", \"binlog:FILE:OFFSET\" or \"gtid:SET\"";
    if let Some(set) = text.strip_prefix("gtid:") {
        return set.parse().map(Start::Gtid).map_err(|error| format!("{error}; {wanted}"));
    }
    match text.parse::<LogPosition>() {
        Ok(LogPosition::Latest) => Ok(Start::Latest),
        Ok(LogPosition::Earliest) => Ok(Start::Earliest),
        Ok(LogPosition::Binlog(BinlogPosition { file, offset })) if offset >= 4 && !file.is_empty() => {
            Ok(Start::Binlog(BinlogPosition { file, offset }))
        }
        _ => Err(format!("'{text}' is not a place in the source; {wanted} (the offset at least 4)")),
    }
}

fn selection(section: &Section<'_, '_>) -> (Vec<String>, Vec<String>) {
    let list = |key: &'static str| {
        let found = section.strings(key)?;
        for Found { value, at } in &found {
            if let Err(error) = value.parse::<Pattern>() {
                section.error(*at, key, error.to_string());
            }
        }
        Some(found.into_iter().map(|f| f.value).collect::<Vec<_>>())
    };
    let include = list("include").unwrap_or_else(|| vec!["*.*".to_owned()]);
    (include, list("exclude").unwrap_or_default())
}

/// The servers of `url`, with password and TLS; None if something is wrong with them.
fn servers(section: &Section<'_, '_>, context: &Context<'_>, quiet: bool) -> Option<Vec<Server>> {
    let password = password(section, context);
    let tls = tls(section, context);
    let Some(urls) = section.strings("url") else {
        if !quiet && section.lacks("url") {
            section.missing("url", "is missing; write url = \"mysql://user@host:3306\"");
        }
        return None;
    };
    if urls.is_empty() && section.raw("url").is_some_and(|r| r.get_ref().as_array().is_some_and(|a| a.is_empty())) {
        section.missing("url", "is an empty list; write url = \"mysql://user@host:3306\"");
    }
    let mut servers = Vec::new();
    for Found { value, at } in urls {
        match ServerUrl::parse(&value) {
            Ok((url, in_url)) => {
                if in_url.is_some() && password.is_some() {
                    section.error(at, "url", "holds a password, and another is given by its own key; keep only one");
                } else if in_url.is_some() {
                    let warning = format!(
                        "the password for {url} stands in the configuration file; password_env or password_file keeps it out"
                    );
                    context.warnings.borrow_mut().push(warning);
                }
                servers.push(Server { url, password: in_url.or_else(|| password.clone()), tls: tls.clone() });
            }
            Err(problem) => section.error(at, "url", problem),
        }
    }
    (!servers.is_empty()).then_some(servers)
}

fn password(section: &Section<'_, '_>, context: &Context<'_>) -> Option<Secret> {
    let by_env = section.string("password_env");
    let by_file = section.string("password_file");
    if let (Some(_), Some(file)) = (&by_env, &by_file) {
        section.error(file.at, "password_file", "password_env is given too; keep only one");
    }
    let mut password = None;
    if let Some(Found { value: variable, at }) = by_env {
        match (context.env)(&variable) {
            Some(text) if !text.is_empty() => password = Some(Secret::new(text)),
            Some(_) => section.error(at, "password_env", format!("the environment variable {variable} is empty")),
            None => section.error(at, "password_env", format!("the environment variable {variable} is not set")),
        }
    }
    if let Some(Found { value, at }) = by_file {
        let path = context.dir.join(value);
        match std::fs::read_to_string(&path) {
            Ok(text) => password = Some(Secret::new(text.trim_end_matches(['\n', '\r']))),
            Err(error) => section.error(at, "password_file", format!("{} cannot be read: {error}", path.display())),
        }
    }
    password
}

fn tls(section: &Section<'_, '_>, context: &Context<'_>) -> Tls {
    let table = section.table("tls");
    let words = [
        ("disabled", TlsMode::Disabled),
        ("preferred", TlsMode::Preferred),
        ("required", TlsMode::Required),
        ("verify-ca", TlsMode::VerifyCa),
        ("verify-identity", TlsMode::VerifyIdentity),
    ];
    let mode = table.word("mode", &words).unwrap_or_default();
    let file = |key: &'static str| -> Option<PathBuf> {
        let Found { value, at } = table.string(key)?;
        let path = context.dir.join(value);
        match std::fs::read(&path) {
            Ok(bytes) if bytes.windows(11).any(|w| w == b"-----BEGIN ") => return Some(path),
            Ok(_) => table.error(at, key, format!("{} is not a PEM file", path.display())),
            Err(error) => table.error(at, key, format!("{} cannot be read: {error}", path.display())),
        }
        None
    };
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if table.has(one) && !table.has(other) {
            table.missing(other, &format!("is missing; {one} needs it"));
        }
    }
    if mode == TlsMode::Disabled && (table.has("ca") || table.has("cert")) {
        table.missing("mode", "\"disabled\" uses no certificates; choose another mode, or leave ca, cert and key out");
    }
    table.finish();
    Tls { mode, ca, identity: cert.zip(key) }
}

fn store(top: &Section<'_, '_>, context: &Context<'_>) -> Option<Store> {
    let missing = top.lacks("store");
    let absent = !top.has("store");
    let section = top.table("store");
    let dir = section.string("dir");
    if missing || (!absent && section.lacks("dir")) {
        section.missing("dir", "is missing; write dir = \"/var/lib/logweir/NAME\" in [store]");
    }
    let retain = section.duration("retain", Duration::ZERO..=10 * YEAR).unwrap_or(24 * HOUR);
    let segment_bytes = section.size("segment_size", MIB..=4096 * MIB).unwrap_or(64 * MIB);
    let max_size = section.size("max_size", segment_bytes.saturating_mul(4)..=1 << 60);
    section.finish();
    let dir = dir?;
    if dir.value.is_empty() {
        section_error_empty(top, dir.at);
        return None;
    }
    Some(Store { dir: context.dir.join(dir.value), retain, max_size, segment_bytes })
}

fn section_error_empty(top: &Section<'_, '_>, at: usize) {
    top.error(at, "store.dir", "is empty; write the folder's path");
}

fn destinations(top: &Section<'_, '_>, context: &Context<'_>) -> Vec<Destination> {
    let sections = top.tables("destination");
    if sections.is_empty() && top.lacks("destination") {
        top.missing("destination", "is missing; write [[destination]] with name and url, once for each");
    }
    let mut seen: Vec<String> = Vec::new();
    let mut out = Vec::new();
    for section in sections {
        let at = section.at;
        let name = name(&section, NAME_CHARS_MAX);
        if let Some(name) = &name {
            // Two names that differ only by case would share files on some file systems.
            if seen.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                section.error(
                    at,
                    "name",
                    format!("'{name}' is the name of another destination too; give each its own"),
                );
            }
            seen.push(name.clone());
        }
        out.extend(destination(section, context, name));
    }
    out
}

fn destination(section: Section<'_, '_>, context: &Context<'_>, name: Option<String>) -> Option<Destination> {
    let servers = servers(&section, context, false);
    if let Some(list) = &servers
        && list.len() > 1
    {
        section.missing("url", "names several servers; a destination has one (write one [[destination]] for each)");
    }
    let (include, exclude) = selection(&section);
    let position_database = section.parsed("position_database", "a database's name of 1 to 64 characters", |text| {
        let own = ["mysql", "sys", "information_schema", "performance_schema"];
        let fine = (1..=64).contains(&text.chars().count()) && !text.contains(['`', '\0', '/', '\\', '.']);
        (fine && !own.contains(&text.to_ascii_lowercase().as_str())).then(|| text.to_owned())
    });
    let write = section.word("write", &[("auto", Write::Auto), ("row-events", Write::RowEvents), ("sql", Write::Sql)]);
    let policies = [("stop", OnDivergence::Stop), ("overwrite", OnDivergence::Overwrite), ("skip", OnDivergence::Skip)];
    let on_divergence = section.word("on_divergence", &policies);
    let retry_for = section.duration("retry_for", Duration::ZERO..=YEAR).unwrap_or(12 * HOUR);
    let group_rows = section.number("group_rows", 1..=10_000_000).unwrap_or(5000);
    let group_bytes = section.size("group_size", 1024..=1024 * MIB).unwrap_or(4 * MIB);
    let group_time = section.duration("group_time", Duration::ZERO..=Duration::from_secs(60));
    if let Some(map) = section.raw("map") {
        let problem = "is not available yet: mapping names and columns comes in a later version; leave it out";
        section.error(map.span().start, "map", problem);
    }
    section.finish();
    Some(Destination {
        name: name?,
        server: servers?.into_iter().next()?,
        include,
        exclude,
        position_database: position_database.map_or_else(|| "logweir".to_owned(), |found| found.value),
        write: write.unwrap_or_default(),
        on_divergence: on_divergence.unwrap_or_default(),
        retry_for,
        group_rows,
        group_bytes,
        group_time: group_time.unwrap_or(Duration::from_millis(50)),
    })
}

fn metrics(top: &Section<'_, '_>) -> Option<Metrics> {
    if !top.has("metrics") {
        top.table("metrics").finish();
        return None;
    }
    let section = top.table("metrics");
    let listen = section.parsed("listen", "an address with a port; write \"127.0.0.1:9104\"", |t| t.parse().ok());
    if section.lacks("listen") {
        section.missing("listen", "is missing; write listen = \"127.0.0.1:9104\", or leave [metrics] out");
    }
    section.finish();
    Some(Metrics { listen: listen?.value })
}

fn log(top: &Section<'_, '_>) -> Log {
    let section = top.table("log");
    let format = section.word("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]).unwrap_or_default();
    let wanted = "a level; write error, warn, info, debug or trace, or a filter like info,reader=debug";
    let level = section.parsed("level", wanted, |text| {
        let known = text.split(',').all(|part| {
            let level = part.rsplit_once('=').map_or(part, |(_, level)| level).trim().to_ascii_lowercase();
            ["error", "warn", "info", "debug", "trace", "off"].contains(&level.as_str())
        });
        (known && tracing_subscriber::EnvFilter::try_new(text).is_ok()).then(|| text.to_owned())
    });
    section.finish();
    let default = Log::default();
    Log { format, level: level.map_or(default.level, |found| found.value) }
}
