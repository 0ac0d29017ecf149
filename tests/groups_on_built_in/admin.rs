//! The admin client: topics, partitions, configs, records, groups, and the errors for what cannot be.

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer as _;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::{InProcess, LIMIT, Member, TOPIC, started, wait_assigned};
use crate::support::clients::Client;
use crate::support::mirrors::{numbers, write_numbers};
use crate::support::wait_until;

/// An admin client, and a runtime for its calls.
struct Admin {
    client: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    options: AdminOptions,
}

impl Admin {
    fn of(client: &Client) -> Admin {
        Admin {
            client: client.config().create().expect("create an admin client"),
            runtime: tokio::runtime::Runtime::new().expect("build a runtime"),
            options: AdminOptions::new().request_timeout(Some(LIMIT)),
        }
    }

    fn create(&self, topic: NewTopic<'_>) -> Result<String, Code> {
        let created = self.client.create_topics([&topic], &self.options);
        one(self.runtime.block_on(created))
    }

    fn delete(&self, topic: &str) -> Result<String, Code> {
        one(self
            .runtime
            .block_on(self.client.delete_topics(&[topic], &self.options)))
    }

    fn grow(&self, topic: &str, partitions: usize) -> Result<String, Code> {
        let new = NewPartitions::new(topic, partitions);
        one(self
            .runtime
            .block_on(self.client.create_partitions([&new], &self.options)))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "what the old call does is part of the test"
    )]
    fn alter(&self, topic: &str, key: &str, value: &str) -> Result<(), Code> {
        let alter = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
        one(self
            .runtime
            .block_on(self.client.alter_configs([&alter], &self.options)))
        .map(drop)
    }

    fn delete_group(&self, group: &str) -> Result<String, Code> {
        one(self
            .runtime
            .block_on(self.client.delete_groups(&[group], &self.options)))
    }
}

/// The answer to the only question of a call.
fn one<T, E: Into<Failure>>(answer: rdkafka::error::KafkaResult<Vec<Result<T, E>>>) -> Result<T, Code> {
    let mut answers = answer.expect("the call as a whole succeeds");
    assert_eq!(answers.len(), 1);
    answers.remove(0).map_err(|error| error.into().0)
}

/// What went wrong, whichever of the two forms it comes in.
struct Failure(Code);

impl<T> From<(T, Code)> for Failure {
    fn from((_, code): (T, Code)) -> Failure {
        Failure(code)
    }
}

#[test]
fn topics_are_made_grown_and_deleted_and_what_cannot_be_is_refused() {
    let cluster = InProcess::start(3, &[]);
    let client = Client::new(cluster.bootstrap());
    let admin = Admin::of(&client);
    let new = |name, partitions, factor| NewTopic::new(name, partitions, TopicReplication::Fixed(factor));
    assert_eq!(admin.create(new("one", 2, 3)), Ok("one".to_owned()));
    wait_until(LIMIT, "it has two partitions", || {
        client.partitions("one") == Some(2)
    });
    assert_eq!(admin.create(new("one", 2, 3)), Err(Code::TopicAlreadyExists));
    assert_eq!(admin.create(new("a/b", 1, 1)), Err(Code::InvalidTopic));
    assert_eq!(
        admin.create(new("many", 1, 4)),
        Err(Code::InvalidReplicationFactor)
    );
    let odd = new("odd", 1, 1).set("retention.ms", "soon");
    assert_eq!(admin.create(odd), Err(Code::InvalidConfig));
    write_numbers(&client, "one", 2, 0..20);
    assert_eq!(admin.grow("one", 5), Ok("one".to_owned()));
    assert_eq!(admin.grow("one", 3), Err(Code::InvalidPartitions));
    assert_eq!(admin.grow("none", 3), Err(Code::UnknownTopicOrPartition));
    wait_until(LIMIT, "it has five partitions", || {
        client.partitions("one") == Some(5)
    });
    assert_eq!(client.end_offsets("one"), [10, 10, 0, 0, 0]);
    assert_eq!(admin.delete("one"), Ok("one".to_owned()));
    wait_until(LIMIT, "it is gone", || client.partitions("one").is_none());
    assert_eq!(admin.delete("one"), Err(Code::UnknownTopicOrPartition));
    // Made again it is another topic, and empty.
    assert_eq!(admin.create(new("one", 1, 1)), Ok("one".to_owned()));
    wait_until(LIMIT, "it is there again", || client.partitions("one") == Some(1));
    assert_eq!(client.end_offsets("one"), [0]);
}

