//! The rows of two tables: checksums first, single rows where those differ.

use super::columns::{Form, Table};
use super::{Difference, REPORT_MAX, What};
use crate::server::{TextRow, text_rows};
use crate::sql::unhex;
use anyhow::{Context, Result, ensure};
use mysql_async::Conn;
use std::collections::HashMap;

/// The differences between the rows of two tables with the same column names.
pub(super) async fn compare(
    left: (&mut Conn, &Table),
    right: (&mut Conn, &Table),
    one_family: bool,
) -> Result<Vec<Difference>> {
    let ((a, ours), (b, theirs)) = (left, right);
    // The second table's columns, in the order of the first.
    let by_name = |name: &str| theirs.columns.iter().position(|c| c.name.eq_ignore_ascii_case(name));
    let order: Option<Vec<usize>> = ours.columns.iter().map(|c| by_name(&c.name)).collect();
    let order = order.context("the tables have different columns")?;
    let (mut x, mut y) = (Vec::new(), vec![Form::Text; theirs.columns.len()]);
    let mut parsed = Vec::new();
    for (i, &j) in order.iter().enumerate() {
        let (p, q) = (&ours.columns[i], &theirs.columns[j]);
        x.push(p.form(Some(q), one_family));
        y[j] = q.form(Some(p), one_family);
        parsed.push(x[i] == Form::JsonText);
    }
    let straight: Vec<usize> = (0..x.len()).collect();
    if !parsed.contains(&true) {
        let (one, two) = (checksum(a, ours, &x, &straight).await?, checksum(b, theirs, &y, &order).await?);
        if one.1.is_some() && one == two {
            return Ok(Vec::new());
        }
    }
    let ours_rows = fetch(a, ours, &x, &straight, &parsed).await?;
    let theirs_rows = fetch(b, theirs, &y, &order, &parsed).await?;
    Ok(differences(ours, &x, ours_rows, theirs_rows))
}

/// Row count, and the sum over the rows' hashes: `None` if a row is too long for the server to hash.
pub(super) async fn checksum(
    conn: &mut Conn,
    table: &Table,
    forms: &[Form],
    order: &[usize],
) -> Result<(u64, Option<String>)> {
    let parts: Vec<String> = expressions(table, forms, order).map(|e| format!("IFNULL({e}, 'NULL')")).collect();
    // SHA2 is there on every version; MD5 and SHA1 are gone from MySQL 9.
    let hash = format!("CONV(LEFT(SHA2(CONCAT_WS('|', {}), 256), 15), 16, 10)", parts.join(", "));
    let sql = format!(
        "SELECT COUNT(*), SUM(h IS NULL), IFNULL(SUM(CAST(h AS DECIMAL(30))), 0) FROM (SELECT {hash} AS h FROM {}) AS hashed",
        table.quoted()
    );
    let rows = text_rows(conn, &sql).await?;
    let text = |i: usize| rows.first().and_then(|r| r.get(i)).and_then(Option::as_deref).map(String::from_utf8_lossy);
    let count: u64 = text(0).context("COUNT gave nothing")?.parse().context("COUNT is no number")?;
    let unhashed = text(1).is_some_and(|n| n != "0");
    Ok((count, if unhashed { None } else { text(2).map(std::borrow::Cow::into_owned) }))
}

async fn fetch(
    conn: &mut Conn,
    table: &Table,
    forms: &[Form],
    order: &[usize],
    parsed: &[bool],
) -> Result<Vec<TextRow>> {
    let list: Vec<String> = expressions(table, forms, order).collect();
    let mut rows = text_rows(conn, &format!("SELECT {} FROM {}", list.join(", "), table.quoted())).await?;
    for row in &mut rows {
        ensure!(row.len() == parsed.len(), "a row of {} has {} values", table.quoted(), row.len());
        for value in row.iter_mut().zip(parsed).filter(|(_, json)| **json).filter_map(|(v, _)| v.as_mut()) {
            // Servers write the same document with other spaces, key orders and number forms.
            let text = unhex(value).context("HEX gave no hex")?;
            if let Ok(document) = serde_json::from_slice::<serde_json::Value>(&text) {
                *value = crate::sql::hex(document.to_string().as_bytes()).into_bytes();
            }
        }
    }
    Ok(rows)
}

