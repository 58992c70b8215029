//! The configuration file of a pipeline, the same for all its services.
//!
//! ```toml
//! name = "shop"
//!
//! [source]
//! url = "mysql://repl@db1.internal:3306"        # several hosts: url = ["mysql://…", "mysql://…"]
//! password_env = "SHOP_SOURCE_PASSWORD"         # or password_file
//! tls = { mode = "verify-identity", ca = "/etc/ssl/shop-ca.pem" }
//! include = ["shop.*", "crm.users"]             # default: everything but the server's own databases
//! exclude = ["shop.audit_*"]
//!
//! [snapshot]
//! mode = "full"                                 # schema and rows that exist, then follow; or "schema", "none"
//!
//! [store]
//! dir = "/var/lib/logweir/shop"
//! retain = "7d"
//! max_size = "200GiB"
//!
//! [[destination]]
//! name = "replica"
//! url = "mysql://sync@db2.internal:3306"
//! password_env = "SHOP_REPLICA_PASSWORD"
//! ```
//!
//! [`Pipeline::load`] reports *all* that is wrong with a file, each with its line and key. Every key is a field below, with its default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{BinlogPosition, GtidSet};

mod address;
mod error;
mod parse;
mod print;
mod secret;
mod snapshot;
mod units;
mod walk;

pub use address::{DEFAULT_PORT, Host, ServerUrl};
pub use error::{ConfigError, ConfigErrors};
pub use secret::Secret;
pub use snapshot::{DeferIndexes, Definer, OnExisting, OnObjectError, Snapshot, SnapshotMode, TUNABLE};
pub use units::{about_size, exact_size, parse_duration, parse_size};

/// A pipeline: one source, one store, any number of destinations.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// `name`: 1 to 64 letters, digits, `_` and `-`. Names the pipeline at its destinations too, where the position rows carry it.
    pub name: String,
    /// `[source]`
    pub source: Source,
    /// `[snapshot]`
    pub snapshot: Snapshot,
    /// `[store]`
    pub store: Store,
    /// `[[destination]]`, at least one, in the order of the file.
    pub destinations: Vec<Destination>,
    /// `[metrics]`; None = no metrics are served.
    pub metrics: Option<Metrics>,
    /// `[log]`
    pub log: Log,
    /// What is odd but not wrong (a password in a url); to be logged once the log is there.
    pub warnings: Vec<String>,
}

/// The server that is followed.
#[derive(Clone, Debug)]
pub struct Source {
    /// `url`: one host or several of the same replication topology, the first that answers is followed. Each with its password and `tls`.
    pub servers: Vec<Server>,
    /// `include`, default `["*.*"]`: see [`crate::selection`].
    pub include: Vec<String>,
    /// `exclude`, default empty. Wins over `include`.
    pub exclude: Vec<String>,
    /// `retry_for`, default 12h: how long to try to reach the source again before giving up.
    pub retry_for: Duration,
    /// `server_id`, default made from the pipeline's name: the id under which we register as a replica; must be unique in the topology.
    pub server_id: u32,
    /// `heartbeat`, default 1s (100ms to 1h): how often an idle source reports its position.
    pub heartbeat: Duration,
    /// `start`: where a *new* store begins. Only with `[snapshot] mode = "none"`; default latest. A store that holds something goes on where it ends.
    pub start: Start,
}

/// `start`: where a new store begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// `"latest"`: the source's position when the reader first connects.
    Latest,
    /// `"earliest"`: the oldest binlog that the source still has. Right only if the destinations hold what was there before it.
    Earliest,
    /// `"binlog:FILE:OFFSET"`
    Binlog(BinlogPosition),
    /// `"gtid:SET"`: everything but these transactions (what the destinations already hold, as `gtid_purged` of a dump says).
    Gtid(GtidSet),
}

/// One server with all that a connection needs; see [`crate::connect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// User and host.
    pub url: ServerUrl,
    /// From `password_env`, `password_file`, or the url. None logs in without.
    pub password: Option<Secret>,
    /// `tls`
    pub tls: Tls,
}

/// `tls = { mode, ca, cert, key }`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `mode`, default preferred.
    pub mode: TlsMode,
    /// `ca`: PEM file with the authorities that are trusted, instead of the public ones.
    pub ca: Option<PathBuf>,
    /// `cert` and `key`: PEM files with which we show who we are.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// How a connection is protected; the meanings of the mysql client's `--ssl-mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// `disabled`: plain.
    Disabled,
    /// `preferred`: encrypted if the server can, else plain. The server's certificate is not looked at.
    #[default]
    Preferred,
    /// `required`: encrypted, or no connection. The certificate is not looked at.
    Required,
    /// `verify-ca`: the certificate must come from a trusted authority.
    VerifyCa,
    /// `verify-identity`: and must be made out to the host's name.
    VerifyIdentity,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// `dir`, required: the store's folder; a relative one starts at the configuration file's folder. Made with mode 0700 if missing.
    pub dir: PathBuf,
    /// `retain`, default 1d: for how long a segment is kept after every destination has passed it, for replays.
    pub retain: Duration,
    /// `max_size`, default none: beyond it, passed segments go before `retain` is over; if what is left is still needed, the reader
    /// waits and the source keeps its binlogs. At least four segments.
    pub max_size: Option<u64>,
    /// `segment_size`, default 64MiB (1MiB to 4GiB): when a new segment is begun.
    pub segment_bytes: u64,
}

