//! Both generations of the protocol, held against what Apache Kafka answers: with `HELIOSTAT_TEST_KAFKA` the same scripts
//! run against that broker.

use expect_test::expect;

use super::script::check;

#[tokio::test]
async fn the_first_generation_commits_and_aborts_as_in_kafka() {
    check(
        "init v=4
         describe
         put 0 0 v=9
         put 0 0 v=11
         put 0 0 v=9 noid=true
         add 0 1 v=0
         add 0 v=4 verify=true
         add 2 v=4 verify=true
         describe
         put 0 0 v=9
         put 0 1 v=9 count=2
         put 2 0 v=9
         put 0 3 v=9 plain=true
         read 0
         latest 0
         producers 0
         end commit v=1
         until CompleteCommit
         describe
         read 0
         latest 0
         read 1
         producers 0
         end commit v=1
         end abort v=1
         put 0 3 v=9 plain=true
         add 0 v=3
         put 0 4 v=9
         end abort v=4
         until CompleteAbort
         read 0
         read 0 from=5
         end abort v=4
         end commit v=4
         list
         list state=CompleteAbort
         list state=Ongoing
         list state=Nonsense
         list like=id-.*
         list like=id
         list like=(
         list longer=100000",
        expect![[r#"
            > init v=4
              NONE (0) P1 epoch 0
            > describe
              NONE (0) Empty P1 epoch 0 timeout 60000 started never
            > put 0 0 v=9
              INVALID_TXN_STATE (48) at -1
            > put 0 0 v=11
              TRANSACTION_ABORTABLE (120) at -1
            > put 0 0 v=9 noid=true
              TRANSACTIONAL_ID_AUTHORIZATION_FAILED (53) at -1
            > add 0 1 v=0
              partition 0 NONE (0)
              partition 1 NONE (0)
            > add 0 v=4 verify=true
              partition 0 NONE (0)
            > add 2 v=4 verify=true
              partition 2 TRANSACTION_ABORTABLE (120)
            > describe
              NONE (0) Ongoing P1 epoch 0 timeout 60000 started once [0, 1]
            > put 0 0 v=9
              NONE (0) at 0
            > put 0 1 v=9 count=2
              NONE (0) at 1
            > put 2 0 v=9
              INVALID_TXN_STATE (48) at -1
            > put 0 3 v=9 plain=true
              INVALID_TXN_STATE (48) at -1
            > read 0
              NONE (0) stable 0 of 3
            > latest 0
              3 0
            > producers 0
              NONE (0)
              P1 epoch 0 sequence 2 open from 0 no coordinator
            > end commit v=1
              NONE (0)
            > until CompleteCommit
            > describe
              NONE (0) CompleteCommit P1 epoch 0 timeout 60000 started once
            > read 0
              NONE (0) stable 4 of 4
              0 to 0 transactional P1 epoch 0
              1 to 2 transactional P1 epoch 0
              3 to 3 marker P1 epoch 0
            > latest 0
              4 4
            > read 1
              NONE (0) stable 1 of 1
              0 to 0 marker P1 epoch 0
            > producers 0
              NONE (0)
              P1 epoch 0 sequence 2 open from -1 a coordinator
            > end commit v=1
              NONE (0)
            > end abort v=1
              INVALID_TXN_STATE (48)
            > put 0 3 v=9 plain=true
              NONE (0) at 4
            > add 0 v=3
              partition 0 NONE (0)
            > put 0 4 v=9
              NONE (0) at 5
            > end abort v=4
              NONE (0)
            > until CompleteAbort
            > read 0
              NONE (0) stable 7 of 7
              0 to 0 transactional P1 epoch 0
              1 to 2 transactional P1 epoch 0
              3 to 3 marker P1 epoch 0
              4 to 4 plain P1 epoch 0
              5 to 5 transactional P1 epoch 0
              6 to 6 marker P1 epoch 0
              aborted: P1 from 5
            > read 0 from=5
              NONE (0) stable 7 of 7
              5 to 5 transactional P1 epoch 0
              6 to 6 marker P1 epoch 0
              aborted: P1 from 5
            > end abort v=4
              NONE (0)
            > end commit v=4
              INVALID_TXN_STATE (48)
            > list
              NONE (0) ["CompleteAbort"] unknown []
            > list state=CompleteAbort
              NONE (0) ["CompleteAbort"] unknown []
            > list state=Ongoing
              NONE (0) [] unknown []
            > list state=Nonsense
              NONE (0) [] unknown ["Nonsense"]
            > list like=id-.*
              NONE (0) ["CompleteAbort"] unknown []
            > list like=id
              NONE (0) [] unknown []
            > list like=(
              INVALID_REGULAR_EXPRESSION (128) [] unknown []
            > list longer=100000
              NONE (0) [] unknown []
        "#]],
    )
    .await;
}

#[tokio::test]
async fn the_second_generation_gets_an_epoch_with_each_end_as_in_kafka() {
    check(
        "init
         put 0 0
         describe
         put 0 1
         put 1 0
         put 2 5
         end commit
         until CompleteCommit
         describe
         read 0
         read 2
         put 0 0 epoch=-1
         put 0 0
         end abort
         until CompleteAbort
         read 0
         end abort epoch=-1
         until CompleteAbort
         end commit epoch=-1
         end commit
         end abort
         until CompleteAbort
         describe
         put 0 7
         put 0 0
         end commit epoch=-1
         end commit epoch=+1
         end commit
         until CompleteCommit
         producers 0
         latest 0",
        expect![[r#"
            > init
              NONE (0) P1 epoch 0
            > put 0 0
              NONE (0) at 0
            > describe
              NONE (0) Ongoing P1 epoch 0 timeout 60000 started once [0]
            > put 0 1
              NONE (0) at 1
            > put 1 0
              NONE (0) at 0
            > put 2 5
              OUT_OF_ORDER_SEQUENCE_NUMBER (45) at -1
            > end commit
              NONE (0) P1 epoch 1
            > until CompleteCommit
            > describe
              NONE (0) CompleteCommit P1 epoch 1 timeout 60000 started once
            > read 0
              NONE (0) stable 3 of 3
              0 to 0 transactional P1 epoch 0
              1 to 1 transactional P1 epoch 0
              2 to 2 marker P1 epoch 1
            > read 2
              NONE (0) stable 1 of 1
              0 to 0 marker P1 epoch 1
            > put 0 0 epoch=-1
              INVALID_PRODUCER_EPOCH (47) at -1
            > put 0 0
              NONE (0) at 3
            > end abort
              NONE (0) P1 epoch 2
            > until CompleteAbort
            > read 0
              NONE (0) stable 5 of 5
              0 to 0 transactional P1 epoch 0
              1 to 1 transactional P1 epoch 0
              2 to 2 marker P1 epoch 1
              3 to 3 transactional P1 epoch 1
              4 to 4 marker P1 epoch 2
              aborted: P1 from 3
            > end abort epoch=-1
              NONE (0) P1 epoch 2
            > until CompleteAbort
            > end commit epoch=-1
              INVALID_TXN_STATE (48) -1 epoch -1
            > end commit
              INVALID_TXN_STATE (48) -1 epoch -1
            > end abort
              NONE (0) P1 epoch 3
            > until CompleteAbort
            > describe
              NONE (0) CompleteAbort P1 epoch 3 timeout 60000 started once
            > put 0 7
              OUT_OF_ORDER_SEQUENCE_NUMBER (45) at -1
            > put 0 0
              NONE (0) at 5
            > end commit epoch=-1
              PRODUCER_FENCED (90) -1 epoch -1
            > end commit epoch=+1
              PRODUCER_FENCED (90) -1 epoch -1
            > end commit
              NONE (0) P1 epoch 4
            > until CompleteCommit
            > producers 0
              NONE (0)
              P1 epoch 4 sequence -1 open from -1 a coordinator
            > latest 0
              7 7
        "#]],
    )
    .await;
}

#[tokio::test]
async fn offsets_are_part_of_transactions_as_in_kafka() {
    check(
        "init
         commit 5 v=3
         commit 5 v=4
         group
         describe
         commit 5 v=3
         offsets
         offsets stable=true
         end commit v=4
         until CompleteCommit
         offsets
         offsets stable=true
         commit 9
         describe
         offsets stable=true
         end abort
         until CompleteAbort
         offsets stable=true
         commit 7 epoch=-1
         commit 7 epoch=-1 v=3
         commit 7 pid=12345
         commit 7 id=nobody
         commit 7 topic=nosuch
         commit 7 group=
         commit 7 generation=3 member=ghost
         commit 7 group=absent generation=3
         commit 8
         end commit
         until CompleteCommit
         offsets stable=true",
        expect![[r#"
            > init
              NONE (0) P1 epoch 0
            > commit 5 v=3
              INVALID_TXN_STATE (48)
            > commit 5 v=4
              TRANSACTION_ABORTABLE (120)
            > group
              NONE (0)
            > describe
              NONE (0) Ongoing P1 epoch 0 timeout 60000 started once offsets
            > commit 5 v=3
              NONE (0)
            > offsets
              NONE (0) -1
            > offsets stable=true
              UNSTABLE_OFFSET_COMMIT (88) -1
            > end commit v=4
              NONE (0)
            > until CompleteCommit
            > offsets
              NONE (0) 5
            > offsets stable=true
              NONE (0) 5
            > commit 9
              NONE (0)
            > describe
              NONE (0) Ongoing P1 epoch 0 timeout 60000 started once offsets
            > offsets stable=true
              UNSTABLE_OFFSET_COMMIT (88) -1
            > end abort
              NONE (0) P1 epoch 1
            > until CompleteAbort
            > offsets stable=true
              NONE (0) 5
            > commit 7 epoch=-1
              INVALID_PRODUCER_EPOCH (47)
            > commit 7 epoch=-1 v=3
              INVALID_PRODUCER_EPOCH (47)
            > commit 7 pid=12345
              INVALID_PRODUCER_ID_MAPPING (49)
            > commit 7 id=nobody
              INVALID_PRODUCER_ID_MAPPING (49)
            > commit 7 topic=nosuch
              UNKNOWN_TOPIC_OR_PARTITION (3)
            > commit 7 group=
              INVALID_GROUP_ID (24)
            > commit 7 generation=3 member=ghost
              UNKNOWN_MEMBER_ID (25)
            > commit 7 group=absent generation=3
              ILLEGAL_GENERATION (22)
            > commit 8
              NONE (0)
            > end commit
              NONE (0) P1 epoch 2
            > until CompleteCommit
            > offsets stable=true
              NONE (0) 8
        "#]],
    )
    .await;
}
