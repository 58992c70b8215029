//! The destination: its server, our session on it, its tables, and the position that it keeps for us.

mod collation;
mod lock;
mod position;
mod server;
mod session;
mod table;

pub use collation::{Mapped, collation_for};
pub(crate) use collation::collation_name;
pub use lock::OwnerLock;
pub use position::{Identity, Progress, Position, PositionStore};
pub use server::ServerFacts;
pub use session::{Connector, Session};
pub use table::{Key, TargetColumn, TargetTable, Tables};
pub(crate) use session::{hex, ident, quote};
