//! Scripts about groups of the consumer protocol (KIP-848), which run against a broker and write down what it answers.
//!
//! ```text
//! topic NAME COUNT     makes a topic; the script's topics have names of their own
//! grow NAME COUNT, drop NAME
//! join NAME [v=VERSION] [id=ID] [instance=I] [reads=a,b] [regex=R] [assignor=A] [timeout=MS] [rack=R] [owns=..]
//! beat NAME [epoch=N] [owns=a:0,1+b:2|nothing|told] [instance=I] [reads=a,b] [timeout=MS] [assignor=A] [full=true]
//! until NAME EPOCH     beats until the member is in this epoch
//! gets NAME COUNT [quiet=true]   acknowledges until the member has so many partitions, and says which, or how many
//! quiet=true           leaves the answer to join or beat out
//! leave NAME [epoch=-2] [instance=I]
//! configure KEY=VALUE  sets a configuration of the group
//! commit NAME EPOCH [v=VERSION] [topic=T], fetch NAME|- EPOCH [topic=T], forget TOPIC
//! describe [v=VERSION], classic [v=VERSION], list [state=S] [type=T], delete
//! ```
//!
//! Members are called what they call themselves. A beat comes with the epoch that the member was told last.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heliostat_wire::message::consumer_group_describe::{Assignment as Described, Member};
use heliostat_wire::message::consumer_group_heartbeat::TopicPartitions;
use heliostat_wire::message::create_partitions::CreatePartitionsTopic;
use heliostat_wire::message::create_topics::CreatableTopic;
use heliostat_wire::message::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use heliostat_wire::message::join_group::JoinGroupRequestProtocol;
use heliostat_wire::message::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use heliostat_wire::message::offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use heliostat_wire::message::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use heliostat_wire::message::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest, DeleteTopicsRequest,
    DescribeGroupsRequest, IncrementalAlterConfigsRequest, JoinGroupRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use heliostat_wire::{ErrorCode, Uuid};

use crate::group_script::{Client, Line, TIMEOUT, find_coordinator};

struct Session {
    client: Client,
    group: String,
    /// Names in the script by topic id.
    topics: BTreeMap<Uuid, String>,
    /// What members were told last: the epoch, and their partitions.
    members: BTreeMap<String, (i32, Vec<TopicPartitions>)>,
    said: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("so far:\n{}", self.said);
        }
    }
}

/// Runs a script; see the module.
pub fn run(address: &str, group: &str, script: &str) -> String {
    let mut client = Client::connect(address);
    find_coordinator(&mut client, group);
    // Kafka's coordinator may be there, and not have read its groups yet.
    let deadline = Instant::now() + TIMEOUT;
    let asked = || DescribeGroupsRequest {
        groups: vec![group.to_owned()],
        ..Default::default()
    };
    while client.call(5, &asked()).groups[0].error_code != 0 {
        assert!(Instant::now() < deadline, "the coordinator does not load");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut session = Session {
        client,
        group: group.to_owned(),
        topics: BTreeMap::new(),
        members: BTreeMap::new(),
        said: String::new(),
    };
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        session.said.push_str(&format!("> {line}\n"));
        session.line(&Line::new(line));
    }
    std::mem::take(&mut session.said)
}

