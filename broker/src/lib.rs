//! The built-in Kafka cluster.
