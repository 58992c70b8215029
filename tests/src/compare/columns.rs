//! What a table looks like, and the SQL that turns each of its columns into text without losing anything.

use super::Tables;
use crate::server::{TextRow, text_rows};
use anyhow::{Context, Result};
use mysql_async::Conn;

/// A table or view as information_schema describes it.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) database: String,
    pub(super) name: String,
    /// `BASE TABLE`, `VIEW`, `SYSTEM VERSIONED`, `SEQUENCE`.
    pub(super) kind: String,
    pub(super) columns: Vec<Column>,
    /// Positions in `columns` of the primary key's columns.
    pub(super) key: Vec<usize>,
}

/// One column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    data_type: String,
    column_type: String,
}

/// How a column's values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Numbers without fraction limits and temporal values: their text is exact.
    Text,
    /// FLOAT and DOUBLE: all digits, and the sign of zero.
    Float,
    /// FLOAT and DOUBLE without the sign of zero: MariaDB stores -0 as 0.
    FloatUnsignedZero,
    /// BIT, as a number.
    Bit,
    /// ENUM and SET: number and text, since one text may stand for two numbers.
    Member,
    /// Strings, BLOBs, geometries, vectors: their bytes in hex.
    Bytes,
    /// MariaDB's UUID and INET types: their text, in hex.
    TextInHex,
    /// JSON as text. Between MySQL's JSON and MariaDB's text, compared as parsed documents.
    JsonText,
    /// JSON between two MySQL servers: text, type, and the size of its binary form, in which a DECIMAL differs from a DOUBLE.
    Json,
}

impl Column {
    /// How to compare it with `other` of the other server, or for a summary without one. `one_family`: both are MySQL, or both MariaDB.
    pub(super) fn form(&self, other: Option<&Column>, one_family: bool) -> Form {
        match self.data_type.as_str() {
            "float" | "double" if one_family => Form::Float,
            "float" | "double" => Form::FloatUnsignedZero,
            "bit" => Form::Bit,
            "enum" | "set" => Form::Member,
            "json" if other.is_some_and(|o| o.data_type == "json") => Form::Json,
            "json" => Form::JsonText,
            "uuid" | "inet4" | "inet6" => Form::TextInHex,
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "date" | "time" | "datetime"
            | "timestamp" | "year" => Form::Text,
            _ if other.is_some_and(|o| o.data_type == "json") => Form::JsonText,
            _ => Form::Bytes,
        }
    }

    /// The SQL expression of its value in that form.
    pub(super) fn expression(&self, form: Form) -> String {
        let c = quote(&self.name);
        match form {
            Form::Text => format!("CAST({c} AS CHAR)"),
            Form::Float => all_digits(&c, &format!("LEFT(CONCAT({c} * 1e0), 1) = '-'")),
            Form::FloatUnsignedZero => all_digits(&c, &format!("{c} < 0")),
            Form::Bit => format!("{c} + 0"),
            Form::Member => format!("CONCAT({c} + 0, ':', HEX({c}))"),
            Form::Bytes => format!("HEX({c})"),
            Form::TextInHex | Form::JsonText => format!("HEX(CAST({c} AS CHAR))"),
            // Merging builds the document anew, without the holes that partial updates leave in a stored one.
            Form::Json => format!(
                "CONCAT(JSON_TYPE({c}), ':', JSON_STORAGE_SIZE(JSON_MERGE_PRESERVE(JSON_ARRAY(), {c})), ':', HEX(CAST({c} AS CHAR)))"
            ),
        }
    }

    /// The type as far as all servers write it alike: no display widths, no character set, JSON as the text that MariaDB makes of it.
    fn portable_type(&self) -> String {
        let mut text = self.column_type.to_lowercase();
        if text == "json" {
            return "longtext".to_owned();
        }
        if (self.data_type.ends_with("int") || self.data_type == "year")
            && let (Some(open), Some(close)) = (text.find('('), text.find(')'))
        {
            text.replace_range(open..=close, "");
        }
        // MariaDB's comment on old temporal formats, and the geometry's SRID, stand behind the type.
        text.split(" /*").next().unwrap_or_default().trim().to_owned()
    }
}

impl Table {
    /// Whether its rows are to be compared; a view's are those of its tables.
    pub(super) fn has_rows(&self) -> bool {
        self.kind == "BASE TABLE" || self.kind == "SYSTEM VERSIONED"
    }

    /// Names and portable types of its columns, in order.
    pub(super) fn shape(&self) -> Vec<String> {
        self.columns.iter().map(|c| format!("{} {}", c.name, c.portable_type())).collect()
    }

