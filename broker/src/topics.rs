//! Creating, growing, deleting and configuring topics.
//!
//! Logs are made before the state names them, and removed after the state has forgotten them. What a crash leaves in
//! between are logs that no topic owns, and the next start removes those. The same goes for the offsets that groups have
//! committed in a topic: its name is remembered until they are gone.

use std::{collections::BTreeMap, sync::Arc};

use heliostat_wire::{ErrorCode, Uuid};

use crate::{
    api_error::ApiError,
    broker::Broker,
    configs::{self, Alteration, Operation, Schema},
    quota::Mutations,
    state::{Image, Partition, Topic, names, placement, random_uuid},
};

/// More partitions are not created by one request, as in Kafka.
const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// The number that stands for "as the broker likes".
const BROKER_DEFAULT: i32 = -1;

/// A topic to be created.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    /// -1: as many as `num.partitions`, or as `assignments` has.
    pub(crate) partitions: i32,
    /// -1: `default.replication.factor`, or what `assignments` has.
    pub(crate) replication_factor: i16,
    /// Partitions and the nodes that are to hold them.
    pub(crate) assignments: Vec<(i32, Vec<i32>)>,
    pub(crate) configs: Vec<(String, Option<String>)>,
}

/// A topic that was created, or would have been.
pub(crate) type Created = Arc<Topic>;

/// How a topic is to grow.
#[derive(Debug)]
pub(crate) struct Growth {
    /// Partitions that the topic shall have.
    pub(crate) count: i32,
    /// The nodes of each new partition.
    pub(crate) assignments: Option<Vec<Vec<i32>>>,
}

/// Which topic is meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TopicRef<'a> {
    Name(&'a str),
    Id(Uuid),
}

impl NewTopic {
    /// A topic as the broker likes it.
    pub(crate) fn with_defaults(name: &str) -> Self {
        NewTopic {
            name: name.to_owned(),
            partitions: BROKER_DEFAULT,
            replication_factor: BROKER_DEFAULT as i16,
            ..Default::default()
        }
    }
}

/// Kafka tells a name that no topic can have from one that no topic has.
fn no_topic_to_configure(name: &str) -> ApiError {
    match names::problem(name) {
        Some(problem) if name.is_empty() => ApiError::invalid_request(problem),
        Some(problem) => ApiError::new(ErrorCode::InvalidTopicException, problem),
        None => ApiError::unknown_topic(name),
    }
}

impl Broker {
    /// Creates topics, each on its own: one result for each, in order. The names are distinct.
    pub(crate) async fn create_topics(
        &self,
        new: Vec<NewTopic>,
        validate_only: bool,
        mutations: &mut Mutations<'_>,
    ) -> Vec<Result<Created, ApiError>> {
        let mut change = self.state().begin().await;
        let mut results = Vec::with_capacity(new.len());
        let mut partitions = 0;
        for topic in new {
            let planned = match self.forgets_predecessor(&topic.name).await {
                Ok(()) => self.plan_topic(change.image(), topic, &mut partitions),
                Err(error) => Err(error),
            };
            let planned = planned.and_then(|topic| mutations.charge(topic.partitions.len()).map(|()| topic));
            let made = match planned {
                Ok(topic) if validate_only => Ok(topic),
                Ok(topic) => self.make_logs(&topic, 0).await.map(|()| {
                    change.put_topic(topic.clone());
                    topic
                }),
                Err(error) => Err(error),
            };
            results.push(made.map(Arc::new));
        }
        if let Err(error) = change.commit().await.map_err(ApiError::from) {
            for result in &mut results {
                if let Ok(topic) = result {
                    self.storage().delete_topic(topic).await;
                    *result = Err(error.clone());
                }
            }
        }
        results
    }

    /// Deletes a topic, its logs, and what groups committed in it.
    pub(crate) async fn delete_topic(
        &self,
        which: TopicRef<'_>,
        mutations: &mut Mutations<'_>,
    ) -> Result<Arc<Topic>, ApiError> {
        let mut change = self.state().begin().await;
        let topic = match which {
            TopicRef::Name(name) => change
                .image()
                .topic(name)
                .cloned()
                .ok_or_else(|| ApiError::unknown_topic(name)),
            TopicRef::Id(id) => change.image().topic_by_id(id).cloned().ok_or_else(|| {
                ApiError::new(
                    ErrorCode::UnknownTopicId,
                    format!("there is no topic with the id {id}"),
                )
            }),
        }?;
        mutations.charge(topic.partitions.len())?;
        change.remove_topic(&topic.name);
        // Whoever creates a topic of the same name meanwhile must find neither its logs nor its offsets.
        let (_, _held) = change.commit_and_hold().await?;
        self.storage().delete_topic(&topic).await;
        self.forget_offsets(&topic.name).await;
        Ok(topic)
    }

