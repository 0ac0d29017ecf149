//! Kafka's log: segments, indexes, recovery, retention, in Kafka's own formats on disk.
//!
//! A [`LogManager`] owns a data directory and opens a [`Log`] for every partition in it. Below them, in the order in
//! which a batch meets them: `validate` checks it and brings it into the form that the topic stores; `producers` says
//! whether it is new, repeated or out of sequence; `segment` writes it to the file of the active segment and `index`
//! leaves a trace of where it lies. `reading` finds it again. `load` opens a log after a clean shutdown and recovers it
//! after any other; `retention` makes it shorter.
//!
//! Invariants:
//! - A batch is in the log as a whole or not at all, also after a write that failed half way.
//! - An offset that was visible to a consumer is never given to another record.
//! - Everything except `.log`, `leader-epoch-checkpoint` and the data directory's checkpoints is a cache, which is
//!   rebuilt from the log if it is missing or damaged.
//! - Readers cope with holes between batches and within them: compaction leaves both.

mod aborted;
mod aborted_check;
mod append;
mod census;
mod checkpoint;
mod clean;
mod commit;
pub mod config;
mod deletion;
mod epoch;
mod error;
mod files;
mod flush;
mod handles;
mod index;
mod inflate;
mod load;
mod lookup;
mod manager;
mod marker;
mod mend;
mod partition;
mod producers;
mod reading;
mod rescan;
mod retention;
mod scan;
mod segment;
pub mod settings;
mod snapshot;
mod validate;
mod verification;
mod watch;

pub use aborted::AbortedTransaction;
pub use append::{Appended, Busy};
pub use census::{PRODUCERS_MAX, PRODUCERS_PER_LOG_MAX, PRODUCERS_PER_LOG_MIN};
pub use checkpoint::{MetaProperties, TopicPartition};
pub use clean::{CleanError, CleanReport, Cleaner, CleanerFacts, CleanerOptions, ToClean};
pub use config::{ConfigError, ConfigKey, ConfigKind, TOPIC_CONFIGS, Validator};
pub use epoch::EpochEntry;
pub use error::{AppendError, DeleteRecordsError, ReadError, RecordProblem, StorageError};
pub use files::{Disk, DiskFault, DiskOperation, DiskRefusal};
pub use manager::{LogManager, LogManagerOptions, OpenError};
pub use marker::Marker;
pub use partition::{FlushPolicy, Log, LogState, Visible};
pub use producers::ProducerInfo;
pub use reading::{FoundOffset, Isolation, MAX_READ_BYTES, ReadRequest, ReadResult};
pub use settings::LogConfig;
pub use validate::{MAX_DECOMPRESSED_BYTES, is_one_batch};
pub use verification::Guard;

#[cfg(test)]
mod tests;
