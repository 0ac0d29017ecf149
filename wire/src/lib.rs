//! Kafka on the wire: frames, messages and the record batch v2 view.
