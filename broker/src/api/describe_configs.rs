//! DescribeConfigs (32), versions 1-4: every key of topics, brokers and groups, with where its value comes from.

use heliostat_wire::{
    ErrorCode,
    message::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs::{
            DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
            DescribeConfigsSynonym,
        },
    },
};

use super::{Context, distinct::distinct, resource};
use crate::{
    api_error::ApiError,
    broker::Broker,
    configs::{ConfigEntry, Setting, Source},
    state::names,
};

/// What the client wants to see of each key.
#[derive(Clone, Copy)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

pub(super) async fn handle(context: Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let detail = Detail {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let resources = distinct(request.resources, |asked| {
        (asked.resource_type, asked.resource_name.clone())
    });
    let results = resources
        .into_iter()
        .map(|resource| describe(&context, resource, detail))
        .collect();
    DescribeConfigsResponse {
        results,
        ..Default::default()
    }
}

fn describe(context: &Context, asked: DescribeConfigsResource, detail: Detail) -> DescribeConfigsResult {
    let wanted = |entry: &ConfigEntry| match &asked.configuration_keys {
        // librdkafka asks for all keys with an empty list.
        None => true,
        Some(keys) => keys.is_empty() || keys.contains(&entry.name),
    };
    let (error, configs) = match entries(context, asked.resource_type, &asked.resource_name) {
        Ok(entries) => (
            None,
            entries
                .into_iter()
                .filter(wanted)
                .map(|entry| result(entry, detail))
                .collect(),
        ),
        Err(error) => (Some(error), Vec::new()),
    };
    DescribeConfigsResult {
        error_code: error.as_ref().map_or(0, |error| error.code.into()),
        // Kafka has an empty text here where all is well.
        error_message: Some(error.map_or(String::new(), |error| error.message)),
        resource_type: asked.resource_type,
        resource_name: asked.resource_name,
        configs,
    }
}

fn entries(context: &Context, resource_type: i8, name: &str) -> Result<Vec<ConfigEntry>, ApiError> {
    let broker = &context.broker;
    match resource_type {
        resource::TOPIC => match broker.image().topic(name) {
            Some(topic) => Ok(broker.describe_topic_configs(topic, context.peer.node_id)),
            None => Err(match names::problem(name) {
                Some(problem) => ApiError::new(ErrorCode::InvalidTopicException, problem),
                None => ApiError::unknown_topic(name),
            }),
        },
        // Without a name, what was set for all brokers.
        resource::BROKER if name.is_empty() => Ok(broker.describe_dynamic_configs()),
        resource::BROKER => {
            resource::check_node(context, name)?;
            let node = broker.nodes().iter().find(|node| node.id == context.node_id());
            let unknown = || ApiError::invalid_request(format!("there is no broker {name:?}"));
            Ok(broker.describe_broker_configs(node.ok_or_else(unknown)?))
        }
        resource::GROUP => broker.describe_group_configs(name),
        other => Err(resource::unsupported(other)),
    }
}

fn result(entry: ConfigEntry, detail: Detail) -> DescribeConfigsResourceResult {
    let source = entry.source() as i8;
    let setting = |setting: Setting| DescribeConfigsSynonym {
        name: setting.name,
        value: setting.value,
        source: setting.source as i8,
    };
    DescribeConfigsResourceResult {
        read_only: entry.read_only,
        config_source: source,
        is_sensitive: false,
        synonyms: if detail.synonyms {
            entry.settings.into_iter().map(setting).collect()
        } else {
            Vec::new()
        },
        config_type: entry.type_code,
        documentation: detail.documentation.then(|| entry.documentation.to_owned()),
        name: entry.name,
        value: entry.value,
    }
}

impl Broker {
    /// What was set for all brokers while they ran, and nothing else.
    fn describe_dynamic_configs(&self) -> Vec<ConfigEntry> {
        let image = self.image();
        let entries = self.layers(&image).describe_broker().into_iter();
        let set = entries.filter_map(|mut entry| {
            entry
                .settings
                .retain(|setting| setting.source == Source::AllBrokers);
            entry.value = entry.settings.first()?.value.clone();
            Some(entry)
        });
        set.collect()
    }
}