#[test]
fn configs_are_described_and_altered_and_take_effect() {
    let cluster = InProcess::start(1, &[]);
    let client = Client::new(cluster.bootstrap());
    let admin = Admin::of(&client);
    client.create_topic("small", 1, &[("retention.ms", "60000")]);
    let config = |key: &str| client.topic_configs("small")[key].clone();
    assert_eq!(config("retention.ms").as_deref(), Some("60000"));
    assert_eq!(admin.alter("small", "max.message.bytes", "500"), Ok(()));
    assert_eq!(config("max.message.bytes").as_deref(), Some("500"));
    // The old call sets everything: what it does not name goes back to its default.
    assert_eq!(config("retention.ms").as_deref(), Some("604800000"));
    // The crate does not tell that this was refused.
    let _ = admin.alter("small", "max.message.bytes", "many");
    assert_eq!(config("max.message.bytes").as_deref(), Some("500"));
    let large = [crate::support::rec::Rec::new(0, None, Some(&[b'x'; 1_000]))];
    let refused = client.try_produce("small", &large, Default::default());
    assert_eq!(refused, [Err(Code::MessageSizeTooLarge)]);
    assert_eq!(admin.alter("small", "max.message.bytes", "5000"), Ok(()));
    assert_eq!(
        client.try_produce("small", &large, Default::default()),
        [Ok((0, 0))]
    );
}

#[test]
fn deleted_records_are_gone_and_the_rest_is_as_it_was() {
    let cluster = InProcess::start(1, &[]);
    let client = Client::new(cluster.bootstrap());
    client.create_topic("cut", 2, &[]);
    write_numbers(&client, "cut", 2, 0..200);
    client.delete_records("cut", 1, 40);
    assert_eq!(client.watermarks("cut"), [(0, 100), (40, 100)]);
    let odd: Vec<i32> = (80..200).filter(|number| number % 2 == 1).collect();
    assert_eq!(numbers(&client, "cut", 1), odd);
    client.delete_records("cut", 0, 100);
    assert_eq!(client.watermarks("cut"), [(100, 100), (40, 100)]);
}

#[test]
fn groups_are_listed_described_and_deleted_once_they_are_empty() {
    let (_cluster, client) = started();
    let admin = Admin::of(&client);
    let groups = |name: Option<&str>| -> Vec<(String, String, usize)> {
        let list = client
            .consumer()
            .fetch_group_list(name, LIMIT)
            .expect("list groups");
        let group = |group: &rdkafka::groups::GroupInfo| {
            (
                group.name().to_owned(),
                group.state().to_owned(),
                group.members().len(),
            )
        };
        list.groups().iter().map(group).collect()
    };
    assert_eq!(admin.delete_group("workers"), Err(Code::GroupIdNotFound));
    write_numbers(&client, TOPIC, 6, 0..60);
    let mut member = Member::join(&client, &[("partition.assignment.strategy", "range")]);
    wait_assigned(&mut [&mut member], &[6]);
    wait_until(LIMIT, "all is read", || {
        member.poll();
        member.read.len() == 60
    });
    member.commit();
    assert_eq!(groups(None), [("workers".to_owned(), "Stable".to_owned(), 1)]);
    assert_eq!(admin.delete_group("workers"), Err(Code::NonEmptyGroup));
    drop(member);
    wait_until(LIMIT, "the group is empty", || {
        groups(Some("workers")) == [("workers".to_owned(), "Empty".to_owned(), 0)]
    });
    assert_eq!(admin.delete_group("workers"), Ok("workers".to_owned()));
    assert_eq!(groups(None), []);
    let committed = super::grouped(&client)
        .committed_offsets(super::topic(), LIMIT)
        .expect("committed offsets");
    let none = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        element.offset() == rdkafka::Offset::Invalid
    };
    assert!(committed.elements().iter().all(none), "{committed:?}");
}
