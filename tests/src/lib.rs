//! Real MySQL and MariaDB servers, our own processes, load and comparison: what tests, benchmarks and `logweir demo` share.
//!
//! A test starts throw-away servers on loopback, each with a data folder of its own; they die with the test, however it ends.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use harness::{Server, ServerKind};
//! let source = Server::builder(ServerKind::Mysql9).name("source").option("binlog_row_metadata", "FULL").start().await?;
//! source.exec("CREATE DATABASE shop").await?;
//! assert_eq!(source.value("SELECT 1 + 1").await?.as_deref(), Some("2"));
//! source.stop().await?;
//! # Ok(()) }
//! ```
//!
//! `./dev setup` fetches the server programs; docs/DEVELOPMENT.md names the environment variables for one's own.

pub mod compare;
mod install;
mod kind;
pub mod load;
mod options;
mod pipeline;
pub mod process;
pub mod proxy;
mod replication;
mod server;
mod spawn;
pub mod sql;

pub use kind::{ServerKind, servers_dir};
pub use load::Load;
pub use pipeline::{Builder as PipelineBuilder, Pipeline, Service};
pub use process::Process;
pub use proxy::Proxy;
pub use replication::BinlogPlace;
pub use server::{Builder, Server, TextRow, text_rows};
