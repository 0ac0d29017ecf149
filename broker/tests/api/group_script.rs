//! Scripts about a group, which run against a broker and write down what it answers.
//!
//! ```text
//! join NAME [v=VERSION] [as=@MEMBER] [instance=I] [likes=range,sticky] [reads=TOPIC] [session=MS] [rebalance=MS] [type=T]
//! join& NAME ...       the same, without waiting for the answer
//! await NAME           the answer to join& or sync&
//! sync @MEMBER GENERATION [instance=I] [type=T] [protocol=P] [@MEMBER:ASSIGNMENT]...     (also sync&)
//! beat @MEMBER GENERATION [instance=I]
//! leave @MEMBER[/INSTANCE]...
//! commit @MEMBER GENERATION [instance=I] [topic=T] [partition=P] [offset=O] [metadata=LENGTH]
//! fetch [topic=T]      without a topic: everything
//! state STATE          waits until the group is in this state
//! find [type=T]        who is the coordinator (ports are shown as 1)
//! describe [operations=true], list [state=S] [type=T], delete, forget TOPIC
//! ```
//!
//! `@a.1` is the first member id that NAME a was given; `-` stands for none. `group=G` asks about another group than the
//! test's own, and `group=` about the one without a name.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use expect_test::Expect;
use heliostat_broker::{Cluster, ClusterConfig};
use heliostat_wire::ErrorCode;
use heliostat_wire::message::create_topics::CreatableTopic;
use heliostat_wire::message::join_group::JoinGroupRequestProtocol;
use heliostat_wire::message::leave_group::MemberIdentity;
use heliostat_wire::message::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use heliostat_wire::message::offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use heliostat_wire::message::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use heliostat_wire::message::sync_group::SyncGroupRequestAssignment;
use heliostat_wire::message::{
    CreateTopicsRequest, DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest,
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, Request, ResponseHeader, SyncGroupRequest,
    SyncGroupResponse, decode_message, encode_request,
};

pub const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection on which one request is answered at a time.
pub struct Client(TcpStream);

impl Client {
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(TIMEOUT)).expect("set a timeout");
        Self(stream)
    }

    fn send<R: Request>(&mut self, version: i16, request: &R) {
        for piece in encode_request(request, version, 7, Some("app")).expect("encode") {
            self.0.write_all(&piece).expect("send");
        }
    }

    fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut size = [0; 4];
        self.0.read_exact(&mut size).expect("receive a size");
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        self.0.read_exact(&mut frame).expect("receive a frame");
        let mut frame = Bytes::from(frame);
        let header = ResponseHeader::decode(&mut frame, R::KEY, version).expect("decode a header");
        assert_eq!(header.correlation_id, 7);
        decode_message(frame, version).expect("decode a response")
    }

    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>(version)
    }
}

/// An answer that is still to come.
enum Pending {
    Join(Client, i16),
    Sync(Client, i16),
}

struct Session {
    address: String,
    client: Client,
    group: String,
    /// Member ids by what they are called in scripts, such as `@a.1`.
    members: BTreeMap<String, String>,
    pending: BTreeMap<String, Pending>,
    said: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("so far:\n{}", self.said);
        }
    }
}

