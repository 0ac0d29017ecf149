//! Asks both clusters the same, compares what they answer, and keeps what differs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use heliostat_broker::supported_apis;
use heliostat_wire::message::{ApiKey, Request};

use crate::{
    allowed,
    rules::normalized,
    side::{Outcome, Side},
    tree::{Difference, Tree, differences},
};

/// Both clusters, and what has been found out.
pub struct Parity {
    pub ours: Side,
    pub kafka: Side,
    kafka_versions: BTreeMap<i16, RangeInclusive<i16>>,
    script: &'static str,
    found: Vec<Found>,
    asked: BTreeSet<(i16, i16)>,
    requests: usize,
    times: Vec<(&'static str, Duration)>,
    started: Instant,
}

/// The answers of both.
#[derive(Debug, Clone)]
pub struct Both<T> {
    pub ours: Outcome<T>,
    pub kafka: Outcome<T>,
}

/// The same difference in one or more versions.
struct Found {
    script: &'static str,
    api: &'static str,
    case: String,
    versions: Vec<i16>,
    difference: Difference,
}

impl Parity {
    pub async fn new(ours: Side, mut kafka: Side) -> Parity {
        let versions = kafka.api_versions().await.api_keys.into_iter();
        Parity {
            ours,
            kafka_versions: versions
                .map(|api| (api.api_key, api.min_version..=api.max_version))
                .collect(),
            kafka,
            script: "",
            found: Vec::new(),
            asked: BTreeSet::new(),
            requests: 0,
            times: Vec::new(),
            started: Instant::now(),
        }
    }

    /// Begins a script, with fresh connections. False if another one was asked for.
    pub fn begin(&mut self, script: &'static str) -> bool {
        self.script = script;
        self.started = Instant::now();
        self.ours.begin();
        self.kafka.begin();
        std::env::var("HELIOSTAT_PARITY").map_or(true, |wanted| script.contains(&wanted))
    }

    /// Ends a script.
    pub fn end(&mut self) {
        self.times.push((self.script, self.started.elapsed()));
    }

    /// How many requests each cluster was asked so far.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// The versions of an API that both answer.
    pub fn versions(&self, api: ApiKey) -> RangeInclusive<i16> {
        let ours = supported_apis().into_iter().find(|ours| ours.key == api.code());
        let ours = ours.unwrap_or_else(|| panic!("{api:?} is not answered")).versions;
        match self.kafka_versions.get(&api.code()) {
            Some(kafka) => *ours.start().max(kafka.start())..=*ours.end().min(kafka.end()),
            None => panic!("Kafka does not answer {api:?}"),
        }
    }

    /// Asks both in every version that both have.
    pub async fn all<R: Request>(&mut self, case: &str, make: impl Fn(&Side, i16) -> R) {
        for version in self.versions(R::KEY) {
            self.at(case, version, |side| make(side, version)).await;
        }
    }

    /// Asks both in the newest version that both have.
    pub async fn newest<R: Request>(&mut self, case: &str, make: impl Fn(&Side) -> R) -> Both<R::Response> {
        let version = *self.versions(R::KEY).end();
        self.at(case, version, make).await
    }

    /// Asks both in this version.
    pub async fn at<R: Request>(
        &mut self,
        case: &str,
        version: i16,
        make: impl Fn(&Side) -> R,
    ) -> Both<R::Response> {
        let ours = make(&self.ours);
        let kafka = make(&self.kafka);
        let ours = self.ours.frame(&ours, version);
        let kafka = self.kafka.frame(&kafka, version);
        self.frames::<R>(case, version, &ours, &kafka).await
    }

    /// Sends both a frame that was broken on purpose.
    pub async fn broken<R: Request>(
        &mut self,
        case: &str,
        version: i16,
        make: impl Fn(&Side) -> R,
        hurt: impl Fn(&mut Vec<u8>),
    ) -> Both<R::Response> {
        let (ours, kafka) = (make(&self.ours), make(&self.kafka));
        let mut frames = [self.ours.frame(&ours, version), self.kafka.frame(&kafka, version)];
        for frame in &mut frames {
            hurt(frame);
            let size = frame.len() as i32 - 4;
            frame[..4].copy_from_slice(&size.to_be_bytes());
        }
        self.frames::<R>(case, version, &frames[0], &frames[1]).await
    }

    /// Asks both for something that may stay without an answer.
    pub async fn silent<R: Request>(&mut self, case: &str, version: i16, make: impl Fn(&Side) -> R) {
        let (ours, kafka) = (make(&self.ours), make(&self.kafka));
        let (ours, kafka) = tokio::join!(
            self.ours.ask_for_silence(&ours, version),
            self.kafka.ask_for_silence(&kafka, version)
        );
        self.compare::<R>(case, version, &Both { ours, kafka }, (true, true));
    }

    /// Lets both sides do something alike that is not compared.
    pub fn each(&mut self, what: impl Fn(&mut Side)) {
        what(&mut self.ours);
        what(&mut self.kafka);
    }

    /// Compares answers that were got in another way.
    pub fn compare_answers<R: Request>(&mut self, case: &str, version: i16, both: &Both<R::Response>) {
        self.compare::<R>(case, version, both, (true, true));
    }

