//! All that is wrong with a configuration file, in one go.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Line in the file, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The key, with the tables that it is in: `destination[1].url`. Empty where no key can be named.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// Everything that is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file, as it was named.
    pub path: PathBuf,
    /// At least one, by line.
    pub errors: Vec<ConfigError>,
}

impl ConfigErrors {
    pub(super) fn whole(path: &Path, problem: impl Into<String>) -> Self {
        let error = ConfigError { line: 0, key: String::new(), problem: problem.into() };
        ConfigErrors { path: path.to_owned(), errors: vec![error] }
    }
}

impl std::error::Error for ConfigErrors {}

/// One line each: `logweir.toml:12: source.retry_for: 'soon' is not a duration; write …`.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", self.path.display())?;
            if error.line > 0 {
                write!(f, ":{}", error.line)?;
            }
            if !error.key.is_empty() {
                write!(f, ": {}", error.key)?;
            }
            write!(f, ": {}", error.problem)?;
        }
        Ok(())
    }
}