/// The words and `name=value` options of a line.
pub struct Line<'a> {
    pub words: Vec<&'a str>,
    pub options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    pub fn new(line: &'a str) -> Self {
        let (options, words): (Vec<&str>, Vec<&str>) = line.split_whitespace().partition(|w| w.contains('='));
        Self {
            words,
            options: options.iter().filter_map(|o| o.split_once('=')).collect(),
        }
    }

    pub fn text(&self, name: &str, default: &str) -> String {
        self.options.get(name).copied().unwrap_or(default).to_owned()
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> T {
        self.options
            .get(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    }

    pub fn instance(&self) -> Option<String> {
        self.options.get("instance").map(|i| (*i).to_owned())
    }
}

impl Session {
    fn line(&mut self, text: &str) {
        let line = Line::new(text);
        let group = line.text("group", &self.group.clone());
        match line.words[0] {
            "join" | "join&" => self.join(group, &line),
            "sync" | "sync&" => self.sync(group, &line),
            "await" => match self.pending.remove(line.words[1]) {
                Some(Pending::Join(mut client, version)) => {
                    let response = client.receive::<JoinGroupRequest>(version);
                    self.joined(line.words[1], response);
                }
                Some(Pending::Sync(mut client, version)) => {
                    let response = client.receive::<SyncGroupRequest>(version);
                    self.synced(&response);
                }
                None => panic!("nothing to await: {text}"),
            },
            "beat" => {
                let request = HeartbeatRequest {
                    group_id: group,
                    generation_id: line.words[2].parse().unwrap(),
                    member_id: self.member(line.words[1]),
                    group_instance_id: line.instance(),
                };
                let response = self.client.call(line.number("v", 4), &request);
                self.say(&response);
            }
            "leave" => self.leave(group, &line),
            "commit" => self.commit(group, &line),
            "fetch" => self.fetch(group, &line),
            "state" => self.until(line.words[1]),
            "describe" => {
                let include_authorized_operations = line.number("operations", false);
                let request = DescribeGroupsRequest {
                    groups: vec![group],
                    include_authorized_operations,
                };
                let mut response = self.client.call(line.number("v", 6), &request);
                for group in &mut response.groups {
                    group.members.sort_by_key(|m| self.name_of(&m.member_id));
                }
                self.say(&response);
            }
            "list" => {
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
                response.groups.retain(|g| g.group_id == group);
                self.say(&response);
            }
            "delete" => {
                let request = DeleteGroupsRequest {
                    groups_names: vec![group],
                };
                let response = self.client.call(2, &request);
                self.say(&response);
            }
            "forget" => {
                let partitions = vec![OffsetDeleteRequestPartition {
                    partition_index: line.number("partition", 0),
                }];
                let topics = vec![OffsetDeleteRequestTopic {
                    name: line.words[1].into(),
                    partitions,
                }];
                let request = OffsetDeleteRequest {
                    group_id: group,
                    topics,
                };
                let response = self.client.call(0, &request);
                self.say(&response);
            }
            "find" => {
                let (keys, version) = (vec![group.clone()], line.number("v", 6));
                let request = FindCoordinatorRequest {
                    key: group,
                    key_type: line.number("type", 0),
                    coordinator_keys: keys,
                };
                let mut response = self.client.call(version, &request);
                let known = |port: &mut i32| *port = (*port).min(1);
                known(&mut response.port);
                response.coordinators.iter_mut().for_each(|c| known(&mut c.port));
                self.say(&response);
            }
            other => panic!("no such command: {other}"),
        }
    }

    fn join(&mut self, group: String, line: &Line<'_>) {
        // A consumer's subscription of version 0. Kafka 4.2 never ends a join phase in which it cannot read one.
        let topic = line.text("reads", "topics");
        let metadata = [
            &[0, 0, 0, 0, 0, 1, 0, topic.len() as u8],
            topic.as_bytes(),
            &[0xff; 4],
        ]
        .concat();
        let protocol = |name: &str| JoinGroupRequestProtocol {
            name: name.into(),
            metadata: metadata.clone().into(),
        };
        let request = JoinGroupRequest {
            group_id: group,
            session_timeout_ms: line.number("session", 10_000),
            rebalance_timeout_ms: line.number("rebalance", 20_000),
            member_id: self.member(&line.text("as", "-")),
            group_instance_id: line.instance(),
            protocol_type: line.text("type", "consumer"),
            protocols: line
                .text("likes", "range")
                .split(',')
                .filter(|p| !p.is_empty())
                .map(protocol)
                .collect(),
            reason: None,
        };
        let version = line.number("v", 9);
        let mut client = Client::connect(&self.address);
        client.send(version, &request);
        if line.words[0] == "join&" {
            self.pending
                .insert(line.words[1].to_owned(), Pending::Join(client, version));
        } else {
            let response = client.receive::<JoinGroupRequest>(version);
            self.joined(line.words[1], response);
        }
    }

    fn joined(&mut self, name: &str, mut response: JoinGroupResponse) {
        let id = &response.member_id;
        let is_given = matches!(
            ErrorCode::from_code(response.error_code),
            ErrorCode::None | ErrorCode::MemberIdRequired | ErrorCode::FencedInstanceId
        );
        if is_given && !self.members.values().any(|known| known == id) {
            let number = (1..)
                .find(|n| !self.members.contains_key(&format!("@{name}.{n}")))
                .unwrap();
            self.members.insert(format!("@{name}.{number}"), id.clone());
        }
        response.members.sort_by_key(|m| self.name_of(&m.member_id));
        self.say(&response);
    }

    fn sync(&mut self, group: String, line: &Line<'_>) {
        let optional =
            |name: &str, default: &str| Some(line.text(name, default)).filter(|text| !text.is_empty());
        let assignments = line.words[3..].iter().filter_map(|word| word.split_once(':'));
        let request = SyncGroupRequest {
            group_id: group,
            generation_id: line.words[2].parse().unwrap(),
            member_id: self.member(line.words[1]),
            group_instance_id: line.instance(),
            protocol_type: optional("type", "consumer"),
            protocol_name: optional("protocol", "range"),
            assignments: assignments
                .map(|(member, assignment)| SyncGroupRequestAssignment {
                    member_id: self.member(member),
                    assignment: Bytes::copy_from_slice(assignment.as_bytes()),
                })
                .collect(),
        };
        let version = line.number("v", 5);
        let mut client = Client::connect(&self.address);
        client.send(version, &request);
        if line.words[0] == "sync&" {
            self.pending
                .insert(line.words[1].to_owned(), Pending::Sync(client, version));
        } else {
            let response = client.receive::<SyncGroupRequest>(version);
            self.synced(&response);
        }
    }

    fn synced(&mut self, response: &SyncGroupResponse) {
        self.say(response);
    }

    fn leave(&mut self, group: String, line: &Line<'_>) {
        let identity = |word: &&str| {
            let (id, instance) = word
                .split_once('/')
                .map_or((*word, None), |(id, i)| (id, Some(i.to_owned())));
            MemberIdentity {
                member_id: self.member(id),
                group_instance_id: instance,
                reason: None,
            }
        };
        let members: Vec<_> = line.words[1..].iter().map(identity).collect();
        let version = line.number("v", 5);
        let member_id = if version < 3 {
            members[0].member_id.clone()
        } else {
            String::new()
        };
        let request = LeaveGroupRequest {
            group_id: group,
            member_id,
            members,
        };
        let response = self.client.call(version, &request);
        self.say(&response);
    }

    fn commit(&mut self, group: String, line: &Line<'_>) {
        let length: usize = line.number("metadata", 0);
        let partition = OffsetCommitRequestPartition {
            partition_index: line.number("partition", 0),
            committed_offset: line.number("offset", 42),
            committed_leader_epoch: line.number("epoch", -1),
            committed_metadata: Some("m".repeat(length)).filter(|text| !text.is_empty()),
        };
        let topic = OffsetCommitRequestTopic {
            name: line.text("topic", TOPIC),
            partitions: vec![partition],
        };
        let request = OffsetCommitRequest {
            group_id: group,
            generation_id_or_member_epoch: line.words[2].parse().unwrap(),
            member_id: self.member(line.words[1]),
            group_instance_id: line.instance(),
            topics: vec![topic],
            ..Default::default()
        };
        let response = self.client.call(line.number("v", 9), &request);
        self.say(&response);
    }

    fn fetch(&mut self, group: String, line: &Line<'_>) {
        let topic = line.options.get("topic").map(|t| (*t).to_owned());
        let version = line.number("v", 9);
        let request = if version < 8 {
            let topic = |name| {
                vec![OffsetFetchRequestTopic {
                    name,
                    partition_indexes: vec![0, 7],
                }]
            };
            OffsetFetchRequest {
                group_id: group,
                topics: topic_list(topic, line),
                ..Default::default()
            }
        } else {
            let topics = topic.map(|name| {
                vec![OffsetFetchRequestTopics {
                    name,
                    partition_indexes: vec![0, 7],
                }]
            });
            let groups = vec![OffsetFetchRequestGroup {
                group_id: group,
                topics,
                ..Default::default()
            }];
            OffsetFetchRequest {
                groups,
                ..Default::default()
            }
        };
        let response = self.client.call(version, &request);
        self.say(&response);
    }

    fn until(&mut self, state: &str) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let request = DescribeGroupsRequest {
                groups: vec![self.group.clone()],
                ..Default::default()
            };
            let found = self.client.call(5, &request).groups.remove(0).group_state;
            if found == state {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the group is {found}, and does not become {state}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn member(&self, name: &str) -> String {
        match name {
            "-" => String::new(),
            _ if name.starts_with('@') => self
                .members
                .get(name)
                .unwrap_or_else(|| panic!("no member {name}"))
                .clone(),
            _ => name.to_owned(),
        }
    }

    fn name_of(&self, id: &str) -> String {
        self.members
            .iter()
            .find(|(_, known)| *known == id)
            .map_or(id, |(name, _)| name)
            .to_owned()
    }

    /// Writes an answer down, without what differs from run to run, and without zeros that say nothing.
    fn say(&mut self, response: &impl std::fmt::Debug) {
        let mut text = format!("{response:?}")
            .replace("throttle_time_ms: 0, ", "")
            .replace("throttle_time_ms: 0 ", "");
        for (name, id) in &self.members {
            text = text.replace(&format!("{id:?}"), name);
        }
        text = text
            .replace(&format!("{:?}", self.group), "GROUP")
            .replace(&self.group, "GROUP");
        for code in ErrorCode::ALL {
            let (number, name) = (code.code(), code.name());
            for end in [",", " }"] {
                text = text.replace(
                    &format!("error_code: {number}{end}"),
                    &format!("error: {name}{end}"),
                );
            }
        }
        // What is said to people about an error is everybody's own.
        let start = "error_message: Some(\"";
        if let Some((before, message)) = text.split_once(start)
            && let Some((message, after)) = message.split_once("\")")
            && message.contains(' ')
        {
            text = format!("{before}{start}(in words)\"){after}");
        }
        self.said.push_str("  ");
        self.said.push_str(&text);
        self.said.push('\n');
    }
}

fn topic_list(
    list: impl Fn(String) -> Vec<OffsetFetchRequestTopic>,
    line: &Line<'_>,
) -> Option<Vec<OffsetFetchRequestTopic>> {
    line.options.get("topic").map(|name| list((*name).to_owned()))
}

const TOPIC: &str = "conformance";

/// Waits until a node is the group's coordinator: Kafka makes the topic of its groups when somebody first asks.
pub fn find_coordinator(client: &mut Client, group: &str) {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![group.to_owned()],
            ..Default::default()
        };
        let found = client.call(6, &request).coordinators.remove(0);
        if found.error_code == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "no coordinator: {found:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn run(address: &str, group: &str, script: &str) -> String {
    let mut client = Client::connect(address);
    for name in [TOPIC, "conformance-2"] {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let code = ErrorCode::from_code(client.call(5, &request).topics[0].error_code);
        assert!(
            matches!(code, ErrorCode::None | ErrorCode::TopicAlreadyExists),
            "{code}"
        );
    }
    find_coordinator(&mut client, group);
    let mut session = Session {
        address: address.to_owned(),
        client,
        group: group.to_owned(),
        members: BTreeMap::new(),
        pending: BTreeMap::new(),
        said: String::new(),
    };
    session.until("Dead");
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        session.said.push_str(&format!("> {line}\n"));
        session.line(line);
    }
    assert!(session.pending.is_empty(), "answers that nobody awaited");
    std::mem::take(&mut session.said)
}

