//! A server's variables and grants, read once.

use std::collections::HashMap;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::grants::Grants;

/// What a connection showed.
pub(super) struct Session {
    variables: HashMap<String, String>,
    pub(super) grants: Grants,
}

impl Session {
    pub(super) async fn read(conn: &mut Conn) -> mysql_async::Result<Session> {
        let variables: Vec<(String, String)> = conn.query("SHOW GLOBAL VARIABLES").await?;
        let grants: Vec<String> = conn.query("SHOW GRANTS").await?;
        let variables = variables.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        Ok(Session { variables, grants: Grants::read(&grants) })
    }

    /// A variable's value; empty if the server has none of that name.
    pub(super) fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A number; None if there is no such variable, or no number in it.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.variable(name).parse::<f64>().ok().map(|n| n as u64)
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        matches!(self.variable(name), "ON" | "1")
    }

    pub(super) fn is_mariadb(&self) -> bool {
        self.variable("version").contains("MariaDB")
    }

    /// (major, minor) of the version.
    pub(super) fn version(&self) -> (u32, u32) {
        let version = self.variable("version");
        // Old MariaDB clients were told 5.5.5-10.x; the variable itself says 10.x.
        let mut parts = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}
