//! Figures, as a table for people and as JSON for programs.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What an issue or a promise asks of a figure. Missing it is shown and is no error: the machine may be a slow one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    /// None.
    None,
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

/// One measured value.
#[derive(Clone, Debug)]
struct Figure {
    name: &'static str,
    unit: String,
    value: f64,
    aim: Aim,
}

/// The figures of one workload. Lines of a case have the same figures in the same order.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    case: &'static str,
    workload: String,
    figures: Vec<Figure>,
}

impl Line {
    pub(crate) fn new(case: &'static str, workload: impl Into<String>) -> Line {
        Line { case, workload: workload.into(), figures: Vec::new() }
    }

    /// Adds a figure.
    pub(crate) fn with(self, name: &'static str, value: f64, unit: impl Into<String>) -> Line {
        self.aiming(name, value, unit, Aim::None)
    }

    /// Adds a figure that has an aim.
    pub(crate) fn aiming(mut self, name: &'static str, value: f64, unit: impl Into<String>, aim: Aim) -> Line {
        self.figures.push(Figure { name, unit: unit.into(), value, aim });
        self
    }
}

impl Figure {
    fn met(&self) -> Option<bool> {
        match self.aim {
            Aim::None => None,
            Aim::AtLeast(aim) => Some(self.value >= aim),
            Aim::AtMost(aim) => Some(self.value <= aim),
        }
    }

    fn shown(&self, with_unit: bool) -> String {
        let mark = match self.met() {
            None => "",
            Some(true) => " +",
            Some(false) => " -",
        };
        let unit = if with_unit { format!(" {}", self.unit) } else { String::new() };
        format!("{}{unit}{mark}", number(self.value))
    }
}

/// Everything that was measured in one run.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Vec<(&'static str, String)>,
    lines: Vec<Line>,
}

impl Report {
    pub(crate) fn new(machine: &[(&'static str, String)]) -> Report {
        for (name, value) in machine {
            println!("{name}: {value}");
        }
        Report { machine: machine.to_vec(), lines: Vec::new() }
    }

    /// Shows the lines of one case and keeps them.
    pub(crate) fn add(&mut self, lines: Vec<Line>) {
        print!("{}", table(&lines));
        self.lines.extend(lines);
    }

    /// Writes all that was added.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let machine: serde_json::Map<String, Value> =
            self.machine.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let figures: Vec<Value> = self.lines.iter().flat_map(figures_json).collect();
        let document = json!({ "unix_time": now, "machine": machine, "figures": figures });
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).with_context(|| format!("while creating {}", dir.display()))?;
        }
        let text = serde_json::to_string_pretty(&document)?;
        std::fs::write(path, text + "\n").with_context(|| format!("while writing {}", path.display()))?;
        println!("\nfigures as JSON: {}", path.display());
        Ok(())
    }
}

fn figures_json(line: &Line) -> Vec<Value> {
    let one = |figure: &Figure| {
        let mut value = json!({
            "case": line.case, "workload": line.workload, "name": figure.name, "unit": figure.unit, "value": figure.value,
        });
        let aim = match figure.aim {
            Aim::None => None,
            Aim::AtLeast(aim) => Some(("at_least", aim)),
            Aim::AtMost(aim) => Some(("at_most", aim)),
        };
        if let (Some((kind, aim)), Some(object)) = (aim, value.as_object_mut()) {
            object.insert(kind.to_owned(), json!(aim));
            object.insert("met".to_owned(), json!(figure.met()));
        }
        value
    };
    line.figures.iter().map(one).collect()
}

/// Lines with the same figures become one table. A `+` marks an aim that is met, a `-` one that is missed.
fn table(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut rest = lines;
    while let Some(first) = rest.first() {
        let names = |line: &Line| line.figures.iter().map(|f| f.name).collect::<Vec<_>>();
        let like = |line: &&Line| line.case == first.case && names(line) == names(first);
        let count = rest.iter().take_while(like).count();
        let (now, later) = rest.split_at(count);
        rest = later;
        let mut rows = vec![vec![first.case.to_owned()], vec![String::new()]];
        rows[0].extend(first.figures.iter().map(|f| f.name.to_owned()));
        // A column of one unit has it in its head.
        let mixed = |f: &Figure| now.iter().any(|l| l.figures.iter().any(|g| g.name == f.name && g.unit != f.unit));
        rows[1].extend(first.figures.iter().map(|f| if mixed(f) { String::new() } else { f.unit.clone() }));
        for line in now {
            let mut row = vec![line.workload.clone()];
            row.extend(line.figures.iter().map(|f| f.shown(mixed(f))));
            rows.push(row);
        }
        text.push('\n');
        text.push_str(&aligned(&rows));
        for aim in aims(now) {
            text.push_str(&format!("  {aim}\n"));
        }
    }
    text
}

fn aims(lines: &[Line]) -> Vec<String> {
    let mut found = Vec::new();
    for line in lines {
        for figure in &line.figures {
            let (word, aim) = match figure.aim {
                Aim::None => continue,
                Aim::AtLeast(aim) => ("at least", aim),
                Aim::AtMost(aim) => ("at most", aim),
            };
            let reached = if figure.met() == Some(true) { "met" } else { "MISSED" };
            let (name, unit, value) = (figure.name, &figure.unit, number(figure.value));
            found.push(format!("{}: {name} {value}, aim {word} {} {unit}: {reached}", line.workload, number(aim)));
        }
    }
    found
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (c, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // The workload's name stands at the left, figures at the right.
            let cell = if c == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
            text.push_str(&cell);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// Three significant digits, thousands apart.
fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        let digits = if value.abs() < 10.0 { 2 } else { 1 };
        return format!("{value:.digits$}");
    }
    let whole = format!("{value:.0}");
    let mut text = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) && !text.ends_with('-') {
            text.push(' ');
        }
        text.push(c);
    }
    text
}
