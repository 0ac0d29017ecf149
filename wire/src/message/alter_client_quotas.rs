//! AlterClientQuotas (49) sets and removes quotas (KIP-546).

messages! {
    /// The request of AlterClientQuotas.
    AlterClientQuotasRequest {
        entries: Vec<EntryData>,
        validate_only: bool,
    }

    EntryData {
        entity: Vec<EntityData>,
        ops: Vec<OpData>,
    }

    EntityData {
        entity_type: String,
        entity_name: Option<String>,
    }

    OpData {
        key: String,
        value: f64,
        remove: bool,
    }

    /// The response of AlterClientQuotas.
    AlterClientQuotasResponse {
        throttle_time_ms: i32,
        entries: Vec<EntryResult>,
    }

    EntryResult {
        error_code: i16,
        error_message: Option<String>,
        entity: Vec<EntityData>,
    }
}
