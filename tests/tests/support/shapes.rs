//! Tables of every shape (keys, generated and invisible columns, foreign keys, engines, names) and DDL of every kind.

use harness::ServerKind;

/// The statements that make a database with tables of every shape and change their rows.
pub(crate) fn tables(database: &str, source: ServerKind, destination: ServerKind) -> String {
    let mut sql = format!(
        "CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci; USE {database};\n{KEYS}\n{FOREIGN_KEYS}\n{TRANSACTIONS}"
    );
    if source != ServerKind::Mysql56 {
        sql.push_str(GENERATED);
        sql.push_str(INVISIBLE);
    }
    if source == ServerKind::Mysql9 && destination == ServerKind::Mysql9 {
        sql.push_str(MYSQL9);
    }
    if destination.is_mariadb() {
        sql.push_str(NOT_TRANSACTIONAL);
    }
    if source.is_mariadb() && destination.is_mariadb() {
        sql.push_str(MARIADB);
    }
    sql
}

const KEYS: &str = "
CREATE TABLE composite (a INT NOT NULL, b VARCHAR(20) NOT NULL, c DATETIME(3) NOT NULL, v TEXT, PRIMARY KEY (b, a, c));
INSERT INTO composite VALUES (1, 'x', '2024-01-01 00:00:00.001', 'one'), (1, 'y', '2024-01-01 00:00:00.001', NULL), (2, 'x', '0000-00-00 00:00:00', '');
UPDATE composite SET v = 'changed' WHERE a = 1; UPDATE composite SET b = 'z' WHERE b = 'y'; DELETE FROM composite WHERE a = 2;
CREATE TABLE only_unique (a INT NULL, b INT NOT NULL, UNIQUE KEY (a, b));
INSERT INTO only_unique VALUES (NULL, 1), (NULL, 1), (1, 1), (1, 2);
UPDATE only_unique SET b = 3 WHERE a IS NULL LIMIT 1; DELETE FROM only_unique WHERE a IS NULL LIMIT 1; UPDATE only_unique SET a = 9 WHERE b = 2;
CREATE TABLE prefixed (v VARCHAR(100) NOT NULL, b BLOB NOT NULL, n INT, PRIMARY KEY (v(5), b(3)));
INSERT INTO prefixed VALUES ('abcdefgh', x'010203', 1), ('abcdXXXX', x'0102030405', 2), ('é', x'00', 3);
UPDATE prefixed SET n = n + 1; UPDATE prefixed SET v = CONCAT(v, '!') WHERE n = 2; DELETE FROM prefixed WHERE n = 3;
CREATE TABLE ci_key (v VARCHAR(20) NOT NULL PRIMARY KEY, n INT);
INSERT INTO ci_key VALUES ('Straße', 1), ('É', 2), ('x', 3); UPDATE ci_key SET v = 'e' WHERE n = 2; UPDATE ci_key SET v = 'X' WHERE n = 3; DELETE FROM ci_key WHERE v = 'E';
CREATE TABLE binary_key (id BINARY(16) NOT NULL PRIMARY KEY, n INT);
INSERT INTO binary_key VALUES (x'01', 1), (x'00', 2), (x'0100FF', 3); UPDATE binary_key SET n = 10 WHERE n = 1; DELETE FROM binary_key WHERE n = 2; UPDATE binary_key SET id = x'02' WHERE n = 3;
CREATE TABLE swaps (id INT NOT NULL PRIMARY KEY, u INT NOT NULL, UNIQUE KEY (u));
INSERT INTO swaps VALUES (1, 1), (2, 2), (3, 3);
BEGIN; UPDATE swaps SET u = 0 WHERE id = 1; UPDATE swaps SET u = 1 WHERE id = 2; UPDATE swaps SET u = 2 WHERE id = 1; COMMIT;
BEGIN; DELETE FROM swaps WHERE id = 3; INSERT INTO swaps VALUES (4, 3); COMMIT; UPDATE swaps SET id = id + 10 ORDER BY id DESC;
CREATE TABLE counted (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT);
INSERT INTO counted VALUES (0, 1), (NULL, 2), (NULL, 3); UPDATE counted SET v = 5 WHERE id = 0; DELETE FROM counted WHERE id = 2;
CREATE TABLE stamped (id INT NOT NULL PRIMARY KEY, made TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), d DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, v INT);
INSERT INTO stamped (id, v) VALUES (1, 1), (2, 2); UPDATE stamped SET v = 9; UPDATE stamped SET made = made, d = d, v = 10 WHERE id = 1;
CREATE TABLE parted (id INT NOT NULL, at DATE NOT NULL, v INT, PRIMARY KEY (id, at)) PARTITION BY RANGE (TO_DAYS(at))
  (PARTITION p0 VALUES LESS THAN (TO_DAYS('2024-01-01')), PARTITION p1 VALUES LESS THAN (TO_DAYS('2025-01-01')), PARTITION pm VALUES LESS THAN MAXVALUE);
