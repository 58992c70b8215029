//! The effective configuration as text.

use std::fmt::{Display, Write as _};

use super::units::exact_size;
use super::{
    DeferIndexes, Definer, Destination, LogFormat, OnDivergence, OnExisting, OnObjectError, Pipeline, Server, Snapshot,
    SnapshotMode, Start, TlsMode, Write,
};

pub(super) fn pipeline(p: &Pipeline) -> String {
    let mut out = String::new();
    line(&mut out, "name", text(&p.name));
    out.push_str("\n[source]\n");
    let urls: Vec<String> = p.source.servers.iter().map(|s| text(&s.url)).collect();
    match urls.as_slice() {
        [one] => line(&mut out, "url", one),
        several => line(&mut out, "url", format!("[{}]", several.join(", "))),
    }
    if let Some(server) = p.source.servers.first() {
        login(&mut out, server);
    }
    line(&mut out, "include", list(&p.source.include));
    line(&mut out, "exclude", list(&p.source.exclude));
    line(&mut out, "retry_for", duration(p.source.retry_for));
    line(&mut out, "heartbeat", duration(p.source.heartbeat));
    line(&mut out, "server_id", p.source.server_id);
    if p.snapshot.mode == SnapshotMode::None {
        let start = match &p.source.start {
            Start::Latest => "latest".to_owned(),
            Start::Earliest => "earliest".to_owned(),
            Start::Binlog(at) => format!("binlog:{at}"),
            Start::Gtid(set) => format!("gtid:{set}"),
        };
        line(&mut out, "start", text(start));
    }
    snapshot(&mut out, &p.snapshot);
    out.push_str("\n[store]\n");
    line(&mut out, "dir", text(p.store.dir.display()));
    line(&mut out, "retain", duration(p.store.retain));
    if let Some(bytes) = p.store.max_size {
        line(&mut out, "max_size", text(exact_size(bytes)));
    }
    line(&mut out, "segment_size", text(exact_size(p.store.segment_bytes)));
    if let Some(metrics) = &p.metrics {
        out.push_str("\n[metrics]\n");
        line(&mut out, "listen", text(metrics.listen));
    }
    out.push_str("\n[log]\n");
    line(&mut out, "format", text(if p.log.format == LogFormat::Json { "json" } else { "text" }));
    line(&mut out, "level", text(&p.log.level));
    for d in &p.destinations {
        destination(&mut out, d);
    }
    out
}

fn snapshot(out: &mut String, s: &Snapshot) {
    out.push_str("\n[snapshot]\n");
    let mode = match s.mode {
        SnapshotMode::Full => "full",
        SnapshotMode::Schema => "schema",
        SnapshotMode::None => "none",
    };
    line(out, "mode", text(mode));
    line(out, "threads", s.threads);
    line(out, "chunk_size", text(exact_size(s.chunk_bytes)));
    // A limit that is not set has no value that could stand here.
    for (key, limit) in [("max_rows_per_second", s.max_rows_per_second), ("max_threads_running", s.max_threads_running)]
    {
        if let Some(limit) = limit {
            line(out, key, limit);
        }
    }
    if let Some(bytes) = s.max_bytes_per_second {
        line(out, "max_bytes_per_second", text(exact_size(bytes)));
    }
    if let Some(lag) = s.max_replica_lag {
        line(out, "max_replica_lag", duration(lag));
    }
    if !s.replicas.is_empty() {
        line(out, "replicas", list(&s.replicas.iter().map(|r| r.url.to_string()).collect::<Vec<_>>()));
    }
    if let Some(query) = &s.pause_query {
        line(out, "pause_query", text(query));
    }
    let definer = match &s.definer {
        Definer::Keep => "keep".to_owned(),
        Definer::Invoker => "invoker".to_owned(),
        Definer::As { user, host } => format!("{user}@{host}"),
    };
    line(out, "definer", text(definer));
    let existing = match s.on_existing {
        OnExisting::Stop => "stop",
        OnExisting::Overwrite => "overwrite",
        OnExisting::Append => "append",
    };
    line(out, "on_existing", text(existing));
    line(out, "on_error", text(if s.on_error == OnObjectError::Skip { "skip" } else { "stop" }));
    let indexes = match s.defer_indexes {
        DeferIndexes::Auto => "auto",
        DeferIndexes::Always => "always",
        DeferIndexes::Never => "never",
    };
    line(out, "defer_indexes", text(indexes));
}

fn destination(out: &mut String, d: &Destination) {
    out.push_str("\n[[destination]]\n");
    line(out, "name", text(&d.name));
    line(out, "url", text(&d.server.url));
    login(out, &d.server);
    line(out, "include", list(&d.include));
    line(out, "exclude", list(&d.exclude));
    line(out, "position_database", text(&d.position_database));
    let write = match d.write {
        Write::Auto => "auto",
        Write::RowEvents => "row-events",
        Write::Sql => "sql",
    };
    line(out, "write", text(write));
    let policy = match d.on_divergence {
        OnDivergence::Stop => "stop",
        OnDivergence::Overwrite => "overwrite",
        OnDivergence::Skip => "skip",
    };
    line(out, "on_divergence", text(policy));
    line(out, "retry_for", duration(d.retry_for));
    line(out, "group_rows", d.group_rows);
    line(out, "group_size", text(exact_size(d.group_bytes)));
    line(out, "group_time", duration(d.group_time));
}

/// A password is shown as a comment: there is no key that takes one as it is, and `***` must not be read back as one.
fn login(out: &mut String, server: &Server) {
    if server.password.is_some() {
        out.push_str("# password = \"***\"\n");
    }
    let mode = match server.tls.mode {
        TlsMode::Disabled => "disabled",
        TlsMode::Preferred => "preferred",
        TlsMode::Required => "required",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::VerifyIdentity => "verify-identity",
    };
    let mut parts = vec![format!("mode = {}", text(mode))];
    if let Some(ca) = &server.tls.ca {
        parts.push(format!("ca = {}", text(ca.display())));
    }
    if let Some((cert, key)) = &server.tls.identity {
        parts.push(format!("cert = {}", text(cert.display())));
        parts.push(format!("key = {}", text(key.display())));
    }
    line(out, "tls", format!("{{ {} }}", parts.join(", ")));
}

fn line(out: &mut String, key: &str, value: impl Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{key} = {value}");
}

fn text(value: impl Display) -> String {
    toml::Value::String(value.to_string()).to_string()
}

fn list(values: &[String]) -> String {
    format!("[{}]", values.iter().map(text).collect::<Vec<_>>().join(", "))
}

fn duration(value: std::time::Duration) -> String {
    text(humantime::format_duration(value))
}
