//! What a SELECT gives is packed as the server itself packs it: for every type and value, the images of a snapshot are byte for byte those that the same
//! server logged for the same rows, and the columns are described as its TABLE_MAP describes them.

#[path = "support/types.rs"]
mod types;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::config::Server as Address;
use common::config::{ServerUrl, Tls};
use common::pack::{self, ColumnDefinition, RowPacker};
use common::row::Layout;
use common::schema::LayoutOrigin;
use common::{Column, Flavor, TableSchema, value};
use harness::{Server, ServerKind};
use reader::event::format::FormatDescription;
use reader::event::rows::RowsEvent;
use reader::event::table_map::{TableMap, split_table_id};
use reader::event::{Checksum, Event};
use reader::wire::{TextRow, Wire, WireError};

use ServerKind::{Mariadb10, Mariadb11, Mysql9, Mysql56};

const TABLE_MAP: u8 = 19;
const FORMAT_DESCRIPTION: u8 = 15;

fn flavor(kind: ServerKind) -> Flavor {
    if kind.is_mariadb() { Flavor::MariaDb } else { Flavor::MySql }
}

fn connect(server: &Server) -> Result<Wire> {
    let (url, _) = ServerUrl::parse(&server.url("root")).map_err(anyhow::Error::msg)?;
    let mut wire = Wire::connect(&Address { url, password: None, tls: Tls::default() }, Duration::from_secs(10))?;
    wire.snapshot_session(flavor(server.kind()))?;
    Ok(wire)
}