/// `[[destination]]`
#[derive(Clone, Debug)]
pub struct Destination {
    /// `name`, required: 1 to 48 letters, digits, `_` and `-`; unique in the file. Names its socket, consumer file and position rows.
    pub name: String,
    /// `url`, `password_env` …, `tls`
    pub server: Server,
    /// `include`, default `["*.*"]`: which of the captured tables it gets.
    pub include: Vec<String>,
    /// `exclude`, default empty.
    pub exclude: Vec<String>,
    /// `position_database`, default `logweir`: the database for our position rows.
    pub position_database: String,
    /// `write`, default auto.
    pub write: Write,
    /// `on_divergence`, default stop.
    pub on_divergence: OnDivergence,
    /// `retry_for`, default 12h: how long to try to reach the destination again, and to retry a deadlock or lock wait.
    pub retry_for: Duration,
    /// `group_rows`, default 5000: rows after which a destination transaction takes no further source transaction.
    pub group_rows: u64,
    /// `group_size`, default 4MiB: bytes after which it takes no further one.
    pub group_bytes: u64,
    /// `group_time`, default 50ms: time after which it takes no further one. A group closes at once when the log is drained.
    pub group_time: Duration,
}

/// `write`: how rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Write {
    /// `auto`: row events where the destination takes them, else SQL; chosen per table.
    #[default]
    Auto,
    /// `row-events`: only `BINLOG` statements; what cannot be written so stops the applier.
    RowEvents,
    /// `sql`: only SQL.
    Sql,
}

/// `on_divergence`: what to do where the destination lacks a row or has one too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDivergence {
    /// `stop`: stop and report.
    #[default]
    Stop,
    /// `overwrite`: make the destination's row as the source's; counted and logged.
    Overwrite,
    /// `skip`: leave the row; counted and logged.
    Skip,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// `listen`, like `"127.0.0.1:9104"`: where the reader serves `/metrics` and `/healthz`. The first destination's applier takes the
    /// next port, and so on in the order of the file; port 0 lets the system choose (the log says which).
    pub listen: SocketAddr,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `format`, default text.
    pub format: LogFormat,
    /// `level`, default `info`: error, warn, info, debug, trace, or a filter like `info,reader=debug`. `LOGWEIR_LOG` overrides it.
    pub level: String,
}

/// `format` of the log on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `text`: a line for people.
    #[default]
    Text,
    /// `json`: one JSON object a line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Log { format: LogFormat::default(), level: "info".to_owned() }
    }
}

impl Pipeline {
    /// Reads and checks a configuration file, with the passwords that it points to.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first thing. Programs end with exit code 2 then.
    pub fn load(path: &Path) -> Result<Pipeline, ConfigErrors> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigErrors::whole(path, format!("cannot be read: {error}")))?;
        Pipeline::parse(&text, path, &|name| std::env::var(name).ok())
    }

    /// As [`Pipeline::load`], with the text at hand and environment variables by `env`; `path` is for messages and relative paths.
    ///
    /// # Errors
    /// As [`Pipeline::load`].
    pub fn parse(text: &str, path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Pipeline, ConfigErrors> {
        parse::pipeline(text, path, env)
    }

    /// The effective configuration as a file, defaults filled in, passwords as `***`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        print::pipeline(self)
    }

    /// The destination of this name.
    #[must_use]
    pub fn destination(&self, name: &str) -> Option<&Destination> {
        self.destinations.iter().find(|d| d.name == name)
    }

    /// Where the reader (None) or the applier of a destination serves its metrics; None = nowhere.
    #[must_use]
    pub fn metrics_address(&self, destination: Option<&str>) -> Option<SocketAddr> {
        let mut address = self.metrics.as_ref()?.listen;
        if let Some(name) = destination
            && address.port() != 0
        {
            let index = self.destinations.iter().position(|d| d.name == name)?;
            address.set_port(address.port().checked_add(u16::try_from(index + 1).ok()?)?);
        }
        Some(address)
    }

    /// Databases that hold our own position rows at some destination: never captured, never applied.
    pub fn position_databases(&self) -> impl Iterator<Item = &str> {
        self.destinations.iter().map(|d| d.position_database.as_str())
    }
}

#[cfg(test)]
mod tests;
