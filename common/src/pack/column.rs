//! A column's definition in information_schema as TABLE_MAP would describe it, and the expression that selects it.

use super::PackError;
use crate::schema::{Column, Flavor};

/// What information_schema.columns tells of a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// `COLUMN_NAME`
    pub name: String,
    /// `DATA_TYPE`, like `varchar`.
    pub data_type: String,
    /// `COLUMN_TYPE`, like `varchar(20)`, in UTF-8.
    pub column_type: String,
    /// `CHARACTER_SET_NAME`
    pub charset: Option<String>,
    /// Id of `COLLATION_NAME`; 0 if there is none.
    pub collation_id: u16,
    /// `CHARACTER_OCTET_LENGTH`; None for what is no string. CHAR, VARCHAR, BINARY and VARBINARY need it.
    pub octet_length: Option<u64>,
    /// `IS_NULLABLE` is YES.
    pub nullable: bool,
    /// `EXTRA`
    pub extra: String,
}

/// The column as TABLE_MAP describes it.
///
/// # Errors
/// [`PackError::Type`]
pub fn column(definition: &ColumnDefinition, flavor: Flavor) -> Result<Column, PackError> {
    let _ = flavor;
    Err(PackError::Type { column: definition.name.clone(), column_type: definition.column_type.clone() })
}

/// The expression of the select list. It has no alias, so that ORDER BY and WHERE go on meaning the column.
#[must_use]
pub fn select_expression(definition: &ColumnDefinition, flavor: Flavor) -> String {
    let _ = flavor;
    format!("`{}`", definition.name.replace('`', "``"))
}
