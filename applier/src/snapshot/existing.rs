//! What the destination has already of what a run is to bring.

use std::collections::{HashMap, HashSet};

use common::config::OnExisting;
use common::snapshot::{ObjectKind, ObjectName, SnapshotBegin};

use super::states::{Existed, find, table_object};
use super::{Stand, states};
use crate::error::{ApplyError, Result};
use crate::target::{Identity, Session, ident, quote};

/// Up to so many rows, by the server's estimate, are counted exactly.
const COUNTED_ROWS: u64 = 200_000;
/// So many objects are named at most.
const NAMED: usize = 20;
/// Names asked for at a time.
const ASKED: usize = 500;

/// What is to become of each object of the run: nothing stands there, or it is replaced, or kept.
///
/// # Errors
/// [`ApplyError::Refused`] with `on_existing = "stop"` when something stands there: it names the tables and their row counts.
pub(super) async fn look(
    session: &mut Session,
    id: &Identity,
    begin: &SnapshotBegin,
    policy: OnExisting,
) -> Result<Vec<(ObjectName, Existed)>> {
    let wanted: Vec<ObjectName> = begin.tables.iter().map(table_object).chain(begin.others.iter().cloned()).collect();
    let there = there(session, &wanted).await?;
    let mut out = Vec::new();
    let mut foreign = Vec::new();
    for object in wanted {
        let fold = |name: &str| fold(name, session.facts.lower_case_table_names);
        let place = (slot(object.kind), fold(&object.database), fold(&object.name));
        let existed = if !there.contains_key(&place) {
            Existed::No
        } else if begin.again {
            Existed::Replace
        } else if object.kind == ObjectKind::Table && ours(session, id, &object).await? {
            // Begun by an earlier run and not finished: nobody can have relied on it.
            Existed::Replace
        } else {
            match policy {
                OnExisting::Overwrite => Existed::Replace,
                OnExisting::Append => Existed::Keep,
                OnExisting::Stop => {
                    foreign.push((object, there.get(&place).copied().unwrap_or_default()));
                    continue;
                }
            }
        };
        // Only what matters later is remembered of objects that are no tables.
        if object.kind == ObjectKind::Table || existed == Existed::Keep {
            out.push((object, existed));
        }
    }
    if foreign.is_empty() {
        return Ok(out);
    }
    Err(refusal(session, foreign).await)
}

/// Objects of one slot cannot share a name.
fn slot(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Database => 0,
        ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence => 1,
        ObjectKind::Function => 2,
        ObjectKind::Procedure => 3,
        ObjectKind::Trigger => 4,
        ObjectKind::Event => 5,
    }
}

fn fold(name: &str, lower_case_table_names: u8) -> String {
    if lower_case_table_names == 0 { name.to_owned() } else { name.to_lowercase() }
}

type There = HashMap<(u8, String, String), u64>;

/// Which of them the destination has, with the server's estimate of rows.
async fn there(session: &mut Session, wanted: &[ObjectName]) -> Result<There> {
    let lower = session.facts.lower_case_table_names;
    let mut found = There::new();
    let databases: Vec<&str> =
        wanted.iter().map(|object| object.database.as_str()).collect::<HashSet<_>>().into_iter().collect();
    let sources = [
        (
            1,
            "SELECT table_schema, table_name, COALESCE(table_rows, 0) FROM information_schema.tables WHERE table_schema",
        ),
        (
            2,
            "SELECT routine_schema, routine_name, 0 FROM information_schema.routines WHERE routine_type='FUNCTION' AND routine_schema",
        ),
        (
            3,
            "SELECT routine_schema, routine_name, 0 FROM information_schema.routines WHERE routine_type='PROCEDURE' AND routine_schema",
        ),
        (4, "SELECT trigger_schema, trigger_name, 0 FROM information_schema.triggers WHERE trigger_schema"),
        (5, "SELECT event_schema, event_name, 0 FROM information_schema.events WHERE event_schema"),
    ];
    for (place, select) in sources {
        if !wanted.iter().any(|object| slot(object.kind) == place) {
            continue;
        }
        for some in databases.chunks(ASKED) {
            let list: Vec<String> = some.iter().map(|name| quote(name)).collect();
            let sql = format!("{select} IN ({})", list.join(","));
            let rows: Vec<(String, String, u64)> =
                session.rows(sql, || "looking at what the destination has already".into()).await?;
            found.extend(
                rows.into_iter()
                    .map(|(database, name, rows)| ((place, fold(&database, lower), fold(&name, lower)), rows)),
            );
        }
    }
    Ok(found)
}

/// Whether a table was begun by an earlier run of ours, in a place that was empty before or given up, and not finished.
async fn ours(session: &mut Session, id: &Identity, object: &ObjectName) -> Result<bool> {
    let Some(state) = find(session, id, object).await? else { return Ok(false) };
    let begun = matches!(state.stand, Stand::Made | Stand::Copying) || state.making;
    Ok(begun && state.existed != Existed::Keep)
}

async fn refusal(session: &mut Session, foreign: Vec<(ObjectName, u64)>) -> ApplyError {
    let mut names = Vec::new();
    let more = foreign.len().saturating_sub(NAMED);
    for (object, estimate) in foreign.iter().take(NAMED) {
        let full = format!("{}.{}", object.database, object.name);
        if object.kind != ObjectKind::Table {
            names.push(format!("{} {full}", states::kind_name(object.kind)));
            continue;
        }
        let sql = format!("SELECT COUNT(*) FROM {}.{}", ident(&object.database), ident(&object.name));
        let counting = || format!("counting the rows of {full}");
        let counted = match estimate {
            ..=COUNTED_ROWS => session.first::<u64>(sql, counting).await.ok().flatten(),
            _ => None,
        };
        names.push(match counted {
            Some(1) => format!("{full} (1 row)"),
            Some(rows) => format!("{full} ({rows} rows)"),
            None => format!("{full} (about {estimate} rows)"),
        });
    }
    if more > 0 {
        names.push(format!("{more} more"));
    }
    ApplyError::refused(
        format!("the destination has already what is to be copied there: {}", names.join(", ")),
        "drop them there, or exclude them for this destination, or set [snapshot] on_existing = \"overwrite\" (they are dropped and made anew) or \
         \"append\" (they are kept, and copied rows take the place of those of the same key); to follow without a copy set mode = \"none\"",
    )
}
