//! The services of a pipeline.

use std::fmt;
use std::path::{Path, PathBuf};

use common::config::Pipeline;
use common::control;

use crate::exit::{Exit, Failure};

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// The reader.
    Reader,
    /// The applier of a destination.
    Applier(String),
}

impl Part {
    /// All services of a pipeline, the reader first.
    pub(crate) fn all(pipeline: &Pipeline) -> Vec<Part> {
        let appliers = pipeline.destinations.iter().map(|d| Part::Applier(d.name.clone()));
        std::iter::once(Part::Reader).chain(appliers).collect()
    }

    /// Its control socket.
    pub(crate) fn socket(&self, store: &Path) -> PathBuf {
        match self {
            Part::Reader => control::reader_socket(store),
            Part::Applier(name) => control::applier_socket(store, name),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Reader => f.write_str("reader"),
            Part::Applier(name) => write!(f, "applier {name}"),
        }
    }
}

/// The named destinations, or all.
pub(crate) fn destinations(pipeline: &Pipeline, name: Option<&str>) -> Result<Vec<String>, Failure> {
    let all: Vec<String> = pipeline.destinations.iter().map(|d| d.name.clone()).collect();
    let Some(name) = name else { return Ok(all) };
    if pipeline.destination(name).is_none() {
        let message = format!("there is no destination '{name}'; there are: {}", all.join(", "));
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(vec![name.to_owned()])
}

/// Loads a configuration for a command that only talks to services: the passwords need not be at hand there.
pub(crate) fn load_without_passwords(path: &Path) -> Result<Pipeline, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(_) => return Ok(Pipeline::load(path)?),
    };
    let env = |name: &str| Some(std::env::var(name).ok().filter(|v| !v.is_empty()).unwrap_or_else(|| "-".to_owned()));
    Ok(Pipeline::parse(&text, path, &env)?)
}
