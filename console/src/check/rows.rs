//! Rows as text, whatever a server puts into them: the library's typed rows panic on a NULL or a type that is not expected.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

/// A row of the text protocol.
pub(super) struct Cells(Vec<Option<String>>);

impl Cells {
    /// A value; empty for NULL and where there is no such column.
    pub(super) fn text(&self, index: usize) -> String {
        self.0.get(index).cloned().flatten().unwrap_or_default()
    }

    /// Whether it is NULL, or there is no such column.
    pub(super) fn is_null(&self, index: usize) -> bool {
        self.0.get(index).is_none_or(Option::is_none)
    }

    /// A whole number; 0 for NULL and for anything else.
    pub(super) fn number(&self, index: usize) -> u64 {
        let text = self.text(index);
        text.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or(0)
    }
}

/// All rows of a query.
pub(super) async fn rows(conn: &mut Conn, sql: impl AsRef<str>) -> mysql_async::Result<Vec<Cells>> {
    let rows: Vec<Row> = conn.query(sql.as_ref()).await?;
    let text = |value: Value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true)),
    };
    Ok(rows.into_iter().map(|row| Cells(row.unwrap().into_iter().map(text).collect())).collect())
}

/// The first row of a query; None if it has none.
pub(super) async fn first(conn: &mut Conn, sql: impl AsRef<str>) -> mysql_async::Result<Option<Cells>> {
    Ok(rows(conn, sql).await?.into_iter().next())
}
