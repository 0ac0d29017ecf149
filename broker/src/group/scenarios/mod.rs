//! Scenarios of group membership as data: what clients do, line by line, and what they are told.
//!
//! ```text
//! join NAME [as=MEMBER] [instance=I] [v=VERSION] [likes=range,sticky] [says=METADATA] [session=MS] [rebalance=MS]
//! sync MEMBER GENERATION [instance=I] [MEMBER=ASSIGNMENT]...
//! beat MEMBER GENERATION [instance=I]
//! leave MEMBER[/INSTANCE]...
//! commit MEMBER GENERATION [instance=I]
//! wait MS              time passes, and what is due happens
//! disk full|fine       whether storing succeeds
//! restart              the group is what was stored last; sessions start anew
//! show                 who is a member
//! ```
//!
//! A new member NAME gets the id NAME-1, NAME-2, and so on; `-` stands for no id.

mod limits;
mod members;
mod stored;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use expect_test::Expect;
use heliostat_wire::ErrorCode;
use heliostat_wire::message::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use heliostat_wire::message::leave_group::MemberIdentity;
use heliostat_wire::message::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use proptest::prelude::*;

use crate::group::config::GroupConfig;
use crate::group::join::Joining;
use crate::group::member::Client;
use crate::group::membership::{Group, Now, Reply, State, Step};
use crate::group::record::{Entry, decode, group_change};

/// A group under test, and what has been said.
struct Scenario {
    group: Group,
    now: i64,
    joins: u64,
    disk_fine: bool,
    stored: Option<(Vec<u8>, Vec<u8>)>,
    /// Tickets that wait, by what the client is called in the output.
    waiting: BTreeMap<u64, String>,
    last_ticket: u64,
    said: String,
}

impl Scenario {
    fn new() -> Self {
        let config = GroupConfig {
            initial_rebalance_delay: Duration::from_millis(3000),
            max_size: 4,
            ..Default::default()
        };
        Self {
            group: Group::new("g", config),
            now: 0,
            joins: 0,
            disk_fine: true,
            stored: None,
            waiting: BTreeMap::new(),
            last_ticket: 0,
            said: String::new(),
        }
    }

