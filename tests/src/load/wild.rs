//! Changes all over the key space of large tables: keys that move, change places or go and come back, many rows at once, and
//! transactions that undo themselves. What a copy that runs meanwhile must survive.

use super::statements::{Kind, Statements};
use crate::kind::ServerKind;
use crate::sql::hex;
use anyhow::{Context, Result};
use rand::Rng;

/// Tables beside the load's own, with string keys and nullable unique ones.
pub(super) fn tables(database: &str) -> String {
    format!(
        "USE `{database}`;
CREATE TABLE word (name VARCHAR(60) NOT NULL PRIMARY KEY, alias VARCHAR(20) NULL, n INT, UNIQUE KEY alias (alias));
CREATE TABLE pair (a INT NOT NULL, b VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci NOT NULL, u BIGINT NULL, note VARCHAR(100),
  PRIMARY KEY (a, b), UNIQUE KEY u (u))"
    )
}

/// Fills each table of the load with so many rows (`ledger` with none), in transactions of 500.
pub(super) async fn fill(server: &crate::server::Server, database: &str, s: &mut Statements, rows: u32) -> Result<()> {
    use mysql_async::prelude::Queryable;
    let mut conn = server.conn().await?;
    conn.query_drop(format!("{}; USE `{database}`", super::statements::SESSION)).await?;
    // IGNORE, since random keys may meet in a collation.
    let mut from = 0;
    while from < rows {
        let upto = rows.min(from + 500);
        conn.query_drop("BEGIN").await?;
        for (into, row) in [
            (
                "account (owner, balance, visits, rating, ratio, note)",
                Statements::account as fn(&mut Statements) -> String,
            ),
            ("event (at, kind, payload, n)", Statements::event),
            ("document (body, made, vintage, wait, weight)", Statements::document),
        ] {
            let values: Vec<String> = (from..upto).map(|_| row(s)).collect();
            conn.query_drop(format!("INSERT INTO {into} VALUES {}", values.join(", "))).await.context(into)?;
        }
        let values: Vec<String> = (from..upto).map(|n| s.item_of(1000 + n)).collect();
        let columns = "item (region, sku, code, quantity, small, photo, kind, tags, flags, hash)";
        conn.query_drop(format!("INSERT IGNORE INTO {columns} VALUES {}", values.join(", "))).await.context(columns)?;
        // Few parents, so that each has children.
        let values: Vec<String> = (from / 10..upto / 10).map(|n| format!("({n}, {})", s.text(20))).collect();
        if !values.is_empty() {
            conn.query_drop(format!("INSERT INTO parent VALUES {}", values.join(", "))).await.context("parent")?;
            let values: Vec<String> =
                (from..upto).map(|n| format!("({}, {})", n / 10 % (upto / 10), s.text(20))).collect();
            conn.query_drop(format!("INSERT INTO child (parent, note) VALUES {}", values.join(", ")))
                .await
                .context("child")?;
        }
        let values: Vec<String> = (from..upto).map(|n| format!("({}, 'alias {n}', {n})", word(s, n))).collect();
        conn.query_drop(format!("INSERT IGNORE INTO word VALUES {}", values.join(", "))).await.context("word")?;
        let values: Vec<String> =
            (from..upto).map(|n| format!("({}, 'key {n}', {n}, {})", n % 97, s.text(60))).collect();
        conn.query_drop(format!("INSERT INTO pair VALUES {}", values.join(", "))).await.context("pair")?;
        conn.query_drop("COMMIT").await?;
        from = upto;
    }
    if server.kind() != ServerKind::Mysql56 {
        conn.query_drop("ANALYZE TABLE account, event, document, item, child, word, pair").await?;
    }
    Ok(conn.disconnect().await?)
}

/// A key of the table `word`: letters of several scripts and cases, in no order of ours.
fn word(s: &mut Statements, n: u32) -> String {
    const BEGIN: [&str; 12] = ["ä", "A", "z", "Z", "ß", "ss", "İ", "i", "ı", "Ж", "水", "é"];
    let begin = BEGIN[s.rng.random_range(0..BEGIN.len())];
    format!("_utf8mb4 x'{}'", hex(format!("{begin}{:05} {n}", n.wrapping_mul(7919) % 65_536).as_bytes()))
}

