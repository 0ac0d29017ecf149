//! What is asked: a file for each group of APIs, a function for each sequence of requests.

use crate::harness::Parity;

mod administration;
mod configs;
mod connection;
mod consumer_groups;
pub mod down;
mod fetch_sessions;
mod group_offsets;
mod groups;
mod lookup;
mod metadata;
mod migration;
mod nodes;
mod pairs;
mod producers;
mod quorum;
mod resources;
mod security;
mod topics;
mod transactions;
mod transfer;

macro_rules! run {
    ($parity:ident, $($module:ident :: $script:ident;)*) => { $(
        if $parity.begin(concat!(stringify!($module), "::", stringify!($script))) {
            $module::$script($parity).await;
            $parity.end();
        }
    )* };
}

/// Runs every script, or those that were asked for.
pub async fn run(parity: &mut Parity) {
    run!(parity,
        connection::api_versions;
        connection::unknown_requests;
        resources::log_dirs;
        topics::create;
        topics::create_refused;
        topics::delete;
        topics::grow;
        metadata::topics;
        metadata::auto_create;
        metadata::cluster;
        metadata::pages;
        transfer::produce;
        transfer::bad_batches;
        transfer::fetch;
        transfer::fetch_limits;
        fetch_sessions::life;
        fetch_sessions::limits;
        fetch_sessions::topics_that_change;
        lookup::list_offsets;
        lookup::leader_epochs;
        lookup::delete_records;
        lookup::recreated;
        producers::ids;
        producers::idempotent;
        producers::coordinators;
        groups::life;
        groups::refused;
        groups::statics;
        groups::rebalance;
        group_offsets::commits;
        group_offsets::fetches;
        configs::describe;
        configs::incremental;
        configs::replace;
        administration::acls;
        administration::reassignments;
        administration::moves;
        administration::elections;
        administration::quotas;
        transactions::life;
        transactions::second_generation;
        transactions::refused;
        consumer_groups::life;
        consumer_groups::refused;
        consumer_groups::statics;
        consumer_groups::two_members;
        consumer_groups::assignors;
        consumer_groups::assignors_of_different_readers;
        consumer_groups::expressions;
        migration::there_and_back;
        migration::statics;
        migration::refused;
        quorum::quorum;
        quorum::features;
        security::creating_acls;
        security::deleting_acls;
        security::sasl;
        security::passwords;
        pairs::produce;
        pairs::produce_sequenced;
        pairs::fetch;
        pairs::list_offsets;
        pairs::leader_epochs;
        pairs::classic;
        pairs::commits;
        pairs::consumers;
        pairs::initializing;
        pairs::idle;
        pairs::ongoing;
        pairs::create_topics;
        pairs::grow;
        pairs::configs;
        pairs::replaced_configs;
        pairs::delete_topics;
        pairs::delete_records;
        pairs::reassignments;
        pairs::quotas;
        pairs::passwords;
        resources::configured;
    );
}

/// Runs the scripts for several nodes, or those that were asked for.
pub async fn run_on_several(parity: &mut Parity) {
    run!(parity,
        nodes::shown;
        nodes::creating;
        nodes::growing;
        nodes::not_the_leader;
        nodes::not_the_coordinator;
        nodes::elections;
        nodes::moves;
        nodes::configs;
        nodes::quorum;
    );
}