fn text(row: &TextRow, index: usize) -> Option<String> {
    row.get(index).cloned().flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn definitions(wire: &mut Wire, flavor: Flavor, database: &str, table: &str) -> Result<Vec<ColumnDefinition>> {
    // MariaDB's newer collations have one name for several character sets, and so no id of their own.
    let uca = flavor == Flavor::MariaDb && !wire.query_rows("SELECT 1 FROM information_schema.columns WHERE table_schema = 'information_schema' AND table_name = 'collation_character_set_applicability' AND column_name = 'full_collation_name'")?.is_empty();
    let collations = match uca {
        true => "collation_character_set_applicability AS l WHERE l.full_collation_name = c.collation_name",
        false => "collations AS l WHERE l.collation_name = c.collation_name",
    };
    let sql = format!(
        "SELECT column_name, data_type, column_type, character_set_name, character_octet_length, is_nullable, extra, \
         COALESCE((SELECT MIN(id) FROM information_schema.{collations}), 0) \
         FROM information_schema.columns AS c WHERE table_schema = '{database}' AND table_name = '{table}' ORDER BY ordinal_position"
    );
    let rows = wire.query_rows(&sql)?;
    rows.iter()
        .map(|row| {
            let must = |index| text(row, index).context("NULL");
            Ok(ColumnDefinition {
                name: must(0)?,
                data_type: must(1)?,
                column_type: must(2)?,
                charset: text(row, 3),
                octet_length: text(row, 4).map(|octets| octets.parse()).transpose()?,
                nullable: must(5)? == "YES",
                extra: must(6)?,
                collation_id: must(7)?.parse()?,
            })
        })
        .collect()
}

/// The table as a snapshot reads it: its columns and images in the order of the key.
fn selected(wire: &mut Wire, kind: ServerKind, database: &str, table: &str) -> Result<(TableSchema, Vec<Vec<u8>>)> {
    let flavor = flavor(kind);
    let definitions = definitions(wire, flavor, database, table)?;
    let columns = definitions.iter().map(|d| pack::column(d, flavor)).collect::<Result<Vec<_>, _>>()?;
    let schema = TableSchema {
        database: database.to_owned(),
        table: table.to_owned(),
        flavor,
        columns,
        primary_key: vec![],
        origin: LayoutOrigin::InformationSchema,
    };
    let list: Vec<_> = definitions.iter().map(|d| pack::select_expression(d, flavor)).collect();
    let results =
        wire.select(format!("SELECT {} FROM `{database}`.`{}` ORDER BY 1", list.join(","), table.replace('`', "``")))?;
    let packer = RowPacker::new(&schema, &results)?;
    let mut images = vec![];
    while let Some(row) = wire.next_row()? {
        let mut image = vec![];
        packer.pack(row, &mut image)?;
        images.push(image);
    }
    Ok((schema, images))
}

/// What a table's events hold.
#[derive(Default)]
struct Logged {
    columns: Vec<Column>,
    /// Whether names and members were logged.
    full: bool,
    images: Vec<Vec<u8>>,
}

/// The inserts in a binlog file by table.
fn logged(bytes: &[u8], flavor: Flavor) -> Result<BTreeMap<String, Logged>> {
    let mut rest = bytes.get(4..).context("an empty binlog file")?;
    let mut out: BTreeMap<String, Logged> = BTreeMap::new();
    let mut checksum = Checksum::Off;
    let mut maps: HashMap<u64, TableSchema> = HashMap::new();
    while !rest.is_empty() {
        let size = u32::from_le_bytes(*rest.get(9..).and_then(|b| b.first_chunk()).context("a cut event")?);
        let (raw, more) = rest.split_at_checked(size as usize).context("a cut event")?;
        rest = more;
        let event = Event::parse(raw, checksum)?;
        match event.header.kind {
            FORMAT_DESCRIPTION => checksum = FormatDescription::parse(&event.header, event.body)?.checksum,
            TABLE_MAP => {
                let (id, body) = split_table_id(event.body, 6)?;
                let map = TableMap::parse(body)?;
                let full = map.schema(flavor)?;
                let entry = out.entry(map.table.to_owned()).or_default();
                entry.full = full.is_some();
                entry.columns = map.columns(flavor)?;
                if let Some(full) = &full {
                    entry.columns.clone_from(&full.columns);
                }
                let schema = TableSchema {
                    database: map.database.to_owned(),
                    table: map.table.to_owned(),
                    flavor,
                    columns: entry.columns.clone(),
                    primary_key: vec![],
                    origin: LayoutOrigin::TableMap,
                };
                maps.insert(id, schema);
            }
            kind if RowsEvent::is(kind) => {
                let rows = RowsEvent::parse(kind, event.body, 6)?;
                let schema = maps.get(&rows.table_id).context("no table map")?;
                let layout = Layout::new(schema)?;
                let logged = out.get_mut(&schema.table).context("no table map")?;
                for row in layout.rows(rows.op, rows.columns_before, rows.columns_after, &rows.images)? {
                    let (nulls, values) = row?.after.context("no insert")?.bytes();
                    logged.images.push([nulls, values].concat());
                }
            }
            _ => {}
        }
    }
    Ok(out)
}

/// What is wide, long or oddly named, beside the types one by one. `id` is the key and the first column.
fn odd(kind: ServerKind) -> String {
    let members: Vec<_> = (0..300).map(|n| format!("'m{n}'")).collect();
    let bits: Vec<_> = (0..64).map(|n| format!("'s{n}'")).collect();
    let columns: Vec<_> = (0..30).map(|n| format!("c{n} {}", ["INT", "VARCHAR(10)", "DECIMAL(7,3)"][n % 3])).collect();
    let values = |id: u32| -> String {
        let values =
            (0..30u32).map(|n| if (n * 7 + id).is_multiple_of(4) { "NULL".to_owned() } else { (n * id).to_string() });
        values.collect::<Vec<_>>().join(",")
    };
    let (members, bits, columns) = (members.join(","), bits.join(","), columns.join(","));
    let mut sql = format!(
        "CREATE TABLE o_wide (id INT NOT NULL PRIMARY KEY, {columns});
INSERT INTO o_wide VALUES (0,{}),(1,{}),(2,{}),(3,{});
CREATE TABLE o_seven (id INT NOT NULL PRIMARY KEY, a INT, b INT, c INT, d INT, e INT, f INT, g INT);
INSERT INTO o_seven VALUES (1,1,2,3,4,5,6,7),(2,NULL,NULL,NULL,NULL,NULL,NULL,NULL),(3,NULL,1,NULL,1,NULL,1,NULL);
CREATE TABLE o_enum (id INT NOT NULL PRIMARY KEY, e ENUM({members}), s SET({bits}), t SET('a','b','c','d','e','f','g','h','i'),
  q ENUM('it''s','back\\\\slash','a,b','',' x') , l ENUM('é','b') CHARACTER SET latin1, u ENUM('é','b') CHARACTER SET ucs2, n ENUM('x','y') NOT NULL);
INSERT IGNORE INTO o_enum VALUES (1,300,0xFFFFFFFFFFFFFFFF,511,1,1,1,1),(2,1,0x8000000000000001,256,2,2,2,2),(3,0,0,0,4,NULL,NULL,0),(4,'none',1,NULL,5,1,1,2);
CREATE TABLE o_strings (id INT NOT NULL PRIMARY KEY, a CHAR(0), b BINARY(0), c CHAR(255) CHARACTER SET ucs2, d CHAR(60) CHARACTER SET utf16, e CHAR(63) CHARACTER SET utf8mb4,
  f CHAR(64) CHARACTER SET utf8mb4, g VARCHAR(63) CHARACTER SET utf8mb4, h VARCHAR(64) CHARACTER SET utf8mb4, i BINARY(3) NOT NULL, j VARBINARY(255), k VARBINARY(256), l CHAR(5) COLLATE utf8mb4_bin);
INSERT INTO o_strings VALUES (1,'','','abc  ','é ','ab ','  ','g ','h ',x'000100','j ','k ',' x '),(2,NULL,NULL,REPEAT('x',255),REPEAT('y',60),REPEAT('水',63),REPEAT('水',64),REPEAT('水',63),REPEAT('水',64),x'00',REPEAT('j',255),REPEAT('k',256),'');
CREATE TABLE o_zero (id INT NOT NULL PRIMARY KEY, a INT(5) ZEROFILL, b DECIMAL(10,3) ZEROFILL, c TINYINT(3) ZEROFILL, d FLOAT UNSIGNED, e DOUBLE ZEROFILL, f BIGINT ZEROFILL, g MEDIUMINT ZEROFILL, h FLOAT ZEROFILL, i SMALLINT ZEROFILL);
INSERT INTO o_zero VALUES (1,1,1.5,1,1.25,0.1,7,9,0.1,3),(2,4294967295,9999999.999,255,3e38,1e300,18446744073709551615,16777215,3e38,65535);
CREATE TABLE o_decimal (id INT NOT NULL PRIMARY KEY, a DECIMAL(9,0), b DECIMAL(18,9), c DECIMAL(1,1), d DECIMAL(30,30), e DECIMAL(19,10), f DECIMAL(65,0), g DECIMAL(20,2));
INSERT INTO o_decimal VALUES (1,-999999999,-0.000000001,-0.9,-0.000000000000000000000000000001,-123456789.0123456789,-99999999999999999999999999999999999999999999999999999999999999999,-0.00),
  (2,0,0,0,0,0,0,0),(3,123456789,123456789.987654321,0.1,0.999999999999999999999999999999,999999999.9999999999,1,100000000000000000.01);
CREATE TABLE `o_``odd-tablé` (`i``d` INT NOT NULL PRIMARY KEY, `naïve col` VARCHAR(5), `select` INT);
INSERT INTO `o_``odd-tablé` VALUES (1,'a',2);
CREATE TABLE o_large (id INT NOT NULL PRIMARY KEY, a LONGBLOB, b LONGTEXT);
INSERT INTO o_large VALUES (1,REPEAT('a',1000),'x'),(2,REPEAT('b',17000000),'y'),(3,REPEAT('c',16777215-20),'z');
CREATE TABLE o_none (id INT NOT NULL PRIMARY KEY, a INT);
INSERT INTO o_none VALUES (1,1);
",
        values(0), values(1), values(2), values(3)
    );
    if kind != Mysql56 {
        sql += "CREATE TABLE o_generated (id INT NOT NULL PRIMARY KEY, a INT, s VARCHAR(20) AS (CONCAT('s', a)) STORED, v INT AS (a * 2) VIRTUAL, KEY (v), z INT);
INSERT INTO o_generated (id, a, z) VALUES (1,1,1),(2,NULL,2),(3,-5,3);
";
    }
    if kind == Mysql9 {
        sql += "CREATE TABLE o_invisible (id INT NOT NULL PRIMARY KEY, a INT INVISIBLE, b INT);
INSERT INTO o_invisible (id, a, b) VALUES (1,2,3),(2,NULL,4);
SET sql_generate_invisible_primary_key = ON;
CREATE TABLE o_gipk (a VARCHAR(10), b INT);
INSERT INTO o_gipk VALUES ('x',1),('y',NULL);
SET sql_generate_invisible_primary_key = OFF;
CREATE TABLE o_functional (id INT NOT NULL PRIMARY KEY, a VARCHAR(10), j JSON, KEY ((LOWER(a))), KEY ((CAST(j->'$[*]' AS UNSIGNED ARRAY))), z INT);
INSERT INTO o_functional VALUES (1,'X','[1,2]',3),(2,NULL,NULL,4);
CREATE TABLE o_json (id INT NOT NULL PRIMARY KEY, j JSON);
INSERT INTO o_json VALUES (1,'{\"bb\":1,\"a\":2,\"a\":3,\"ccc\":[true,false,null],\"\":{}}'),(2,'32768'),(3,'-32769'),(4,'2147483648'),(5,'[32767,32768,-32768,-32769,2147483647,2147483648,-2147483649,9223372036854775808]'),
  (6,'[0.1,1e22,123456789012345680000,-0.0,1.0,5e-324,1.7976931348623157e308]'),(7,CONCAT('\"',REPEAT('x',127),'\"')),(8,CONCAT('\"',REPEAT('x',128),'\"')),(9,CONCAT('\"',REPEAT('x',16383),'\"')),(10,CONCAT('\"',REPEAT('x',16384),'\"')),
  (11,CONCAT('[\"',REPEAT('x',65000),'\",[1,2,100000,-1,70000],{\"k\":70000}]')),(12,CONCAT('[\"',REPEAT('x',66000),'\",[1,2,100000,-1,70000],{\"k\":70000},100000,-1,-100000,true,\"s\"]')),
  (13,CONCAT('{\"a\":{\"b\":[\"',REPEAT('x',70000),'\",{\"c\":1}],\"d\":-7},\"e\":[-70000]}')),(14,CONCAT('[',REPEAT('[1],',13000),'[]]')),(15,CONCAT('[',REPEAT('{\"key\":-1},',20000),'{}]')),
  (16,'\"\\\\u0001\\\\n\\\\t\\\\\\\\\\\\\"/ \\\\ud83d\\\\udeb0 é\"'),(17,CONCAT(REPEAT('[',100),REPEAT(']',100))),(18,'true'),(19,'3.5'),(20,'\"\"'),(21,CONCAT('{\"',REPEAT('k',60000),'\":1,\"',REPEAT('l',60001),'\":2}'));
";
        // Sizes around the border between small and large.
        for size in 65_515..65_540 {
            sql += &format!("INSERT INTO o_json VALUES ({size}, CONCAT('[[\"', REPEAT('x', {size}), '\"],1]'));\n");
        }
    }
    if kind.is_mariadb() {
        sql += "CREATE TABLE o_invisible (id INT NOT NULL PRIMARY KEY, a INT INVISIBLE, b INT);
INSERT INTO o_invisible (id, a, b) VALUES (1,2,3),(2,NULL,4);
CREATE TABLE o_fixed (id INT NOT NULL PRIMARY KEY, u UUID, v UUID, i INET6, j INET4);
INSERT INTO o_fixed VALUES (1,'018f3e2a-1c2b-7d4e-8f00-112233445566','6ccd780c-baba-1026-9564-5b8c656024db','2001:db8::','10.0.0.0'),(2,NULL,'00112233-4455-6677-8899-aabbccddee00','::','1.2.3.4');
";
    }
    sql
}

/// Tables whose bytes may differ, and why. Their text is compared.
fn only_same_text(kind: ServerKind, columns: &[ColumnDefinition]) -> Option<&'static str> {
    let json = kind == Mysql9 && columns.iter().any(|column| column.data_type == "json");
    json.then_some("SQL values in JSON documents cannot be seen in their text")
}