    /// Keeps a text of both answers under a name, for later requests.
    pub fn keep<T: Clone>(&mut self, name: &str, both: &Both<T>, text: impl Fn(T) -> String) {
        for (side, outcome) in [(&mut self.ours, &both.ours), (&mut self.kafka, &both.kafka)] {
            if let Outcome::Answer(answer) = outcome {
                side.note(name, text(answer.clone()));
            }
        }
    }

    /// Looks up the ids of these topics.
    pub async fn learn(&mut self, names: &[&str]) {
        tokio::join!(self.ours.learn(names), self.kafka.learn(names));
    }

    async fn frames<R: Request>(
        &mut self,
        case: &str,
        version: i16,
        ours: &[u8],
        kafka: &[u8],
    ) -> Both<R::Response> {
        let ((ours, our_codec), (kafka, their_codec)) = tokio::join!(
            self.ours.ask_frame::<R>(ours, version),
            self.kafka.ask_frame::<R>(kafka, version)
        );
        let both = Both { ours, kafka };
        self.compare::<R>(case, version, &both, (our_codec, their_codec));
        both
    }

    fn compare<R: Request>(
        &mut self,
        case: &str,
        version: i16,
        both: &Both<R::Response>,
        codec: (bool, bool),
    ) {
        self.requests += 1;
        self.asked.insert((R::KEY.code(), version));
        let (ours, kafka) = (
            tree(&both.ours, &mut self.ours),
            tree(&both.kafka, &mut self.kafka),
        );
        let mut found = differences("", &ours, &kafka);
        if codec != (true, true) {
            let say = |faithful| if faithful { "as it was" } else { "changed" }.to_owned();
            found.push(Difference {
                path: "(written again)".to_owned(),
                ours: say(codec.0),
                kafka: say(codec.1),
            });
        }
        for difference in found {
            self.add(R::KEY.name(), case, version, difference);
        }
    }

    fn add(&mut self, api: &'static str, case: &str, version: i16, difference: Difference) {
        let same = self
            .found
            .iter_mut()
            .rev()
            .find(|found| found.api == api && found.case == case && found.difference == difference);
        match same {
            Some(found) => found.versions.push(version),
            None => self.found.push(Found {
                script: self.script,
                api,
                case: case.to_owned(),
                versions: vec![version],
                difference,
            }),
        }
    }

    /// All that is wrong, as a text; empty if nothing is.
    pub fn report(&self) -> String {
        let mut report = self.differing(&allowed::all(), &[]);
        if std::env::var_os("HELIOSTAT_PARITY").is_none() {
            for missing in self.not_asked() {
                writeln!(report, "no script asks for {missing}").expect("write to a string");
            }
        }
        report
    }

    /// The differences that are not meant, and what is meant and does not differ. What Kafka decides at random may be the
    /// same now and then.
    pub fn differing(&self, every: &[allowed::Allowed], at_random: &[allowed::Allowed]) -> String {
        let mut report = String::new();
        let mut used = vec![false; every.len()];
        for found in &self.found {
            let covering = |(_, allowed): &(usize, &allowed::Allowed)| {
                allowed.covers(found.api, &found.case, &found.difference)
            };
            match every.iter().enumerate().find(covering) {
                Some((index, _)) => used[index] = true,
                None if at_random.iter().any(|allowed| covering(&(0, allowed))) => {}
                None => writeln!(report, "{}", found.text()).expect("write to a string"),
            }
        }
        if std::env::var_os("HELIOSTAT_PARITY").is_some() {
            return report;
        }
        for (allowed, _) in every.iter().zip(used).filter(|(_, used)| !used) {
            writeln!(report, "no answer needs this any more: {allowed}").expect("write to a string");
        }
        report
    }

    /// How long it took, for people.
    pub fn summary(&self) -> String {
        let mut summary = format!("{} requests to each cluster", self.requests);
        for (script, time) in &self.times {
            write!(summary, "\n{script}: {} ms", time.as_millis()).expect("write to a string");
        }
        summary
    }

    /// The versions that both answer and that no script asks for.
    fn not_asked(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for api in supported_apis() {
            if !self.kafka_versions.contains_key(&api.key) {
                missing.push(format!("{}, which Kafka does not have", api.name));
                continue;
            }
            let versions = self.versions(ApiKey::from_code(api.key).expect("an API that we answer"));
            let unasked: Vec<i16> = versions
                .filter(|version| !self.asked.contains(&(api.key, *version)))
                .collect();
            if !unasked.is_empty() {
                missing.push(format!("{} {unasked:?}", api.name));
            }
        }
        missing
    }
}

impl Found {
    fn text(&self) -> String {
        let Difference { path, ours, kafka } = &self.difference;
        format!(
            "{} {:?}, {} ({}):\n    {path}\n      ours:  {ours}\n      Kafka: {kafka}",
            self.api, self.versions, self.case, self.script
        )
    }
}

fn tree<T: std::fmt::Debug>(outcome: &Outcome<T>, side: &mut Side) -> Tree {
    match outcome {
        Outcome::Answer(answer) => normalized(&Tree::of(answer), side),
        Outcome::Silence => Tree::leaf("(nothing)"),
        Outcome::Closed => Tree::leaf("(the connection is closed)"),
    }
}
