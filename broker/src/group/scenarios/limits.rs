//! Calls that are refused, choices that are made, and limits that hold.

use expect_test::expect;

use super::check;

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

#[test]
fn a_member_may_say_a_megabyte_about_itself_and_be_assigned_as_much() {
    let (fits, too_long) = ("x".repeat((1 << 20) - "range".len()), "x".repeat((1 << 20) + 1));
    let said = |script: &str| {
        super::Scenario::run(script)
            .said
            .replace(&too_long, "B")
            .replace(&fits, "A")
    };
    expect![[r#"
        > join a says=B
          a: join UNKNOWN_SERVER_ERROR
          Empty 0
        > join a says=A
          PreparingRebalance 0
        > wait 3000
          a: joined 1 as a-2, leader a-2, range [a-2:A]
          CompletingRebalance 1
        > sync a-2 1 a-2=B
          a-2: sync UNKNOWN_SERVER_ERROR
          CompletingRebalance 1
        > sync a-2 1 a-2=A
          (stored)
          a-2: assigned "A"
          Stable 1
    "#]]
    .assert_eq(&said(&format!(
        "join a says={too_long}
         join a says={fits}
         wait 3000
         sync a-2 1 a-2={too_long}
         sync a-2 1 a-2={fits}"
    )));
}
