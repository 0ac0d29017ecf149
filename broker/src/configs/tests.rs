//! Which layer counts, and what is refused.

use super::*;

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

fn entry(entries: Vec<ConfigEntry>, name: &str) -> ConfigEntry {
    entries.into_iter().find(|entry| entry.name == name).unwrap()
}

#[test]
fn the_nearest_layer_counts() {
    let (empty, dynamic) = (map(&[]), map(&[("log.retention.ms", "5")]));
    let properties = map(&[("log.retention.hours", "2"), ("log.retention.minutes", "7")]);
    let mut layers = Layers {
        broker: &empty,
        all_brokers: &empty,
        properties: &empty,
    };
    let value = |layers: Layers<'_>, topic: &BTreeMap<String, String>| {
        let entry = entry(layers.describe_topic(topic), "retention.ms");
        (entry.value.clone().unwrap(), entry.source(), entry.settings.len())
    };
    assert_eq!(
        value(layers, &empty),
        ("604800000".to_owned(), Source::Default, 0)
    );
    layers.properties = &properties;
    assert_eq!(
        value(layers, &empty),
        ("420000".to_owned(), Source::Default, 0),
        "Kafka shows nothing before a setting in the topic's unit"
    );
    assert_eq!(layers.topic_values(&empty)["retention.ms"], "420000");
    layers.all_brokers = &dynamic;
    assert_eq!(value(layers, &empty), ("5".to_owned(), Source::AllBrokers, 4));
    assert_eq!(
        value(layers, &map(&[("retention.ms", "1")])),
        ("1".to_owned(), Source::Topic, 5)
    );
}

#[test]
fn every_synonym_is_for_a_key_of_topics() {
    for synonym in SYNONYMS {
        assert!(topic_config(synonym.topic_key).is_some(), "{}", synonym.topic_key);
    }
}

#[test]
fn lists_grow_and_shrink() {
    let change = |operation| {
        let alteration = Alteration {
            name: "cleanup.policy".to_owned(),
            operation,
        };
        alter(Schema::Topic, &map(&[]), &[alteration]).map(|configs| configs["cleanup.policy"].clone())
    };
    assert_eq!(
        change(Operation::Append("compact".to_owned())).unwrap(),
        "delete,compact"
    );
    assert_eq!(change(Operation::Append("delete".to_owned())).unwrap(), "delete");
    assert!(change(Operation::Append("shred".to_owned())).is_err());
    let number = Alteration {
        name: "retention.ms".to_owned(),
        operation: Operation::Append("1".to_owned()),
    };
    assert!(alter(Schema::Topic, &map(&[]), &[number]).is_err());
}

#[test]
fn a_key_changes_once_in_a_request() {
    let delete = Alteration {
        name: "retention.ms".to_owned(),
        operation: Operation::Delete,
    };
    let set = map(&[("retention.ms", "1")]);
    assert_eq!(
        alter(Schema::Topic, &set, std::slice::from_ref(&delete)),
        Ok(map(&[]))
    );
    let error = alter(Schema::Topic, &set, &[delete.clone(), delete]).unwrap_err();
    assert_eq!(error.code, heliostat_wire::ErrorCode::InvalidRequest);
}

#[test]
fn properties_are_checked() {
    assert_eq!(check_property("num.partitions", "3"), Ok(()));
    assert_eq!(check_property("log.retention.hours", "3"), Ok(()));
    assert_eq!(
        check_property("num.partitons", "3"),
        Err(PropertyProblem::Unknown)
    );
    assert!(matches!(
        check_property("num.partitions", "0"),
        Err(PropertyProblem::Bad(_))
    ));
    assert!(matches!(
        check_property("log.retention.ms", "soon"),
        Err(PropertyProblem::Bad(_))
    ));
    assert!(matches!(
        check_property("auto.create.topics.enable", "yes"),
        Err(PropertyProblem::Bad(_))
    ));
}
