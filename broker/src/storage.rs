//! stub
use crate::{
    api_error::ApiError,
    log::LogConfig,
    state::{Topic, settings::Settings},
};
use std::{collections::BTreeMap, path::Path};
use thiserror::Error;
#[derive(Debug)]
pub(crate) struct Storage {}
#[derive(Debug, Error)]
#[error("x")]
pub struct StorageError;
impl Storage {
    pub(crate) fn open(_: &Path, _: &Settings) -> Result<Storage, StorageError> {
        Ok(Storage {})
    }
    pub(crate) fn check_configs(&self, values: &BTreeMap<String, String>) -> Result<(), ApiError> {
        LogConfig::parse(values)
            .map(drop)
            .map_err(|e| ApiError::invalid_config(e.to_string()))
    }
    pub(crate) fn configure(&self, _: &Topic, _: &BTreeMap<String, String>) {}
    pub(crate) async fn create_partitions(
        &self,
        _: &Topic,
        _first: usize,
        _: &BTreeMap<String, String>,
    ) -> Result<(), ApiError> {
        Ok(())
    }
    pub(crate) async fn delete_topic(&self, _: &Topic) {}
    pub(crate) async fn apply_retention(&self) {}
}