    /// Adds partitions to a topic.
    pub(crate) async fn create_partitions(
        &self,
        name: &str,
        growth: Growth,
        validate_only: bool,
        mutations: &mut Mutations<'_>,
    ) -> Result<(), ApiError> {
        let mut change = self.state().begin().await;
        let topic = change
            .image()
            .topic(name)
            .ok_or_else(|| ApiError::unknown_topic(name))?;
        let before = topic.partitions.len();
        let mut grown = Topic::clone(topic);
        grown
            .partitions
            .extend(self.plan_growth(change.image(), topic, growth)?);
        mutations.charge(grown.partitions.len() - before)?;
        if validate_only {
            return Ok(());
        }
        self.make_logs(&grown, before).await?;
        change.put_topic(grown);
        change.commit().await?;
        Ok(())
    }

    /// Changes the configuration of a topic. It takes effect at once.
    pub(crate) async fn alter_topic_configs(
        &self,
        name: &str,
        alterations: impl FnOnce(&BTreeMap<String, String>) -> Vec<Alteration>,
        validate_only: bool,
    ) -> Result<(), ApiError> {
        let mut change = self.state().begin().await;
        let topic = change.image().topic(name);
        let current = topic.map(|topic| topic.configs.clone()).unwrap_or_default();
        let alterations = alterations(&current);
        // Kafka's order: what cannot be done to any topic comes before the question whether there is this one.
        configs::check_operations(Schema::Topic, &alterations)?;
        if names::problem(name).is_some() {
            return Err(no_topic_to_configure(name));
        }
        let configs = configs::alter(Schema::Topic, &current, &alterations)?;
        self.storage()
            .check_configs(&self.layers(change.image()).topic_values(&configs))?;
        let topic = topic.ok_or_else(|| no_topic_to_configure(name))?;
        if validate_only {
            return Ok(());
        }
        let topic = Topic {
            configs,
            ..Topic::clone(topic)
        };
        change.put_topic(topic.clone());
        let (image, _held) = change.commit_and_hold().await?;
        self.apply_configs(&image, &topic);
        Ok(())
    }

    /// Changes the configuration of one node, or of all if `node` is empty. It takes effect at once.
    pub(crate) async fn alter_broker_configs(
        &self,
        node: &str,
        alterations: impl FnOnce(&BTreeMap<String, String>) -> Vec<Alteration>,
        validate_only: bool,
    ) -> Result<(), ApiError> {
        let mut change = self.state().begin().await;
        let current = change.image().broker_configs(node);
        let alterations = alterations(current);
        // Tools delete what they may have set before, throttles for example, from every node.
        let is_void = |alteration: &Alteration| {
            alteration.operation == Operation::Delete && !current.contains_key(&alteration.name)
        };
        if self.nodes().iter().any(|known| known.id.to_string() == node) && alterations.iter().all(is_void) {
            return Ok(());
        }
        self.check_config_node(
            node,
            alterations.iter().map(|alteration| alteration.name.as_str()),
        )?;
        let configs = configs::alter(Schema::Broker, current, &alterations)?;
        let mut image = Image::clone(change.image());
        image.put_broker_configs(node, configs.clone());
        for known in self.nodes() {
            let layers = self.layers_of(&image, known.id);
            self.storage()
                .check_configs(&layers.topic_values(&BTreeMap::new()))?;
        }
        if validate_only {
            return Ok(());
        }
        change.put_broker_configs(node, configs);
        let (image, _held) = change.commit_and_hold().await?;
        image.topics().for_each(|topic| self.apply_configs(&image, topic));
        self.apply_shared_configs(&image);
        Ok(())
    }

