//! Who may do what with a transactional id, held against what Apache Kafka answers; see `protocol`.

use expect_test::expect;

use super::script::check;

#[tokio::test]
async fn producers_are_fenced_as_in_kafka() {
    check(
        "init id=
         init timeout=0
         init timeout=900001
         init timeout=900000
         init
         init pid=-1
         init epoch==-1 pid=P1
         init epoch=+0
         init epoch=-1
         init epoch=-2
         init v=3 epoch=-2
         init pid=12345
         add 0 epoch=-1
         add 0 epoch=-1 v=1
         add 0 pid=12345
         add 0 id=nobody
         add 0 id=
         add 0 9
         add 0 topic=nosuch
         group epoch=-1
         group epoch=-1 v=1
         group id=nobody
         end commit epoch=-1 v=4
         end commit epoch=-1 v=1
         end commit pid=12345
         end commit id=nobody
         end commit id=
         end commit v=4
         end commit
         add 0
         init
         until CompleteAbort
         describe
         init
         put 0 0 epoch=-1
         put 0 0 epoch=-1 v=9
         put 0 0 pid=12345
         add 0 v=5
         put 0 1
         put 0 0
         init epoch=+0
         until CompleteAbort
         init
         put 0 0 v=9 plain=true
         put 0 1 v=9 plain=true epoch=-1
         producers 0",
        expect![[r#"
            > init id=
              INVALID_REQUEST (42) -1 epoch -1
            > init timeout=0
              INVALID_TRANSACTION_TIMEOUT (50) -1 epoch -1
            > init timeout=900001
              INVALID_TRANSACTION_TIMEOUT (50) -1 epoch -1
            > init timeout=900000
              NONE (0) P1 epoch 0
            > init
              NONE (0) P1 epoch 1
            > init pid=-1
              INVALID_REQUEST (42) -1 epoch -1
            > init epoch==-1 pid=P1
              INVALID_REQUEST (42) -1 epoch -1
            > init epoch=+0
              NONE (0) P1 epoch 2
            > init epoch=-1
              NONE (0) P1 epoch 2
            > init epoch=-2
              PRODUCER_FENCED (90) -1 epoch -1
            > init v=3 epoch=-2
              INVALID_PRODUCER_EPOCH (47) -1 epoch -1
            > init pid=12345
              PRODUCER_FENCED (90) -1 epoch -1
            > add 0 epoch=-1
              partition 0 PRODUCER_FENCED (90)
            > add 0 epoch=-1 v=1
              partition 0 INVALID_PRODUCER_EPOCH (47)
            > add 0 pid=12345
              partition 0 INVALID_PRODUCER_ID_MAPPING (49)
            > add 0 id=nobody
              partition 0 INVALID_PRODUCER_ID_MAPPING (49)
            > add 0 id=
              partition 0 INVALID_REQUEST (42)
            > add 0 9
              partition 0 OPERATION_NOT_ATTEMPTED (55)
              partition 9 UNKNOWN_TOPIC_OR_PARTITION (3)
            > add 0 topic=nosuch
              partition 0 UNKNOWN_TOPIC_OR_PARTITION (3)
            > group epoch=-1
              PRODUCER_FENCED (90)
            > group epoch=-1 v=1
              INVALID_PRODUCER_EPOCH (47)
            > group id=nobody
              INVALID_PRODUCER_ID_MAPPING (49)
            > end commit epoch=-1 v=4
              PRODUCER_FENCED (90)
            > end commit epoch=-1 v=1
              INVALID_PRODUCER_EPOCH (47)
            > end commit pid=12345
              INVALID_PRODUCER_ID_MAPPING (49) -1 epoch -1
            > end commit id=nobody
              INVALID_PRODUCER_ID_MAPPING (49) -1 epoch -1
            > end commit id=
              INVALID_REQUEST (42) -1 epoch -1
            > end commit v=4
              INVALID_TXN_STATE (48)
            > end commit
              INVALID_TXN_STATE (48) -1 epoch -1
            > add 0
              partition 0 NONE (0)
            > init
              CONCURRENT_TRANSACTIONS (51) -1 epoch -1
            > until CompleteAbort
            > describe
              NONE (0) CompleteAbort P1 epoch 3 timeout 60000 started once
            > init
              NONE (0) P1 epoch 4
            > put 0 0 epoch=-1
              INVALID_PRODUCER_EPOCH (47) at -1
            > put 0 0 epoch=-1 v=9
              INVALID_PRODUCER_EPOCH (47) at -1
            > put 0 0 pid=12345
              INVALID_PRODUCER_ID_MAPPING (49) at -1
            > add 0 v=5
              partition 0 NONE (0)
            > put 0 1
              OUT_OF_ORDER_SEQUENCE_NUMBER (45) at -1
            > put 0 0
              NONE (0) at 1
            > init epoch=+0
              CONCURRENT_TRANSACTIONS (51) -1 epoch -1
            > until CompleteAbort
            > init
              NONE (0) P1 epoch 6
            > put 0 0 v=9 plain=true
              NONE (0) at 3
            > put 0 1 v=9 plain=true epoch=-1
              INVALID_PRODUCER_EPOCH (47) at -1
            > producers 0
              NONE (0)
              P1 epoch 6 sequence 0 open from -1 a coordinator
        "#]],
    )
    .await;
}

#[tokio::test]
async fn markers_by_hand_are_as_in_kafka() {
    check(
        "init
         put 0 0
         mark 0 commit epoch=-1
         mark 1 commit pid=-1
         mark 2 abort epoch=+3
         mark 2 abort epoch=+2
         mark 0 abort topic=nosuch
         mark 9 abort
         mark 0 abort
         read 0
         producers 0
         mark 0 abort coordinator=7
         mark 0 abort coordinator=6
         put 0 1
         put 0 1 plain=true v=9
         mark 1 abort epoch=+3
         put 1 0
         put 1 0 plain=true v=9 epoch=+3
         producers 1",
        expect![[r#"
            > init
              NONE (0) P1 epoch 0
            > put 0 0
              NONE (0) at 0
            > mark 0 commit epoch=-1
              UNKNOWN_SERVER_ERROR (-1)
            > mark 1 commit pid=-1
              UNKNOWN_SERVER_ERROR (-1)
            > mark 2 abort epoch=+3
              NONE (0)
            > mark 2 abort epoch=+2
              INVALID_PRODUCER_EPOCH (47)
            > mark 0 abort topic=nosuch
              UNKNOWN_TOPIC_OR_PARTITION (3)
            > mark 9 abort
              UNKNOWN_TOPIC_OR_PARTITION (3)
            > mark 0 abort
              NONE (0)
            > read 0
              NONE (0) stable 2 of 2
              0 to 0 transactional P1 epoch 0
              1 to 1 marker P1 epoch 0
              aborted: P1 from 0
            > producers 0
              NONE (0)
              P1 epoch 0 sequence 0 open from -1 a coordinator
            > mark 0 abort coordinator=7
              NONE (0)
            > mark 0 abort coordinator=6
              TRANSACTION_COORDINATOR_FENCED (52)
            > put 0 1
              NONE (0) at 3
            > put 0 1 plain=true v=9
              NONE (0) at 3
            > mark 1 abort epoch=+3
              NONE (0)
            > put 1 0
              INVALID_PRODUCER_EPOCH (47) at -1
            > put 1 0 plain=true v=9 epoch=+3
              NONE (0) at 1
            > producers 1
              NONE (0)
              P1 epoch 3 sequence 0 open from -1 a coordinator
        "#]],
    )
    .await;
}

#[tokio::test]
async fn who_is_too_late_is_fenced_as_in_kafka() {
    check(
        "init timeout=1
         put 0 0
         until CompleteAbort
         describe
         producers 0
         put 0 1
         end commit
         end abort
         init timeout=1
         put 0 0
         until CompleteAbort
         end abort v=4
         end abort epoch=+1
         init timeout=60000
         put 0 0
         init v=4
         until CompleteAbort
         init epoch=+0
         put 0 0
         end commit
         until CompleteCommit
         init epoch=-1
         init epoch=+0
         init epoch=-1",
        expect![[r#"
            > init timeout=1
              NONE (0) P1 epoch 0
            > put 0 0
              NONE (0) at 0
            > until CompleteAbort
            > describe
              NONE (0) CompleteAbort P1 epoch 1 timeout 1 started once
            > producers 0
              NONE (0)
              P1 epoch 1 sequence -1 open from -1 a coordinator
            > put 0 1
              INVALID_PRODUCER_EPOCH (47) at -1
            > end commit
              INVALID_TXN_STATE (48) -1 epoch -1
            > end abort
              NONE (0) P1 epoch 1
            > init timeout=1
              NONE (0) P1 epoch 2
            > put 0 0
              NONE (0) at 2
            > until CompleteAbort
            > end abort v=4
              PRODUCER_FENCED (90)
            > end abort epoch=+1
              NONE (0) P1 epoch 4
            > init timeout=60000
              NONE (0) P1 epoch 5
            > put 0 0
              NONE (0) at 4
            > init v=4
              CONCURRENT_TRANSACTIONS (51) -1 epoch -1
            > until CompleteAbort
            > init epoch=+0
              NONE (0) P1 epoch 6
            > put 0 0
              NONE (0) at 6
            > end commit
              NONE (0) P1 epoch 7
            > until CompleteCommit
            > init epoch=-1
              NONE (0) P1 epoch 7
            > init epoch=+0
              NONE (0) P1 epoch 8
            > init epoch=-1
              NONE (0) P1 epoch 8
        "#]],
    )
    .await;
}

/// Not so in Kafka, where such a marker keeps every later one of the coordinator out.
#[tokio::test]
async fn a_marker_by_hand_of_the_last_coordinator_epoch_keeps_no_transaction_open() {
    let cluster = crate::client::start(&[]).await;
    let mut session = super::script::Session::start(cluster.addresses()[0]).await;
    let said = session
        .run_all(
            "init
             add 0
             put 0 0
             mark 0 abort coordinator==2147483647
             put 0 1
             end commit
             until CompleteCommit
             latest 0",
        )
        .await;
    assert!(said.ends_with("> latest 0\n  4 4\n"), "{said}");
}