async fn compare(kind: ServerKind, metadata: &str) -> Result<()> {
    let builder = Server::builder(kind).name("source").option("max_allowed_packet", "64M");
    let builder = if kind == Mysql56 {
        builder.option("innodb_log_file_size", "256M")
    } else {
        builder.option("binlog_row_metadata", metadata)
    };
    let source = builder.start().await?;
    let database = "v_pack";
    source.exec(&format!("{}; {}", types::SESSION, types::script(database, kind, kind))).await?;
    source.exec(&format!("{}; USE {database}; {}", types::SESSION, odd(kind))).await?;
    // Each table anew, so that the binlog has its rows as they are now, in one file.
    source.exec("FLUSH BINARY LOGS").await?;
    let files = source.rows("SHOW BINARY LOGS").await?;
    let file = files.last().and_then(|row| text(row, 0)).context("no binlog")?;
    let tables = source
        .rows(&format!("SELECT table_name FROM information_schema.tables WHERE table_schema = '{database}' AND table_name REGEXP '^[to]_'"))
        .await?;
    let tables: Vec<_> = tables.iter().filter_map(|row| text(row, 0)).collect();
    ensure!(tables.len() > 60, "only {} tables", tables.len());
    let mut wire = connect(&source)?;
    let quoted = |name: &str| format!("`{database}`.`{}`", name.replace('`', "``"));
    for table in &tables {
        let columns = definitions(&mut wire, flavor(kind), database, table)?;
        let names: Vec<_> = columns
            .iter()
            .filter(|c| !c.extra.contains("GENERATED") || c.extra.contains("DEFAULT_GENERATED"))
            .filter(|c| c.name != "my_row_id")
            .map(|c| format!("`{}`", c.name.replace('`', "``")))
            .collect();
        let (old, new, list) = (quoted(table), quoted(&format!("n_{table}")), names.join(","));
        let gipk = columns.first().is_some_and(|c| c.name == "my_row_id");
        let like = format!(
            "SET sql_mode = 'ALLOW_INVALID_DATES'; CREATE TABLE {new} LIKE {old}; INSERT INTO {new} ({list}) SELECT {list} FROM {old} ORDER BY 1"
        );
        source.exec(&format!("{}; {like}", types::SESSION)).await.with_context(|| format!("{table}, GIPK {gipk}"))?;
    }
    source.exec("FLUSH BINARY LOGS").await?;
    let bytes = std::fs::read(source.dir().join("data").join(file))?;
    let logged = logged(&bytes, flavor(kind))?;

    let mut failures = vec![];
    let mut rows = 0;
    for table in &tables {
        let name = format!("n_{table}");
        let logged = logged.get(&name).with_context(|| format!("{name} was not logged"))?;
        let definitions = definitions(&mut wire, flavor(kind), database, &name)?;
        let types: Vec<_> = definitions.iter().map(|d| d.column_type.chars().take(60).collect::<String>()).collect();
        let mut fail = |what: String| failures.push(format!("{name} {types:?}: {what}"));
        let (schema, images) = match selected(&mut wire, kind, database, &name) {
            Ok(found) => found,
            Err(error) => {
                wire.discard_rows()?;
                fail(format!("{error:#}"));
                continue;
            }
        };
        for (ours, theirs) in schema.columns.iter().zip(&logged.columns) {
            let compressed = matches!(theirs.type_code, 140 | 141);
            if (ours.type_code, ours.meta) != (theirs.type_code, theirs.meta) && !compressed {
                fail(format!("{ours:?} instead of {theirs:?}"));
            }
            if logged.full
                && ((&ours.name, ours.nullable, ours.unsigned, ours.collation)
                    != (&theirs.name, theirs.nullable, theirs.unsigned, theirs.collation)
                    // MariaDB does not log which columns are invisible.
                    || (kind == Mysql9 && ours.visible != theirs.visible))
            {
                fail(format!("{ours:?} instead of {theirs:?}"));
            }
            if logged.full && ours.members != theirs.members && !ours.members.is_empty() {
                fail(format!("members {ours:?} instead of {theirs:?}"));
            }
        }
        if schema.columns.len() != logged.columns.len() || images.len() != logged.images.len() {
            fail(format!(
                "{} columns and {} rows instead of {} and {}",
                schema.columns.len(),
                images.len(),
                logged.columns.len(),
                logged.images.len()
            ));
            continue;
        }
        rows += images.len();
        let theirs = TableSchema { columns: logged.columns.clone(), ..schema.clone() };
        let (our_layout, their_layout) = (Layout::new(&schema)?, Layout::new(&theirs)?);
        let present = vec![0xff; schema.columns.len().div_ceil(8)];
        for (row, (ours, logged_image)) in images.iter().zip(&logged.images).enumerate() {
            let mut logged_image = logged_image.clone();
            if kind == Mysql56 {
                // MySQL before 8.0 sets the bits behind the last column's, which mean nothing.
                let count = schema.columns.len();
                if let Some(last) = logged_image.get_mut(count.div_ceil(8) - 1).filter(|_| count % 8 > 0) {
                    *last &= 0xff >> (8 - count % 8);
                }
            }
            if *ours == logged_image {
                continue;
            }
            let compressed = theirs.columns.iter().any(|column| matches!(column.type_code, 140 | 141));
            let why =
                only_same_text(kind, &definitions).or(compressed.then_some("compressed columns are described plain"));
            let shown = |layout: &Layout, schema: &TableSchema, image: &[u8]| -> Result<String> {
                let row = layout.rows(common::record::Op::Insert, &[], &present, image)?.next().context("no row")??;
                let cells = row.after.context("no image")?.cells();
                let text = cells.zip(&schema.columns).map(|(cell, column)| match cell {
                    common::row::Cell::Bytes(bytes) => {
                        let shown = value::decode(column, bytes).map(|value| value.to_json(column).to_string());
                        shown.unwrap_or_else(|error| error.to_string())
                    }
                    other => format!("{other:?}"),
                });
                Ok(text.collect::<Vec<_>>().join(" | "))
            };
            let (a, b) = (shown(&our_layout, &schema, ours)?, shown(&their_layout, &theirs, &logged_image)?);
            if why.is_none() || a != b || table == "o_json" {
                let at = ours.iter().zip(&logged_image).position(|(a, b)| a != b).unwrap_or(0);
                let cut = |bytes: &[u8]| {
                    format!("{:02x?}", &bytes[at.saturating_sub(8).min(bytes.len())..bytes.len().min(at + 32)])
                };
                let short = |text: &str| text.chars().take(200).collect::<String>();
                fail(format!(
                    "row {row} at {at} of {}/{}: {} instead of {}: {} | {}",
                    ours.len(),
                    logged_image.len(),
                    cut(ours),
                    cut(&logged_image),
                    short(&a),
                    short(&b)
                ));
            }
        }
    }
    println!("{} {metadata}: {} tables, {rows} rows", kind.name(), tables.len());
    ensure!(failures.is_empty(), "{} differences at {}:\n{}", failures.len(), kind.name(), failures.join("\n"));
    Ok(())
}

