//! The session in which a statement ran at the source, rebuilt at the destination.
//!
//! Every variable is set for every statement, so nothing is left over from the one before. What the destination does not have is left out only
//! where that cannot change what the statement does.

use std::collections::HashMap;

use common::record::{SessionContext, SourceInfo};
use common::{Flavor, charset};

use super::mode::sql_mode;
use crate::error::Result;
use crate::target::{ServerFacts, Session, collation_for, quote, version_number};

/// A statement may wait this long, in seconds, for a table's metadata lock; then it is tried again.
const LOCK_WAIT_S: u32 = 60;

const OPTION_AUTO_IS_NULL: u32 = 0x4000;
const OPTION_NO_FOREIGN_KEY_CHECKS: u32 = 0x0400_0000;
const OPTION_RELAXED_UNIQUE_CHECKS: u32 = 0x0800_0000;

/// utf8mb4_general_ci: what `CHARACTER SET utf8mb4` meant before MySQL 8.0.
const UTF8MB4_GENERAL_CI: u16 = 45;
/// utf8mb4_0900_ai_ci.
const UTF8MB4_0900_AI_CI: u16 = 255;

/// The variables to set: name and value as SQL.
pub(crate) fn variables(
    context: &SessionContext,
    source: &SourceInfo,
    to: &ServerFacts,
) -> Result<Vec<(&'static str, String)>> {
    let flag = |bit: u32| u8::from(context.flags2.unwrap_or(0) & bit != 0).to_string();
    let not = |bit: u32| u8::from(context.flags2.unwrap_or(0) & bit == 0).to_string();
    let collation = |id: u16| collation_for(id, source.flavor, to).to_sql();
    let mut out = Vec::new();
    let mode = match context.sql_mode {
        Some(bits) => sql_mode(bits, source.flavor, to)?,
        None => String::new(),
    };
    out.push(("sql_mode", format!("'{mode}'")));
    let time = f64::from(context.timestamp) + f64::from(context.microseconds.unwrap_or(0)) / 1e6;
    out.push(("timestamp", format!("{time:.6}")));
    out.push((
        "time_zone",
        context.time_zone.as_deref().map_or_else(|| "'SYSTEM'".to_owned(), |z| format!("'{}'", z.replace('\'', "''"))),
    ));
    out.push(("foreign_key_checks", not(OPTION_NO_FOREIGN_KEY_CHECKS)));
    out.push(("unique_checks", not(OPTION_RELAXED_UNIQUE_CHECKS)));
    out.push(("sql_auto_is_null", flag(OPTION_AUTO_IS_NULL)));
    // The log names them only where they are not 1.
    let (increment, offset) = context.auto_increment.unwrap_or((1, 1));
    out.push(("auto_increment_increment", increment.to_string()));
    out.push(("auto_increment_offset", offset.to_string()));
    out.push(("lc_time_names", context.lc_time_names.unwrap_or(0).to_string()));
    out.push(("lock_wait_timeout", LOCK_WAIT_S.to_string()));
    // collation_database is not set: the default database's own is the source's, since that database was created from the log.
    if let Some((client, connection, server)) = context.charsets {
        // The families do not take each other's ids here, nor MariaDB its own new ones.
        let name = charset::of_collation(client).filter(|_| client > 255 || source.flavor != to.flavor);
        let client = name.map_or_else(|| client.to_string(), |name| format!("'{name}'"));
        out.push(("character_set_client", client));
        out.push(("collation_connection", collation(connection)));
        out.push(("collation_server", collation(server)));
    }
    if let Some(explicit) = context.explicit_defaults_for_timestamp {
        out.push(("explicit_defaults_for_timestamp", u8::from(explicit).to_string()));
    }
    if to.is(Flavor::MySql, (8, 0, 11)) {
        let plain = context.default_collation_for_utf8mb4.unwrap_or_else(|| default_utf8mb4(source));
        // The server allows these two (manual, default_collation_for_utf8mb4).
        let plain = if plain == UTF8MB4_GENERAL_CI { UTF8MB4_GENERAL_CI } else { UTF8MB4_0900_AI_CI };
        out.push(("default_collation_for_utf8mb4", plain.to_string()));
    }
    if to.is(Flavor::MariaDb, (11, 2, 0)) {
        out.push(("character_set_collations", collations_of_character_sets(context, source, to)));
    }
    if to.is(Flavor::MySql, (8, 0, 13)) {
        out.push(("sql_require_primary_key", u8::from(context.sql_require_primary_key.unwrap_or(false)).to_string()));
    }
    if to.is(Flavor::MySql, (8, 0, 16)) {
        out.push(("default_table_encryption", u8::from(context.default_table_encryption.unwrap_or(false)).to_string()));
    }
    if to.is(Flavor::MySql, (8, 0, 30)) {
        // A generated key was made at the source, and stands in the statement.
        out.push(("sql_generate_invisible_primary_key", "0".to_owned()));
    }
    Ok(out)
}