/// Runs the script and compares what was answered.
pub async fn check(script: &'static str, expected: Expect) {
    check_with(run, script, expected).await;
}

/// Runs a script of the language that `run` knows, on a group of its own.
pub async fn check_with(run: fn(&str, &str, &str) -> String, script: &'static str, expected: Expect) {
    let properties = [
        ("group.initial.rebalance.delay.ms", "100"),
        ("group.min.session.timeout.ms", "1000"),
        ("group.consumer.min.session.timeout.ms", "1000"),
        ("group.consumer.min.heartbeat.interval.ms", "100"),
    ];
    let properties = properties
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let (address, cluster) = match std::env::var("HELIOSTAT_TEST_KAFKA") {
        Ok(address) => (address, None),
        Err(_) => {
            let cluster = Cluster::start(ClusterConfig {
                properties,
                ..Default::default()
            })
            .await
            .expect("start");
            (cluster.bootstrap_servers(), Some(cluster))
        }
    };
    // A Kafka that is asked twice should not find the groups of the last time.
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let group = format!("group-{}", since_epoch.as_nanos());
    let said = tokio::task::spawn_blocking(move || run(&address, &group, script))
        .await
        .expect("the script");
    if let Some(cluster) = cluster {
        cluster.shutdown(TIMEOUT).await;
    }
    expected.assert_eq(&said);
}