    fn run(script: &str) -> Self {
        let mut scenario = Self::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            scenario.say(&format!("> {line}"));
            scenario.line(line);
            let state = (scenario.group.state.name(), scenario.group.generation);
            scenario.say(&format!("  {} {}", state.0, state.1));
        }
        scenario
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let options: BTreeMap<&str, &str> = words.iter().filter_map(|word| word.split_once('=')).collect();
        let text = |name: &str| options.get(name).copied();
        let instance = text("instance").map(str::to_owned);
        match words[0] {
            "join" => self.join(words[1], &options),
            "sync" => {
                let assigned = options.iter().filter(|(name, _)| **name != "instance");
                let assignments = assigned.map(|(member, assignment)| SyncGroupRequestAssignment {
                    member_id: (*member).into(),
                    assignment: Bytes::copy_from_slice(assignment.as_bytes()),
                });
                let request = SyncGroupRequest {
                    member_id: words[1].into(),
                    generation_id: words[2].parse().unwrap(),
                    group_instance_id: instance,
                    assignments: assignments.collect(),
                    ..Default::default()
                };
                let ticket = self.ticket(words[1]);
                let step = self.group.sync(self.now(), &request, ticket);
                self.carry_out(step);
            }
            "beat" => {
                let generation = words[2].parse().unwrap();
                let outcome = self
                    .group
                    .heartbeat(self.now(), words[1], instance.as_deref(), generation);
                self.say(&format!("  {}: {}", words[1], name_of(outcome)));
            }
            "commit" => {
                let member = if words[1] == "-" { "" } else { words[1] };
                let generation = words[2].parse().unwrap();
                let outcome = self
                    .group
                    .check_commit(member, instance.as_deref(), generation, false);
                self.say(&format!("  {}: {}", words[1], name_of(outcome)));
            }
            "leave" => self.leave(&words[1..]),
            "wait" => self.wait(words[1].parse().unwrap()),
            "disk" => self.disk_fine = words[1] == "fine",
            "restart" => self.restart(),
            "show" => {
                let members: Vec<String> = self.group.members.values().map(|m| m.id.clone()).collect();
                let leader = self.group.leader.clone().unwrap_or_default();
                self.say(&format!("  members [{}] leader {leader}", members.join(" ")));
            }
            other => panic!("no such command: {other}"),
        }
    }

    fn join(&mut self, name: &str, options: &BTreeMap<&str, &str>) {
        let text =
            |name: &str, default: &'static str| options.get(name).copied().unwrap_or(default).to_owned();
        let says = Bytes::from(text("says", "topics"));
        let protocol = |name: &str| JoinGroupRequestProtocol {
            name: name.to_owned(),
            metadata: says.clone(),
        };
        let request = JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: text("session", "10000").parse().unwrap(),
            rebalance_timeout_ms: text("rebalance", "60000").parse().unwrap(),
            member_id: text("as", ""),
            group_instance_id: options.get("instance").map(|i| (*i).to_owned()),
            protocol_type: text("type", "consumer"),
            protocols: text("likes", "range")
                .split(',')
                .filter(|p| !p.is_empty())
                .map(protocol)
                .collect(),
            reason: None,
        };
        self.joins += 1;
        let (client, unique) = (
            Client {
                id: name.into(),
                host: "/127.0.0.1".into(),
            },
            self.joins.to_string(),
        );
        let ticket = self.ticket(name);
        let version = text("v", "3").parse().unwrap();
        let joining = Joining {
            client: &client,
            version,
            request: &request,
            unique: &unique,
            ticket,
        };
        let step = self.group.join(self.now(), &joining);
        self.carry_out(step);
    }

    fn leave(&mut self, leaving: &[&str]) {
        let identity = |text: &&str| {
            let (id, instance) = text
                .split_once('/')
                .map_or((*text, None), |(id, i)| (id, Some(i.to_owned())));
            let member_id = if id == "-" { String::new() } else { id.to_owned() };
            MemberIdentity {
                member_id,
                group_instance_id: instance,
                reason: None,
            }
        };
        let identities: Vec<_> = leaving.iter().map(identity).collect();
        let (responses, step) = self.group.leave(self.now(), &identities);
        for (who, response) in leaving.iter().zip(responses) {
            self.say(&format!(
                "  {who}: {}",
                ErrorCode::from_code(response.error_code).name()
            ));
        }
        self.carry_out(step);
    }

    fn wait(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(at) = self.group.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let step = self.group.on_time(self.now());
            self.carry_out(step);
        }
        self.now = until;
    }

    fn restart(&mut self) {
        self.group = match &self.stored {
            None => Group::new("g", self.group.config.clone()),
            Some((key, value)) => match decode(key, value, &self.group.config) {
                Some(Entry::Members(group)) => *group,
                other => panic!("not a group: {other:?}"),
            },
        };
        self.group.restored(self.now);
        self.waiting.clear();
    }

    fn now(&self) -> Now {
        Now {
            timer: self.now,
            wall: 1_000_000 + self.now,
        }
    }

    fn ticket(&mut self, who: &str) -> u64 {
        self.last_ticket += 1;
        self.waiting.insert(self.last_ticket, who.to_owned());
        self.last_ticket
    }

    fn carry_out(&mut self, mut step: Step) {
        loop {
            for (ticket, reply) in step.replies {
                let who = self
                    .waiting
                    .remove(&ticket)
                    .expect("each ticket is answered once");
                self.say(&format!("  {who}: {}", told(&reply)));
            }
            let Some(store) = step.store else { return };
            let ok = self.disk_fine;
            self.say(if ok { "  (stored)" } else { "  (not stored)" });
            if ok {
                let (key, value) = group_change(&self.group);
                self.stored = Some((key, value.unwrap()));
            }
            step = self.group.stored(self.now(), store, ok);
        }
    }

    fn say(&mut self, line: &str) {
        self.said.push_str(line.trim_end());
        self.said.push('\n');
    }
}

