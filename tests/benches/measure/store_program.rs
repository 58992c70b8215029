//! The store alone. Its own program `store/examples/bench_store.rs` measures; here it is run, and its best figures join the others.

use crate::report::{Aim, Line};
use crate::{Args, machine};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::process::{Command, Stdio};

/// Mebibytes that are appended per kind of compression.
const MEBIBYTES: u64 = 512;

struct Figure {
    what: String,
    unit: String,
    value: f64,
}

pub(crate) fn measure(args: &Args) -> Result<Vec<Line>> {
    let mut best: Vec<Figure> = Vec::new();
    for _ in 0..args.repeat {
        for (i, figure) in run(args)?.into_iter().enumerate() {
            match best.get_mut(i) {
                None => best.push(figure),
                // Rates are best when high, times when low.
                Some(old) if figure.unit.ends_with("/s") => old.value = old.value.max(figure.value),
                Some(old) => old.value = old.value.min(figure.value),
            }
        }
    }
    Ok(best.into_iter().map(line).collect())
}

fn line(figure: Figure) -> Line {
    // The aims are for what a store does unless told otherwise; Zstandard is a choice of space over speed.
    let aim = match &figure.what {
        what if what.contains("Zstandard") => Aim::None,
        what if what.starts_with("durable append") => Aim::AtLeast(200.0),
        what if what.starts_with("verified read") => Aim::AtLeast(1.0),
        _ => Aim::None,
    };
    Line::new("store", figure.what).aiming("best", figure.value, figure.unit, aim)
}

/// Builds and runs the program once, on the disk of the target folder.
fn run(args: &Args) -> Result<Vec<Figure>> {
    let dir = machine::output_dir();
    std::fs::create_dir_all(&dir).with_context(|| format!("while creating {}", dir.display()))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args([
            "run",
            "--release",
            "--quiet",
            "--package",
            "logweir-store",
            "--example",
            "bench_store",
            "--",
            "--json",
            "--mib",
        ])
        .arg(args.scaled(MEBIBYTES).to_string())
        .arg("--dir")
        .arg(&dir)
        .stderr(Stdio::inherit())
        .output()
        .context("while starting cargo for the store's benchmark")?;
    if !out.status.success() {
        bail!("the store's benchmark ended with {}", out.status);
    }
    let figures: Vec<Value> = serde_json::from_slice(&out.stdout).context("while reading the store's figures")?;
    let one = |figure: &Value| {
        let text = |name: &str| Some(figure.get(name)?.as_str()?.trim().to_owned());
        Some(Figure { what: text("what")?, unit: text("unit")?, value: figure.get("value")?.as_f64()? })
    };
    figures.iter().map(|f| one(f).with_context(|| format!("the store's benchmark said {f}"))).collect()
}
