//! What every server is started with, before the test's own options.

use crate::kind::{Programs, ServerKind};
use anyhow::{Result, bail};
use rand::Rng;
use std::fs;
use std::net::TcpListener;

/// Where the program finds its own files; needed for initialising too.
pub(crate) fn location_options(programs: &Programs) -> Vec<String> {
    let share = programs.share.display();
    let mut options = vec![format!("--lc-messages-dir={share}"), format!("--character-sets-dir={share}/charsets")];
    options.extend(programs.plugins.iter().map(|p| format!("--plugin-dir={}", p.display())));
    if programs.kind == ServerKind::Mysql9 {
        options.push("--secure-file-priv=NULL".to_owned()); // its default folder does not exist here
    }
    if nix::unistd::geteuid().is_root() {
        options.push("--user=root".to_owned()); // servers refuse to run as root unless told
    }
    options
}

/// A small, fast server that can be a source. Writes reach the kernel at each commit, so that a kill -9 loses nothing, but are not
/// synced: tests cut no power.
pub(crate) fn default_options(kind: ServerKind) -> Vec<&'static str> {
    let mut options = vec![
        "bind-address=127.0.0.1",
        "skip-name-resolve",
        "performance-schema=OFF",
        "innodb-buffer-pool-size=64M",
        "innodb-flush-log-at-trx-commit=2",
        "innodb-use-native-aio=OFF", // the kernel's limit of requests is soon reached with many servers
        "sync-binlog=0",
        "log-bin=binlog",
        "local-infile=ON",
        "max-connections=200",
        "max-allowed-packet=64M",
    ];
    options.extend_from_slice(match kind {
        ServerKind::Mysql9 => {
            &["mysqlx=OFF", "gtid-mode=ON", "enforce-gtid-consistency=ON", "innodb-redo-log-capacity=64M"]
        }
        ServerKind::Mysql56 => &[
            "gtid-mode=ON",
            "enforce-gtid-consistency=ON",
            "log-slave-updates=ON",
            "binlog-format=ROW",
            "explicit-defaults-for-timestamp=ON",
            "innodb-log-file-size=16M",
        ],
        ServerKind::Mariadb10 | ServerKind::Mariadb11 => &["binlog-format=ROW", "innodb-log-file-size=16M"],
    });
    options
}

/// A port that nobody listens on, below the kernel's range for outgoing connections; so that none takes it during a restart.
pub(crate) fn free_port() -> Result<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(32_768_u16);
    let ports = if first > 12_000 { 10_000..first } else { 10_000..u16::MAX };
    for _ in 0..1000 {
        let port = rand::rng().random_range(ports.clone());
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1 between {} and {}", ports.start, ports.end)
}
