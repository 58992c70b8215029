//! What the objects of a statement look like, so that after a crash we know on which side of the statement we are.

use std::fmt::Write as _;

use common::Flavor;
use common::record::{Ddl, DdlKind, DdlObject, DdlRole};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::target::{Session, ident, quote};

/// One line per object that a statement changes: what it is now, in few bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) Vec<String>);

impl Fingerprint {
    /// Looks at the objects.
    pub(super) async fn take(session: &mut Session, ddl: &Ddl<'_>) -> Result<Self> {
        // The connection may still have the settings of the statement before, and how a definition is shown depends on them: quotes on sql_mode,
        // defaults of TIMESTAMP columns on the time zone, comparisons on the collation.
        let settings = "SET SESSION sql_mode='', time_zone='+00:00', sql_quote_show_create=1, \
             character_set_client=binary, character_set_connection=binary";
        session.run(settings, || "looking at objects before or after DDL".into()).await?;
        let mut lines = Vec::new();
        for object in changed(ddl) {
            let state = look(session, ddl.kind, object).await?;
            let digest = match state {
                None => "absent".to_owned(),
                Some(text) => {
                    let digest = Sha256::digest(&text);
                    digest.iter().take(12).fold(String::new(), |mut out, byte| {
                        let _ = write!(out, "{byte:02x}");
                        out
                    })
                }
            };
            lines.push(digest);
        }
        Ok(Self(lines))
    }

    /// As kept in the intent row.
    pub(super) fn to_text(&self) -> String {
        self.0.join("\n")
    }

    /// From the intent row.
    pub(super) fn from_text(text: &str) -> Self {
        Self(text.split('\n').filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }
}

/// The objects that a statement creates, changes or drops.
pub(super) fn changed<'d>(ddl: &'d Ddl<'_>) -> impl Iterator<Item = &'d DdlObject> {
    ddl.objects.iter().filter(|o| o.role != DdlRole::Reference)
}

/// Everything about one object that a statement could change; None if it does not exist.
async fn look(session: &mut Session, kind: DdlKind, object: &DdlObject) -> Result<Option<Vec<u8>>> {
    use DdlKind as K;
    let (database, name) = (quote(&object.database), quote(&object.name));
    let asking = || format!("looking at {}.{} before or after DDL", object.database, object.name);
    let query = match kind {
        K::CreateDatabase | K::AlterDatabase | K::DropDatabase => {
            format!(
                "SELECT CONCAT_WS('|', schema_name, default_character_set_name, default_collation_name) FROM information_schema.schemata WHERE schema_name={database}"
            )
        }
        K::CreateRoutine | K::AlterRoutine | K::DropRoutine => format!(
            "SELECT GROUP_CONCAT(CONCAT_WS('|', routine_type, created, last_altered, sql_mode, security_type, routine_comment, \
             SHA2(routine_definition, 256)) ORDER BY routine_type) FROM information_schema.routines \
             WHERE routine_schema={database} AND routine_name={name}"
        ),
        K::CreateTrigger | K::DropTrigger => format!(
            "SELECT CONCAT_WS('|', event_object_table, event_manipulation, action_timing, action_order, SHA2(action_statement, 256), \
             created, sql_mode, definer) FROM information_schema.triggers WHERE trigger_schema={database} AND trigger_name={name}"
        ),
        K::CreateEvent | K::AlterEvent | K::DropEvent => format!(
            "SELECT CONCAT_WS('|', SHA2(event_definition, 256), event_type, execute_at, interval_value, interval_field, starts, ends, \
             on_completion, created, last_altered, event_comment) FROM information_schema.events \
             WHERE event_schema={database} AND event_name={name}"
        ),
        _ => return table(session, object).await,
    };
    Ok(session.first::<Option<Vec<u8>>>(query, asking).await?.flatten())
}

async fn table(session: &mut Session, object: &DdlObject) -> Result<Option<Vec<u8>>> {
    let asking = || format!("looking at {}.{} before or after DDL", object.database, object.name);
    let show = format!("SHOW CREATE TABLE {}.{}", ident(&object.database), ident(&object.name));
    let row: mysql_async::Row = match session.first(show, asking).await {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(None),
        // ER_NO_SUCH_TABLE, ER_BAD_DB_ERROR, ER_BAD_TABLE_ERROR.
        Err(error) if matches!(error.server_code(), Some(1146 | 1049 | 1051)) => return Ok(None),
        // A view whose tables are gone is there all the same.
        Err(error) if error.server_code() == Some(1356) => return Ok(Some(b"invalid view".to_vec())),
        Err(error) => return Err(error),
    };
    let mut text: Vec<u8> = row.get_opt(1).and_then(std::result::Result::ok).unwrap_or_default();
    strip_auto_increment(&mut text);
    // The engine's id follows a rename and changes with a rebuild. It needs PROCESS; without it the definition must do.
    let view = if session.facts.flavor == Flavor::MySql { "innodb_tables" } else { "innodb_sys_tables" };
    let name = format!("{}/{}", object.database, object.name);
    // Partitions follow after a '#'. The pattern is made here: on the server it would mix collations of the statement before.
    let partitions = format!("{}#%", name.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%"));
    let ids = format!(
        "SELECT GROUP_CONCAT(table_id ORDER BY table_id) FROM information_schema.{view} WHERE name={} OR name LIKE {}",
        quote(&name),
        quote(&partitions)
    );
    match session.first::<Option<Vec<u8>>>(ids, asking).await {
        Ok(ids) => {
            text.push(b'#');
            text.extend_from_slice(&ids.flatten().unwrap_or_default());
        }
        Err(error) if error.server_code().is_some_and(|code| REFUSED.contains(&code)) => {}
        // A connection that is lost here must not leave half a fingerprint behind: it would differ from the whole one later.
        Err(error) => return Err(error),
    }
    Ok(Some(text))
}

/// ER_DBACCESS_DENIED_ERROR, ER_UNKNOWN_TABLE, ER_TABLEACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR.
const REFUSED: &[u16] = &[1044, 1109, 1142, 1227];

/// The counter moves with rows, which are not the statement's doing.
fn strip_auto_increment(text: &mut Vec<u8>) {
    const WORD: &[u8] = b" AUTO_INCREMENT=";
    if let Some(at) = text.windows(WORD.len()).rposition(|window| window == WORD) {
        let digits = text.iter().skip(at + WORD.len()).take_while(|b| b.is_ascii_digit()).count();
        text.drain(at..at + WORD.len() + digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_auto_increment_counter_is_no_part_of_a_definition() {
        let mut text = b"CREATE TABLE `t` (`id` int NOT NULL AUTO_INCREMENT) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4".to_vec();
        strip_auto_increment(&mut text);
        assert_eq!(text, b"CREATE TABLE `t` (`id` int NOT NULL AUTO_INCREMENT) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4");
    }
}
