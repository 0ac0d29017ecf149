//! The settings of flows: what `defaults` says, what a flow says itself, what holds where neither does.

use std::time::Duration;

use super::draft::{Drafts, Spot};
use super::keys;
use super::model::{Compression, Delivery, Engine, Flow, Limits, OnGap, OnRecreated, flow_name};
use super::problem::ProblemKind;
use super::reading::{Field, Keys, Table};
use super::suggest::nearest;
use super::yaml::Value;
use crate::policy::{Naming, Pattern, Template, TemplateError, TopicFilter};

/// Kafka's own topics, and the internal topics of mirroring tools and stream processors.
const EXCLUDE_DEFAULT: [&str; 2] = ["__.*", ".*[-.]internal"];

/// Every topic of a source is held against every pattern.
const PATTERNS_MAX: usize = 500;

const SEPARATOR_DEFAULT: &str = ".";
const DISCOVERY_INTERVAL_DEFAULT: Duration = Duration::from_secs(2);
const SESSION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const IN_FLIGHT_BYTES_DEFAULT: u64 = 16_000_000;

/// Below, a flow would do little else; above, a new topic would seem to be forgotten.
const DISCOVERY_INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));
/// The target's brokers have limits of their own, by default 6s and 30m.
const SESSION_TIMEOUTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(1800));
/// One record may have a megabyte by default, so less would stop a flow.
const IN_FLIGHT_BYTES_MIN: u64 = 1_000_000;
const IN_FLIGHT_BYTES_MAX: u64 = 16_000_000_000;
const BYTES_PER_SECOND_MIN: u64 = 1_000;
const BYTES_PER_SECOND_MAX: u64 = 1_000_000_000_000;

/// What one place of the file says. What it does not say is `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    include: Option<Vec<Pattern>>,
    exclude: Option<Vec<Pattern>>,
    naming: Option<(Naming, Spot)>,
    delivery: Option<(Delivery, Spot)>,
    engine: Option<(Engine, Spot)>,
    compression: Option<(Compression, Spot)>,
    on_gap: Option<OnGap>,
    on_recreated: Option<OnRecreated>,
    replication_factor: Option<(i16, Spot)>,
    discovery_interval: Option<Duration>,
    session_timeout: Option<Duration>,
    in_flight_bytes: Option<u64>,
    bytes_per_second: Option<u64>,
}

/// A flow with the places that rules about it point at.
#[derive(Debug)]
pub(super) struct FlowDraft {
    pub flow: Flow,
    /// Where its naming is written, or else what made this flow.
    pub naming: Spot,
    pub replication_factor: Option<Spot>,
    pub delivery: Option<Spot>,
    pub engine: Option<Spot>,
    pub compression: Option<Spot>,
}

/// A flow of which the file says nothing.
pub(super) fn default_flow(source: &str, target: &str) -> Flow {
    resolve(
        Settings::default(),
        &Settings::default(),
        source,
        target,
        Spot::default(),
    )
    .flow
}

/// What a flow says itself, over the defaults of the file, over the defaults of the program.
pub(super) fn resolve(
    own: Settings,
    defaults: &Settings,
    source: &str,
    target: &str,
    spot: Spot,
) -> FlowDraft {
    let defaults = defaults.clone();
    let compile = |texts: &[&str]| texts.iter().filter_map(|text| Pattern::new(text).ok()).collect();
    let naming = own.naming.or(defaults.naming);
    let delivery = own.delivery.or(defaults.delivery);
    let engine = own.engine.or(defaults.engine);
    let compression = own.compression.or(defaults.compression);
    let replication_factor = own.replication_factor.or(defaults.replication_factor);
    let flow = Flow {
        name: flow_name(source, target),
        source: source.to_owned(),
        target: target.to_owned(),
        topics: TopicFilter {
            include: own
                .include
                .or(defaults.include)
                .unwrap_or_else(|| compile(&[".*"])),
            exclude: own
                .exclude
                .or(defaults.exclude)
                .unwrap_or_else(|| compile(&EXCLUDE_DEFAULT)),
        },
        naming: naming
            .as_ref()
            .map_or_else(prefix_default, |(naming, _)| naming.clone()),
        // What the clusters allow is known later: see `engines`.
        delivery: delivery
            .as_ref()
            .map_or(Delivery::ExactlyOnce, |(delivery, _)| *delivery),
        engine: engine.as_ref().map_or(Engine::Batches, |(engine, _)| *engine),
        compression: compression
            .as_ref()
            .map_or(Compression::Producer, |(compression, _)| *compression),
        on_gap: own.on_gap.or(defaults.on_gap).unwrap_or(OnGap::Record),
        on_recreated: own
            .on_recreated
            .or(defaults.on_recreated)
            .unwrap_or(OnRecreated::Halt),
        replication_factor: replication_factor.as_ref().map(|(factor, _)| *factor),
        discovery_interval: own
            .discovery_interval
            .or(defaults.discovery_interval)
            .unwrap_or(DISCOVERY_INTERVAL_DEFAULT),
        session_timeout: own
            .session_timeout
            .or(defaults.session_timeout)
            .unwrap_or(SESSION_TIMEOUT_DEFAULT),
        limits: Limits {
            in_flight_bytes: own
                .in_flight_bytes
                .or(defaults.in_flight_bytes)
                .unwrap_or(IN_FLIGHT_BYTES_DEFAULT),
            bytes_per_second: own.bytes_per_second.or(defaults.bytes_per_second),
        },
    };
    FlowDraft {
        flow,
        naming: naming.map_or(spot, |(_, spot)| spot),
        replication_factor: replication_factor.map(|(_, spot)| spot),
        delivery: delivery.map(|(_, spot)| spot),
        engine: engine.map(|(_, spot)| spot),
        compression: compression.map(|(_, spot)| spot),
    }
}

