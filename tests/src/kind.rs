//! The kinds of server that we test with, and where their programs are.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server of a given family and age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerKind {
    /// MySQL 9.x, the main source and destination.
    Mysql9,
    /// MariaDB 10.11.
    Mariadb10,
    /// MariaDB 11.8.
    Mariadb11,
    /// MySQL 5.6, the oldest source.
    Mysql56,
}

impl ServerKind {
    /// Every kind.
    pub const ALL: [ServerKind; 4] =
        [ServerKind::Mysql9, ServerKind::Mariadb10, ServerKind::Mariadb11, ServerKind::Mysql56];

    /// The name of its folder in `.servers`, also its short name in messages.
    pub fn name(self) -> &'static str {
        match self {
            ServerKind::Mysql9 => "mysql9",
            ServerKind::Mariadb10 => "mariadb10",
            ServerKind::Mariadb11 => "mariadb11",
            ServerKind::Mysql56 => "mysql56",
        }
    }

    /// Whether it belongs to the MariaDB family.
    pub fn is_mariadb(self) -> bool {
        matches!(self, ServerKind::Mariadb10 | ServerKind::Mariadb11)
    }

    /// The environment variable that names one's own installation of it.
    pub fn basedir_variable(self) -> &'static str {
        match self {
            ServerKind::Mysql9 => "LOGWEIR_MYSQL_BASEDIR",
            ServerKind::Mariadb10 => "LOGWEIR_MARIADB_BASEDIR",
            ServerKind::Mariadb11 => "LOGWEIR_MARIADB11_BASEDIR",
            ServerKind::Mysql56 => "LOGWEIR_MYSQL56_BASEDIR",
        }
    }

    /// Whether its programs are here, so that [`crate::Server::builder`] can start one.
    pub fn available(self) -> bool {
        Programs::find(self).is_ok()
    }

    /// A client program of this kind (`mysqlbinlog`, `mariadb-dump`, …).
    ///
    /// # Errors
    /// When the server is not set up or has no such program; the message says how to get it.
    pub fn program(self, name: &str) -> Result<PathBuf> {
        let base = Programs::find(self)?.base;
        find_below(&base, &["bin", "sbin", "usr/bin"], &[name])
            .with_context(|| format!("{} below {} has no program {name}", self.name(), base.display()))
    }
}

/// The folder for server programs and data templates: `LOGWEIR_SERVERS_DIR`, or `.servers` of the checkout.
///
/// The checkout is the nearest parent of the current folder or of this program that holds `.servers`, or else the one that this was
/// built from.
pub fn servers_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("LOGWEIR_SERVERS_DIR") {
        return dir.into();
    }
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    for start in starts.iter().flatten() {
        if let Some(found) = start.ancestors().map(|p| p.join(".servers")).find(|p| p.is_dir()) {
            return found;
        }
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).join(".servers")
}

/// The installed files of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) kind: ServerKind,
    pub(crate) base: PathBuf,
    /// The server program.
    pub(crate) server: PathBuf,
    /// Holds `english/errmsg.sys`, `charsets/` and the bootstrap SQL.
    pub(crate) share: PathBuf,
    /// Where loadable plugins are, if anywhere.
    pub(crate) plugins: Option<PathBuf>,
}

impl Programs {
    pub(crate) fn find(kind: ServerKind) -> Result<Programs> {
        let own = std::env::var_os(kind.basedir_variable());
        let base = own.clone().map_or_else(|| servers_dir().join(kind.name()), PathBuf::from);
        let names: &[&str] = if kind.is_mariadb() { &["mariadbd", "mysqld"] } else { &["mysqld"] };
        let Some(server) = find_below(&base, &["bin", "sbin", "libexec", "usr/sbin"], names) else {
            if own.is_some() {
                bail!("{} is {}, which holds no bin/{}", kind.basedir_variable(), base.display(), names[0]);
            }
            bail!(
                "no {} server in {}: run `./dev setup`, or set {} to an installation of it",
                kind.name(),
                base.display(),
                kind.basedir_variable()
            );
        };
        let shares = ["share", "share/mysql", "share/mariadb", "usr/share/mysql"];
        let share = shares.iter().map(|d| base.join(d)).find(|d| d.join("english/errmsg.sys").is_file());
        let share = share.with_context(|| format!("no share/english/errmsg.sys below {}", base.display()))?;
        let plugins = ["lib/plugin", "lib/mysql/plugin", "root/usr/lib/mysql/plugin", "lib64/mysql/plugin"];
        let plugins = plugins.iter().map(|d| base.join(d)).find(|d| d.is_dir());
        Ok(Programs { kind, base, server, share, plugins })
    }

    /// What the server calls itself, like `9.7.4`.
    pub(crate) fn version(&self) -> Result<String> {
        if let Ok(text) = std::fs::read_to_string(self.base.join("VERSION")) {
            return Ok(text.trim().to_owned());
        }
        let out = Command::new(&self.server)
            .args(["--no-defaults", "--version"])
            .output()
            .with_context(|| format!("while starting {}", self.server.display()))?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let version = text.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
        Ok(version.context("the server does not say its version")?.to_owned())
    }
}

fn find_below(base: &Path, folders: &[&str], names: &[&str]) -> Option<PathBuf> {
    names.iter().flat_map(|n| folders.iter().map(move |f| base.join(f).join(n))).find(|p| p.is_file())
}
