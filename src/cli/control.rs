//! What the HTTP server does to built-in clusters: nodes, leaders and faults.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use heliostat_broker::{
    Control, ControlError, Fault, FaultError, FaultStatus, Isolation, NodeState, NodeStatus, supported_apis,
};
use heliostat_wire::ErrorCode;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::observe::http::{self, ControlAnswer, ControlRequest};
use crate::topology::nearest;

/// A built-in cluster as the HTTP server shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterView {
    /// Its alias in the topology.
    pub name: String,
    /// Its nodes, by id.
    pub brokers: Vec<BrokerView>,
    /// The faults that were asked for.
    pub faults: Vec<FaultStatus>,
}

/// A node as the HTTP server shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerView {
    /// Its id.
    pub id: i32,
    /// Where it listens, or would.
    pub address: SocketAddr,
    /// `up`, `stopped`, `silent` or `refuses`.
    pub state: String,
    /// Whether the cluster counts on it.
    pub live: bool,
    /// Whether it is said to be the controller.
    pub controller: bool,
    /// Partitions that it leads.
    pub leads: usize,
    /// Partitions with a replica on it.
    pub replicas: usize,
    /// Of those, the ones in which it is in sync.
    pub in_sync: usize,
}

/// How a node is to be isolated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IsolateBody {
    /// Connections are cut and refused; otherwise they stay, and nothing is answered.
    pub refuse: bool,
    /// When the rest of the cluster notices; never if it is left out.
    pub noticed_after_ms: Option<u64>,
}

/// Which node is to lead a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaderBody {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The node.
    pub broker: i32,
}

/// Which replica is to be out of sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsrBody {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The node whose replica falls behind; none lets all be in sync again.
    pub remove: Option<i32>,
}

/// When the rest of a cluster notices at the latest that a node is isolated.
const NOTICED_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The built-in clusters of a process, under their names, as the HTTP server needs them. `open`: other machines may ask too.
pub fn serve(clusters: Vec<(String, Control)>, open: bool) -> http::Control {
    let clusters = Arc::new(clusters);
    http::Control {
        answer: Arc::new(move |request| {
            let clusters = clusters.clone();
            Box::pin(async move {
                answer(&clusters, request)
                    .await
                    .unwrap_or_else(|Refused(code, message)| ControlAnswer::error(code, message))
            })
        }),
        open,
    }
}

/// A status code, and a text for people.
struct Refused(StatusCode, String);

type Answered = Result<ControlAnswer, Refused>;

async fn answer(clusters: &[(String, Control)], request: ControlRequest) -> Answered {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let Some((name, rest)) = path.split_first() else {
        if request.method != Method::GET {
            return Err(not_allowed("GET"));
        }
        let mut views = Vec::with_capacity(clusters.len());
        for (name, control) in clusters {
            views.push(view(name, control).await);
        }
        return fine(&views);
    };
    let Some((_, control)) = clusters.iter().find(|(known, _)| known == name) else {
        let known: Vec<&str> = clusters.iter().map(|(name, _)| name.as_str()).collect();
        let message = format!(
            "there is no built-in cluster {name:?}, only: {}",
            known.join(", ")
        );
        return Err(Refused(StatusCode::NOT_FOUND, message));
    };
    match rest {
        [] if request.method == Method::GET => fine(&view(name, control).await),
        [] => Err(not_allowed("GET")),
        ["brokers", id, action] => broker(control, id, action, &request).await,
        ["leaders"] => {
            post(&request)?;
            let body: LeaderBody = parse(&request)?;
            control
                .move_leader(&body.topic, body.partition, body.broker)
                .await?;
            partition(control, &body.topic, body.partition)
        }
        ["isr"] => {
            post(&request)?;
            let body: IsrBody = parse(&request)?;
            match body.remove {
                Some(node) => control.shrink_isr(&body.topic, body.partition, node).await?,
                None => control.restore_isr(&body.topic, body.partition).await?,
            }
            partition(control, &body.topic, body.partition)
        }
        ["faults", rest @ ..] => faults(control, rest, &request),
        _ => Err(Refused(
            StatusCode::NOT_FOUND,
            "there is no such path; see docs/faults.md".to_owned(),
        )),
    }
}

/// How a partition is now.
fn partition(control: &Control, topic: &str, partition: i32) -> Answered {
    let (leader, in_sync) = control.partition(topic, partition)?;
    fine(&json!({ "leader": leader, "in_sync": in_sync }))
}

