//! What a server logged, read from its binlog file: row events with their layouts.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, ensure};
use common::record::Op;
use common::row_event::{self, EventHeader};
use common::schema::LayoutOrigin;
use common::{Flavor, TableSchema};
use harness::{Server, ServerKind};
use reader::event::format::FormatDescription;
use reader::event::rows::RowsEvent;
use reader::event::table_map::{TableMap, split_table_id};
use reader::event::{Checksum, Event};

use crate::types;

const TABLE_MAP: u8 = 19;
const FORMAT_DESCRIPTION: u8 = 15;

/// One row event of the source.
pub(crate) struct Change {
    pub(crate) schema: TableSchema,
    pub(crate) header: EventHeader,
    pub(crate) op: Op,
    pub(crate) columns_before: Vec<u8>,
    pub(crate) columns_after: Vec<u8>,
    pub(crate) images: Vec<u8>,
}

/// What a source logged.
pub(crate) struct Log {
    pub(crate) format: Vec<u8>,
    pub(crate) changes: Vec<Change>,
}

pub(crate) fn flavor(server: &Server) -> Flavor {
    if server.kind().is_mariadb() { Flavor::MariaDb } else { Flavor::MySql }
}

pub(crate) async fn source(kind: ServerKind, metadata: &str) -> Result<Server> {
    let builder = Server::builder(kind).name("source");
    if kind == ServerKind::Mysql56 { builder } else { builder.option("binlog_row_metadata", metadata) }.start().await
}

/// Runs `statements` in a session of their own and reads the binlog file that they made.
pub(crate) async fn logged(source: &Server, settings: &str, statements: &str) -> Result<Log> {
    source.exec("FLUSH BINARY LOGS").await?;
    let files = source.rows("SHOW BINARY LOGS").await?;
    let name = files.last().and_then(|row| row.first()?.clone()).context("no binlog")?;
    source.exec(&format!("{}; {settings} {statements}", types::SESSION)).await?;
    source.exec("FLUSH BINARY LOGS").await?;
    let bytes = std::fs::read(source.dir().join("data").join(String::from_utf8(name)?))?;
    let mut rest = bytes.get(4..).context("an empty binlog file")?;
    let mut log = Log { format: vec![], changes: vec![] };
    let mut checksum = Checksum::Off;
    let mut maps: HashMap<u64, TableSchema> = HashMap::new();
    let names = column_names(source).await?;
    while !rest.is_empty() {
        let size = u32::from_le_bytes(*rest.get(9..).and_then(|b| b.first_chunk()).context("a cut event")?);
        let (raw, more) = rest.split_at_checked(size as usize).context("a cut event")?;
        rest = more;
        let event = Event::parse(raw, checksum)?;
        match event.header.kind {
            FORMAT_DESCRIPTION => {
                checksum = FormatDescription::parse(&event.header, event.body)?.checksum;
                log.format = row_event::format_description(raw)?;
            }
            TABLE_MAP => {
                let (id, body) = split_table_id(event.body, 6)?;
                let map = TableMap::parse(body)?;
                let schema = match map.schema(flavor(source))? {
                    Some(schema) => schema,
                    None => from_information_schema(&map, &names, flavor(source))?,
                };
                maps.insert(id, schema);
            }
            kind if RowsEvent::is(kind) => {
                let rows = RowsEvent::parse(kind, event.body, 6)?;
                log.changes.push(Change {
                    schema: maps.get(&rows.table_id).context("no table map")?.clone(),
                    header: EventHeader { timestamp: event.header.timestamp, server_id: event.header.server_id },
                    op: rows.op,
                    columns_before: rows.columns_before.to_vec(),
                    columns_after: rows.columns_after.to_vec(),
                    images: rows.images.into_owned(),
                });
            }
            _ => {}
        }
    }
    ensure!(!log.changes.is_empty(), "nothing was logged");
    Ok(log)
}

/// Per table: name, whether it is unsigned, collation id, whether it is in the primary key.
type Names = BTreeMap<(String, String), Vec<(String, bool, u16, bool)>>;

pub(crate) async fn column_names(server: &Server) -> Result<Names> {
    let sql = "SELECT table_schema, table_name, column_name, column_type LIKE '%unsigned%', \
               COALESCE((SELECT id FROM information_schema.collations AS l WHERE l.collation_name = c.collation_name LIMIT 1), \
               IF(data_type LIKE '%blob' OR data_type LIKE '%binary' OR data_type IN ('uuid', 'inet4', 'inet6'), 63, 0)), column_key = 'PRI' \
               FROM information_schema.columns AS c WHERE table_schema LIKE 'v\\_%' ORDER BY table_schema, table_name, ordinal_position";
    let mut names = Names::new();
    for row in server.rows(sql).await? {
        let text = |i: usize| row.get(i).cloned().flatten().map(|b| String::from_utf8_lossy(&b).into_owned());
        let text = |i: usize| text(i).context("NULL in information_schema");
        let column = (text(2)?, text(3)? == "1", text(4)?.parse()?, text(5)? == "1");
        names.entry((text(0)?, text(1)?)).or_default().push(column);
    }
    Ok(names)
}

pub(crate) fn from_information_schema(map: &TableMap<'_>, names: &Names, flavor: Flavor) -> Result<TableSchema> {
    let known = names.get(&(map.database.to_owned(), map.table.to_owned())).context("an unknown table")?;
    let mut columns = map.columns(flavor)?;
    let mut primary_key = vec![];
    for (i, (column, (name, unsigned, collation, key))) in columns.iter_mut().zip(known).enumerate() {
        column.name.clone_from(name);
        column.unsigned = *unsigned;
        if *collation > 0 {
            column.collation = *collation;
        }
        if *key {
            primary_key.push(common::schema::KeyPart { column: u16::try_from(i)?, prefix: 0 });
        }
    }
    let (database, table) = (map.database.to_owned(), map.table.to_owned());
    Ok(TableSchema { database, table, flavor, columns, primary_key, origin: LayoutOrigin::InformationSchema })
}
