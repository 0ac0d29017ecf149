//! temp
#![allow(missing_docs)]
use std::{path::PathBuf, net::{IpAddr, SocketAddr}, collections::BTreeMap, time::Duration};
use crate::policy;
pub struct Topology { pub file: PathBuf, pub name: String, pub clusters: Vec<Cluster>, pub flows: Vec<Flow>, pub http: Http }
#[derive(Clone, Debug)]
pub struct Cluster { pub alias: String, pub kind: ClusterKind, pub security: Option<Security>, pub properties: BTreeMap<String, String> }
#[derive(Clone, Debug)]
pub enum ClusterKind { BuiltIn(BuiltIn), Existing { bootstrap_servers: Vec<String> } }
#[derive(Clone, Debug)]
pub struct BuiltIn { pub host: IpAddr, pub port: u16, pub brokers: u16, pub data: Option<PathBuf>, pub properties: BTreeMap<String, String> }
#[derive(Clone, Debug)]
pub struct Flow { pub name: String, pub source: String, pub target: String, pub topics: policy::TopicFilter, pub naming: policy::Naming, pub on_gap: OnGap, pub on_recreated: OnRecreated, pub replication_factor: Option<i16>, pub discovery_interval: Duration, pub session_timeout: Duration, pub limits: Limits }
#[derive(Clone, Debug)]
pub struct Limits { pub in_flight_bytes: u64, pub bytes_per_second: Option<u64> }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnGap { Record, Halt }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRecreated { Halt, Follow }
pub struct Http { pub listen: SocketAddr }
#[derive(Clone, Debug)]
pub struct Security;
impl Security { pub fn client_properties(&self) -> Vec<(String, String)> { vec![] } }