async fn broker(control: &Control, id: &str, action: &str, request: &ControlRequest) -> Answered {
    post(request)?;
    let id: i32 = id
        .parse()
        .map_err(|_| Refused(StatusCode::BAD_REQUEST, format!("{id:?} is no broker's id")))?;
    match action {
        "stop" => control.stop_node(id).await?,
        "start" => control.start_node(id).await?,
        "isolate" => {
            let body: IsolateBody = if request.body.is_empty() {
                IsolateBody::default()
            } else {
                parse(request)?
            };
            let isolation = if body.refuse {
                Isolation::Refuses
            } else {
                Isolation::Silent
            };
            let noticed = body.noticed_after_ms.map(Duration::from_millis);
            if noticed.is_some_and(|noticed| noticed > NOTICED_AFTER_MAX) {
                let message = format!("noticed_after_ms is at most {}", NOTICED_AFTER_MAX.as_millis());
                return Err(Refused(StatusCode::BAD_REQUEST, message));
            }
            control.isolate_node(id, isolation, noticed).await?;
        }
        _ => {
            let message = format!("a broker can stop, start and isolate, not {action:?}");
            return Err(Refused(StatusCode::NOT_FOUND, message));
        }
    }
    done()
}

fn faults(control: &Control, path: &[&str], request: &ControlRequest) -> Answered {
    match (path, &request.method) {
        ([], &Method::GET) => fine(&control.faults()),
        ([], &Method::POST) => {
            let fault: Fault = parse(request)?;
            let id = control.add_fault(fault)?;
            Ok(ControlAnswer {
                code: StatusCode::CREATED,
                body: json!({ "id": id }),
            })
        }
        ([], &Method::DELETE) => fine(&json!({ "removed": control.clear_faults() })),
        ([id], &Method::DELETE) => {
            let id = id
                .parse()
                .map_err(|_| Refused(StatusCode::BAD_REQUEST, format!("{id:?} is no fault's id")))?;
            control.remove_fault(id)?;
            done()
        }
        ([], _) => Err(not_allowed("GET, POST and DELETE")),
        _ => Err(not_allowed("DELETE")),
    }
}

async fn view(name: &str, control: &Control) -> ClusterView {
    ClusterView {
        name: name.to_owned(),
        brokers: control.nodes().await.into_iter().map(BrokerView::from).collect(),
        faults: control.faults(),
    }
}

impl From<NodeStatus> for BrokerView {
    fn from(node: NodeStatus) -> BrokerView {
        let state = match node.state {
            NodeState::Up => "up",
            NodeState::Stopped => "stopped",
            NodeState::Isolated {
                isolation: Isolation::Silent,
                ..
            } => "silent",
            NodeState::Isolated {
                isolation: Isolation::Refuses,
                ..
            } => "refuses",
        };
        BrokerView {
            id: node.id,
            address: node.address,
            state: state.to_owned(),
            live: node.live,
            controller: node.controller,
            leads: node.leads,
            replicas: node.replicas,
            in_sync: node.in_sync,
        }
    }
}

impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Refused {
        let code = match error {
            ControlError::UnknownNode { .. } | ControlError::UnknownPartition { .. } => StatusCode::NOT_FOUND,
            ControlError::NotPossible(_) => StatusCode::CONFLICT,
            ControlError::Listen { .. } | ControlError::NotWritten(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refused(code, error.to_string())
    }
}

impl From<FaultError> for Refused {
    fn from(error: FaultError) -> Refused {
        let code = match error {
            FaultError::Wrong(_) | FaultError::NoError(_) | FaultError::NoApi(_) => StatusCode::BAD_REQUEST,
            FaultError::There { .. } | FaultError::TooMany => StatusCode::CONFLICT,
            FaultError::Unknown(_) => StatusCode::NOT_FOUND,
        };
        let meant = match &error {
            FaultError::NoError(text) => {
                nearest(text, ErrorCode::ALL.iter().skip(1).map(|error| error.name())).map(str::to_owned)
            }
            FaultError::NoApi(text) => {
                let apis = supported_apis();
                nearest(text, apis.iter().map(|api| api.name)).map(str::to_owned)
            }
            _ => None,
        };
        let meant = meant.map(|meant| format!("; did you mean {meant}?"));
        Refused(code, format!("{error}{}", meant.unwrap_or_default()))
    }
}

fn post(request: &ControlRequest) -> Result<(), Refused> {
    if request.method == Method::POST {
        Ok(())
    } else {
        Err(not_allowed("POST"))
    }
}

fn not_allowed(methods: &str) -> Refused {
    Refused(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("only {methods} is possible here"),
    )
}

fn parse<T: DeserializeOwned>(request: &ControlRequest) -> Result<T, Refused> {
    serde_json::from_slice(&request.body).map_err(|error| {
        Refused(
            StatusCode::BAD_REQUEST,
            format!("the body cannot be read: {error}"),
        )
    })
}

fn fine(body: &impl Serialize) -> Answered {
    let body = serde_json::to_value(body);
    let body = body.map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(ControlAnswer {
        code: StatusCode::OK,
        body,
    })
}

fn done() -> Answered {
    fine(&json!({}))
}