    /// `` `database`.`table` ``.
    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.database), quote(&self.name))
    }

    /// What SHOW CREATE says, without the next AUTO_INCREMENT value: that one may also move by what was rolled back; and without the character sets
    /// of columns whose collation it says: MySQL shows both for a table that was made by what it showed of another.
    pub(super) async fn definition(&self, conn: &mut Conn) -> Result<String> {
        let rows = text_rows(conn, &format!("SHOW CREATE TABLE {}", self.quoted())).await?;
        let text = rows.into_iter().next().and_then(|row| row.into_iter().nth(1)).flatten();
        let text = String::from_utf8_lossy(&text.context("SHOW CREATE TABLE gave nothing")?).into_owned();
        let text = without_implied(&text);
        let Some(start) = text.find(" AUTO_INCREMENT=") else { return Ok(text) };
        let rest = text[start + " AUTO_INCREMENT=".len()..].trim_start_matches(|c: char| c.is_ascii_digit());
        Ok(format!("{}{rest}", &text[..start]))
    }
}

/// Leaves out each ` CHARACTER SET x` in front of ` COLLATE x_…`, or of ` COLLATE x`.
fn without_implied(definition: &str) -> String {
    const SET: &str = " CHARACTER SET ";
    let mut parts = definition.split(SET);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let name = part.split([' ', ',', '\n']).next().unwrap_or_default();
        let rest = &part[name.len()..];
        if !rest.strip_prefix(" COLLATE ").is_some_and(|collation| collation.starts_with(name)) {
            text.push_str(SET);
            text.push_str(name);
        }
        text.push_str(rest);
    }
    text
}

/// A number with all its digits. MySQL cuts the text of a DOUBLE at 22 characters, which is too short for a sign or an exponent of three
/// digits beside 17 digits; so the sign goes apart, and very large and small numbers are brought near 1 by a power of two, which is exact.
fn all_digits(c: &str, negative: &str) -> String {
    format!(
        "CONCAT(IF({negative}, '-', ''), CASE WHEN {c} = 0 THEN '0' \
         WHEN ABS({c}) >= 1e200 THEN CONCAT(ABS({c}) * 1.3319983461951343e-256, '*2^850') \
         WHEN ABS({c}) >= 1e99 THEN CONCAT(ABS({c}) * 3.054936363499605e-151, '*2^500') \
         WHEN ABS({c}) < 1e-200 THEN CONCAT(ABS({c}) * 7.5075168288047e255, '*2^-850') \
         WHEN ABS({c}) < 1e-99 THEN CONCAT(ABS({c}) * 3.273390607896142e150, '*2^-500') \
         ELSE CONCAT(ABS({c}) * 1e0) END)"
    )
}

/// All tables and views of a database, by name.
pub(super) async fn tables(conn: &mut Conn, database: &str) -> Result<Tables> {
    let of = format!("table_schema = _utf8 x'{}'", crate::sql::hex(database.as_bytes()));
    let mut tables = Tables::new();
    let sql = format!("SELECT table_name, table_type FROM information_schema.tables WHERE {of}");
    for row in text_rows(conn, &sql).await? {
        let (name, kind) = (text(&row, 0), text(&row, 1));
        let table =
            Table { database: database.to_owned(), name: name.clone(), kind, columns: Vec::new(), key: Vec::new() };
        tables.insert(name, table);
    }
    let sql = format!(
        "SELECT table_name, column_name, data_type, column_type FROM information_schema.columns WHERE {of} \
         ORDER BY table_name, ordinal_position"
    );
    for row in text_rows(conn, &sql).await? {
        if let Some(table) = tables.get_mut(&text(&row, 0)) {
            let (name, data_type) = (text(&row, 1), text(&row, 2).to_lowercase());
            table.columns.push(Column { name, data_type, column_type: text(&row, 3) });
        }
    }
    let sql = format!(
        "SELECT table_name, column_name FROM information_schema.statistics WHERE {of} AND index_name = 'PRIMARY' \
         ORDER BY table_name, seq_in_index"
    );
    for row in text_rows(conn, &sql).await? {
        if let Some(table) = tables.get_mut(&text(&row, 0)) {
            let name = text(&row, 1);
            table.key.extend(table.columns.iter().position(|c| c.name == name));
        }
    }
    Ok(tables)
}

fn text(row: &TextRow, column: usize) -> String {
    row.get(column).and_then(Option::as_deref).map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default()
}

fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
