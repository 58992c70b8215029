//! What the destination's server is and can do, asked once per connection.

use common::Flavor;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::error::{Doing, Result};

/// Facts about the destination's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its family.
    pub flavor: Flavor,
    /// `@@version`.
    pub version: String,
    /// The version as numbers, `(9, 7, 4)`.
    pub number: (u16, u16, u16),
    /// The largest statement that it takes, in bytes.
    pub max_allowed_packet: usize,
    /// Whether GTIDs are on (MySQL: `BINLOG` then wants `gtid_next` set).
    pub gtid_mode: bool,
    /// `lower_case_table_names`.
    pub lower_case_table_names: u8,
    /// `@@server_uuid`, empty for MariaDB.
    pub server_uuid: String,
    /// `@@server_id`.
    pub server_id: u32,
}

impl ServerFacts {
    /// Asks the server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ask(conn: &mut Conn) -> Result<Self> {
        let asking = || "asking the destination what it is".to_owned();
        let row: Option<(String, u64, u8, u32)> = conn
            .query_first("SELECT @@version, @@max_allowed_packet, @@lower_case_table_names, @@server_id")
            .await
            .doing(asking)?;
        let (version, packet, lower, server_id) = row.unwrap_or_default();
        let flavor = if version.to_ascii_lowercase().contains("mariadb") { Flavor::MariaDb } else { Flavor::MySql };
        let variable = "SHOW GLOBAL VARIABLES LIKE 'server_uuid'";
        let uuid: Option<(String, String)> = conn.query_first(variable).await.doing(asking)?;
        let server_uuid = uuid.map(|(_, uuid)| uuid).filter(|_| flavor == Flavor::MySql).unwrap_or_default();
        let gtid_mode = flavor == Flavor::MySql
            && conn
                .query_first::<(String, String), _>("SHOW GLOBAL VARIABLES LIKE 'gtid_mode'")
                .await
                .doing(asking)?
                .is_some_and(|(_, mode)| mode.to_ascii_uppercase().starts_with("ON"));
        Ok(Self {
            flavor,
            number: version_number(&version),
            version,
            max_allowed_packet: usize::try_from(packet).unwrap_or(usize::MAX).max(1024),
            gtid_mode,
            lower_case_table_names: lower,
            server_uuid,
            server_id,
        })
    }

    /// Whether it is of this family and at least this version.
    #[must_use]
    pub fn is(&self, flavor: Flavor, from: (u16, u16, u16)) -> bool {
        self.flavor == flavor && self.number >= from
    }
}

/// The leading `a.b.c` of a version text; missing parts are 0.
pub(crate) fn version_number(text: &str) -> (u16, u16, u16) {
    // Old MariaDB servers hide behind "5.5.5-" for the sake of old clients.
    let text = text.strip_prefix("5.5.5-").unwrap_or(text);
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// Facts of a server with this version.
#[cfg(test)]
pub(crate) fn server_for_tests(version: &str) -> ServerFacts {
    ServerFacts {
        flavor: if version.contains("Maria") { Flavor::MariaDb } else { Flavor::MySql },
        version: version.into(),
        number: version_number(version),
        max_allowed_packet: 1 << 20,
        gtid_mode: true,
        lower_case_table_names: 0,
        server_uuid: String::new(),
        server_id: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::version_number;

    #[test]
    fn versions_of_both_families_are_read() {
        assert_eq!(version_number("9.7.4-2"), (9, 7, 4));
        assert_eq!(version_number("5.5.5-10.11.18-MariaDB-log"), (10, 11, 18));
        assert_eq!(version_number("8.0"), (8, 0, 0));
    }
}
