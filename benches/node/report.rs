//! The figures, as a table for people and as JSON for programs.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// What a figure should be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// At most this is hoped for; it depends on the machine, and missing it is no failure.
    Aim(f64),
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    target: Option<Target>,
}

impl Figure {
    fn meets(&self) -> Option<bool> {
        Some(match self.target? {
            Target::AtLeast(bound) => self.value >= bound,
            Target::AtMost(bound) | Target::Aim(bound) => self.value <= bound,
        })
    }
}

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    figures: Vec<Figure>,
}

impl Report {
    /// Enters a figure.
    pub fn add(&mut self, name: &'static str, value: f64, unit: &'static str, target: Option<Target>) {
        eprintln!("{name}: {value:.2} {unit}");
        self.figures.push(Figure { name, value, unit, target });
    }

    /// Whether no target is missed.
    pub fn meets_all(&self) -> bool {
        self.figures.iter().all(|figure| matches!(figure.target, Some(Target::Aim(_))) || figure.meets() != Some(false))
    }

    /// Writes it to standard output.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        let mut table = Table::new();
        table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["figure", "value", "target", ""]);
        for figure in &self.figures {
            let target = match figure.target {
                Some(Target::AtLeast(bound)) => format!(">= {bound}"),
                Some(Target::AtMost(bound)) => format!("<= {bound}"),
                Some(Target::Aim(bound)) => format!("aim {bound}"),
                None => String::new(),
            };
            let met = figure.meets().map_or("", |met| if met { "met" } else { "MISSED" });
            table.add_row([figure.name.to_owned(), format!("{:.2} {}", figure.value, figure.unit), target, met.to_owned()]);
        }
        println!("{table}");
        Ok(())
    }
}