impl Session {
    fn line(&mut self, line: &Line<'_>) {
        match line.words[0] {
            "topic" => self.create(line.words[1], line.words[2].parse().unwrap()),
            "grow" => {
                let (name, count) = (self.topic(line.words[1]), line.words[2].parse().unwrap());
                let topics = vec![CreatePartitionsTopic {
                    name,
                    count,
                    assignments: None,
                }];
                let request = CreatePartitionsRequest {
                    topics,
                    timeout_ms: 10_000,
                    validate_only: false,
                };
                assert_eq!(self.client.call(3, &request).results[0].error_code, 0);
            }
            "drop" => {
                let topic_names = vec![self.topic(line.words[1])];
                let request = DeleteTopicsRequest {
                    topic_names,
                    timeout_ms: 10_000,
                    ..Default::default()
                };
                assert_eq!(self.client.call(5, &request).responses[0].error_code, 0);
            }
            "join" => {
                let request = ConsumerGroupHeartbeatRequest {
                    member_id: line.text("id", line.words[1]),
                    rebalance_timeout_ms: line.number("timeout", 60_000),
                    topic_partitions: Some(self.owned(line, line.words[1], "nothing")),
                    ..self.request(line)
                };
                let response = self.client.call(line.number("v", 1), &request);
                self.told_or_not(line, response);
            }
            "beat" => {
                let (name, version) = (line.words[1], line.number("v", 1));
                let request = self.beat(name, line);
                let response = self.client.call(version, &request);
                self.told_or_not(line, response);
            }
            "until" => self.until(line.words[1], line.words[2].parse().unwrap()),
            "gets" => {
                let count = line.words[2].parse().unwrap();
                self.gets(line.words[1], count, line.number("quiet", false));
            }
            "leave" => {
                let request = ConsumerGroupHeartbeatRequest {
                    group_id: self.group.clone(),
                    member_id: line.words[1].to_owned(),
                    member_epoch: line.number("epoch", -1),
                    instance_id: line.instance(),
                    ..Default::default()
                };
                let response = self.client.call(1, &request);
                self.told(line.words[1], response);
            }
            "configure" => self.configure(line),
            "commit" => self.commit(line),
            "fetch" => self.fetch(line),
            "forget" => {
                let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
                let topics = vec![OffsetDeleteRequestTopic {
                    name: self.topic(line.words[1]),
                    partitions,
                }];
                let response = self.client.call(
                    0,
                    &OffsetDeleteRequest {
                        group_id: self.group.clone(),
                        topics,
                    },
                );
                self.say(&response);
            }
            "describe" => self.describe(line),
            "classic" => {
                let request = DescribeGroupsRequest {
                    groups: vec![self.group.clone()],
                    ..Default::default()
                };
                let response = self.client.call(line.number("v", 6), &request);
                self.say(&response);
            }
            "classic-join" => self.join_classic(line),
            "list" => self.list(line),
            "delete" => {
                let request = DeleteGroupsRequest {
                    groups_names: vec![self.group.clone()],
                };
                let response = self.client.call(2, &request);
                self.say(&response);
            }
            other => panic!("no such command: {other}"),
        }
    }

    fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.group)
    }

    fn create(&mut self, name: &str, num_partitions: i32) {
        let topic = CreatableTopic {
            name: self.topic(name),
            num_partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let created = self.client.call(7, &request).topics.remove(0);
        assert_eq!(created.error_code, 0, "{created:?}");
        let id = created.topic_id;
        self.topics.insert(id, name.to_owned());
        // Kafka creates topics in one place, and its coordinator sees them a little later.
        let mut probe = ConsumerGroupHeartbeatRequest {
            group_id: format!("{}-probe", self.group),
            member_id: "probe".into(),
            rebalance_timeout_ms: 1000,
            subscribed_topic_names: Some(vec![self.topic(name)]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let response = self.client.call(1, &probe);
            if response
                .assignment
                .is_some_and(|told| !told.topic_partitions.is_empty())
            {
                break;
            }
            assert!(Instant::now() < deadline, "{name} does not appear");
            std::thread::sleep(Duration::from_millis(10));
        }
        probe.member_epoch = -1;
        self.client.call(1, &probe);
    }

    fn request(&self, line: &Line<'_>) -> ConsumerGroupHeartbeatRequest {
        let names = |list: &&str| {
            let names = list.split(',').filter(|name| !name.is_empty());
            names.map(|name| self.topic(name)).collect()
        };
        let option = |name: &str| line.options.get(name).map(|text| (*text).to_owned());
        ConsumerGroupHeartbeatRequest {
            group_id: line.text("group", &self.group),
            instance_id: line.instance(),
            rack_id: option("rack"),
            rebalance_timeout_ms: line.number("timeout", -1),
            subscribed_topic_names: line.options.get("reads").map(names),
            subscribed_topic_regex: option("regex")
                .map(|regex| regex.replace('^', &format!("{}-", self.group))),
            server_assignor: option("assignor"),
            member_epoch: line.number("epoch", 0),
            ..Default::default()
        }
    }

    fn beat(&self, name: &str, line: &Line<'_>) -> ConsumerGroupHeartbeatRequest {
        let epoch = self.members.get(name).map_or(0, |(epoch, _)| *epoch);
        ConsumerGroupHeartbeatRequest {
            member_id: name.to_owned(),
            member_epoch: line.number("epoch", epoch),
            topic_partitions: line
                .options
                .contains_key("owns")
                .then(|| self.owned(line, name, "nothing")),
            ..self.request(line)
        }
    }

    fn owned(&self, line: &Line<'_>, name: &str, default: &str) -> Vec<TopicPartitions> {
        let text = line.text("owns", default);
        match text.as_str() {
            "nothing" => Vec::new(),
            "told" => self
                .members
                .get(name)
                .map(|(_, told)| told.clone())
                .unwrap_or_default(),
            list => list.split('+').map(|part| self.partitions(part)).collect(),
        }
    }

    fn partitions(&self, text: &str) -> TopicPartitions {
        let (name, partitions) = text.split_once(':').expect("topic:partitions");
        let topic_id = *self
            .topics
            .iter()
            .find(|(_, known)| *known == name)
            .expect("a topic")
            .0;
        TopicPartitions {
            topic_id,
            partitions: partitions.split(',').map(|p| p.parse().unwrap()).collect(),
        }
    }

    fn until(&mut self, name: &str, epoch: i32) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let request = self.beat(name, &Line::new("beat owns=told"));
            let response = self.client.call(1, &request);
            if response.error_code != 0 || response.member_epoch == epoch {
                return self.told(name, response);
            }
            self.remember(name, &response);
            assert!(
                Instant::now() < deadline,
                "{name} does not get to {epoch}: {response:?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn gets(&mut self, name: &str, count: usize, quiet: bool) {
        let deadline = Instant::now() + TIMEOUT;
        let mut reached = false;
        loop {
            let request = self.beat(name, &Line::new("beat owns=told"));
            let response = self.client.call(1, &request);
            assert_eq!(response.error_code, 0, "{response:?}");
            self.remember(name, &response);
            // What it was told to give up is given up with the beat after that.
            if reached {
                // Which topic is the first one depends on ids, which differ from run to run.
                let text = if quiet {
                    format!("{count}")
                } else {
                    self.show(&self.members[name].1)
                };
                return self.said.push_str(&format!("  {name} has {text}\n"));
            }
            let told = &self.members[name].1;
            reached = told.iter().map(|t| t.partitions.len()).sum::<usize>() == count;
            assert!(
                Instant::now() < deadline,
                "{name} does not get {count} partitions: {told:?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn remember(&mut self, name: &str, response: &ConsumerGroupHeartbeatResponse) {
        let (epoch, told) = self.members.entry(name.to_owned()).or_default();
        *epoch = response.member_epoch;
        if let Some(assignment) = &response.assignment {
            told.clone_from(&assignment.topic_partitions);
        }
    }

    /// Kafka looks up what a regular expression matches later than we do: `quiet` leaves such epochs out.
    fn told_or_not(&mut self, line: &Line<'_>, response: ConsumerGroupHeartbeatResponse) {
        if response.error_code == 0 && line.number("quiet", false) {
            self.remember(line.words[1], &response);
        } else {
            self.told(line.words[1], response);
        }
    }

    fn told(&mut self, name: &str, response: ConsumerGroupHeartbeatResponse) {
        if response.error_code == 0 {
            self.remember(name, &response);
        }
        let error = ErrorCode::from_code(response.error_code).name();
        let mut text = format!("  {error}");
        if let Some(id) = &response.member_id {
            // An id that the broker gave out is another one in each run.
            let id = if id.len() > 20 { "(an id)" } else { id };
            text.push_str(&format!(" {id} epoch {}", response.member_epoch));
        }
        if response.heartbeat_interval_ms != 0 {
            text.push_str(&format!(" interval {}", response.heartbeat_interval_ms));
        }
        if let Some(assignment) = &response.assignment {
            text.push_str(&format!(" {}", self.show(&assignment.topic_partitions)));
        }
        if response.error_message.is_some() {
            text.push_str(" (in words)");
        }
        self.said.push_str(&text);
        self.said.push('\n');
    }

    fn show(&self, partitions: &[TopicPartitions]) -> String {
        let mut topics: Vec<String> = partitions
            .iter()
            .map(|topic| {
                let mut partitions = topic.partitions.clone();
                partitions.sort_unstable();
                format!(
                    "{}:{partitions:?}",
                    self.topics.get(&topic.topic_id).map_or("?", String::as_str)
                )
            })
            .collect();
        topics.sort();
        format!("[{}]", topics.join(" "))
    }

    fn configure(&mut self, line: &Line<'_>) {
        const GROUP: i8 = 32;
        let config = |(name, value): (&&str, &&str)| AlterableConfig {
            name: (*name).to_owned(),
            config_operation: 0,
            value: Some((*value).to_owned()),
        };
        let resource = AlterConfigsResource {
            resource_type: GROUP,
            resource_name: self.group.clone(),
            configs: line.options.iter().map(config).collect(),
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![resource],
            validate_only: false,
        };
        let response = self.client.call(1, &request).responses.remove(0);
        let error = ErrorCode::from_code(response.error_code).name();
        self.said.push_str(&format!("  {error}\n"));
    }

    fn commit(&mut self, line: &Line<'_>) {
        let partition = OffsetCommitRequestPartition {
            committed_offset: 42,
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: self.topic(&line.text("topic", "t")),
            partitions: vec![partition],
        };
        let request = OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: line.words[2].parse().unwrap(),
            member_id: if line.words[1] == "-" {
                String::new()
            } else {
                line.words[1].to_owned()
            },
            topics: vec![topic],
            ..Default::default()
        };
        let response = self.client.call(line.number("v", 9), &request);
        self.say(&response);
    }

    fn fetch(&mut self, line: &Line<'_>) {
        let topic = OffsetFetchRequestTopics {
            name: self.topic(&line.text("topic", "t")),
            partition_indexes: vec![0],
        };
        let group = OffsetFetchRequestGroup {
            group_id: self.group.clone(),
            member_id: Some(line.words[1].to_owned()).filter(|name| name != "-"),
            member_epoch: line.words[2].parse().unwrap(),
            topics: Some(vec![topic]),
        };
        let request = OffsetFetchRequest {
            groups: vec![group],
            ..Default::default()
        };
        let response = self.client.call(9, &request);
        self.say(&response);
    }

    fn describe(&mut self, line: &Line<'_>) {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![self.group.clone()],
            include_authorized_operations: false,
        };
        let mut response = self.client.call(line.number("v", 1), &request);
        let sort = |assignment: &mut Described| {
            assignment
                .topic_partitions
                .sort_by(|a, b| a.topic_name.cmp(&b.topic_name));
            assignment
                .topic_partitions
                .iter_mut()
                .for_each(|topic| topic.partitions.sort_unstable());
        };
        for group in &mut response.groups {
            group.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
            for Member {
                subscribed_topic_names,
                assignment,
                target_assignment,
                ..
            } in &mut group.members
            {
                subscribed_topic_names.sort();
                sort(assignment);
                sort(target_assignment);
            }
        }
        self.say(&response);
    }

    fn join_classic(&mut self, line: &Line<'_>) {
        let metadata = vec![0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        let request = JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: metadata.into(),
            }],
            ..Default::default()
        };
        let response = self.client.call(line.number("v", 3), &request);
        let error = ErrorCode::from_code(response.error_code).name();
        self.said
            .push_str(&format!("  {error} generation {}\n", response.generation_id));
    }

    fn list(&mut self, line: &Line<'_>) {
        let filter = |name: &str| {
            line.options
                .get(name)
                .map(|s| vec![(*s).to_owned()])
                .unwrap_or_default()
        };
        let request = ListGroupsRequest {
            states_filter: filter("state"),
            types_filter: filter("type"),
        };
        let mut response = self.client.call(line.number("v", 5), &request);
        // Other tests have groups of their own.
        response.groups.retain(|g| g.group_id == self.group);
        self.say(&response);
    }

    /// Writes an answer down, without what differs from run to run.
    fn say(&mut self, response: &impl std::fmt::Debug) {
        let mut text = format!("{response:?}").replace("throttle_time_ms: 0, ", "");
        for (id, name) in &self.topics {
            text = text.replace(
                &format!("topic_id: {id:?}, topic_name: {:?}", self.topic(name)),
                name,
            );
            text = text.replace(&format!("{:?}", self.topic(name)), name);
        }
        text = text
            .replace(&format!("{:?}", self.group), "GROUP")
            .replace(&format!("{}-", self.group), "");
        for code in ErrorCode::ALL {
            for end in [",", " }"] {
                text = text.replace(
                    &format!("error_code: {}{end}", code.code()),
                    &format!("error: {}{end}", code.name()),
                );
            }
        }
        // What is said to people about an error is everybody's own.
        let start = "error_message: Some(\"";
        if let Some((before, message)) = text.split_once(start)
            && let Some((_, after)) = message.split_once("\")")
        {
            text = format!("{before}{start}(in words)\"){after}");
        }
        self.said.push_str("  ");
        self.said.push_str(&text);
        self.said.push('\n');
    }
}
