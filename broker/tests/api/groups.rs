//! Groups as clients see them: what Apache Kafka answers, byte for byte, to right calls and wrong ones.
//!
//! The expected answers were recorded from Apache Kafka 4.2, and can be recorded again from any Kafka whose address is in
//! `HELIOSTAT_TEST_KAFKA` (it needs `group.initial.rebalance.delay.ms=100` and `group.min.session.timeout.ms=1000`), with
//! `UPDATE_EXPECT=1`. Without that variable the built-in cluster is asked.
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
use expect_test::{Expect, expect};
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

const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection on which one request is answered at a time.
struct Client(TcpStream);

impl Client {
    fn connect(address: &str) -> Self {
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

    fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
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
struct Line<'a> {
    words: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    fn new(line: &'a str) -> Self {
        let (options, words): (Vec<&str>, Vec<&str>) = line.split_whitespace().partition(|w| w.contains('='));
        Self {
            words,
            options: options.iter().filter_map(|o| o.split_once('=')).collect(),
        }
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.options.get(name).copied().unwrap_or(default).to_owned()
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> T {
        self.options
            .get(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    }

    fn instance(&self) -> Option<String> {
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
    // Kafka makes the topic of its groups when somebody first asks who coordinates one.
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

async fn check(script: &'static str, expected: Expect) {
    let properties = [
        ("group.initial.rebalance.delay.ms", "100"),
        ("group.min.session.timeout.ms", "1000"),
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

#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_works_and_leaves() {
    check(
        "join a
         join a as=@a.1
         describe
         sync @a.1 1 @a.1:x
         describe
         list
         list state=stable type=CLASSIC
         list state=Empty
         list type=consumer
         list v=3
         beat @a.1 1
         commit @a.1 1
         fetch topic=conformance
         delete
         leave @a.1
         describe
         list
         fetch
         delete
         describe
         describe v=5
         delete
         list",
        expect![[r#"
            > join a
              JoinGroupResponse { error: MEMBER_ID_REQUIRED, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
            > join a as=@a.1
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "CompletingRebalance", protocol_type: "consumer", protocol_data: "", members: [DescribedGroupMember { member_id: @a.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"" }], authorized_operations: -2147483648 }] }
            > sync @a.1 1 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", protocol_type: "consumer", protocol_data: "range", members: [DescribedGroupMember { member_id: @a.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff", member_assignment: b"x" }], authorized_operations: -2147483648 }] }
            > list
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "consumer", group_state: "Stable", group_type: "classic" }] }
            > list state=stable type=CLASSIC
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "consumer", group_state: "Stable", group_type: "classic" }] }
            > list state=Empty
              ListGroupsResponse { error: NONE, groups: [] }
            > list type=consumer
              ListGroupsResponse { error: NONE, groups: [] }
            > list v=3
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "consumer", group_state: "", group_type: "" }] }
            > beat @a.1 1
              HeartbeatResponse { error: NONE }
            > commit @a.1 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > fetch topic=conformance
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 42, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartitions { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > delete
              DeleteGroupsResponse { results: [DeletableGroupResult { group_id: GROUP, error: NON_EMPTY_GROUP }] }
            > leave @a.1
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @a.1, group_instance_id: None, error: NONE }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Empty", protocol_type: "consumer", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > list
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "consumer", group_state: "Empty", group_type: "classic" }] }
            > fetch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 42, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > delete
              DeleteGroupsResponse { results: [DeletableGroupResult { group_id: GROUP, error: NONE }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: GROUP_ID_NOT_FOUND, error_message: Some("(in words)"), group_id: GROUP, group_state: "Dead", protocol_type: "", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > describe v=5
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Dead", protocol_type: "", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > delete
              DeleteGroupsResponse { results: [DeletableGroupResult { group_id: GROUP, error: GROUP_ID_NOT_FOUND }] }
            > list
              ListGroupsResponse { error: NONE, groups: [] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_rebalances() {
    check(
        "join a v=3
         join& b v=3 reads=more likes=sticky,range
         state PreparingRebalance
         join& a as=@a.1 v=3
         await b
         await a
         sync& @b.1 2 v=4
         sync @a.1 2 v=4 @a.1:x @b.1:y
         await @b.1
         join b as=@b.1 v=9 reads=more likes=sticky,range
         join& b as=@b.1 v=9 reads=other
         state PreparingRebalance
         describe
         beat @a.1 2
         sync @a.1 2
         commit @a.1 2
         commit @a.1 1
         join& a as=@a.1
         await b
         await a
         beat @a.1 3
         commit @a.1 3
         describe
         sync @b.1 2
         sync @b.1 3 type=connect
         sync @b.1 3 protocol=sticky
         sync& @b.1 3
         leave @a.1
         await @b.1
         join b as=@b.1
         leave @b.1 ghost",
        expect![[r#"
            > join a v=3
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > join& b v=3 reads=more likes=sticky,range
            > state PreparingRebalance
            > join& a as=@a.1 v=3
            > await b
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @b.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x04more\xff\xff\xff\xff" }] }
            > sync& @b.1 2 v=4
            > sync @a.1 2 v=4 @a.1:x @b.1:y
              SyncGroupResponse { error: NONE, protocol_type: None, protocol_name: None, assignment: b"x" }
            > await @b.1
              SyncGroupResponse { error: NONE, protocol_type: None, protocol_name: None, assignment: b"y" }
            > join b as=@b.1 v=9 reads=more likes=sticky,range
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.1, members: [] }
            > join& b as=@b.1 v=9 reads=other
            > state PreparingRebalance
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "PreparingRebalance", protocol_type: "consumer", protocol_data: "", members: [DescribedGroupMember { member_id: @a.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"x" }, DescribedGroupMember { member_id: @b.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"y" }], authorized_operations: -2147483648 }] }
            > beat @a.1 2
              HeartbeatResponse { error: REBALANCE_IN_PROGRESS }
            > sync @a.1 2
              SyncGroupResponse { error: REBALANCE_IN_PROGRESS, protocol_type: None, protocol_name: None, assignment: b"" }
            > commit @a.1 2
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit @a.1 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: ILLEGAL_GENERATION }] }] }
            > join& a as=@a.1
            > await b
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @b.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x05other\xff\xff\xff\xff" }] }
            > beat @a.1 3
              HeartbeatResponse { error: NONE }
            > commit @a.1 3
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: REBALANCE_IN_PROGRESS }] }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "CompletingRebalance", protocol_type: "consumer", protocol_data: "", members: [DescribedGroupMember { member_id: @a.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"x" }, DescribedGroupMember { member_id: @b.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"y" }], authorized_operations: -2147483648 }] }
            > sync @b.1 2
              SyncGroupResponse { error: ILLEGAL_GENERATION, protocol_type: None, protocol_name: None, assignment: b"" }
            > sync @b.1 3 type=connect
              SyncGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, protocol_type: None, protocol_name: None, assignment: b"" }
            > sync @b.1 3 protocol=sticky
              SyncGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, protocol_type: None, protocol_name: None, assignment: b"" }
            > sync& @b.1 3
            > leave @a.1
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @a.1, group_instance_id: None, error: NONE }] }
            > await @b.1
              SyncGroupResponse { error: REBALANCE_IN_PROGRESS, protocol_type: None, protocol_name: None, assignment: b"" }
            > join b as=@b.1
              JoinGroupResponse { error: NONE, generation_id: 4, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @b.1, skip_assignment: false, member_id: @b.1, members: [JoinGroupResponseMember { member_id: @b.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > leave @b.1 ghost
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @b.1, group_instance_id: None, error: NONE }, MemberResponse { member_id: "ghost", group_instance_id: None, error: UNKNOWN_MEMBER_ID }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_are_answered_with_kafkas_errors() {
    check(
        "find
         find v=0
         find v=3
         find group=
         find type=9
         find type=9 v=2
         join a group=
         join a session=999
         join a session=1800001
         join a session=-1
         join a as=ghost
         join a as=ghost v=4
         sync ghost 1
         sync ghost 1 group=
         beat ghost 1
         beat ghost 1 group=
         leave ghost
         leave ghost v=2
         leave ghost group=
         list
         join a likes=
         join a likes= v=4
         join a type=
         list
         describe
         join a
         join a as=@a.1
         sync @a.1 1 protocol=
         sync @a.1 1 v=4
         join b likes=other
         join b type=connect
         join b as=ghost
         join b as=ghost likes=other
         beat @a.1 0
         beat @a.1 2
         beat @a.1 1 instance=i
         beat - 1
         sync @a.1 2
         leave @a.1/i - -/i ghost
         join a as=@a.1 likes=other
         leave @a.1 v=0
         beat @a.1 1
         beat @a.1 2
         sync @a.1 2
         join a as=@a.1",
        expect![[r#"
            > find
              FindCoordinatorResponse { error: NONE, error_message: None, node_id: 0, host: "", port: 0, coordinators: [Coordinator { key: GROUP, node_id: 1, host: "127.0.0.1", port: 1, error: NONE, error_message: Some("") }] }
            > find v=0
              FindCoordinatorResponse { error: NONE, error_message: None, node_id: 1, host: "127.0.0.1", port: 1, coordinators: [] }
            > find v=3
              FindCoordinatorResponse { error: NONE, error_message: Some("NONE"), node_id: 1, host: "127.0.0.1", port: 1, coordinators: [] }
            > find group=
              FindCoordinatorResponse { error: NONE, error_message: None, node_id: 0, host: "", port: 0, coordinators: [Coordinator { key: "", node_id: 1, host: "127.0.0.1", port: 1, error: NONE, error_message: Some("") }] }
            > find type=9
              FindCoordinatorResponse { error: NONE, error_message: None, node_id: 0, host: "", port: 0, coordinators: [Coordinator { key: GROUP, node_id: -1, host: "", port: -1, error: INVALID_REQUEST, error_message: Some("(in words)") }] }
            > find type=9 v=2
              FindCoordinatorResponse { error: INVALID_REQUEST, error_message: Some("(in words)"), node_id: -1, host: "", port: -1, coordinators: [] }
            > join a group=
              JoinGroupResponse { error: INVALID_GROUP_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join a session=999
              JoinGroupResponse { error: INVALID_SESSION_TIMEOUT, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join a session=1800001
              JoinGroupResponse { error: INVALID_SESSION_TIMEOUT, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join a session=-1
              JoinGroupResponse { error: INVALID_SESSION_TIMEOUT, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join a as=ghost
              JoinGroupResponse { error: UNKNOWN_MEMBER_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "ghost", members: [] }
            > join a as=ghost v=4
              JoinGroupResponse { error: UNKNOWN_MEMBER_ID, generation_id: -1, protocol_type: None, protocol_name: Some(""), leader: "", skip_assignment: false, member_id: "ghost", members: [] }
            > sync ghost 1
              SyncGroupResponse { error: UNKNOWN_MEMBER_ID, protocol_type: None, protocol_name: None, assignment: b"" }
            > sync ghost 1 group=
              SyncGroupResponse { error: INVALID_GROUP_ID, protocol_type: None, protocol_name: None, assignment: b"" }
            > beat ghost 1
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > beat ghost 1 group=
              HeartbeatResponse { error: INVALID_GROUP_ID }
            > leave ghost
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: "ghost", group_instance_id: None, error: UNKNOWN_MEMBER_ID }] }
            > leave ghost v=2
              LeaveGroupResponse { error: UNKNOWN_MEMBER_ID, members: [] }
            > leave ghost group=
              LeaveGroupResponse { error: INVALID_GROUP_ID, members: [] }
            > list
              ListGroupsResponse { error: NONE, groups: [] }
            > join a likes=
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join a likes= v=4
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: Some(""), leader: "", skip_assignment: false, member_id: "", members: [] }
            > join a type=
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > list
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "", group_state: "Empty", group_type: "classic" }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Empty", protocol_type: "", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > join a
              JoinGroupResponse { error: MEMBER_ID_REQUIRED, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
            > join a as=@a.1
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync @a.1 1 protocol=
              SyncGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, protocol_type: None, protocol_name: None, assignment: b"" }
            > sync @a.1 1 v=4
              SyncGroupResponse { error: NONE, protocol_type: None, protocol_name: None, assignment: b"" }
            > join b likes=other
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join b type=connect
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "", members: [] }
            > join b as=ghost
              JoinGroupResponse { error: UNKNOWN_MEMBER_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "ghost", members: [] }
            > join b as=ghost likes=other
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: "ghost", members: [] }
            > beat @a.1 0
              HeartbeatResponse { error: ILLEGAL_GENERATION }
            > beat @a.1 2
              HeartbeatResponse { error: ILLEGAL_GENERATION }
            > beat @a.1 1 instance=i
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > beat - 1
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > sync @a.1 2
              SyncGroupResponse { error: ILLEGAL_GENERATION, protocol_type: None, protocol_name: None, assignment: b"" }
            > leave @a.1/i - -/i ghost
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @a.1, group_instance_id: Some("i"), error: UNKNOWN_MEMBER_ID }, MemberResponse { member_id: "", group_instance_id: None, error: UNKNOWN_MEMBER_ID }, MemberResponse { member_id: "", group_instance_id: Some("i"), error: UNKNOWN_MEMBER_ID }, MemberResponse { member_id: "ghost", group_instance_id: None, error: UNKNOWN_MEMBER_ID }] }
            > join a as=@a.1 likes=other
              JoinGroupResponse { error: INCONSISTENT_GROUP_PROTOCOL, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
            > leave @a.1 v=0
              LeaveGroupResponse { error: NONE, members: [] }
            > beat @a.1 1
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > beat @a.1 2
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > sync @a.1 2
              SyncGroupResponse { error: UNKNOWN_MEMBER_ID, protocol_type: None, protocol_name: None, assignment: b"" }
            > join a as=@a.1
              JoinGroupResponse { error: UNKNOWN_MEMBER_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn static_members_come_back_without_a_rebalance() {
    check(
        "join a instance=i1
         join a instance=i1 as=@a.1
         sync @a.1 1 instance=i1 @a.1:x
         join& b instance=i2
         state PreparingRebalance
         join& a instance=i1 as=@a.1
         await b
         await a
         sync& @b.1 2 instance=i2
         sync @a.1 2 instance=i1 @a.1:x @b.1:y
         await @b.1
         join b instance=i2
         beat @b.1 2 instance=i2
         beat @b.1 2
         sync @b.1 2 instance=i2
         commit @b.1 2 instance=i2
         commit @b.2 2 instance=i9
         join b instance=i2 as=@b.1
         join b instance=i2 as=@b.2
         sync @b.2 2 instance=i2
         join b instance=i2 reads=changed
         join a instance=i1 v=8
         join a instance=i1 v=9
         sync @a.3 2 instance=i1
         describe
         leave @b.1/i2 @a.1/i1 -/i9
         leave -/i1 -/i2
         describe",
        expect![[r#"
            > join a instance=i1
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > join a instance=i1 as=@a.1
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync @a.1 1 instance=i1 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > join& b instance=i2
            > state PreparingRebalance
            > join& a instance=i1 as=@a.1
            > await b
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @b.1, group_instance_id: Some("i2"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync& @b.1 2 instance=i2
            > sync @a.1 2 instance=i1 @a.1:x @b.1:y
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > await @b.1
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"y" }
            > join b instance=i2
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.2, members: [] }
            > beat @b.1 2 instance=i2
              HeartbeatResponse { error: FENCED_INSTANCE_ID }
            > beat @b.1 2
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > sync @b.1 2 instance=i2
              SyncGroupResponse { error: FENCED_INSTANCE_ID, protocol_type: None, protocol_name: None, assignment: b"" }
            > commit @b.1 2 instance=i2
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: FENCED_INSTANCE_ID }] }] }
            > commit @b.2 2 instance=i9
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > join b instance=i2 as=@b.1
              JoinGroupResponse { error: FENCED_INSTANCE_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @b.1, members: [] }
            > join b instance=i2 as=@b.2
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.2, members: [] }
            > sync @b.2 2 instance=i2
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"y" }
            > join b instance=i2 reads=changed
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.3, members: [] }
            > join a instance=i1 v=8
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.2, members: [] }
            > join a instance=i1 v=9
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.3, skip_assignment: true, member_id: @a.3, members: [JoinGroupResponseMember { member_id: @a.3, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @b.3, group_instance_id: Some("i2"), metadata: b"\0\0\0\0\0\x01\0\x07changed\xff\xff\xff\xff" }] }
            > sync @a.3 2 instance=i1
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Stable", protocol_type: "consumer", protocol_data: "range", members: [DescribedGroupMember { member_id: @a.3, group_instance_id: Some("i1"), client_id: "app", client_host: "/127.0.0.1", member_metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff", member_assignment: b"x" }, DescribedGroupMember { member_id: @b.3, group_instance_id: Some("i2"), client_id: "app", client_host: "/127.0.0.1", member_metadata: b"\0\0\0\0\0\x01\0\x07changed\xff\xff\xff\xff", member_assignment: b"y" }], authorized_operations: -2147483648 }] }
            > leave @b.1/i2 @a.1/i1 -/i9
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @b.1, group_instance_id: Some("i2"), error: FENCED_INSTANCE_ID }, MemberResponse { member_id: @a.1, group_instance_id: Some("i1"), error: FENCED_INSTANCE_ID }, MemberResponse { member_id: "", group_instance_id: Some("i9"), error: UNKNOWN_MEMBER_ID }] }
            > leave -/i1 -/i2
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: "", group_instance_id: Some("i1"), error: NONE }, MemberResponse { member_id: "", group_instance_id: Some("i2"), error: NONE }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Empty", protocol_type: "consumer", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_comes_back_while_a_join_waits_fences_it() {
    check(
        "join a instance=i1
         sync @a.1 1 instance=i1 @a.1:x
         join& b instance=i2
         state PreparingRebalance
         join& c instance=i2
         await b
         join& a instance=i1 as=@a.1
         await c
         await a
         join& d instance=i2
         state PreparingRebalance
         join& a instance=i1 as=@a.1
         await d
         await a
         describe v=4",
        expect![[r#"
            > join a instance=i1
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync @a.1 1 instance=i1 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > join& b instance=i2
            > state PreparingRebalance
            > join& c instance=i2
            > await b
              JoinGroupResponse { error: FENCED_INSTANCE_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @b.1, members: [] }
            > join& a instance=i1 as=@a.1
            > await c
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @c.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @c.1, group_instance_id: Some("i2"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > join& d instance=i2
            > state PreparingRebalance
            > join& a instance=i1 as=@a.1
            > await d
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @d.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: Some("i1"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @d.1, group_instance_id: Some("i2"), metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > describe v=4
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "CompletingRebalance", protocol_type: "consumer", protocol_data: "", members: [DescribedGroupMember { member_id: @a.1, group_instance_id: Some("i1"), client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"" }, DescribedGroupMember { member_id: @d.1, group_instance_id: Some("i2"), client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"" }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_committed_and_fetched_as_in_kafka() {
    check(
        "fetch
         fetch topic=conformance
         fetch topic=conformance v=7
         fetch v=7
         fetch topic=conformance v=1
         fetch topic=nosuch
         describe operations=true
         commit - -1 offset=5 epoch=3 metadata=4
         describe operations=true
         list
         describe
         fetch
         fetch topic=conformance
         fetch topic=conformance v=5
         commit - -1 metadata=4097
         commit - -1 metadata=4096
         commit - -1 offset=-1
         fetch topic=conformance
         commit - -1 offset=-7
         commit - -1 topic=nosuch
         commit - -1 partition=7
         commit - -1 partition=-1
         fetch
         commit ghost -1
         commit ghost 0
         commit - 0
         commit - -1 instance=i
         commit - 3 v=8
         commit - 3 group=absent
         commit - 3 group=absent v=8
         commit ghost 3 group=absent v=2
         commit - -1 group= offset=9
         fetch group= topic=conformance
         delete group=
         join a
         join a as=@a.1
         commit - -1
         commit @a.1 1
         sync @a.1 1 @a.1:x
         commit @a.1 1
         commit @a.1 2
         commit @a.1 -1
         commit ghost 1
         commit @a.1 1 instance=i
         leave @a.1
         commit @a.1 1
         commit @a.1 -1",
        expect![[r#"
            > fetch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [], error: NONE }] }
            > fetch topic=conformance
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartitions { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > fetch topic=conformance v=7
              OffsetFetchResponse { topics: [OffsetFetchResponseTopic { name: "conformance", partitions: [OffsetFetchResponsePartition { partition_index: 0, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartition { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE, groups: [] }
            > fetch v=7
              OffsetFetchResponse { topics: [], error: NONE, groups: [] }
            > fetch topic=conformance v=1
              OffsetFetchResponse { topics: [OffsetFetchResponseTopic { name: "conformance", partitions: [OffsetFetchResponsePartition { partition_index: 0, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartition { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE, groups: [] }
            > fetch topic=nosuch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "nosuch", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartitions { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > describe operations=true
              DescribeGroupsResponse { groups: [DescribedGroup { error: GROUP_ID_NOT_FOUND, error_message: Some("(in words)"), group_id: GROUP, group_state: "Dead", protocol_type: "", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > commit - -1 offset=5 epoch=3 metadata=4
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > describe operations=true
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Empty", protocol_type: "", protocol_data: "", members: [], authorized_operations: 3400 }] }
            > list
              ListGroupsResponse { error: NONE, groups: [ListedGroup { group_id: GROUP, protocol_type: "", group_state: "Empty", group_type: "classic" }] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "Empty", protocol_type: "", protocol_data: "", members: [], authorized_operations: -2147483648 }] }
            > fetch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 5, committed_leader_epoch: 3, metadata: Some("mmmm"), error: NONE }] }], error: NONE }] }
            > fetch topic=conformance
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 5, committed_leader_epoch: 3, metadata: Some("mmmm"), error: NONE }, OffsetFetchResponsePartitions { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > fetch topic=conformance v=5
              OffsetFetchResponse { topics: [OffsetFetchResponseTopic { name: "conformance", partitions: [OffsetFetchResponsePartition { partition_index: 0, committed_offset: 5, committed_leader_epoch: 3, metadata: Some("mmmm"), error: NONE }, OffsetFetchResponsePartition { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE, groups: [] }
            > commit - -1 metadata=4097
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: OFFSET_METADATA_TOO_LARGE }] }] }
            > commit - -1 metadata=4096
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit - -1 offset=-1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > fetch topic=conformance
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartitions { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > commit - -1 offset=-7
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit - -1 topic=nosuch
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "nosuch", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_TOPIC_OR_PARTITION }] }] }
            > commit - -1 partition=7
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 7, error: UNKNOWN_TOPIC_OR_PARTITION }] }] }
            > commit - -1 partition=-1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: -1, error: UNKNOWN_TOPIC_OR_PARTITION }] }] }
            > fetch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: -7, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > commit ghost -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit ghost 0
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit - 0
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit - -1 instance=i
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit - 3 v=8
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit - 3 group=absent
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: GROUP_ID_NOT_FOUND }] }] }
            > commit - 3 group=absent v=8
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: ILLEGAL_GENERATION }] }] }
            > commit ghost 3 group=absent v=2
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: ILLEGAL_GENERATION }] }] }
            > commit - -1 group= offset=9
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > fetch group= topic=conformance
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: "", topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 9, committed_leader_epoch: -1, metadata: Some(""), error: NONE }, OffsetFetchResponsePartitions { partition_index: 7, committed_offset: -1, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > delete group=
              DeleteGroupsResponse { results: [DeletableGroupResult { group_id: "", error: NONE }] }
            > join a
              JoinGroupResponse { error: MEMBER_ID_REQUIRED, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
            > join a as=@a.1
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > commit - -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit @a.1 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: REBALANCE_IN_PROGRESS }] }] }
            > sync @a.1 1 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > commit @a.1 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit @a.1 2
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: ILLEGAL_GENERATION }] }] }
            > commit @a.1 -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: ILLEGAL_GENERATION }] }] }
            > commit ghost 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit @a.1 1 instance=i
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > leave @a.1
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @a.1, group_instance_id: None, error: NONE }] }
            > commit @a.1 1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: UNKNOWN_MEMBER_ID }] }] }
            > commit @a.1 -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_deleted_as_in_kafka() {
    check(
        "forget conformance
         forget conformance group=
         commit - -1
         commit - -1 topic=conformance-2
         forget nosuch
         forget conformance partition=9
         join a reads=conformance
         join a as=@a.1 reads=conformance
         sync @a.1 1 @a.1:x
         forget conformance
         forget conformance-2
         fetch
         leave @a.1
         forget conformance
         fetch
         join a type=connect
         join a type=connect as=@a.2
         forget conformance
         delete",
        expect![[r#"
            > forget conformance
              OffsetDeleteResponse { error: GROUP_ID_NOT_FOUND, topics: [] }
            > forget conformance group=
              OffsetDeleteResponse { error: INVALID_GROUP_ID, topics: [] }
            > commit - -1
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > commit - -1 topic=conformance-2
              OffsetCommitResponse { topics: [OffsetCommitResponseTopic { name: "conformance-2", partitions: [OffsetCommitResponsePartition { partition_index: 0, error: NONE }] }] }
            > forget nosuch
              OffsetDeleteResponse { error: NONE, topics: [OffsetDeleteResponseTopic { name: "nosuch", partitions: [OffsetDeleteResponsePartition { partition_index: 0, error: UNKNOWN_TOPIC_OR_PARTITION }] }] }
            > forget conformance partition=9
              OffsetDeleteResponse { error: NONE, topics: [OffsetDeleteResponseTopic { name: "conformance", partitions: [OffsetDeleteResponsePartition { partition_index: 9, error: UNKNOWN_TOPIC_OR_PARTITION }] }] }
            > join a reads=conformance
              JoinGroupResponse { error: MEMBER_ID_REQUIRED, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
            > join a as=@a.1 reads=conformance
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x0bconformance\xff\xff\xff\xff" }] }
            > sync @a.1 1 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > forget conformance
              OffsetDeleteResponse { error: NONE, topics: [OffsetDeleteResponseTopic { name: "conformance", partitions: [OffsetDeleteResponsePartition { partition_index: 0, error: GROUP_SUBSCRIBED_TO_TOPIC }] }] }
            > forget conformance-2
              OffsetDeleteResponse { error: NONE, topics: [OffsetDeleteResponseTopic { name: "conformance-2", partitions: [OffsetDeleteResponsePartition { partition_index: 0, error: NONE }] }] }
            > fetch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [OffsetFetchResponseTopics { name: "conformance", partitions: [OffsetFetchResponsePartitions { partition_index: 0, committed_offset: 42, committed_leader_epoch: -1, metadata: Some(""), error: NONE }] }], error: NONE }] }
            > leave @a.1
              LeaveGroupResponse { error: NONE, members: [MemberResponse { member_id: @a.1, group_instance_id: None, error: NONE }] }
            > forget conformance
              OffsetDeleteResponse { error: NONE, topics: [OffsetDeleteResponseTopic { name: "conformance", partitions: [OffsetDeleteResponsePartition { partition_index: 0, error: NONE }] }] }
            > fetch
              OffsetFetchResponse { topics: [], error: NONE, groups: [OffsetFetchResponseGroup { group_id: GROUP, topics: [], error: NONE }] }
            > join a type=connect
              JoinGroupResponse { error: MEMBER_ID_REQUIRED, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.2, members: [] }
            > join a type=connect as=@a.2
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("connect"), protocol_name: Some("range"), leader: @a.2, skip_assignment: false, member_id: @a.2, members: [JoinGroupResponseMember { member_id: @a.2, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > forget conformance
              OffsetDeleteResponse { error: NON_EMPTY_GROUP, topics: [] }
            > delete
              DeleteGroupsResponse { results: [DeletableGroupResult { group_id: GROUP, error: NON_EMPTY_GROUP }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_falls_silent_is_dropped() {
    check(
        "join a v=3 session=2000
         join& b v=3 session=30000
         state PreparingRebalance
         join& a as=@a.1 session=2000
         await b
         await a
         sync& @b.1 2
         sync @a.1 2 @a.1:x @b.1:y
         await @b.1
         state PreparingRebalance
         beat @b.1 2
         beat @a.1 2
         join b as=@b.1
         join a as=@a.1
         describe",
        expect![[r#"
            > join a v=3 session=2000
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > join& b v=3 session=30000
            > state PreparingRebalance
            > join& a as=@a.1 session=2000
            > await b
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @b.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync& @b.1 2
            > sync @a.1 2 @a.1:x @b.1:y
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > await @b.1
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"y" }
            > state PreparingRebalance
            > beat @b.1 2
              HeartbeatResponse { error: REBALANCE_IN_PROGRESS }
            > beat @a.1 2
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > join b as=@b.1
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @b.1, skip_assignment: false, member_id: @b.1, members: [JoinGroupResponseMember { member_id: @b.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > join a as=@a.1
              JoinGroupResponse { error: UNKNOWN_MEMBER_ID, generation_id: -1, protocol_type: None, protocol_name: None, leader: "", skip_assignment: false, member_id: @a.1, members: [] }
            > describe
              DescribeGroupsResponse { groups: [DescribedGroup { error: NONE, error_message: None, group_id: GROUP, group_state: "CompletingRebalance", protocol_type: "consumer", protocol_data: "", members: [DescribedGroupMember { member_id: @b.1, group_instance_id: None, client_id: "app", client_host: "/127.0.0.1", member_metadata: b"", member_assignment: b"y" }], authorized_operations: -2147483648 }] }
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_do_not_come_back_or_never_sync_are_dropped() {
    check(
        "join a v=3 session=30000 rebalance=3000
         join& b v=3 session=30000 rebalance=3000
         state PreparingRebalance
         join& a as=@a.1 session=30000 rebalance=3000
         await b
         await a
         sync @a.1 2 @a.1:x @b.1:y
         join a as=@a.1 session=30000 rebalance=3000
         beat @b.1 2
         sync @a.1 3 @a.1:x
         join& c v=3 rebalance=3000
         state PreparingRebalance
         join& a as=@a.1 session=30000 rebalance=3000
         await c
         await a
         sync @a.1 4 @a.1:x
         state PreparingRebalance
         beat @c.1 4
         beat @a.1 4
         join a as=@a.1",
        expect![[r#"
            > join a v=3 session=30000 rebalance=3000
              JoinGroupResponse { error: NONE, generation_id: 1, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > join& b v=3 session=30000 rebalance=3000
            > state PreparingRebalance
            > join& a as=@a.1 session=30000 rebalance=3000
            > await b
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @b.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 2, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @b.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync @a.1 2 @a.1:x @b.1:y
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > join a as=@a.1 session=30000 rebalance=3000
              JoinGroupResponse { error: NONE, generation_id: 3, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > beat @b.1 2
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > sync @a.1 3 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > join& c v=3 rebalance=3000
            > state PreparingRebalance
            > join& a as=@a.1 session=30000 rebalance=3000
            > await c
              JoinGroupResponse { error: NONE, generation_id: 4, protocol_type: None, protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @c.1, members: [] }
            > await a
              JoinGroupResponse { error: NONE, generation_id: 4, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }, JoinGroupResponseMember { member_id: @c.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
            > sync @a.1 4 @a.1:x
              SyncGroupResponse { error: NONE, protocol_type: Some("consumer"), protocol_name: Some("range"), assignment: b"x" }
            > state PreparingRebalance
            > beat @c.1 4
              HeartbeatResponse { error: UNKNOWN_MEMBER_ID }
            > beat @a.1 4
              HeartbeatResponse { error: REBALANCE_IN_PROGRESS }
            > join a as=@a.1
              JoinGroupResponse { error: NONE, generation_id: 5, protocol_type: Some("consumer"), protocol_name: Some("range"), leader: @a.1, skip_assignment: false, member_id: @a.1, members: [JoinGroupResponseMember { member_id: @a.1, group_instance_id: None, metadata: b"\0\0\0\0\0\x01\0\x06topics\xff\xff\xff\xff" }] }
        "#]],
    )
    .await;
}