INSERT INTO parted VALUES (1, '2023-05-05', 1), (2, '2024-05-05', 2), (3, '2026-05-05', 3); UPDATE parted SET at = '2024-06-06' WHERE id = 1; DELETE FROM parted WHERE id = 3;
ALTER TABLE parted DROP PARTITION p0; ALTER TABLE parted TRUNCATE PARTITION p1; INSERT INTO parted VALUES (7, '2024-01-01', 7);
CREATE TABLE `odd ``name' таблица` (`select` INT NOT NULL PRIMARY KEY, `col ``x` INT, `ключ` VARCHAR(9)) COMMENT 'it''s;\"odd\"';
INSERT INTO `odd ``name' таблица` VALUES (1, 1, 'a'), (2, 2, 'b'); UPDATE `odd ``name' таблица` SET `col ``x` = 5; DELETE FROM `odd ``name' таблица` WHERE `select` = 1;
CREATE TABLE many (id INT NOT NULL PRIMARY KEY, c1 INT, c2 INT, c3 INT, c4 INT, c5 INT, c6 INT, c7 INT, c8 INT, c9 INT, c10 INT, c11 INT, c12 INT, c13 INT, c14 INT, c15 INT, c16 INT, c17 VARCHAR(300));
INSERT INTO many (id, c8, c17) VALUES (1, 8, REPEAT('a', 280)), (2, NULL, NULL); UPDATE many SET c9 = 9, c16 = 16; UPDATE many SET c1 = 1 WHERE id = 2;
";

