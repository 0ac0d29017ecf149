//! Access rules, SASL and passwords, on listeners on which nobody has to say who they are.

use bytes::Bytes;
use heliostat_wire::message::{
    AlterUserScramCredentialsRequest, CreateAclsRequest, DeleteAclsRequest,
    DescribeUserScramCredentialsRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
    alter_user_scram_credentials::{ScramCredentialDeletion, ScramCredentialUpsertion},
    create_acls::AclCreation,
    delete_acls::DeleteAclsFilter,
    describe_user_scram_credentials::UserName,
};

use crate::harness::Parity;

pub const SHA_256: i8 = 1;
pub const SHA_512: i8 = 2;

pub async fn creating_acls(p: &mut Parity) {
    let rule = || AclCreation {
        resource_type: 2,
        resource_name: "guarded".to_owned(),
        principal: "User:alice".to_owned(),
        host: "*".to_owned(),
        operation: 3,
        permission_type: 3,
        ..Default::default()
    };
    let cases = [
        ("nothing", vec![]),
        ("one", vec![rule()]),
        ("two", vec![rule(), rule()]),
        (
            "all prefixed",
            vec![with(rule(), |rule| rule.resource_pattern_type = 4)],
        ),
        (
            "without a resource",
            vec![with(rule(), |rule| rule.resource_name.clear())],
        ),
        (
            "without a principal",
            vec![with(rule(), |rule| rule.principal.clear())],
        ),
        (
            "a principal without a type",
            vec![with(rule(), |rule| rule.principal = "alice".to_owned())],
        ),
        ("without a host", vec![with(rule(), |rule| rule.host.clear())]),
        ("any resource", vec![with(rule(), |rule| rule.resource_type = 1)]),
        (
            "a resource of type 0",
            vec![with(rule(), |rule| rule.resource_type = 0)],
        ),
        (
            "a resource of type 99",
            vec![with(rule(), |rule| rule.resource_type = 99)],
        ),
        (
            "any pattern",
            vec![with(rule(), |rule| rule.resource_pattern_type = 1)],
        ),
        (
            "pattern 0",
            vec![with(rule(), |rule| rule.resource_pattern_type = 0)],
        ),
        ("operation 0", vec![with(rule(), |rule| rule.operation = 0)]),
        ("operation 99", vec![with(rule(), |rule| rule.operation = 99)]),
        (
            "permission 0",
            vec![with(rule(), |rule| rule.permission_type = 0)],
        ),
        (
            "any permission",
            vec![with(rule(), |rule| rule.permission_type = 1)],
        ),
    ];
    for (case, creations) in cases {
        let request = CreateAclsRequest { creations };
        p.all(&format!("creating: {case}"), |_, _| request.clone()).await;
    }
}

pub async fn deleting_acls(p: &mut Parity) {
    let filter = || DeleteAclsFilter {
        resource_type_filter: 2,
        resource_name_filter: Some("guarded".to_owned()),
        principal_filter: Some("User:alice".to_owned()),
        host_filter: None,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    let cases = [
        ("nothing", vec![]),
        ("some", vec![filter()]),
        ("some twice", vec![filter(), filter()]),
        (
            "all",
            vec![DeleteAclsFilter {
                resource_type_filter: 1,
                pattern_type_filter: 1,
                operation: 1,
                permission_type: 1,
                ..Default::default()
            }],
        ),
        (
            "what matches",
            vec![with(filter(), |filter| filter.pattern_type_filter = 2)],
        ),
        (
            "a resource of type 0",
            vec![with(filter(), |filter| filter.resource_type_filter = 0)],
        ),
        (
            "a resource of type 99",
            vec![with(filter(), |filter| filter.resource_type_filter = 99)],
        ),
        (
            "pattern 0",
            vec![with(filter(), |filter| filter.pattern_type_filter = 0)],
        ),
        ("operation 0", vec![with(filter(), |filter| filter.operation = 0)]),
        (
            "permission 99",
            vec![with(filter(), |filter| filter.permission_type = 99)],
        ),
    ];
    for (case, filters) in cases {
        let request = DeleteAclsRequest { filters };
        p.all(&format!("deleting: {case}"), |_, _| request.clone()).await;
    }
}

pub async fn sasl(p: &mut Parity) {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "GSSAPI", "nonsense", ""] {
        p.all(&format!("the mechanism {mechanism:?}"), |_, _| {
            SaslHandshakeRequest {
                mechanism: mechanism.to_owned(),
            }
        })
        .await;
    }
    for auth_bytes in ["", "\0alice\0secret", "n,,n=alice,r=nonce"] {
        p.all(&format!("the first step {auth_bytes:?}"), |_, _| {
            SaslAuthenticateRequest {
                auth_bytes: Bytes::from_static(auth_bytes.as_bytes()),
            }
        })
        .await;
    }
}

