//! What outlives a member's connection or the coordinator: static members, restarts, stores that fail.

use expect_test::expect;

use super::check;

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