const FOREIGN_KEYS: &str = "
CREATE TABLE mother (id INT NOT NULL PRIMARY KEY, v INT) ENGINE=InnoDB;
CREATE TABLE daughter (id INT NOT NULL PRIMARY KEY, mother INT, CONSTRAINT fk_d FOREIGN KEY (mother) REFERENCES mother (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE grandchild (id INT NOT NULL PRIMARY KEY, daughter INT, CONSTRAINT fk_g FOREIGN KEY (daughter) REFERENCES daughter (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE friend (id INT NOT NULL PRIMARY KEY, mother INT, CONSTRAINT fk_f FOREIGN KEY (mother) REFERENCES mother (id) ON DELETE SET NULL ON UPDATE SET NULL);
CREATE TABLE own (id INT NOT NULL PRIMARY KEY, parent INT, CONSTRAINT fk_o FOREIGN KEY (parent) REFERENCES own (id) ON DELETE CASCADE);
INSERT INTO mother VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5);
INSERT INTO daughter VALUES (10, 1), (20, 2), (21, 2), (30, 3), (31, NULL);
INSERT INTO grandchild VALUES (100, 10), (200, 20), (201, 21), (300, 30);
INSERT INTO friend VALUES (1, 1), (2, 2), (3, 4), (4, NULL);
INSERT INTO own VALUES (1, NULL), (2, 1), (3, 2), (4, NULL), (5, 4);
DELETE FROM mother WHERE id = 1; UPDATE mother SET id = 22 WHERE id = 2; DELETE FROM mother WHERE id IN (3, 4); DELETE FROM own WHERE id = 1;
BEGIN; INSERT INTO mother VALUES (50, 0); INSERT INTO daughter VALUES (500, 50); DELETE FROM mother WHERE id = 50; COMMIT;
SET foreign_key_checks = 0; INSERT INTO daughter VALUES (99, 12345); DELETE FROM mother WHERE id = 22; SET foreign_key_checks = 1;
";

/// Forms of transactions: savepoints, empty ones, statements that touch several tables.
const TRANSACTIONS: &str = "
CREATE TABLE a (id INT NOT NULL PRIMARY KEY, v INT); CREATE TABLE b (id INT NOT NULL, v INT);
BEGIN; COMMIT;
BEGIN; INSERT INTO a VALUES (1, 1), (2, 2); SAVEPOINT s; INSERT INTO a VALUES (3, 3); ROLLBACK TO SAVEPOINT s; INSERT INTO b SELECT * FROM a; COMMIT;
BEGIN; INSERT INTO a VALUES (9, 9); ROLLBACK;
INSERT INTO a VALUES (1, 100), (4, 4) ON DUPLICATE KEY UPDATE v = VALUES(v) + 1; REPLACE INTO a VALUES (2, 22), (5, 5); INSERT IGNORE INTO a VALUES (5, 0), (6, 6);
UPDATE a JOIN b ON a.id = b.id SET a.v = -1, b.v = -2; DELETE a, b FROM a JOIN b ON a.id = b.id WHERE a.id = 1;
INSERT INTO b VALUES (7, NULL), (7, NULL), (7, NULL); UPDATE b SET v = 1 WHERE id = 7 LIMIT 2; DELETE FROM b WHERE id = 7 AND v = 1 LIMIT 1;
CREATE TEMPORARY TABLE tmp (id INT); INSERT INTO tmp VALUES (1), (2); INSERT INTO b SELECT id, 77 FROM tmp; DROP TEMPORARY TABLE tmp;
";

/// MySQL with GTIDs refuses a transaction of these beside our position row.
const NOT_TRANSACTIONAL: &str = "
CREATE TABLE isam (id INT NOT NULL PRIMARY KEY, v INT) ENGINE=MyISAM;
INSERT INTO isam VALUES (1, 1), (2, 2); UPDATE isam SET v = 5; DELETE FROM isam WHERE id = 1; REPLACE INTO isam VALUES (2, 6), (3, 7);
";

const GENERATED: &str = "
CREATE TABLE computed (id INT NOT NULL PRIMARY KEY, a INT, twice INT AS (a * 2) STORED, thrice INT AS (a * 3) VIRTUAL, word VARCHAR(20), up VARCHAR(20) AS (UPPER(word)) VIRTUAL, KEY (thrice), UNIQUE KEY (up));
INSERT INTO computed (id, a, word) VALUES (1, 1, 'x'), (2, NULL, 'y'), (3, -3, NULL);
UPDATE computed SET a = 10 WHERE id = 1; UPDATE computed SET word = 'zz' WHERE id = 2; DELETE FROM computed WHERE id = 3;
CREATE TABLE computed_keyless (a INT, twice INT AS (a * 2) STORED, thrice INT AS (a * 3) VIRTUAL);
INSERT INTO computed_keyless (a) VALUES (1), (1), (2), (NULL); UPDATE computed_keyless SET a = 5 WHERE a = 1 LIMIT 1; DELETE FROM computed_keyless WHERE a IS NULL;
";

const INVISIBLE: &str = "
CREATE TABLE invisible (id INT NOT NULL PRIMARY KEY, hidden INT INVISIBLE DEFAULT 5, v INT);
INSERT INTO invisible (id, v) VALUES (1, 1), (2, 2); INSERT INTO invisible (id, hidden, v) VALUES (3, 33, 3);
UPDATE invisible SET hidden = 7 WHERE id = 1; DELETE FROM invisible WHERE id = 2;
CREATE TABLE invisible_keyless (hidden INT INVISIBLE DEFAULT 5, v INT);
INSERT INTO invisible_keyless (v) VALUES (1), (1); UPDATE invisible_keyless SET hidden = 6 LIMIT 1; DELETE FROM invisible_keyless WHERE hidden = 5;
";

const MYSQL9: &str = "
SET sql_generate_invisible_primary_key = ON; CREATE TABLE gipk (v INT); SET sql_generate_invisible_primary_key = OFF;
INSERT INTO gipk VALUES (1), (1), (2); UPDATE gipk SET v = 5 WHERE v = 1 LIMIT 1; DELETE FROM gipk WHERE v = 2;
CREATE TABLE functional (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), j JSON, UNIQUE KEY ((LOWER(v))), KEY ((CAST(j->'$.tags' AS UNSIGNED ARRAY))));
INSERT INTO functional VALUES (1, 'A', '{\"tags\": [1, 2]}'), (2, 'b', '{\"tags\": []}'), (3, NULL, NULL); UPDATE functional SET v = 'C' WHERE id = 1; UPDATE functional SET j = '{\"tags\": [7]}' WHERE id = 3; DELETE FROM functional WHERE id = 2;
CREATE TABLE computed_key (j JSON, id INT AS (j->>'$.id') STORED NOT NULL PRIMARY KEY);
INSERT INTO computed_key (j) VALUES ('{\"id\": 1}'), ('{\"id\": 2}'); UPDATE computed_key SET j = '{\"id\": 5}' WHERE id = 1; DELETE FROM computed_key WHERE id = 2;
CREATE TABLE defaults (id INT NOT NULL PRIMARY KEY, u BINARY(16) DEFAULT (UUID_TO_BIN(UUID())), j JSON DEFAULT (JSON_ARRAY()), r DOUBLE DEFAULT (RAND()));
INSERT INTO defaults (id) VALUES (1), (2); UPDATE defaults SET r = 0.5 WHERE id = 1;
CREATE TABLE checked (id INT NOT NULL PRIMARY KEY, v INT, CONSTRAINT positive CHECK (v > 0)); INSERT INTO checked VALUES (1, 1); UPDATE checked SET v = 2;
";

const MARIADB: &str = "
CREATE TABLE compressed_row (id INT NOT NULL PRIMARY KEY, v TEXT) ROW_FORMAT=COMPRESSED; INSERT INTO compressed_row VALUES (1, REPEAT('x', 5000)); UPDATE compressed_row SET v = 'y';
CREATE TABLE again (id INT NOT NULL PRIMARY KEY, v INT); INSERT INTO again VALUES (8, 8) RETURNING id;
CREATE OR REPLACE TABLE again (id INT NOT NULL PRIMARY KEY, v INT, w INT); INSERT INTO again VALUES (1, 10, 100);
";

/// DDL of every kind between changes of rows. The database must exist.
pub(crate) fn ddl(database: &str, source: ServerKind, destination: ServerKind) -> String {
    let mut sql = format!("USE {database};\n{DDL}");
    if source != ServerKind::Mysql56 {
        sql.push_str(
            "ALTER TABLE d1 RENAME COLUMN v TO w; INSERT INTO d1 (id, w) VALUES (60, 'renamed'); ALTER TABLE d1 RENAME COLUMN w TO v;\n",
        );
    }
    if source == ServerKind::Mysql9 && destination == ServerKind::Mysql9 {
        sql.push_str(
            "ALTER TABLE d1 ADD COLUMN instant INT DEFAULT 4, ALGORITHM=INSTANT; UPDATE d1 SET instant = 5 WHERE id = 1; ALTER TABLE d1 DROP COLUMN instant, ALGORITHM=INSTANT; UPDATE d1 SET v = 'later';
CREATE TABLE selected AS SELECT id, v FROM d1; INSERT INTO selected VALUES (1000, 'more');
CREATE TABLE selected_keyed (PRIMARY KEY (id)) SELECT id, v FROM d1; UPDATE selected_keyed SET v = 'k';
ALTER TABLE d1 COMMENT = 'x', ALTER INDEX by_v INVISIBLE;\n",
        );
    } else if source != ServerKind::Mysql56 {
        // 5.6 refuses it with GTIDs. MariaDB logs the statement and its rows apart.
        sql.push_str("CREATE TABLE selected AS SELECT id, v FROM d1; INSERT INTO selected VALUES (1000, 'more');\n");
    }
    sql
}

const DDL: &str = "
CREATE TABLE d1 (id INT NOT NULL PRIMARY KEY, v VARCHAR(20)) /* a comment;with a semicolon */; INSERT INTO d1 VALUES (1, 'a'), (2, 'b');
ALTER TABLE d1 ADD COLUMN at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, ADD COLUMN e ENUM('x','y') DEFAULT 'y', ADD KEY by_v (v); INSERT INTO d1 (id, v) VALUES (3, 'c');
ALTER TABLE d1 MODIFY e ENUM('z','x','y','new'), MODIFY v VARCHAR(60) CHARACTER SET latin1; INSERT INTO d1 (id, v, e) VALUES (4, _latin1 x'E9', 'new'); UPDATE d1 SET e = 'z' WHERE id = 1;
ALTER TABLE d1 ADD COLUMN first_one BIGINT NOT NULL DEFAULT -1 FIRST, ADD COLUMN mid DECIMAL(9,3) AFTER id; UPDATE d1 SET mid = 1.5; ALTER TABLE d1 CHANGE first_one renamed BIGINT UNSIGNED NOT NULL DEFAULT 1; INSERT INTO d1 (id, renamed) VALUES (5, 18446744073709551615);
ALTER TABLE d1 CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci; UPDATE d1 SET v = 'ж水' WHERE id = 2;
CREATE TABLE d2 LIKE d1; INSERT INTO d2 SELECT * FROM d1; RENAME TABLE d1 TO d_tmp, d2 TO d1, d_tmp TO d2; UPDATE d1 SET mid = 2 WHERE id = 1; DELETE FROM d2 WHERE id = 1;
CREATE TABLE IF NOT EXISTS d1 (other INT); CREATE TABLE gone1 (id INT); CREATE TABLE gone2 (id INT); INSERT INTO gone1 VALUES (1); DROP TABLE gone1, gone2; DROP TABLE IF EXISTS gone1, never_was;
TRUNCATE TABLE d2; INSERT INTO d2 (id, v) VALUES (7, 'after truncate'); TRUNCATE d2; INSERT INTO d2 (id, v) VALUES (8, 'again');
CREATE UNIQUE INDEX u_v ON d2 (v(10)); DROP INDEX u_v ON d2; ALTER TABLE d2 DROP PRIMARY KEY, ADD PRIMARY KEY (id, renamed); UPDATE d2 SET v = 'new key'; ALTER TABLE d2 DROP PRIMARY KEY; INSERT INTO d2 SELECT * FROM d2; UPDATE d2 SET v = 'no key' LIMIT 1;
CREATE VIEW seen AS SELECT id, v FROM d1; ALTER VIEW seen AS SELECT id FROM d1; CREATE VIEW dropped AS SELECT 1 AS one; DROP VIEW dropped;
/*!50100 CREATE TABLE commented (id INT) */; INSERT INTO commented VALUES (1); /* leading */ ALTER TABLE commented ADD COLUMN `after;` INT; INSERT INTO commented VALUES (2, 2);
CREATE DATABASE IF NOT EXISTS passing; CREATE TABLE passing.t (id INT); INSERT INTO passing.t VALUES (1); ALTER TABLE passing.t ADD COLUMN v INT; ALTER DATABASE passing CHARACTER SET latin1; CREATE TABLE passing.u (c CHAR(3)); DROP DATABASE passing;
SET time_zone = '+05:30'; ALTER TABLE d1 ADD COLUMN zoned TIMESTAMP NULL DEFAULT '2024-01-01 05:30:00'; INSERT INTO d1 (id) VALUES (50); SET time_zone = '+00:00';
SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,ALLOW_INVALID_DATES'; CREATE TABLE \"ansi\" (\"id\" INT, v VARCHAR(9) DEFAULT '\\'); INSERT INTO \"ansi\" (\"id\") VALUES (1); SET sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO';
ALTER TABLE d1 ENGINE=InnoDB; ANALYZE TABLE d1; OPTIMIZE TABLE d1; FLUSH TABLES; CREATE TABLE last_one (id INT NOT NULL PRIMARY KEY); INSERT INTO last_one VALUES (1);
";
