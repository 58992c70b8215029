//! Objects of every kind, with what makes their definitions hard to bring over.

use harness::ServerKind;

/// Statements for a source of this kind, each run by itself. They fill the databases `shop` and ``we`ird ünï``.
pub(crate) fn statements(kind: ServerKind) -> Vec<&'static str> {
    let mut all = COMMON.to_vec();
    match kind {
        ServerKind::Mysql9 => all.extend(MYSQL9),
        ServerKind::Mariadb10 | ServerKind::Mariadb11 => all.extend(MARIADB),
        ServerKind::Mysql56 => {}
    }
    if kind != ServerKind::Mysql56 {
        all.extend(NEWER);
    }
    all.extend(ON_TABLES);
    all
}

const COMMON: &[&str] = &[
    "SET NAMES utf8mb4",
    "CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE DATABASE `we``ird ünï` CHARACTER SET latin1 COLLATE latin1_german2_ci",
    "CREATE DATABASE elsewhere",
    "CREATE TABLE elsewhere.t (a INT)",
    "USE shop",
    "SET sql_mode='NO_ENGINE_SUBSTITUTION'",
    "CREATE TABLE plain (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY COMMENT 'it''s \"quoted\" \\\\ `so` ünï\\n', \
     v VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin DEFAULT 'ä''\"\\\\', w VARCHAR(20) CHARACTER SET utf8 NOT NULL DEFAULT '', \
     e ENUM('a''b', 'ü', ',') DEFAULT 'ü', s SET('x', 'y') NOT NULL DEFAULT 'x,y', n DECIMAL(10,3) DEFAULT '1.500', b BIT(5) DEFAULT b'101', \
     d DATETIME(3) NOT NULL DEFAULT '0000-00-00 00:00:00', KEY wv (w(5), v), UNIQUE KEY (n)) COMMENT='/* no */ -- ünï \\'' AUTO_INCREMENT=77",
    "SET sql_mode=DEFAULT",
    "INSERT INTO plain (w) VALUES ('x')",
    "SET time_zone='+05:00'",
    "CREATE TABLE times (id INT PRIMARY KEY, t TIMESTAMP NOT NULL DEFAULT '2020-01-01 12:00:00', u TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
     x TIMESTAMP NULL DEFAULT NULL)",
    "SET time_zone='SYSTEM'",
    "CREATE TABLE parts (id INT NOT NULL, y DATE NOT NULL, PRIMARY KEY (id, y)) PARTITION BY RANGE (YEAR(y)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 \
     (PARTITION `old` VALUES LESS THAN (2000) COMMENT = 'ö', PARTITION p1 VALUES LESS THAN MAXVALUE)",
    "CREATE TABLE `select` (`order by` INT, `a``b` INT, `ключ` INT, UNIQUE KEY `un``ique` (`a``b`, `ключ`))",
    "CREATE TABLE parent (id INT PRIMARY KEY)",
    "CREATE TABLE child (id INT PRIMARY KEY, p INT, CONSTRAINT `f k` FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
    "CREATE TABLE grandchild (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES child (id) ON UPDATE SET NULL)",
    "CREATE TABLE friend (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id))",
    "CREATE TABLE odd (c CHAR(3)) ENGINE=MyISAM DEFAULT CHARSET=utf8 COLLATE=utf8_unicode_ci ROW_FORMAT=FIXED MAX_ROWS=1000 CHECKSUM=1",
    "USE `we``ird ünï`",
    "CREATE TABLE `t.t` (`x'y` INT PRIMARY KEY, `v\"w` TEXT)",
];

const MYSQL9: &[&str] = &[
    "USE shop",
    "SET sql_generate_invisible_primary_key=1",
    "CREATE TABLE gipk (a INT)",
    "SET sql_generate_invisible_primary_key=0",
    "CREATE TABLE newer (id INT, a INT INVISIBLE, g INT GENERATED ALWAYS AS (a + 1) STORED, j JSON DEFAULT (JSON_OBJECT('ä', 1)), \
     p POINT NOT NULL SRID 4326, PRIMARY KEY (id DESC), KEY ((a * 2)), KEY (a) INVISIBLE, SPATIAL KEY (p), CONSTRAINT `c k` CHECK (a <> 3) NOT ENFORCED, \
     CHECK (id > -5))",
    "CREATE DATABASE secret CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs",
];

