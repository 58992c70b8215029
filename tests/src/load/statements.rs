//! The load's tables and the statements on them.

use crate::kind::ServerKind;
use crate::sql::hex;
use rand::Rng;
use rand::rngs::StdRng;

/// What a statement does to rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Insert,
    Update,
    Delete,
}

/// Zero dates may be written; waits for locks are short, since a refusal is as good a case as a commit.
pub(super) const SESSION: &str =
    "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO', innodb_lock_wait_timeout = 5";

/// Parents and item codes are drawn from so many, so that sessions meet on them.
const FEW: u32 = 300;

/// Deadlock, lock wait, duplicate key, missing parent, parent in use; and a table that DDL changed under an open statement.
pub(super) fn is_refusal(code: u16) -> bool {
    matches!(code, 1213 | 1205 | 1062 | 1452 | 1451 | 1412)
}

/// What a statement of [`Statements::next_ddl`] that ran already answers when it is sent again: table exists, unknown table, column or key
/// name taken, nothing to drop, rows there.
pub(super) fn is_done_already(code: u16) -> bool {
    matches!(code, 1050 | 1051 | 1146 | 1060 | 1061 | 1091 | 1062)
}

/// The statements that make the database: types that every server has, JSON and a generated column where the source knows them.
pub(super) fn schema(kind: ServerKind, database: &str) -> String {
    let (json, generated) = match kind {
        ServerKind::Mysql56 => ("LONGTEXT", ""),
        ServerKind::Mysql9 | ServerKind::Mariadb10 | ServerKind::Mariadb11 => {
            ("JSON", ", twice INT AS (weight * 2) STORED")
        }
    };
    format!(
        "CREATE DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci; USE `{database}`;
CREATE TABLE ledger (op BIGINT UNSIGNED NOT NULL, affected BIGINT NOT NULL, kind VARCHAR(10) NOT NULL);
CREATE TABLE account (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, owner VARCHAR(80) NOT NULL, balance DECIMAL(20,4),
  visits INT UNSIGNED, rating FLOAT, ratio DOUBLE, updated TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
  note TEXT, KEY owner (owner));
CREATE TABLE item (region CHAR(3) CHARACTER SET latin1 NOT NULL, sku VARCHAR(40) NOT NULL, code INT NOT NULL, quantity MEDIUMINT,
  small TINYINT, photo BLOB, kind ENUM('new','used','broken'), tags SET('a','b','c','d'), flags BIT(12), hash BINARY(8),
  PRIMARY KEY (region, sku), UNIQUE KEY code (code));
CREATE TABLE event (at DATETIME(3), kind ENUM('open','close'), payload VARBINARY(200), n INT);
CREATE TABLE parent (id INT NOT NULL PRIMARY KEY, name VARCHAR(40) NOT NULL);
CREATE TABLE child (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, parent INT NOT NULL, note VARCHAR(40),
  CONSTRAINT child_of FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE document (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, body {json}, made DATE, vintage YEAR, wait TIME(3), weight INT{generated})"
    )
}

/// An endless source of statements.
pub(super) struct Statements {
    pub(super) rng: StdRng,
    rows_max: u32,
    ddl: u32,
}

impl Statements {
    pub(super) fn new(rng: StdRng, rows_max: u32) -> Self {
        Statements { rng, rows_max: rows_max.max(1), ddl: 0 }
    }

    pub(super) fn next(&mut self) -> (Kind, String) {
        match self.rng.random_range(0..100) {
            0..14 => {
                (Kind::Insert, self.insert("account (owner, balance, visits, rating, ratio, note)", Self::account))
            }
            14..28 => (Kind::Update, self.update_account()),
            28..34 => (Kind::Delete, format!("DELETE FROM account WHERE {}", self.near("account"))),
            34..44 => {
                let columns = "item (region, sku, code, quantity, small, photo, kind, tags, flags, hash)";
                (Kind::Insert, self.insert(columns, Self::item))
            }
            44..52 => (Kind::Update, self.update_item()),
            52..56 => (Kind::Delete, format!("DELETE FROM item WHERE code = {}", self.few())),
            56..66 => (Kind::Insert, self.insert("event (at, kind, payload, n)", Self::event)),
            66..71 => (
                Kind::Update,
                format!("UPDATE event SET payload = {} WHERE n = {} LIMIT 2", self.bytes(60), self.few()),
            ),
            71..75 => (Kind::Delete, format!("DELETE FROM event WHERE n = {} LIMIT 2", self.few())),
            75..79 => (Kind::Insert, format!("INSERT INTO parent VALUES ({}, {})", self.few(), self.text(20))),
            79..86 => (Kind::Insert, self.insert("child (parent, note)", Self::child)),
            86..88 => (Kind::Delete, format!("DELETE FROM parent WHERE id = {}", self.few())),
            88..89 => (Kind::Update, format!("UPDATE parent SET id = {} WHERE id = {}", self.few(), self.few())),
            89..95 => (Kind::Insert, self.insert("document (body, made, vintage, wait, weight)", Self::document)),
            95..98 => {
                (Kind::Update, format!("UPDATE document SET body = {} WHERE {}", self.json(), self.near("document")))
            }
            _ => (Kind::Delete, format!("DELETE FROM document WHERE {}", self.near("document"))),
        }
    }

    /// The next of a cycle of statements that change tables; each leaves the columns above in place.
    pub(super) fn next_ddl(&mut self) -> String {
        let (round, step) = (self.ddl / 10, self.ddl % 10);
        self.ddl += 1;
        match step {
            0 => format!(
                "CREATE TABLE extra_{round} (id INT NOT NULL PRIMARY KEY, v VARCHAR(20)) /* made by the load */"
            ),
            1 => format!("ALTER TABLE account ADD COLUMN extra_{round} INT NOT NULL DEFAULT {round}"),
            2 => format!("ALTER TABLE event MODIFY payload VARBINARY({})", 201 + round % 50),
            3 => format!("INSERT INTO extra_{round} VALUES (1, 'one'), (2, 'two')"),
            4 => format!("CREATE INDEX by_quantity_{round} ON item (quantity)"),
            5 => format!("RENAME TABLE extra_{round} TO `moved to {round}`"),
            6 => format!(
                "ALTER TABLE account DROP COLUMN extra_{round}, ADD COLUMN first_{round} VARCHAR(9) DEFAULT 'x' FIRST"
            ),
            7 => format!("TRUNCATE TABLE `moved to {round}`"),
            8 => format!("ALTER TABLE item DROP INDEX by_quantity_{round}"),
            _ => format!("ALTER TABLE account DROP COLUMN first_{round}"),
        }
    }

    fn insert(&mut self, into: &str, row: fn(&mut Self) -> String) -> String {
        // Mostly single rows, as applications write; sometimes a statement of many.
        let rows = if self.rng.random_ratio(1, 4) { self.rng.random_range(1..=self.rows_max) } else { 1 };
        let rows: Vec<String> = (0..rows).map(|_| row(self)).collect();
        format!("INSERT INTO {into} VALUES {}", rows.join(", "))
    }

    pub(super) fn account(&mut self) -> String {
        let (owner, note) = (self.text(60), self.text(300));
        let (balance, visits) = (self.rng.random_range(-1e12..1e12), self.rng.random::<u32>());
        let (rating, ratio) = (self.rng.random_range(-1e30..1e30_f32), self.rng.random_range(-1e300..1e300));
        format!("({owner}, {balance:.4}, {visits}, {rating:e}, {ratio:e}, {note})")
    }

    fn update_account(&mut self) -> String {
        let (rate, text) = (self.rng.random_range(-1e3..1e3), self.text(100));
        format!("UPDATE account SET balance = balance + {rate:.4}, note = {text} WHERE {}", self.near("account"))
    }

    fn item(&mut self) -> String {
        let code = self.few();
        self.item_of(code)
    }

    pub(super) fn item_of(&mut self, code: u32) -> String {
        let (sku, photo, hash) = (self.text(40), self.bytes(400), self.bytes(8));
        let region = ["eu", "us", "asi"][self.rng.random_range(0..3)];
        let (quantity, small) = (self.rng.random_range(-8_388_608..8_388_608), self.rng.random::<i8>());
        let (kind, tags, flags) =
            (self.rng.random_range(1..4), self.rng.random_range(0..16), self.rng.random_range(0..4096));
        format!("('{region}', {sku}, {code}, {quantity}, {small}, {photo}, {kind}, {tags}, {flags}, {hash})")
    }

    fn update_item(&mut self) -> String {
        let quantity = self.rng.random_range(-9..10);
        if self.rng.random_ratio(1, 5) {
            // The key itself changes.
            return format!(
                "UPDATE item SET code = {}, sku = {} WHERE code = {}",
                self.few(),
                self.text(40),
                self.few()
            );
        }
        let few = self.few();
        format!("UPDATE item SET small = {quantity}, tags = 5 WHERE code BETWEEN {few} AND {}", few + 5)
    }

    pub(super) fn event(&mut self) -> String {
        let (second, thousandth) = (self.rng.random_range(0..60), self.rng.random_range(0..1000));
        let (kind, payload, n) = (self.rng.random_range(1..3), self.bytes(20), self.few());
        format!("('2024-02-29 23:59:{second:02}.{thousandth:03}', {kind}, {payload}, {n})")
    }

    fn child(&mut self) -> String {
        format!("({}, {})", self.few(), self.text(20))
    }

    pub(super) fn document(&mut self) -> String {
        let body = self.json();
        let made = ["NULL", "'0000-00-00'", "'2024-02-29'", "'9999-12-31'"][self.rng.random_range(0..4)];
        let wait = ["NULL", "'-838:59:59'", "'-00:00:00.1'", "'12:34:56.789'"][self.rng.random_range(0..4)];
        let (year, weight) = (self.rng.random_range(1901..2156), self.rng.random_range(-1_000_000..1_000_000));
        format!("({body}, {made}, {year}, {wait}, {weight})")
    }

    fn json(&mut self) -> String {
        let (n, real) = (self.rng.random::<i64>(), self.rng.random_range(-1e6..1e6));
        let word: String = (0..self.rng.random_range(0..30)).map(|_| self.rng.random_range('a'..='z')).collect();
        format!(
            "'{{\"n\": {n}, \"real\": {real:.3}, \"word\": \"{word}\", \"list\": [1, null, true, {{}}], \"ключ\": \"🚰\"}}'"
        )
    }

    /// A condition that meets up to three of a table's latest rows.
    fn near(&mut self, table: &str) -> String {
        let back = self.rng.random_range(0..200);
        format!(
            "id IN (SELECT id FROM (SELECT id FROM {table} ORDER BY id DESC LIMIT {back}, {}) AS latest)",
            self.rng.random_range(1..4)
        )
    }

    fn few(&mut self) -> u32 {
        self.rng.random_range(0..FEW)
    }

    /// Text of up to `most` characters of one to four bytes, quotes and backslashes among them.
    pub(super) fn text(&mut self, most: usize) -> String {
        const CHARACTERS: [char; 14] = ['a', 'B', '0', ' ', '\'', '"', '\\', '`', '%', '\n', 'é', 'Ж', '水', '🚰'];
        let count = self.rng.random_range(1..=most);
        let text: String = (0..count).map(|_| CHARACTERS[self.rng.random_range(0..CHARACTERS.len())]).collect();
        format!("_utf8mb4 x'{}'", hex(text.as_bytes()))
    }

    fn bytes(&mut self, most: usize) -> String {
        let count = self.rng.random_range(0..=most);
        let bytes: Vec<u8> = (0..count).map(|_| self.rng.random()).collect();
        format!("x'{}'", hex(&bytes))
    }
}