fn expressions<'a>(table: &'a Table, forms: &'a [Form], order: &'a [usize]) -> impl Iterator<Item = String> + 'a {
    order.iter().map(|&i| table.columns[i].expression(forms[i]))
}

fn differences(table: &Table, forms: &[Form], ours: Vec<TextRow>, theirs: Vec<TextRow>) -> Vec<Difference> {
    let mut surplus: HashMap<TextRow, i64> = HashMap::new();
    for row in ours {
        *surplus.entry(row).or_default() += 1;
    }
    for row in theirs {
        *surplus.entry(row).or_default() -= 1;
    }
    surplus.retain(|_, count| *count != 0);
    // Rows of one key stand beside each other, so that a changed row is told by its changed values.
    let key_of = |row: &TextRow| table.key.iter().map(|&i| row[i].clone()).collect::<TextRow>();
    let mut left: Vec<(TextRow, TextRow, i64)> = surplus.into_iter().map(|(row, n)| (key_of(&row), row, n)).collect();
    left.sort();
    let mut found = Report { table, forms, found: Vec::new(), more: 0 };
    let mut rest = left.as_slice();
    while let Some((key, row, n)) = rest.first() {
        match rest.get(1) {
            Some((next_key, other, m)) if !key.is_empty() && key == next_key && n * m < 0 => {
                let (ours, theirs) = if *n > 0 { (row, other) } else { (other, row) };
                found.changed(ours, theirs);
                rest = &rest[2..];
            }
            _ => {
                found.surplus(row, *n);
                rest = &rest[1..];
            }
        }
    }
    found.finish()
}

struct Report<'a> {
    table: &'a Table,
    forms: &'a [Form],
    found: Vec<Difference>,
    more: usize,
}

impl Report<'_> {
    fn changed(&mut self, ours: &TextRow, theirs: &TextRow) {
        for i in (0..ours.len()).filter(|&i| ours[i] != theirs[i]) {
            let column = self.table.columns[i].name.clone();
            let (left, right) = (self.show(ours, i), self.show(theirs, i));
            self.push(What::Value, self.key(ours), column, Some(left), Some(right));
        }
    }

    fn surplus(&mut self, row: &TextRow, count: i64) {
        let times = Some(if count.abs() == 1 { "a row".to_owned() } else { format!("{} more rows", count.abs()) });
        let (left, right) = if count > 0 { (times, None) } else { (None, times) };
        self.push(What::Row, self.key(row), String::new(), left, right);
    }

    fn push(&mut self, what: What, key: String, column: String, left: Option<String>, right: Option<String>) {
        if self.found.len() >= REPORT_MAX {
            self.more += 1;
            return;
        }
        let table = format!("{}.{}", self.table.database, self.table.name);
        self.found.push(Difference { table, what, key, column, left, right });
    }

    fn finish(mut self) -> Vec<Difference> {
        if self.more > 0 {
            let table = format!("{}.{}", self.table.database, self.table.name);
            let key = format!("{} more differences", self.more);
            self.found.push(Difference {
                table,
                what: What::More,
                key,
                column: String::new(),
                left: None,
                right: None,
            });
        }
        self.found
    }

    fn key(&self, row: &TextRow) -> String {
        let whole: Vec<usize> = (0..row.len()).collect();
        let columns = if self.table.key.is_empty() { &whole } else { &self.table.key };
        let shown = columns.iter().map(|&i| format!("{}={}", self.table.columns[i].name, self.show(row, i)));
        shown.collect::<Vec<_>>().join(" ")
    }

    /// A value for people: text where the bytes are printable, else 0x and hex; long ones are cut.
    fn show(&self, row: &TextRow, i: usize) -> String {
        let Some(value) = &row[i] else { return "NULL".to_owned() };
        let mut text = String::from_utf8_lossy(value).into_owned();
        if matches!(self.forms[i], Form::Bytes | Form::TextInHex | Form::JsonText) {
            let plain = unhex(value).and_then(|b| String::from_utf8(b).ok()).filter(|t| !t.contains(char::is_control));
            text = plain.map_or(format!("0x{text}"), |t| format!("'{t}'"));
        }
        if text.chars().count() > 200 { text.chars().take(200).chain("…".chars()).collect() } else { text }
    }
}
