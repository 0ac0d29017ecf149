//! Members that come, share, fall silent and leave.

use expect_test::expect;

use super::check;

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
