//! Faults in the words of the command line: as they would be typed, and what is wrong with one in the names of its options.

use std::time::Duration;

use heliostat_broker::Fault;

use crate::cli::text::quoted;
use crate::topology::units::{format_duration, format_size};

/// Fields of a fault as the HTTP server names them, with their options.
const OPTIONS: [(&str, &str); 13] = [
    ("error", "--error"),
    ("delay_ms", "--delay"),
    ("takes_effect", "--takes-effect"),
    ("room_bytes", "--room"),
    ("ahead_ms", "--ahead or --behind"),
    ("api", "--api"),
    ("client_id", "--client-id"),
    ("topic", "--topic"),
    ("node", "--broker"),
    ("skip", "--skip"),
    ("count", "--count"),
    ("fraction", "--fraction"),
    ("seed", "--seed"),
];

/// The options that make this fault, as they would be typed.
pub(super) fn options(fault: &Fault) -> String {
    let time = |millis: u64| format_duration(Duration::from_millis(millis));
    let ahead = fault.ahead_ms.map(|ms| match ms < 0 {
        true => ("--behind", time(ms.unsigned_abs())),
        false => ("--ahead", time(ms.unsigned_abs())),
    });
    let text = |option, value: &Option<String>| value.as_ref().map(|value| (option, quoted(value)));
    let number = |option, value: Option<u64>| value.map(|value| (option, value.to_string()));
    let effect = fault.takes_effect.filter(|takes_effect| *takes_effect);
    let all = [
        text("--error", &fault.error),
        fault.delay_ms.map(|delay| ("--delay", time(delay))),
        effect.map(|_| ("--takes-effect", String::new())),
        fault.room_bytes.map(|room| ("--room", format_size(room))),
        ahead,
        text("--api", &fault.api),
        text("--client-id", &fault.client_id),
        text("--topic", &fault.topic),
        fault.node.map(|node| ("--broker", node.to_string())),
        number("--skip", fault.skip),
        number("--count", fault.count),
        fault.fraction.map(|share| ("--fraction", share.to_string())),
        number("--seed", fault.seed),
    ];
    let words = all
        .into_iter()
        .flatten()
        .map(|(option, value)| match value.is_empty() {
            true => option.to_owned(),
            false => format!("{option} {value}"),
        });
    words.collect::<Vec<_>>().join(" ")
}

/// A reason of the HTTP server with the options in place of its fields, which stand there in backticks.
pub(super) fn in_options(reason: &str) -> String {
    let mut text = reason.to_owned();
    for (field, option) in OPTIONS {
        text = text.replace(&format!("`{field}`"), option);
    }
    text
}

#[cfg(test)]
mod tests {
    use heliostat_broker::FaultKind;

    use super::*;

    #[test]
    fn a_fault_is_shown_as_it_would_be_typed() {
        let fault = Fault {
            delay_ms: Some(1_500),
            client_id: Some("it's mine".into()),
            api: Some("Fetch".into()),
            node: Some(2),
            fraction: Some(0.25),
            seed: Some(7),
            ..Fault::new(FaultKind::Delay)
        };
        assert_eq!(
            options(&fault),
            r"--delay 1500ms --api Fetch --client-id 'it'\''s mine' --broker 2 --fraction 0.25 --seed 7"
        );
        let clock = Fault {
            ahead_ms: Some(-60_000),
            ..Fault::new(FaultKind::Clock)
        };
        assert_eq!(options(&clock), "--behind 1m");
        let cut = Fault {
            takes_effect: Some(true),
            ..Fault::new(FaultKind::Cut)
        };
        assert_eq!(options(&cut), "--takes-effect");
    }

    #[test]
    fn reasons_name_options() {
        assert_eq!(
            in_options("a fault of the kind delay needs `delay_ms`"),
            "a fault of the kind delay needs --delay"
        );
    }
}
