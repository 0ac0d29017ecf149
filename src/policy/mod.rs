//! What a mirror topic is called, which topics are in, and what would come back in a circle.
//!
//! Everything here works on names alone and asks no cluster: [`TopicFilter`] says whether a flow wants a topic,
//! [`Naming`] what its mirror is called, [`aliases_in_name`] where a topic with such a name came from.

mod filter;
mod naming;

pub use filter::{Pattern, PatternError, Selection, TopicFilter, is_internal};
pub use naming::{Naming, NamingError, Template, TemplateError, aliases_in_name};