pub async fn passwords(p: &mut Parity) {
    let ask = |users: Option<&[&str]>| DescribeUserScramCredentialsRequest {
        users: users.map(|users| {
            let user = |name: &&str| UserName {
                name: (*name).to_owned(),
            };
            users.iter().map(user).collect()
        }),
    };
    let altering: Vec<(&str, Vec<ScramCredentialDeletion>, Vec<ScramCredentialUpsertion>)> = vec![
        ("nothing", vec![], vec![]),
        (
            "two set",
            vec![],
            vec![set("alice", SHA_256), set("bob", SHA_512)],
        ),
        (
            "both of one, one after the other",
            vec![],
            vec![set("alice", SHA_512)],
        ),
        (
            "set again",
            vec![],
            vec![with(set("alice", SHA_512), |set| set.iterations = 8192)],
        ),
        (
            "set twice",
            vec![],
            vec![set("carol", SHA_256), set("carol", SHA_256)],
        ),
        (
            "both set",
            vec![],
            vec![set("carol", SHA_256), set("carol", SHA_512)],
        ),
        (
            "set and removed",
            vec![remove("alice", SHA_256)],
            vec![set("alice", SHA_256)],
        ),
        (
            "set and another removed",
            vec![remove("alice", SHA_256)],
            vec![set("alice", SHA_512)],
        ),
        (
            "few iterations",
            vec![],
            vec![with(set("dave", SHA_256), |set| set.iterations = 4095)],
        ),
        (
            "too few for one, good for another",
            vec![],
            vec![
                with(set("dave", SHA_256), |set| set.iterations = 1),
                set("erin", SHA_256),
            ],
        ),
        (
            "most iterations",
            vec![],
            vec![with(set("frank", SHA_256), |set| set.iterations = 16_384)],
        ),
        (
            "many iterations",
            vec![],
            vec![with(set("dave", SHA_256), |set| set.iterations = 16_385)],
        ),
        (
            "negative iterations",
            vec![],
            vec![with(set("dave", SHA_256), |set| set.iterations = -1)],
        ),
        ("no name", vec![remove("", SHA_256)], vec![]),
        ("no name set", vec![], vec![set("", SHA_256)]),
        ("a strange name", vec![], vec![set("a b=c,é\"", SHA_256)]),
        ("mechanism 0", vec![remove("alice", 0)], vec![set("bob", 0)]),
        ("mechanism 99", vec![remove("alice", 99)], vec![set("bob", 99)]),
        ("mechanism -1", vec![remove("alice", -1)], vec![set("bob", -1)]),
        (
            "no salt",
            vec![],
            vec![with(set("grace", SHA_256), |set| set.salt = Bytes::new())],
        ),
        (
            "no password",
            vec![],
            vec![with(set("heidi", SHA_256), |set| {
                set.salted_password = Bytes::new()
            })],
        ),
        (
            "short",
            vec![],
            vec![with(set("ivan", SHA_256), |set| {
                set.salt = Bytes::from_static(b"s");
                set.salted_password = Bytes::from_static(b"p");
            })],
        ),
        ("none to remove", vec![remove("nobody", SHA_256)], vec![]),
        ("the other removed", vec![remove("bob", SHA_256)], vec![]),
        (
            "removed twice",
            vec![remove("bob", SHA_512), remove("bob", SHA_512)],
            vec![],
        ),
        (
            "a bad one twice",
            vec![remove("nobody", SHA_256), remove("nobody", SHA_256)],
            vec![],
        ),
        (
            "a bad one and a good one",
            vec![remove("bob", SHA_256)],
            vec![set("bob", SHA_512)],
        ),
        (
            "removed",
            vec![remove("bob", SHA_512), remove("alice", SHA_256)],
            vec![],
        ),
    ];
    p.all("describing nobody yet", |_, _| ask(None)).await;
    for (case, deletions, upsertions) in altering {
        let request = AlterUserScramCredentialsRequest {
            deletions,
            upsertions,
        };
        p.all(case, |_, _| request.clone()).await;
        p.caught_up().await;
        p.all(&format!("describing after: {case}"), |_, _| ask(None))
            .await;
    }
    p.all("describing: none", |_, _| ask(Some(&[]))).await;
    p.all("describing: some", |_, _| ask(Some(&["alice", "bob", "nobody"])))
        .await;
    p.all("describing: one twice", |_, _| ask(Some(&["alice", "alice"])))
        .await;
    p.all("describing: twice, another, and nobody twice", |_, _| {
        ask(Some(&["alice", "alice", "erin", "nobody", "nobody"]))
    })
    .await;
    p.all("describing: no name", |_, _| ask(Some(&[""]))).await;
}

pub fn set(name: &str, mechanism: i8) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion {
        name: name.to_owned(),
        mechanism,
        iterations: 4096,
        salt: Bytes::from_static(b"0123456789abcdef"),
        salted_password: Bytes::from_static(b"0123456789abcdef0123456789abcdef"),
    }
}

pub fn remove(name: &str, mechanism: i8) -> ScramCredentialDeletion {
    ScramCredentialDeletion {
        name: name.to_owned(),
        mechanism,
    }
}

fn with<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut value);
    value
}
