//! `logweir store …`: looks into a store, offline or beside its running services. Only `prune` takes its lock and changes it.

use std::path::PathBuf;

use crate::cli::{StoreArg, StoreArgs, StoreCommand};
use crate::exit::{Exit, Failure};
use crate::part;

mod dump;
mod find;
mod list;
mod prune;
mod rows;
mod snapshot;
mod text;
mod verify;

/// Does what the command line says.
pub(crate) fn look(args: StoreArgs) -> Result<Exit, Failure> {
    match args.command {
        StoreCommand::List { store, json } => list::list(&dir(store)?, json),
        StoreCommand::Dump { store, from, until, table, summary, json } => {
            dump::dump(&dir(store)?, &dump::Wanted { from, until, table, summary, json })
        }
        StoreCommand::Find { store, position, json } => find::find(&dir(store)?, &position, json),
        StoreCommand::Prune { store, keep, max_size, forget } => {
            prune::prune(&dir(store)?, &prune::Wanted { keep, max_size, forget })
        }
        StoreCommand::Verify { store, json } => verify::verify(&dir(store)?, json),
    }
}

fn dir(arg: StoreArg) -> Result<PathBuf, Failure> {
    match (arg.store, arg.config) {
        (Some(dir), _) => Ok(dir),
        (None, Some(config)) => Ok(part::load_without_passwords(&config)?.store.dir),
        (None, None) => Err(Failure::new(Exit::Usage, "say which store: --store DIR or --config FILE")),
    }
}
