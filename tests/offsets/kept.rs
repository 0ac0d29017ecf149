//! What the map keeps: of topics that were deleted and made again, and of a source that is away.

use super::*;

#[test]
fn a_source_that_is_away_is_needed_for_its_groups_only() {
    let Rig {
        primary,
        standby: _standby,
        file,
        directory,
        _clusters: [source, _target],
    } = Rig::start("");
    primary.create_topic(TOPIC, 1, &[]);
    primary.produce(TOPIC, &values("v", 0, 10), Producing::default());
    let mut daemon = Daemon::start(&file);
    wait_for(LIMIT, "all is copied", || {
        let flow = daemon.flow("primary->standby");
        let position = flow
            .partitions
            .first()
            .and_then(|partition| partition.target_position);
        if position == Some(10) {
            Ok(())
        } else {
            Err(format!("{position:?}"))
        }
    });
    assert_eq!(daemon.stop(END).code(), Some(0));
    source.stop();
    let run = |arguments: &[&str]| {
        let all = [&["offsets", "t.yaml", "--log-level", "error"], arguments].concat();
        let output = heliostat(&all, Some(directory.path()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = run(&["--topic", TOPIC, "--partition", "0", "--offset", "7", "-o", "csv"]);
    assert_eq!((code, out.as_str()), (Some(0), "primary.orders,0,7\n"), "{err}");
    assert!(err.contains("note: cluster primary"), "{err}");
    let (code, _, err) = run(&["--group", "billing"]);
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains("cluster primary"), "{err}");
}

#[test]
fn a_topic_that_was_deleted_and_made_again_is_not_the_one_before() {
    let rig = Rig::start(", on_recreated: follow");
    rig.primary.create_topic(TOPIC, 1, &[]);
    rig.primary
        .produce(TOPIC, &values("old", 0, 10), Producing::default());
    let mut daemon = Daemon::start(&rig.file);
    rig.copy(&mut daemon, TOPIC);
    rig.primary.delete_topic(TOPIC);
    rig.primary.create_topic(TOPIC, 1, &[]);
    rig.primary
        .produce(TOPIC, &values("new", 0, 20), Producing::default());
    // Nothing of the new one is copied: its first record will be behind those of the old one.
    let end = rig.standby.end_offsets(MIRROR)[0];
    let said = rig.all(TOPIC, 0, 20, &[]);
    assert!(
        said.values()
            .all(|said| *said == ("beyond what is copied".to_owned(), end)),
        "{said:?}"
    );
    let (code, _, err) = rig.offsets(&[
        "--reverse",
        "--topic",
        MIRROR,
        "--partition",
        "0",
        "--offset",
        "3",
    ]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("was deleted and made again"), "{err}");
    daemon.restart();
    rig.copy(&mut daemon, TOPIC);
    rig.expect_true(0);
    let back = rig.all(MIRROR, 0, end - 1, &["--reverse"]);
    assert!(
        back.values()
            .all(|said| *said == ("before the mirror".to_owned(), 0)),
        "{back:?}"
    );

    // The same for the mirror.
    rig.standby.delete_topic(MIRROR);
    daemon.restart();
    rig.copy(&mut daemon, TOPIC);
    rig.expect_true(0);
}