fn name_of(outcome: Result<(), ErrorCode>) -> &'static str {
    outcome.err().unwrap_or(ErrorCode::None).name()
}

fn told(reply: &Reply) -> String {
    match reply {
        Reply::Join(r) if r.error_code != 0 => {
            format!(
                "join {} {}",
                ErrorCode::from_code(r.error_code).name(),
                r.member_id
            )
        }
        Reply::Join(r) => {
            let members = r
                .members
                .iter()
                .map(|m| format!("{}:{}", m.member_id, String::from_utf8_lossy(&m.metadata)));
            let members: Vec<String> = members.collect();
            let skip = if r.skip_assignment { " skip" } else { "" };
            let protocol = r.protocol_name.clone().unwrap_or_default();
            let (generation, id, leader) = (r.generation_id, &r.member_id, &r.leader);
            format!(
                "joined {generation} as {id}, leader {leader}, {protocol} [{}]{skip}",
                members.join(" ")
            )
        }
        Reply::Sync(r) if r.error_code != 0 => format!("sync {}", ErrorCode::from_code(r.error_code).name()),
        Reply::Sync(r) => format!("assigned {:?}", String::from_utf8_lossy(&r.assignment)),
    }
}

pub(super) fn check(script: &str, expected: Expect) {
    expected.assert_eq(&Scenario::run(script).said);
}

/// One line of a script over a few members, most of it nonsense.
fn any_line() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c")];
    let id = (name.clone(), 1u8..8).prop_map(|(name, n)| format!("{name}-{n}"));
    prop_oneof![
        3 => (name.clone(), 3u8..10).prop_map(|(name, v)| format!("join {name} v={v}")),
        3 => (name.clone(), 3u8..10, 0u8..2).prop_map(|(name, v, i)| format!("join {name} v={v} instance=i{i}")),
        4 => (name, id.clone(), 0u8..3).prop_map(|(name, id, says)| format!("join {name} as={id} says={says}")),
        6 => (id.clone(), 0u8..6).prop_map(|(id, n)| format!("sync {id} {n} {id}=x")),
        2 => (id.clone(), 0u8..6).prop_map(|(id, n)| format!("beat {id} {n}")),
        1 => id.prop_map(|id| format!("leave {id}")),
        1 => (0u8..2).prop_map(|i| format!("leave -/i{i}")),
        2 => prop_oneof![Just(10), Just(3000), Just(11_000)].prop_map(|ms| format!("wait {ms}")),
        1 => prop_oneof![Just("disk full".to_owned()), Just("disk fine".to_owned())],
    ]
}

proptest! {
    /// Whatever clients do: every request is answered exactly once (a second answer panics in the scenario), a group
    /// whose members fall silent becomes empty, and what is stored is what a restart brings back.
    #[test]
    fn every_request_is_answered_once_and_silence_empties_a_group(lines in proptest::collection::vec(any_line(), 0..60)) {
        let mut scenario = Scenario::run(&lines.join("\n"));
        // What could not be stored meanwhile is stored at the latest when the next member has come and gone.
        scenario.line("disk fine");
        scenario.wait(3_600_000);
        scenario.line("join z");
        scenario.wait(3_600_000);
        prop_assert!(scenario.waiting.is_empty(), "{:?} wait for ever\n{}", scenario.waiting, scenario.said);
        prop_assert_eq!(scenario.group.state, State::Empty);
        prop_assert!(scenario.group.members.is_empty() && scenario.group.static_members.is_empty());
        prop_assert!(scenario.group.leader.is_none());
        let generation = scenario.group.generation;
        if scenario.stored.is_some() {
            scenario.restart();
            prop_assert_eq!((scenario.group.state, scenario.group.generation), (State::Empty, generation));
        }
    }
}
