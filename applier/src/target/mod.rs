//! The destination: its server, our session on it, its tables, and the position that it keeps for us.

mod collation;
mod flight;
mod lock;
mod position;
mod server;
mod session;
mod table;

pub(crate) use collation::collation_name;
pub use collation::{Mapped, collation_for};
pub(crate) use flight::{Ledger, LoaderRow};
pub use lock::OwnerLock;
pub use position::{Identity, LoaderMove, Position, PositionStore, Progress};
pub use server::ServerFacts;
#[cfg(test)]
pub(crate) use server::server_for_tests;
pub(crate) use server::version_number;
pub use session::{Connector, LoadCounts, Session};
pub(crate) use session::{ROW_SQL_MODE, hex, ident, quote, quote_text};
pub use table::{Key, Tables, TargetColumn, TargetTable};