/// What `CHARACTER SET x` without a collation means, for `character_set_collations` of MariaDB 11.2 and later.
fn collations_of_character_sets(context: &SessionContext, source: &SourceInfo, to: &ServerFacts) -> String {
    if source.flavor == Flavor::MariaDb && version_number(&source.version) >= (11, 2, 0) {
        let ids: Vec<String> = context.character_set_collations.iter().map(|(_, to)| to.to_string()).collect();
        if ids.is_empty() {
            return "''".to_owned();
        }
        // The variable takes names alone. A collation that is not known here is left out: the statement then means the default.
        return format!(
            "(SELECT COALESCE(GROUP_CONCAT(CONCAT(character_set_name, '=', full_collation_name)), '') \
             FROM information_schema.collation_character_set_applicability WHERE id IN ({}))",
            ids.join(",")
        );
    }
    let plain = context.default_collation_for_utf8mb4.unwrap_or_else(|| default_utf8mb4(source));
    let name = match collation_for(plain, source.flavor, to) {
        crate::target::Mapped::Name(name) => name,
        crate::target::Mapped::Id(UTF8MB4_GENERAL_CI) => "utf8mb4_general_ci".to_owned(),
        crate::target::Mapped::Id(_) => "utf8mb4_uca1400_ai_ci".to_owned(),
    };
    format!("'utf8mb4={name}'")
}

/// What `CHARACTER SET utf8mb4` without a collation means at this source.
fn default_utf8mb4(source: &SourceInfo) -> u16 {
    let version = version_number(&source.version);
    match source.flavor {
        Flavor::MySql if version >= (8, 0, 1) => UTF8MB4_0900_AI_CI,
        _ => UTF8MB4_GENERAL_CI,
    }
}

/// Variables that need a privilege to be set, or are read-only, where the value is mostly right already: set only if it differs.
const DELICATE: &[&str] = &[
    "explicit_defaults_for_timestamp",
    "default_collation_for_utf8mb4",
    "sql_require_primary_key",
    "default_table_encryption",
    "sql_generate_invisible_primary_key",
];

/// Sets the session up for one statement.
pub(crate) async fn enter(session: &mut Session, variables: &[(&'static str, String)], database: &[u8]) -> Result<()> {
    let setting = || "setting up the session of a DDL statement".to_owned();
    let mut names = Vec::new();
    let mut plain = Vec::new();
    for (name, value) in variables {
        if DELICATE.contains(name) { names.push(*name) } else { plain.push(format!("{name}={value}")) }
    }
    session.run(format!("SET SESSION {}", plain.join(", ")), setting).await?;
    if !names.is_empty() {
        let list: Vec<String> = names.iter().map(|name| quote(name)).collect();
        let sql = format!("SHOW SESSION VARIABLES WHERE variable_name IN ({})", list.join(","));
        let rows: Vec<(Vec<u8>, Vec<u8>)> = session.rows(sql, setting).await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let current: HashMap<String, String> =
            rows.into_iter().map(|(k, v)| (text(k).to_lowercase(), text(v))).collect();
        for (name, value) in variables.iter().filter(|(name, _)| names.contains(name)) {
            let Some(now) = current.get(*name) else { continue };
            let same = match (now.as_str(), value.as_str()) {
                ("ON", "1") | ("OFF", "0") | ("utf8mb4_0900_ai_ci", "255") | ("utf8mb4_general_ci", "45") => true,
                (now, value) => now == value,
            };
            if !same {
                session
                    .run(format!("SET SESSION {name}={value}"), || {
                        format!("setting {name}={value} for a DDL statement")
                    })
                    .await?;
            }
        }
    }
    if !database.is_empty() {
        let mut sql = b"USE `".to_vec();
        sql.extend(database.iter().flat_map(|&b| if b == b'`' { vec![b, b] } else { vec![b] }));
        sql.push(b'`');
        match session.run(sql, setting).await {
            // Not replicated here; the statement names its objects with their databases, or fails.
            Err(error) if error.server_code() == Some(1049) => {}
            other => {
                other?;
            }
        }
    }
    Ok(())
}