const MARIADB: &[&str] = &[
    "USE shop",
    "CREATE TABLE newer (id INT PRIMARY KEY, a INT INVISIBLE, g INT GENERATED ALWAYS AS (a + 1) PERSISTENT, j JSON DEFAULT '{}', u UUID, \
     w BLOB UNIQUE, e VARCHAR(9) DEFAULT (CONCAT('ä', 'b')), KEY (a) IGNORED, CHECK (id > -5)) PAGE_COMPRESSED=1",
    "CREATE SEQUENCE `se q` START WITH 10 INCREMENT BY 5 MAXVALUE 1000 CACHE 3 CYCLE",
    "SELECT NEXTVAL(`se q`), NEXTVAL(`se q`), NEXTVAL(`se q`), NEXTVAL(`se q`)",
    "CREATE SEQUENCE down START WITH -1 INCREMENT BY -1 NOCACHE",
    "CREATE TABLE numbered (id BIGINT DEFAULT NEXTVAL(`se q`) PRIMARY KEY)",
    "CREATE TABLE history (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
    "SET sql_mode='ORACLE'",
    "CREATE PACKAGE pack AS FUNCTION f RETURN INT; END",
    "SET sql_mode=DEFAULT",
];

const NEWER: &[&str] = &[
    "USE shop",
    "CREATE TABLE virt (id INT PRIMARY KEY, a VARCHAR(10), g VARCHAR(20) GENERATED ALWAYS AS (CONCAT(a, 'ü''')) VIRTUAL, KEY (g))",
    "CREATE TRIGGER second BEFORE INSERT ON plain FOR EACH ROW SET NEW.w = CONCAT(NEW.w, '2')",
    "CREATE TRIGGER zfirst BEFORE INSERT ON plain FOR EACH ROW PRECEDES second SET NEW.w = CONCAT(NEW.w, '1')",
    "CREATE TRIGGER athird BEFORE INSERT ON plain FOR EACH ROW FOLLOWS second SET NEW.w = CONCAT(NEW.w, '3')",
];

const ON_TABLES: &[&str] = &[
    "USE shop",
    "CREATE FUNCTION `f u``n`(a INT, `b ü` VARCHAR(10)) RETURNS VARCHAR(30) DETERMINISTIC COMMENT 'it''s' RETURN CONCAT(a, `b ü`, 'ö')",
    "CREATE DEFINER=`no one`@`%` PROCEDURE proc(IN x INT, OUT y INT) SQL SECURITY INVOKER READS SQL DATA BEGIN /* kept */ -- so\n SET y = x; END",
    "SET sql_mode='ANSI_QUOTES,PIPES_AS_CONCAT'",
    "CREATE FUNCTION ansi(\"a b\" VARCHAR(10)) RETURNS VARCHAR(30) NO SQL RETURN \"a b\" || 'x'",
    "SET sql_mode='NO_BACKSLASH_ESCAPES'",
    "CREATE FUNCTION slash() RETURNS VARCHAR(30) NO SQL RETURN '\\'",
    "SET sql_mode=DEFAULT",
    "CREATE TABLE target (id INT PRIMARY KEY, v VARCHAR(50))",
    "CREATE TRIGGER `tr``ig` AFTER UPDATE ON target FOR EACH ROW SET @`ünï` = NEW.v",
    "CREATE EVENT `e v` ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE COMMENT 'ünï''' DO DELETE FROM target WHERE v = 'ü'",
    "SET time_zone='+03:00'",
    "CREATE EVENT once ON SCHEDULE AT '2037-05-05 05:05:05' DO SET @a = 1",
    "SET time_zone='SYSTEM'",
    // Made last, named first; each needs the ones before.
    "CREATE VIEW z1 AS SELECT id, `f u``n`(id, 'ü') AS `g h` FROM plain",
    "CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW m2 AS SELECT `g h` FROM z1 WHERE id > 0 WITH LOCAL CHECK OPTION",
    "CREATE VIEW `a3``` AS SELECT m.`g h`, t.`x'y` FROM m2 m JOIN `we``ird ünï`.`t.t` t",
    "CREATE VIEW `we``ird ünï`.a4 AS SELECT * FROM shop.`a3```",
    "CREATE TEMPORARY TABLE hidden (a INT)",
    // A session in which the client speaks another character set.
    "SET NAMES latin1",
];

/// Statements in latin1, after the others.
pub(crate) fn latin1() -> Vec<Vec<u8>> {
    [
        "CREATE PROCEDURE shop.lat() SELECT 'ä', _latin1'ö'",
        "CREATE PROCEDURE shop.simple() SELECT 'ä'",
        "CREATE VIEW shop.latin AS SELECT 'ä' AS a, _latin1'ö' AS b",
    ]
    .iter()
    // All of it is below U+0100.
    .map(|text| text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect())
    .collect()
}
