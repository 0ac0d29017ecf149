//! DescribeClientQuotas (48) lists quotas (KIP-546).

messages! {
    /// The request of DescribeClientQuotas.
    DescribeClientQuotasRequest {
        components: Vec<ComponentData>,
        strict: bool,
    }

    ComponentData {
        entity_type: String,
        match_type: i8,
        match_name: Option<String>,
    }

    /// The response of DescribeClientQuotas.
    DescribeClientQuotasResponse {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<String>,
        entries: Option<Vec<EntryData>>,
    }

    EntryData {
        entity: Vec<EntityData>,
        values: Vec<ValueData>,
    }

    EntityData {
        entity_type: String,
        entity_name: Option<String>,
    }

    ValueData {
        key: String,
        value: f64,
    }
}
