//! The layout of a table as its row images were written: what is needed to read a packed row without the source.

use std::fmt;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::codec::{self, CodecError};

/// The family of a server: the two differ in GTIDs, event types and some packed types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// MySQL, Percona Server and what descends from them.
    MySql,
    /// MariaDB 10.0 and later.
    MariaDb,
}

/// Names one version of one table's layout: the first eight bytes of the SHA-256 of its encoding. The same layout has
/// the same id in every segment, store and process, so nothing has to hand out numbers or remember them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaId(pub u64);

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One version of a table's layout.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct TableSchema {
    /// Database of the table at the source.
    pub database: String,
    /// Name of the table at the source.
    pub table: String,
    /// Family of the server that packed the rows.
    pub flavor: Flavor,
    /// The columns in the order of the row image, the invisible ones included.
    pub columns: Vec<Column>,
    /// The primary key's columns in key order; empty if the table has none.
    pub primary_key: Vec<KeyPart>,
    /// Where the names come from.
    pub origin: LayoutOrigin,
}

/// Where the parts of a layout that a minimal TABLE_MAP lacks (names above all) were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayoutOrigin {
    /// From the TABLE_MAP event itself (`binlog_row_metadata=FULL`): exact by construction.
    TableMap,
    /// From the source's information_schema, checked against the TABLE_MAP's types.
    InformationSchema,
}

/// One column as TABLE_MAP describes it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Column {
    /// Name in UTF-8.
    pub name: String,
    /// The type byte of TABLE_MAP (`enum_field_types`), e.g. 3 = LONG, 246 = NEWDECIMAL, 254 = STRING (which may mean
    /// ENUM or SET, told by `meta`), 140 / 141 = MariaDB's compressed BLOB / VARCHAR.
    pub type_code: u8,
    /// The type's metadata, as the bytes stand in TABLE_MAP: one byte is in the low byte; of two, the first is the low byte.
    pub meta: u16,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Whether a numeric column is UNSIGNED; false for others.
    pub unsigned: bool,
    /// Collation id of a character, ENUM or SET column; 63 = binary; 0 = not known or no such type. Of MySQL's VECTOR, which has none, the
    /// number of dimensions, without which a server refuses its row events.
    pub collation: u16,
    /// Members of an ENUM or SET in the bytes of the column's character set, in order; empty where not known.
    pub members: Vec<Vec<u8>>,
    /// False for invisible columns, the generated invisible primary key among them. True where not known.
    pub visible: bool,
}

/// A column of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct KeyPart {
    /// Index into [`TableSchema::columns`].
    pub column: u16,
    /// Length of the prefix in characters, or 0 if the whole column is in the key.
    pub prefix: u32,
}

impl TableSchema {
    /// The name of this layout version.
    ///
    /// # Errors
    /// Only if the layout cannot be encoded.
    pub fn id(&self) -> Result<SchemaId, CodecError> {
        let digest: [u8; 32] = Sha256::digest(codec::encode(self)?).into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Ok(SchemaId(u64::from_be_bytes([a, b, c, d, e, f, g, h])))
    }

    /// `database.table`, for messages.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }
}
