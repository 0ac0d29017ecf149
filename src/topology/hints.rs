//! What to say to a key that does not exist where it stands.

use super::keys;
use super::problem::ProblemKind;
use super::suggest::nearest;

/// Keys of the design that this version does not have yet, and what that means for the user now.
const NOT_YET: [(&str, &str); 4] = [
    (
        "groups",
        "this version does not copy consumer groups; leave the key out",
    ),
    (
        "sync",
        "this version does not synchronise configs, ACLs or groups; leave the key out",
    ),
    ("acls", "this version does not copy ACLs; leave the key out"),
    (
        "configs",
        "this version does not synchronise configs; leave the key out",
    ),
];

const CLUSTER_KEYS: [&str; 2] = ["bootstrap_servers", "built_in"];

/// Where keys belong that are often written beside the map they are of: the keys of where they stand, their own, and what to say.
const MISPLACED: [(&[&str], &[&str], &str); 5] = [
    (
        keys::CLUSTER,
        keys::BUILT_IN,
        "belongs in `built_in`: write `built_in: { port: 19092, … }`",
    ),
    (
        keys::CLUSTER,
        keys::BUILT_IN_SASL,
        "belongs in `sasl` of `built_in`: write `built_in: { port: 19092, sasl: { users: { mirror: { env: NAME } } } }`",
    ),
    (
        keys::CLUSTER,
        keys::SECURITY,
        "belongs in `security`: write `security: { protocol: SASL_SSL, … }`",
    ),
    (
        keys::BUILT_IN,
        keys::BUILT_IN_SASL,
        "belongs in `sasl`: write `sasl: { users: { mirror: { env: NAME } } }`",
    ),
    (
        keys::BUILT_IN,
        keys::CLUSTER,
        "belongs to the cluster: put it beside `built_in`, not into it",
    ),
];

/// The kind of problem that an unknown key is, and what to write instead.
///
/// The last part is the key that was meant, if that can be told.
pub(super) fn for_key(key: &str, known: &[&'static str]) -> (ProblemKind, String, Option<&'static str>) {
    if let Some((_, hint)) = NOT_YET.iter().find(|(name, _)| *name == key) {
        return (ProblemKind::NotYet, (*hint).to_owned(), None);
    }
    let at_top = known.contains(&"layout");
    let meant = nearest(key, known.iter().copied());
    let help = if let Some(meant) = meant {
        format!("did you mean `{meant}`?")
    } else if at_top && keys::FLOW.contains(&key) {
        format!("`{key}` is a setting of flows: put it under `defaults`, or into one of the `flows`")
    } else if at_top && CLUSTER_KEYS.contains(&key) {
        format!("`{key}` belongs to a cluster: put it under `clusters` and the cluster's alias")
    } else if let Some((_, _, belongs)) = MISPLACED
        .iter()
        .find(|(here, there, _)| *here == known && there.contains(&key))
    {
        format!("`{key}` {belongs}")
    } else {
        let keys: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
        format!("the keys here are {}", keys.join(", "))
    };
    (ProblemKind::UnknownKey, help, meant)
}