/// Reads the settings of `defaults` or of a flow; other keys of the map are not looked at.
pub(super) fn read_settings(drafts: &mut Drafts, table: &Table<'_>) -> Settings {
    let mut settings = Settings::default();
    if let Some(field) = drafts.optional(table, "topics", "topics: { include: [\"orders.*\"] }") {
        read_topics(drafts, table, &field, &mut settings);
    }
    if let Some(field) = drafts.optional(table, "naming", "naming: { policy: prefix }") {
        let spot = table.key_spot("naming").unwrap_or_else(|| field.spot.clone());
        settings.naming = read_naming(drafts, &field, &spot).map(|naming| (naming, spot));
    }
    if let Some(field) = drafts.optional(table, "delivery", "delivery: exactly-once") {
        let delivery = drafts.choice(&field, Delivery::WORDS);
        settings.delivery = delivery.map(|delivery| (delivery, field.spot));
    }
    if let Some(field) = drafts.optional(table, "engine", "engine: batches") {
        let engine = drafts.choice(&field, Engine::WORDS);
        settings.engine = engine.map(|engine| (engine, field.spot));
    }
    if let Some(field) = drafts.optional(table, "compression", "compression: zstd") {
        let compression = drafts.choice(&field, Compression::WORDS);
        settings.compression = compression.map(|compression| (compression, field.spot));
    }
    if let Some(field) = drafts.optional(table, "on_gap", "on_gap: record") {
        settings.on_gap = drafts.choice(&field, OnGap::WORDS);
    }
    if let Some(field) = drafts.optional(table, "on_recreated", "on_recreated: halt") {
        settings.on_recreated = drafts.choice(&field, OnRecreated::WORDS);
    }
    if let Some(field) = drafts.optional(table, "replication_factor", "replication_factor: 3") {
        let factor = drafts.int(&field, 1..=i128::from(i16::MAX));
        settings.replication_factor = factor.map(|factor| (factor, field.spot));
    }
    if let Some(field) = drafts.optional(table, "discovery_interval", "discovery_interval: 2s") {
        let (min, max) = DISCOVERY_INTERVALS;
        settings.discovery_interval = drafts.duration(&field, min..=max);
    }
    if let Some(field) = drafts.optional(table, "session_timeout", "session_timeout: 10s") {
        let (min, max) = SESSION_TIMEOUTS;
        settings.session_timeout = drafts.duration(&field, min..=max);
    }
    if let Some(field) = drafts.optional(table, "limits", "limits: { bytes_per_second: 50MB }") {
        read_limits(drafts, table, &field, &mut settings);
    }
    settings
}

fn read_topics(drafts: &mut Drafts, table: &Table<'_>, field: &Field<'_>, settings: &mut Settings) {
    let key = table.key_spot("topics").map(|spot| spot.at);
    let Some(topics) = drafts.table(field, key, Keys::These(keys::TOPICS)) else {
        return;
    };
    if let Some(field) = drafts.optional(&topics, "include", "include: [\"orders.*\"]") {
        settings.include = read_patterns(drafts, &field);
        if matches!(&field.node.value, Value::List(items) if items.is_empty()) {
            let message = format!("`{}` is an empty list, which includes no topic", field.spot.path);
            let help = "write `include: [\".*\"]` for every topic, or leave the key out";
            drafts
                .error(ProblemKind::EmptyValue, &field.spot, message)
                .help(help);
        }
    }
    if let Some(field) = drafts.optional(&topics, "exclude", "exclude: [\"tmp-.*\"]") {
        settings.exclude = read_patterns(drafts, &field);
    }
}

fn read_patterns(drafts: &mut Drafts, field: &Field<'_>) -> Option<Vec<Pattern>> {
    let mut patterns = Vec::new();
    let items = drafts.list(field)?;
    if items.len() > PATTERNS_MAX {
        let message = format!(
            "`{}` has {} patterns, and at most {PATTERNS_MAX} are possible",
            field.spot.path,
            items.len()
        );
        drafts
            .error(ProblemKind::BadValue, &field.spot, message)
            .help("join names: \"orders|payments\"");
        return None;
    }
    for item in items {
        let Some(text) = drafts.text(&item) else { continue };
        match Pattern::new(text) {
            Ok(pattern) => {
                warn_of_glob(drafts, &item, text);
                patterns.push(pattern);
            }
            Err(error) => {
                let message = format!("`{text}` is not a regular expression: {}", error.reason);
                let help = match text.starts_with('*') {
                    true => format!("patterns are regular expressions: write \".{text}\" where a shell would write `{text}`"),
                    false => "write a regular expression for the whole name, such as \"orders.*\"; `\\` makes a character plain"
                        .to_owned(),
                };
                drafts
                    .error(ProblemKind::BadPattern, &item.spot, message)
                    .help(help);
            }
        }
    }
    Some(patterns)
}