impl Statements {
    /// A transaction on tables of about `rows` rows each: its statements, and whether it is to be rolled back.
    pub(super) fn wild(&mut self, rows: u32) -> (Vec<(Kind, String)>, bool) {
        use Kind::{Delete, Insert, Update};
        let (x, y) = (self.rng.random_range(1..=rows), self.rng.random_range(1..=rows));
        let many = self.rng.random_range(50..1500);
        let statements = match self.rng.random_range(0..100) {
            // A key moves to anywhere, also from behind the copied part to before it.
            0..10 => vec![(Update, format!("UPDATE account SET id = {} WHERE id = {y}", x + rows * (x % 3)))],
            10..18 => vec![(Update, format!("UPDATE pair SET a = {}, b = 'moved {x}' WHERE u = {y}", x % 120))],
            18..26 => {
                let to = word(self, x);
                vec![(Update, format!("UPDATE word SET name = {to} WHERE alias = 'alias {y}'"))]
            }
            // Two rows change places: their unique keys, or all but them.
            26..34 => vec![
                (Update, format!("UPDATE item SET code = -1 WHERE code = {}", 1000 + x)),
                (Update, format!("UPDATE item SET code = {} WHERE code = {}", 1000 + x, 1000 + y)),
                (Update, format!("UPDATE item SET code = {} WHERE code = -1", 1000 + y)),
            ],
            34..42 => vec![
                (Update, format!("UPDATE word SET alias = NULL WHERE alias = 'alias {x}'")),
                (Update, format!("UPDATE word SET alias = 'alias {x}' WHERE alias = 'alias {y}'")),
                (Update, format!("UPDATE word SET alias = 'alias {y}' WHERE alias IS NULL ORDER BY name LIMIT 1")),
            ],
            42..48 => vec![
                (Update, format!("UPDATE account SET id = 4000000000 WHERE id = {x}")),
                (Update, format!("UPDATE account SET id = {x} WHERE id = {y}")),
                (Update, format!("UPDATE account SET id = {y} WHERE id = 4000000000")),
            ],
            // A row goes and another comes with its key.
            48..56 => vec![
                (Delete, format!("DELETE FROM pair WHERE u = {x}")),
                (Insert, format!("INSERT INTO pair VALUES ({}, 'key {x}', {x}, 'back again')", x % 97)),
            ],
            56..62 => {
                let row = self.item_of(1000 + x);
                let columns = "item (region, sku, code, quantity, small, photo, kind, tags, flags, hash)";
                vec![(Insert, format!("REPLACE INTO {columns} VALUES {row}"))]
            }
            62..66 => vec![(Delete, format!("DELETE FROM document WHERE id = {x}"))],
            66..72 => vec![(Update, format!("UPDATE document SET weight = {y} WHERE id BETWEEN {x} AND {}", x + 20))],
            72..76 => vec![(Update, format!("UPDATE event SET n = n + 1 WHERE n = {} LIMIT 50", x % 300))],
            76..80 => vec![(Update, format!("UPDATE parent SET id = {} WHERE id = {}", rows + x, y / 10))],
            80..84 => vec![(Delete, format!("DELETE FROM parent WHERE id = {}", y / 10))],
            // Many rows, in one statement and in several.
            84..90 => vec![
                (Update, format!("UPDATE account SET visits = {y} WHERE id BETWEEN {x} AND {}", x + many)),
                (Update, format!("UPDATE word SET n = n + 1 WHERE n BETWEEN {x} AND {}", x + many)),
            ],
            90..94 => vec![(Delete, format!("DELETE FROM account WHERE id BETWEEN {x} AND {}", x + many / 20))],
            94..97 => vec![(
                Insert,
                format!("INSERT INTO event SELECT at, kind, payload, {} FROM event LIMIT {}", x % 300, many / 4),
            )],
            _ => vec![(Update, format!("UPDATE pair SET u = NULL, note = 'no number' WHERE a = {}", x % 97))],
        };
        let undo = self.rng.random_ratio(1, 5);
        (statements, undo)
    }
}