    /// Refuses a topic while groups may hold offsets that were committed in another one of its name.
    async fn forgets_predecessor(&self, name: &str) -> Result<(), ApiError> {
        if !self.state().unforgotten_offsets().contains(name) || self.forget_offsets(name).await {
            return Ok(());
        }
        let message = format!(
            "offsets that were committed in a deleted topic {name:?} cannot be removed yet; try again"
        );
        Err(ApiError::new(ErrorCode::KafkaStorageError, message))
    }

    fn plan_topic(&self, image: &Image, new: NewTopic, partitions: &mut usize) -> Result<Topic, ApiError> {
        if let Some(problem) = names::problem(&new.name) {
            return Err(ApiError::new(ErrorCode::InvalidTopicException, problem));
        }
        if new.name == names::METADATA_TOPIC {
            return Err(ApiError::invalid_request(format!(
                "{:?} is the name of Kafka's own metadata",
                new.name
            )));
        }
        if image.topic(&new.name).is_some() {
            let message = format!("the topic {:?} exists already", new.name);
            return Err(ApiError::new(ErrorCode::TopicAlreadyExists, message));
        }
        if let Some(other) = names::collision(&new.name, image) {
            let message = format!(
                "{:?} differs from the topic {other:?} only by dots and underscores",
                new.name
            );
            return Err(ApiError::new(ErrorCode::InvalidTopicException, message));
        }
        let configs = self.plan_configs(image, &new)?;
        let replicas = self.plan_replicas(image, &new)?;
        *partitions += replicas.len();
        check_request_size(*partitions)?;
        let replicas = replicas.into_iter();
        Ok(Topic {
            name: new.name,
            id: random_uuid(),
            created_in: image.incarnation(),
            partitions: replicas
                .map(|replicas| placement::settled(image, replicas))
                .collect(),
            configs,
        })
    }

    fn plan_configs(&self, image: &Image, new: &NewTopic) -> Result<BTreeMap<String, String>, ApiError> {
        let set = |(name, value): &(String, Option<String>)| match value {
            Some(value) => Ok(Alteration {
                name: name.clone(),
                operation: Operation::Set(value.clone()),
            }),
            None => Err(ApiError::invalid_config(format!("{name} has no value"))),
        };
        let alterations = new.configs.iter().map(set).collect::<Result<Vec<_>, _>>()?;
        let configs = configs::alter(Schema::Topic, &BTreeMap::new(), &alterations)?;
        self.storage()
            .check_configs(&self.layers(image).topic_values(&configs))?;
        Ok(configs)
    }

    fn plan_replicas(&self, image: &Image, new: &NewTopic) -> Result<Vec<Vec<i32>>, ApiError> {
        if !new.assignments.is_empty() {
            if new.partitions != BROKER_DEFAULT || i32::from(new.replication_factor) != BROKER_DEFAULT {
                return Err(ApiError::invalid_request(
                    "with an assignment, the number of partitions and the replication factor must both be -1",
                ));
            }
            return self.assigned(image, &new.assignments);
        }
        let settings = self.settings();
        let nodes = self.nodes().len() as i32;
        let impossible = |replication_factor: i16| {
            let message =
                format!("a replication factor of {replication_factor} is not possible with {nodes} brokers");
            ApiError::new(ErrorCode::InvalidReplicationFactor, message)
        };
        // What no number of brokers makes possible comes first in Kafka, and what these do not comes last.
        if !matches!(i32::from(new.replication_factor), BROKER_DEFAULT | 1..) {
            return Err(impossible(new.replication_factor));
        }
        let partitions = match new.partitions {
            BROKER_DEFAULT => settings.num_partitions,
            1.. => new.partitions,
            count => {
                let message = format!("a topic has at least one partition, not {count}");
                return Err(ApiError::new(ErrorCode::InvalidPartitions, message));
            }
        };
        check_request_size(partitions as usize)?;
        let replication_factor = match i32::from(new.replication_factor) {
            BROKER_DEFAULT => settings.default_replication_factor,
            _ => new.replication_factor,
        };
        if !(1..=nodes).contains(&replication_factor.into()) {
            return Err(impossible(replication_factor));
        }
        check_live(image)?;
        let spread = placement::spread(partitions as usize, replication_factor, nodes, image.partitions());
        Ok(placement::prefer_live(spread, image.live(), nodes))
    }

