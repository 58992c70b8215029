//! What every part of Logweir shares: positions and GTIDs, the records of the log and their codec, table schemas,
//! configuration, telemetry and the control socket. Types only, no policy.
//!
//! ```
//! use common::{GtidSet, Gtid};
//! let mut set: GtidSet = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".parse().unwrap();
//! set.insert(&"3e11fa47-71ca-11e1-9e33-c80aa9429562:6".parse::<Gtid>().unwrap());
//! assert_eq!(set.to_string(), "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-6");
//! ```

pub mod charset;
pub mod codec;
pub mod config;
pub mod connect;
pub mod control;
pub mod gtid;
pub mod jsonb;
pub mod literal;
pub mod metrics;
pub mod pack;
pub mod position;
pub mod record;
pub mod row;
pub mod row_event;
pub mod schema;
pub mod selection;
pub mod seq;
pub mod snapshot;
pub mod sql;
pub mod sql_mode;
pub mod telemetry;
pub mod value;

pub use gtid::{Gtid, GtidSet};
pub use position::{BinlogPosition, LogPosition};
pub use schema::{Column, Flavor, SchemaId, TableSchema};
pub use seq::Seq;