/// `orders-*` is a regular expression, and likely meant as a shell would take it.
fn warn_of_glob(drafts: &mut Drafts, item: &Field<'_>, text: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let globs = text
        .chars()
        .zip(text.chars().skip(1))
        .any(|(before, c)| c == '*' && plain(before));
    let others = text.contains(['[', '(', '\\', '{', '|', '+', '?']);
    if globs && !others {
        let message =
            format!("`{text}` matches as a regular expression, where `*` repeats the character before it");
        let regex = text.replace(".*", "*").replace('*', ".*");
        let help = format!("write \"{regex}\" if `*` stands for any characters");
        drafts
            .warning(ProblemKind::OddPattern, &item.spot, message)
            .help(help);
    }
}

fn read_naming(drafts: &mut Drafts, field: &Field<'_>, key: &Spot) -> Option<Naming> {
    let table = drafts.table(field, Some(key.at), Keys::These(keys::NAMING))?;
    let policy = drafts.required(&table, "policy", "policy: prefix")?;
    let separator = drafts.optional(&table, "separator", "separator: \".\"");
    let template = drafts.optional(&table, "template", "template: \"{source}.{topic}\"");
    let words = [
        ("prefix", "prefix"),
        ("identity", "identity"),
        ("template", "template"),
    ];
    let policy = drafts.choice(&policy, &words)?;
    for (key, belongs_to) in [("separator", "prefix"), ("template", "template")] {
        if let (Some(spot), true) = (table.key_spot(key), policy != belongs_to) {
            let message = format!("`{}` has no effect: the policy is `{policy}`", spot.path);
            let help = format!("write `policy: {belongs_to}`, or leave `{key}` out");
            drafts.error(ProblemKind::BadValue, &spot, message).help(help);
        }
    }
    match policy {
        "identity" => Some(Naming::Identity),
        "prefix" => match separator {
            Some(field) => read_separator(drafts, &field),
            None => Some(prefix_default()),
        },
        _ => {
            let template = match template {
                Some(template) => template,
                None if table.has("template") => return None,
                None => drafts.required(&table, "template", "template: \"{source}.{topic}\"")?,
            };
            read_template(drafts, &template)
        }
    }
}

fn read_separator(drafts: &mut Drafts, field: &Field<'_>) -> Option<Naming> {
    let text = drafts.text(field)?;
    if text.chars().all(|c| matches!(c, '.' | '_' | '-')) {
        return Some(Naming::Prefix {
            separator: text.to_owned(),
        });
    }
    let message = format!(
        "`{}` cannot be `{text}`: a separator is made of `.`, `_` and `-`",
        field.spot.path
    );
    drafts
        .error(ProblemKind::BadValue, &field.spot, message)
        .help("write `separator: \".\"`, or leave it out");
    None
}

fn read_template(drafts: &mut Drafts, field: &Field<'_>) -> Option<Naming> {
    let text = drafts.text(field)?;
    let error = match Template::new(text) {
        Ok(template) => return Some(Naming::Template { template }),
        Err(error) => error,
    };
    let help = match &error {
        TemplateError::UnknownPlaceholder(name) => {
            nearest(name, ["source", "target", "topic"]).map(|meant| format!("did you mean `{{{meant}}}`?"))
        }
        _ => None,
    };
    let help = help.unwrap_or_else(|| format!("write `{}`", field.example));
    drafts
        .error(
            ProblemKind::BadTemplate,
            &field.spot,
            format!("the template `{text}`: {error}"),
        )
        .help(help);
    None
}

fn read_limits(drafts: &mut Drafts, table: &Table<'_>, field: &Field<'_>, settings: &mut Settings) {
    let key = table.key_spot("limits").map(|spot| spot.at);
    let Some(limits) = drafts.table(field, key, Keys::These(keys::LIMITS)) else {
        return;
    };
    if let Some(field) = drafts.optional(&limits, "in_flight_bytes", "in_flight_bytes: 16MB") {
        settings.in_flight_bytes = drafts.size(&field, IN_FLIGHT_BYTES_MIN..=IN_FLIGHT_BYTES_MAX);
    }
    if let Some(field) = drafts.optional(&limits, "bytes_per_second", "bytes_per_second: 50MB") {
        settings.bytes_per_second = drafts.size(&field, BYTES_PER_SECOND_MIN..=BYTES_PER_SECOND_MAX);
    }
}

fn prefix_default() -> Naming {
    Naming::Prefix {
        separator: SEPARATOR_DEFAULT.to_owned(),
    }
}
