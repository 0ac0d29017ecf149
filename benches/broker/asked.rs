//! What is asked of the built-in cluster, held against what was measured.

use crate::table;

/// One figure that something is asked of.
pub struct Line {
    what: String,
    asked: String,
    kafka: String,
    found: String,
    held: bool,
}

/// How a figure is written.
pub type Written = fn(f64) -> String;

impl Line {
    /// A figure that is to be at most so much.
    pub fn at_most(what: impl Into<String>, asked: f64, found: f64, written: Written) -> Self {
        Line {
            what: what.into(),
            asked: format!("at most {}", written(asked)),
            kafka: String::new(),
            found: written(found),
            held: found <= asked,
        }
    }

    /// A figure that is to be at most this share of Kafka's.
    pub fn at_most_of_kafkas(
        what: impl Into<String>,
        share: f64,
        kafka: f64,
        found: f64,
        written: Written,
    ) -> Self {
        Line {
            what: what.into(),
            asked: format!("at most {:.0} % of Kafka's", share * 100.0),
            kafka: written(kafka),
            found: written(found),
            held: found <= share * kafka,
        }
    }

    /// A figure that is to be at least Kafka's.
    pub fn at_least_kafkas(what: impl Into<String>, kafka: f64, found: f64, written: Written) -> Self {
        Line {
            what: what.into(),
            asked: "at least Kafka's".to_owned(),
            kafka: written(kafka),
            found: written(found),
            held: found >= kafka,
        }
    }
}

/// Prints all figures that something is asked of, each with whether it is held.
pub fn print(lines: &[Line]) {
    let row = |line: &Line| {
        vec![
            line.what.clone(),
            line.asked.clone(),
            line.kafka.clone(),
            line.found.clone(),
            if line.held { "held" } else { "MISSED" }.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    if !rows.is_empty() {
        table::print(&["", "asked for", "Apache Kafka", "heliostat", ""], &rows);
    }
}