#[tokio::test]
async fn rows_of_mysql_9_are_packed_as_in_its_binlog() -> Result<()> {
    compare(Mysql9, "FULL").await
}

#[tokio::test]
async fn rows_of_mysql_5_6_are_packed_as_in_its_binlog() -> Result<()> {
    compare(Mysql56, "").await
}

#[tokio::test]
async fn rows_of_mariadb_10_are_packed_as_in_its_binlog() -> Result<()> {
    compare(Mariadb10, "FULL").await
}

#[tokio::test]
async fn rows_of_mariadb_11_are_packed_as_in_its_binlog() -> Result<()> {
    compare(Mariadb11, "FULL").await
}

#[tokio::test]
async fn a_result_ends_with_its_error_and_the_connection_goes_on() -> Result<()> {
    for kind in ServerKind::ALL {
        let source = Server::builder(kind).name("source").start().await?;
        source.exec("CREATE DATABASE d; CREATE TABLE d.t (a INT NOT NULL PRIMARY KEY, b VARCHAR(200)); INSERT INTO d.t VALUES (1,'x'),(2,'x')").await?;
        for _ in 0..12 {
            source.exec("INSERT INTO d.t SELECT a + (SELECT MAX(a) FROM d.t), REPEAT('y', 200) FROM d.t").await?;
        }
        let mut wire = connect(&source)?;
        // Given up in the middle.
        wire.select("SELECT a, b FROM d.t ORDER BY a")?;
        ensure!(wire.next_row()?.is_some());
        let busy = wire.query_rows("SELECT 1");
        ensure!(matches!(busy, Err(WireError::Protocol { .. })), "{busy:?}");
        wire.discard_rows()?;
        let count = wire.query_rows("SELECT COUNT(*), NULL FROM d.t")?;
        ensure!(count == [[Some(b"8192".to_vec()), None]], "{count:?}");
        ensure!(wire.query_rows("SET @a = 1")?.is_empty());
        // A wrong statement, and one that fails in the middle.
        let wrong = wire.select("SELECT nothing FROM d.t");
        ensure!(matches!(wrong, Err(WireError::Server { code: 1054, .. })), "{wrong:?}");
        let failing =
            "SELECT a, IF(a < 5000, 1, (SELECT a FROM d.t AS s WHERE s.a IN (t.a, 1))) FROM d.t AS t ORDER BY a";
        let mut seen = 0;
        let error = match wire.select(failing) {
            Err(error) => error,
            Ok(_) => loop {
                match wire.next_row() {
                    Ok(Some(_)) => seen += 1,
                    Ok(None) => anyhow::bail!("{} did not fail", kind.name()),
                    Err(error) => break error,
                }
            },
        };
        ensure!(matches!(error, WireError::Server { code: 1242, .. }), "{error}");
        println!("{}: an error behind {seen} rows", kind.name());
        // No statement is left behind.
        let open = wire.query_rows("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")?;
        ensure!(open.first().and_then(|row| text(row, 1)).as_deref() == Some("0"), "{open:?}");
        // A server that is slower than our patience.
        wire.set_patience(Duration::from_secs(1));
        let late = wire.select("SELECT SLEEP(5)").and_then(|_| wire.next_row().map(|_| ()));
        ensure!(
            matches!(&late, Err(WireError::Io { source, .. }) if source.kind() == std::io::ErrorKind::TimedOut),
            "{late:?}"
        );
    }
    Ok(())
}
