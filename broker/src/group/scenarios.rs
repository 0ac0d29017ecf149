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

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use expect_test::{Expect, expect};
use heliostat_wire::ErrorCode;
use heliostat_wire::message::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use heliostat_wire::message::leave_group::MemberIdentity;
use heliostat_wire::message::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use proptest::prelude::*;

use super::config::GroupConfig;
use super::join::Joining;
use super::member::Client;
use super::membership::{Group, Now, Reply, State, Step};
use super::record::{Entry, decode, group_change};

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
        self.said.push_str(line);
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

fn check(script: &str, expected: Expect) {
    expected.assert_eq(&Scenario::run(script).said);
}

#[test]
fn two_members_share_and_one_dies() {
    check(
        "join a
         wait 1000
         join b
         wait 5000
         sync b-2 1
         sync a-1 1 a-1=p0 b-2=p1
         wait 9000
         beat a-1 1
         wait 1000
         beat a-1 1
         join a as=a-1
         sync a-1 2 a-1=p0,p1",
        expect![[r#"
            > join a
              PreparingRebalance 0
            > wait 1000
              PreparingRebalance 0
            > join b
              PreparingRebalance 0
            > wait 5000
              a: joined 1 as a-1, leader a-1, range [a-1:topics b-2:topics]
              b: joined 1 as b-2, leader a-1, range []
              CompletingRebalance 1
            > sync b-2 1
              CompletingRebalance 1
            > sync a-1 1 a-1=p0 b-2=p1
              (stored)
              a-1: assigned "p0"
              b-2: assigned "p1"
              Stable 1
            > wait 9000
              Stable 1
            > beat a-1 1
              a-1: NONE
              Stable 1
            > wait 1000
              PreparingRebalance 1
            > beat a-1 1
              a-1: REBALANCE_IN_PROGRESS
              PreparingRebalance 1
            > join a as=a-1
              a: joined 2 as a-1, leader a-1, range [a-1:topics]
              CompletingRebalance 2
            > sync a-1 2 a-1=p0,p1
              (stored)
              a-1: assigned "p0,p1"
              Stable 2
        "#]],
    );
}

#[test]
fn a_member_without_id_is_given_one_first() {
    check(
        "join a v=4
         join a v=4 as=a-1
         wait 3000
         sync a-1 1 a-1=all
         join b v=9
         beat a-1 1
         join b v=9 as=b-3
         beat a-1 1
         join a as=a-1
         join c as=c-9",
        expect![[r#"
            > join a v=4
              a: join MEMBER_ID_REQUIRED a-1
              Empty 0
            > join a v=4 as=a-1
              PreparingRebalance 0
            > wait 3000
              a: joined 1 as a-1, leader a-1, range [a-1:topics]
              CompletingRebalance 1
            > sync a-1 1 a-1=all
              (stored)
              a-1: assigned "all"
              Stable 1
            > join b v=9
              b: join MEMBER_ID_REQUIRED b-3
              Stable 1
            > beat a-1 1
              a-1: NONE
              Stable 1
            > join b v=9 as=b-3
              PreparingRebalance 1
            > beat a-1 1
              a-1: REBALANCE_IN_PROGRESS
              PreparingRebalance 1
            > join a as=a-1
              a: joined 2 as a-1, leader a-1, range [a-1:topics b-3:topics]
              b: joined 2 as b-3, leader a-1, range []
              CompletingRebalance 2
            > join c as=c-9
              c: join UNKNOWN_MEMBER_ID c-9
              CompletingRebalance 2
        "#]],
    );
}

#[test]
fn a_member_that_is_not_back_in_time_is_dropped() {
    check(
        "join a rebalance=5000 session=30000
         join b rebalance=5000 session=30000
         wait 6000
         sync a-1 1 a-1=x b-2=y
         join c
         wait 20000
         join a as=a-1 rebalance=5000 session=30000
         wait 40000
         show
         beat b-2 1",
        expect![[r#"
            > join a rebalance=5000 session=30000
              PreparingRebalance 0
            > join b rebalance=5000 session=30000
              PreparingRebalance 0
            > wait 6000
              a: joined 1 as a-1, leader a-1, range [a-1:topics b-2:topics]
              b: joined 1 as b-2, leader a-1, range []
              CompletingRebalance 1
            > sync a-1 1 a-1=x b-2=y
              (stored)
              a-1: assigned "x"
              Stable 1
            > join c
              PreparingRebalance 1
            > wait 20000
              PreparingRebalance 1
            > join a as=a-1 rebalance=5000 session=30000
              PreparingRebalance 1
            > wait 40000
              a: joined 2 as a-1, leader a-1, range [a-1:topics c-3:topics]
              c: joined 2 as c-3, leader a-1, range []
              (stored)
              Empty 3
            > show
              members [] leader 
              Empty 3
            > beat b-2 1
              b-2: UNKNOWN_MEMBER_ID
              Empty 3
        "#]],
    );
}

#[test]
fn a_follower_that_joins_again_unchanged_disturbs_nobody_and_a_leader_starts_a_rebalance() {
    check(
        "join a
         join b
         wait 6000
         sync a-1 1 a-1=x b-2=y
         join b as=b-2
         sync b-2 1
         join b as=b-2 says=more
         join a as=a-1
         sync b-2 2
         sync a-1 2 a-1=x
         join a as=a-1
         beat b-2 2",
        expect![[r#"
            > join a
              PreparingRebalance 0
            > join b
              PreparingRebalance 0
            > wait 6000
              a: joined 1 as a-1, leader a-1, range [a-1:topics b-2:topics]
              b: joined 1 as b-2, leader a-1, range []
              CompletingRebalance 1
            > sync a-1 1 a-1=x b-2=y
              (stored)
              a-1: assigned "x"
              Stable 1
            > join b as=b-2
              b: joined 1 as b-2, leader a-1, range []
              Stable 1
            > sync b-2 1
              b-2: assigned "y"
              Stable 1
            > join b as=b-2 says=more
              PreparingRebalance 1
            > join a as=a-1
              a: joined 2 as a-1, leader a-1, range [a-1:topics b-2:more]
              b: joined 2 as b-2, leader a-1, range []
              CompletingRebalance 2
            > sync b-2 2
              CompletingRebalance 2
            > sync a-1 2 a-1=x
              (stored)
              a-1: assigned "x"
              b-2: assigned ""
              Stable 2
            > join a as=a-1
              PreparingRebalance 2
            > beat b-2 2
              b-2: REBALANCE_IN_PROGRESS
              PreparingRebalance 2
        "#]],
    );
}

#[test]
fn the_leader_leaves_and_another_takes_over() {
    check(
        "join a
         join b
         wait 6000
         sync a-1 1 a-1=x b-2=y
         leave a-1
         join b as=b-2
         sync b-2 2 b-2=all
         leave b-2 z-7
         show",
        expect![[r#"
            > join a
              PreparingRebalance 0
            > join b
              PreparingRebalance 0
            > wait 6000
              a: joined 1 as a-1, leader a-1, range [a-1:topics b-2:topics]
              b: joined 1 as b-2, leader a-1, range []
              CompletingRebalance 1
            > sync a-1 1 a-1=x b-2=y
              (stored)
              a-1: assigned "x"
              Stable 1
            > leave a-1
              a-1: NONE
              PreparingRebalance 1
            > join b as=b-2
              b: joined 2 as b-2, leader b-2, range [b-2:topics]
              CompletingRebalance 2
            > sync b-2 2 b-2=all
              (stored)
              b-2: assigned "all"
              Stable 2
            > leave b-2 z-7
              b-2: NONE
              z-7: UNKNOWN_MEMBER_ID
              (stored)
              Empty 3
            > show
              members [] leader 
              Empty 3
        "#]],
    );
}

#[test]
fn members_that_never_sync_are_dropped() {
    check(
        "join a rebalance=5000 session=60000
         join b rebalance=5000 session=60000
         wait 5000
         sync b-2 1
         wait 5000
         join b as=b-2
         show",
        expect![[r#"
            > join a rebalance=5000 session=60000
              PreparingRebalance 0
            > join b rebalance=5000 session=60000
              PreparingRebalance 0
            > wait 5000
              a: joined 1 as a-1, leader a-1, range [a-1:topics b-2:topics]
              b: joined 1 as b-2, leader a-1, range []
              CompletingRebalance 1
            > sync b-2 1
              CompletingRebalance 1
            > wait 5000
              b-2: sync REBALANCE_IN_PROGRESS
              PreparingRebalance 1
            > join b as=b-2
              b: joined 2 as b-2, leader b-2, range [b-2:topics]
              CompletingRebalance 2
            > show
              members [b-2] leader b-2
              CompletingRebalance 2
        "#]],
    );
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    check(
        "join a instance=i1
         join b instance=i2
         wait 6000
         sync i1-1 1 instance=i1 i1-1=x i2-2=y
         sync i2-2 1 instance=i2
         join b instance=i2
         sync i2-3 1 instance=i2
         beat i2-2 1 instance=i2
         beat i2-2 1
         join a instance=i1 v=8
         join a instance=i1 v=9
         sync i1-5 1 instance=i1
         leave -/i1 -/i9 i2-2/i2
         show",
        expect![[r#"
            > join a instance=i1
              PreparingRebalance 0
            > join b instance=i2
              PreparingRebalance 0
            > wait 6000
              a: joined 1 as i1-1, leader i1-1, range [i1-1:topics i2-2:topics]
              b: joined 1 as i2-2, leader i1-1, range []
              CompletingRebalance 1
            > sync i1-1 1 instance=i1 i1-1=x i2-2=y
              (stored)
              i1-1: assigned "x"
              Stable 1
            > sync i2-2 1 instance=i2
              i2-2: assigned "y"
              Stable 1
            > join b instance=i2
              (stored)
              b: joined 1 as i2-3, leader i1-1, range []
              Stable 1
            > sync i2-3 1 instance=i2
              i2-3: assigned "y"
              Stable 1
            > beat i2-2 1 instance=i2
              i2-2: FENCED_INSTANCE_ID
              Stable 1
            > beat i2-2 1
              i2-2: UNKNOWN_MEMBER_ID
              Stable 1
            > join a instance=i1 v=8
              (stored)
              a: joined 1 as i1-4, leader i1-1, range []
              Stable 1
            > join a instance=i1 v=9
              (stored)
              a: joined 1 as i1-5, leader i1-5, range [i1-5:topics i2-3:topics] skip
              Stable 1
            > sync i1-5 1 instance=i1
              i1-5: assigned "x"
              Stable 1
            > leave -/i1 -/i9 i2-2/i2
              -/i1: NONE
              -/i9: UNKNOWN_MEMBER_ID
              i2-2/i2: FENCED_INSTANCE_ID
              PreparingRebalance 1
            > show
              members [i2-3] leader i2-3
              PreparingRebalance 1
        "#]],
    );
}

#[test]
fn a_static_member_that_comes_back_during_a_rebalance_fences_its_older_self() {
    check(
        "join a instance=i1
         join a instance=i1
         wait 3000
         join b
         sync i1-2 1
         join a instance=i1
         sync b-3 2
         join a instance=i1
         join b as=b-3
         sync i1-5 3 i1-5=x b-3=y",
        expect![[r#"
            > join a instance=i1
              PreparingRebalance 0
            > join a instance=i1
              a: join FENCED_INSTANCE_ID i1-1
              PreparingRebalance 0
            > wait 3000
              a: joined 1 as i1-2, leader i1-2, range [i1-2:topics]
              CompletingRebalance 1
            > join b
              PreparingRebalance 1
            > sync i1-2 1
              i1-2: sync REBALANCE_IN_PROGRESS
              PreparingRebalance 1
            > join a instance=i1
              b: joined 2 as b-3, leader i1-4, range []
              a: joined 2 as i1-4, leader i1-4, range [b-3:topics i1-4:topics]
              CompletingRebalance 2
            > sync b-3 2
              CompletingRebalance 2
            > join a instance=i1
              b-3: sync REBALANCE_IN_PROGRESS
              PreparingRebalance 2
            > join b as=b-3
              b: joined 3 as b-3, leader i1-5, range []
              a: joined 3 as i1-5, leader i1-5, range [b-3:topics i1-5:topics]
              CompletingRebalance 3
            > sync i1-5 3 i1-5=x b-3=y
              (stored)
              i1-5: assigned "x"
              Stable 3
        "#]],
    );
}

#[test]
fn members_survive_a_restart() {
    check(
        "join a instance=i1
         join b
         wait 6000
         sync i1-1 1 i1-1=x b-2=y
         restart
         show
         beat b-2 1
         beat i1-1 1 instance=i1
         join b as=b-2
         sync b-2 1
         wait 9000
         beat b-2 1
         wait 5000
         join b as=b-2
         sync b-2 2 b-2=all
         show",
        expect![[r#"
            > join a instance=i1
              PreparingRebalance 0
            > join b
              PreparingRebalance 0
            > wait 6000
              b: joined 1 as b-2, leader i1-1, range []
              a: joined 1 as i1-1, leader i1-1, range [b-2:topics i1-1:topics]
              CompletingRebalance 1
            > sync i1-1 1 i1-1=x b-2=y
              (stored)
              i1-1: assigned "x"
              Stable 1
            > restart
              Stable 1
            > show
              members [b-2 i1-1] leader i1-1
              Stable 1
            > beat b-2 1
              b-2: NONE
              Stable 1
            > beat i1-1 1 instance=i1
              i1-1: NONE
              Stable 1
            > join b as=b-2
              b: joined 1 as b-2, leader i1-1, range []
              Stable 1
            > sync b-2 1
              b-2: assigned "y"
              Stable 1
            > wait 9000
              Stable 1
            > beat b-2 1
              b-2: NONE
              Stable 1
            > wait 5000
              PreparingRebalance 1
            > join b as=b-2
              b: joined 2 as b-2, leader b-2, range [b-2:topics]
              CompletingRebalance 2
            > sync b-2 2 b-2=all
              (stored)
              b-2: assigned "all"
              Stable 2
            > show
              members [b-2] leader b-2
              Stable 2
        "#]],
    );
}

#[test]
fn an_assignment_that_cannot_be_stored_is_not_given_out() {
    check(
        "join a
         join b
         wait 6000
         sync b-2 1
         disk full
         sync a-1 1 a-1=x b-2=y
         disk fine
         join a as=a-1
         join b as=b-2
         sync a-1 2 a-1=x b-2=y
         sync b-2 2",
        expect![[r#"
            > join a
              PreparingRebalance 0
            > join b
              PreparingRebalance 0
            > wait 6000
              a: joined 1 as a-1, leader a-1, range [a-1:topics b-2:topics]
              b: joined 1 as b-2, leader a-1, range []
              CompletingRebalance 1
            > sync b-2 1
              CompletingRebalance 1
            > disk full
              CompletingRebalance 1
            > sync a-1 1 a-1=x b-2=y
              (not stored)
              a-1: sync COORDINATOR_NOT_AVAILABLE
              b-2: sync COORDINATOR_NOT_AVAILABLE
              PreparingRebalance 1
            > disk fine
              PreparingRebalance 1
            > join a as=a-1
              PreparingRebalance 1
            > join b as=b-2
              a: joined 2 as a-1, leader a-1, range [a-1:topics b-2:topics]
              b: joined 2 as b-2, leader a-1, range []
              CompletingRebalance 2
            > sync a-1 2 a-1=x b-2=y
              (stored)
              a-1: assigned "x"
              Stable 2
            > sync b-2 2
              b-2: assigned "y"
              Stable 2
        "#]],
    );
}

#[test]
fn a_static_member_whose_new_id_cannot_be_stored_keeps_the_old_one() {
    check(
        "join a instance=i1
         wait 3000
         sync i1-1 1 i1-1=x
         disk full
         join a instance=i1 v=9
         beat i1-1 1 instance=i1
         show",
        expect![[r#"
            > join a instance=i1
              PreparingRebalance 0
            > wait 3000
              a: joined 1 as i1-1, leader i1-1, range [i1-1:topics]
              CompletingRebalance 1
            > sync i1-1 1 i1-1=x
              (stored)
              i1-1: assigned "x"
              Stable 1
            > disk full
              Stable 1
            > join a instance=i1 v=9
              (not stored)
              a: join COORDINATOR_NOT_AVAILABLE 
              Stable 1
            > beat i1-1 1 instance=i1
              i1-1: NONE
              Stable 1
            > show
              members [i1-1] leader i1-1
              Stable 1
        "#]],
    );
}

#[test]
fn commits_are_refused_where_kafka_refuses_them() {
    check(
        "commit - -1
         commit - 3
         commit ghost 0
         join a
         commit - -1
         wait 3000
         commit a-1 1
         sync a-1 1 a-1=x
         commit a-1 1
         commit a-1 0
         commit a-1 1 instance=i1
         commit - -1
         commit ghost 1
         join b
         commit a-1 1
         leave a-1 b-2
         commit - -1",
        expect![[r#"
            > commit - -1
              -: NONE
              Empty 0
            > commit - 3
              -: UNKNOWN_MEMBER_ID
              Empty 0
            > commit ghost 0
              ghost: UNKNOWN_MEMBER_ID
              Empty 0
            > join a
              PreparingRebalance 0
            > commit - -1
              -: UNKNOWN_MEMBER_ID
              PreparingRebalance 0
            > wait 3000
              a: joined 1 as a-1, leader a-1, range [a-1:topics]
              CompletingRebalance 1
            > commit a-1 1
              a-1: REBALANCE_IN_PROGRESS
              CompletingRebalance 1
            > sync a-1 1 a-1=x
              (stored)
              a-1: assigned "x"
              Stable 1
            > commit a-1 1
              a-1: NONE
              Stable 1
            > commit a-1 0
              a-1: ILLEGAL_GENERATION
              Stable 1
            > commit a-1 1 instance=i1
              a-1: UNKNOWN_MEMBER_ID
              Stable 1
            > commit - -1
              -: UNKNOWN_MEMBER_ID
              Stable 1
            > commit ghost 1
              ghost: UNKNOWN_MEMBER_ID
              Stable 1
            > join b
              PreparingRebalance 1
            > commit a-1 1
              a-1: NONE
              PreparingRebalance 1
            > leave a-1 b-2
              a-1: NONE
              b-2: NONE
              b: join UNKNOWN_MEMBER_ID 
              (stored)
              Empty 2
            > commit - -1
              -: NONE
              Empty 2
        "#]],
    );
}

#[test]
fn the_protocol_that_most_members_prefer_among_those_that_all_support_wins() {
    check(
        "join a likes=range,sticky,robin
         join b likes=sticky,range
         join c likes=sticky,range
         join d likes=other
         join e likes=sticky type=connect
         join f likes=
         wait 10000",
        expect![[r#"
            > join a likes=range,sticky,robin
              PreparingRebalance 0
            > join b likes=sticky,range
              PreparingRebalance 0
            > join c likes=sticky,range
              PreparingRebalance 0
            > join d likes=other
              d: join INCONSISTENT_GROUP_PROTOCOL 
              PreparingRebalance 0
            > join e likes=sticky type=connect
              e: join INCONSISTENT_GROUP_PROTOCOL 
              PreparingRebalance 0
            > join f likes=
              f: join INCONSISTENT_GROUP_PROTOCOL 
              PreparingRebalance 0
            > wait 10000
              a: joined 1 as a-1, leader a-1, sticky [a-1:topics b-2:topics c-3:topics]
              b: joined 1 as b-2, leader a-1, sticky []
              c: joined 1 as c-3, leader a-1, sticky []
              CompletingRebalance 1
        "#]],
    );
}

#[test]
fn the_first_generation_waits_longer_while_members_keep_coming() {
    check(
        "join a rebalance=8000
         wait 2000
         join b rebalance=8000
         wait 2000
         join c rebalance=8000
         wait 1900
         wait 3000",
        expect![[r#"
            > join a rebalance=8000
              PreparingRebalance 0
            > wait 2000
              PreparingRebalance 0
            > join b rebalance=8000
              PreparingRebalance 0
            > wait 2000
              PreparingRebalance 0
            > join c rebalance=8000
              PreparingRebalance 0
            > wait 1900
              PreparingRebalance 0
            > wait 3000
              a: joined 1 as a-1, leader a-1, range [a-1:topics b-2:topics c-3:topics]
              b: joined 1 as b-2, leader a-1, range []
              c: joined 1 as c-3, leader a-1, range []
              CompletingRebalance 1
        "#]],
    );
}

#[test]
fn a_group_has_room_for_so_many() {
    check(
        "join a
         join b
         join c
         join d
         wait 12000
         sync a-1 1 a-1=x
         join e
         show",
        expect![[r#"
            > join a
              PreparingRebalance 0
            > join b
              PreparingRebalance 0
            > join c
              PreparingRebalance 0
            > join d
              PreparingRebalance 0
            > wait 12000
              a: joined 1 as a-1, leader a-1, range [a-1:topics b-2:topics c-3:topics d-4:topics]
              b: joined 1 as b-2, leader a-1, range []
              c: joined 1 as c-3, leader a-1, range []
              d: joined 1 as d-4, leader a-1, range []
              CompletingRebalance 1
            > sync a-1 1 a-1=x
              (stored)
              a-1: assigned "x"
              Stable 1
            > join e
              e: join GROUP_MAX_SIZE_REACHED 
              Stable 1
            > show
              members [a-1 b-2 c-3 d-4] leader a-1
              Stable 1
        "#]],
    );
}

#[test]
fn ids_that_were_handed_out_but_never_used_hold_a_rebalance_up_only_for_a_session() {
    check(
        "join a
         wait 3000
         sync a-1 1 a-1=x
         join b v=5 session=6000
         join a as=a-1
         wait 5999
         wait 1
         leave a-1",
        expect![[r#"
            > join a
              PreparingRebalance 0
            > wait 3000
              a: joined 1 as a-1, leader a-1, range [a-1:topics]
              CompletingRebalance 1
            > sync a-1 1 a-1=x
              (stored)
              a-1: assigned "x"
              Stable 1
            > join b v=5 session=6000
              b: join MEMBER_ID_REQUIRED b-2
              Stable 1
            > join a as=a-1
              PreparingRebalance 1
            > wait 5999
              PreparingRebalance 1
            > wait 1
              a: joined 2 as a-1, leader a-1, range [a-1:topics]
              CompletingRebalance 2
            > leave a-1
              a-1: NONE
              (stored)
              Empty 3
        "#]],
    );
}

#[test]
fn a_second_join_of_the_same_member_takes_the_place_of_the_first() {
    check(
        "join a v=5
         join a as=a-1
         join a as=a-1
         wait 3000
         sync a-1 1
         sync a-1 1 a-1=x",
        expect![[r#"
            > join a v=5
              a: join MEMBER_ID_REQUIRED a-1
              Empty 0
            > join a as=a-1
              PreparingRebalance 0
            > join a as=a-1
              a: join REBALANCE_IN_PROGRESS a-1
              PreparingRebalance 0
            > wait 3000
              a: joined 1 as a-1, leader a-1, range [a-1:topics]
              CompletingRebalance 1
            > sync a-1 1
              (stored)
              a-1: assigned ""
              Stable 1
            > sync a-1 1 a-1=x
              a-1: assigned ""
              Stable 1
        "#]],
    );
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
