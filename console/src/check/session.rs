//! A server's variables and grants, read once.

use std::collections::HashMap;

use mysql_async::Conn;

use super::grants::Grants;
use super::rows::{Cells, first, rows};

/// What a connection showed.
pub(super) struct Session {
    variables: HashMap<String, String>,
    pub(super) grants: Grants,
    /// The account that we are, quoted for GRANT.
    pub(super) account: String,
    /// The cipher of this connection; empty without TLS.
    pub(super) cipher: String,
}

impl Session {
    pub(super) async fn read(conn: &mut Conn) -> mysql_async::Result<Session> {
        let variables = rows(conn, "SHOW GLOBAL VARIABLES").await?;
        let variables = variables.iter().map(|row| (row.text(0).to_ascii_lowercase(), row.text(1))).collect();
        let account = first(conn, "SELECT CURRENT_USER()").await?.map(|row| row.text(0)).unwrap_or_default();
        let cipher = first(conn, "SHOW SESSION STATUS LIKE 'Ssl_cipher'").await?;
        let cipher = cipher.map(|row| row.text(1)).unwrap_or_default();
        let grants = grants(conn).await?;
        Ok(Session { variables, grants: Grants::read(&grants), account: quoted(&account), cipher })
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
        matches!(self.variable(name), "ON" | "1" | "YES")
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

/// SHOW GRANTS, with what the active roles give (MariaDB lists those by itself).
async fn grants(conn: &mut Conn) -> mysql_async::Result<Vec<String>> {
    let text = |rows: Vec<Cells>| rows.iter().map(|row| row.text(0)).collect();
    let lines = rows(conn, "SHOW GRANTS").await?;
    // MySQL from 8.0 on has the function; others, and an error in it, leave what is there.
    let roles = first(conn, "SELECT CURRENT_ROLE()").await.ok().flatten();
    let roles = roles.map(|row| row.text(0)).filter(|roles| roles.starts_with('`'));
    if let Some(roles) = roles
        && let Ok(more) = rows(conn, format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}")).await
    {
        return Ok(text(more));
    }
    Ok(text(lines))
}

/// `user@host` as 'user'@'host'.
fn quoted(account: &str) -> String {
    let (user, host) = account.rsplit_once('@').unwrap_or((account, "%"));
    let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
    format!("{}@{}", quote(user), quote(host))
}

/// A name in backticks.
pub(super) fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