    /// The replicas of partitions 0, 1, and so on, as a client wants them.
    fn assigned(&self, image: &Image, assignments: &[(i32, Vec<i32>)]) -> Result<Vec<Vec<i32>>, ApiError> {
        check_request_size(assignments.len())?;
        let by_partition = assignments.iter().cloned().collect::<BTreeMap<_, _>>();
        let consecutive = by_partition.keys().copied().eq(0..assignments.len() as i32);
        if !consecutive {
            return Err(ApiError::new(
                ErrorCode::InvalidReplicaAssignment,
                "the assignment must name every partition from 0 on once",
            ));
        }
        let replicas = by_partition.into_values().collect::<Vec<_>>();
        self.check_replicas(&replicas, replicas[0].len())?;
        check_assigned_live(image, &replicas, 0)?;
        Ok(replicas)
    }

    fn check_replicas(&self, partitions: &[Vec<i32>], replication_factor: usize) -> Result<(), ApiError> {
        let bad = |message: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
        for replicas in partitions {
            if replicas.is_empty() || replicas.len() != replication_factor {
                return bad(format!(
                    "each partition needs {replication_factor} replicas, as the others have, and at least one"
                ));
            }
            for (index, node) in replicas.iter().enumerate() {
                if !self.nodes().iter().any(|known| known.id == *node) {
                    return bad(format!("there is no broker {node}"));
                }
                if replicas[..index].contains(node) {
                    return bad(format!("broker {node} cannot hold a partition twice"));
                }
            }
        }
        Ok(())
    }

    fn plan_growth(&self, image: &Image, topic: &Topic, growth: Growth) -> Result<Vec<Partition>, ApiError> {
        let before = topic.partitions.len();
        let added = usize::try_from(growth.count).unwrap_or(0).saturating_sub(before);
        if added == 0 {
            let message = format!(
                "{:?} has {before} partitions; {} is no growth",
                topic.name, growth.count
            );
            return Err(ApiError::new(ErrorCode::InvalidPartitions, message));
        }
        check_request_size(added)?;
        let nodes = self.nodes().len();
        let (replication_factor, offset) = match topic.partitions.last() {
            Some(last) => (last.replicas.len(), last.replicas[0] as usize),
            None => (1, 0),
        };
        let replicas = match growth.assignments {
            None => {
                check_live(image)?;
                let spread = placement::spread(added, replication_factor as i16, nodes as i32, offset);
                placement::prefer_live(spread, image.live(), nodes as i32)
            }
            Some(assignments) if assignments.len() != added => {
                let message = format!(
                    "{added} partitions are added, but {} are assigned",
                    assignments.len()
                );
                return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
            }
            Some(assignments) => {
                self.check_replicas(&assignments, replication_factor)?;
                check_assigned_live(image, &assignments, before)?;
                assignments
            }
        };
        let replicas = replicas.into_iter();
        Ok(replicas
            .map(|replicas| placement::settled(image, replicas))
            .collect())
    }

    /// Makes the logs of a topic's partitions from `first` on.
    async fn make_logs(&self, topic: &Topic, first: usize) -> Result<(), ApiError> {
        let image = self.image();
        let values = |leader| self.leader_values(&image, topic, leader);
        self.storage().create_partitions(topic, first, values).await
    }
}

fn check_request_size(partitions: usize) -> Result<(), ApiError> {
    if partitions > PARTITIONS_PER_REQUEST_MAX {
        let message = format!("one request creates at most {PARTITIONS_PER_REQUEST_MAX} partitions");
        return Err(ApiError::new(ErrorCode::PolicyViolation, message));
    }
    Ok(())
}

fn check_live(image: &Image) -> Result<(), ApiError> {
    if image.live().is_empty() {
        return Err(ApiError::new(
            ErrorCode::InvalidReplicationFactor,
            "all brokers are down",
        ));
    }
    Ok(())
}

/// A partition needs a node that is up when it is made.
fn check_assigned_live(image: &Image, assignments: &[Vec<i32>], first: usize) -> Result<(), ApiError> {
    let offline = assignments
        .iter()
        .position(|replicas| !replicas.iter().any(|node| image.live().contains(node)));
    match offline {
        Some(index) => Err(ApiError::new(
            ErrorCode::InvalidReplicaAssignment,
            format!("all brokers of partition {} are down", first + index),
        )),
        None => Ok(()),
    }
}
