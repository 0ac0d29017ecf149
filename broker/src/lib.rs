//! The built-in Kafka cluster.

pub mod group;

pub mod state {
    //! The small durable state.

    pub mod journal;
}
