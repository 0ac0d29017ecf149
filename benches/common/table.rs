//! Figures in columns.

use std::time::Duration;

/// A figure that was asked for: what, the number asked for, another copier's figure, and heliostat's.
pub type Line = [String; 4];

/// Prints all figures that were asked for beside each other.
#[allow(dead_code, reason = "not every benchmark asks for it")]
pub fn print_lines(lines: &[Line]) {
    let rows: Vec<Vec<String>> = lines.iter().map(|line| line.to_vec()).collect();
    print(&["", "asked for", "MirrorMaker 2", "heliostat"], &rows);
}

/// Prints a table: the first column to the left, the others to the right.
pub fn print(head: &[&str], rows: &[Vec<String>]) {
    let all =
        || std::iter::once(head.iter().map(|&cell| cell.to_owned()).collect()).chain(rows.iter().cloned());
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            all()
                .map(|row: Vec<String>| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for (index, row) in all().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| {
                if column == 0 {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        println!("{}", cells.join("  ").trim_end());
        if index == 0 {
            println!(
                "{}",
                widths
                    .iter()
                    .map(|&width| "-".repeat(width))
                    .collect::<Vec<_>>()
                    .join("  ")
            );
        }
    }
    println!();
}

/// A number with its thousands apart.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The middle one of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A row of a table: a name, then the middle, the 99th percentile and the largest of some delays, and how many there are.
pub fn delays(name: &str, mut delays: Vec<Duration>, decimals: usize) -> Vec<String> {
    delays.sort();
    let at = |share: f64| {
        let index = ((delays.len() as f64 * share) as usize).min(delays.len().saturating_sub(1));
        let delay = delays.get(index);
        delay.map_or_else(
            || "-".to_owned(),
            |delay| format!("{:.decimals$} ms", delay.as_secs_f64() * 1e3),
        )
    };
    vec![
        name.to_owned(),
        at(0.5),
        at(0.99),
        at(1.0),
        delays.len().to_string(),
    ]
}
