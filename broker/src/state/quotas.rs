//! Quotas as they are kept in the journal: one entry for each entity.

use std::collections::BTreeMap;

use super::{Change, StateError, unreadable};
use crate::quota::{QuotaEntity, QuotaMap, QuotaValues};

const PREFIX: &str = "quota/";

impl Change {
    /// Replaces the quotas of an entity.
    pub(crate) fn put_quotas(&mut self, entity: QuotaEntity, values: QuotaValues) {
        // As texts, so that they come back to the last bit.
        let texts: BTreeMap<_, _> = values
            .iter()
            .map(|(key, value)| (key, value.to_string()))
            .collect();
        let value = (!values.is_empty()).then(|| serde_json::to_vec(&texts).expect("texts have a JSON form"));
        self.entries.push((key(&entity), value));
        self.image.put_quotas(entity, values);
    }
}

/// All quotas of a journal.
pub(super) fn read(content: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<QuotaMap, StateError> {
    let keys = content
        .iter()
        .filter_map(|(key, value)| Some((std::str::from_utf8(key).ok()?, value)));
    let quotas = keys.filter_map(|(key, value)| Some((key, key.strip_prefix(PREFIX)?, value)));
    quotas
        .map(|(key, entity, value)| {
            let entity = serde_json::from_str(entity).map_err(|error| unreadable(key, error))?;
            let texts: BTreeMap<String, String> =
                serde_json::from_slice(value).map_err(|error| unreadable(key, error))?;
            let values = texts.into_iter().map(|(name, text)| Ok((name, text.parse()?)));
            let values: Result<_, std::num::ParseFloatError> = values.collect();
            Ok((entity, values.map_err(|error| unreadable(key, error))?))
        })
        .collect()
}

fn key(entity: &QuotaEntity) -> Vec<u8> {
    let entity = serde_json::to_string(entity).expect("texts have a JSON form");
    format!("{PREFIX}{entity}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};

    #[tokio::test]
    async fn quotas_survive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let entity =
            |name: Option<&str>| QuotaEntity(BTreeMap::from([("user".to_owned(), name.map(str::to_owned))]));
        let values = |value| QuotaValues::from([("producer_byte_rate".to_owned(), value)]);
        let (state, _) = State::open(&path, 1, crate::log::Disk::default(), &[]).unwrap();
        let mut change = state.begin().await;
        change.put_quotas(entity(None), values(1.5));
        change.put_quotas(entity(Some("a/\"é")), values(1e300));
        change.put_quotas(entity(Some("gone")), values(1.0));
        change.put_quotas(entity(Some("gone")), QuotaValues::new());
        let expected = change.commit().await.unwrap().quotas().clone();
        assert_eq!(expected.len(), 2);
        drop(state);
        let (state, _) = State::open(&path, 1, crate::log::Disk::default(), &[]).unwrap();
        assert_eq!(*state.image().quotas(), expected);
    }
}
