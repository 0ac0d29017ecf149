<<<<<<< .merge_file_8F4ug5
//! temp
#![allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct TopicFilter;
impl TopicFilter { pub fn includes(&self, topic: &str) -> bool { !topic.starts_with("__") && !topic.ends_with(".internal") } }
#[derive(Clone, Debug)]
pub struct Naming;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct NamingError;
pub fn aliases_in_name<'a>(_t: &str, _s: &str, _k: &'a [String]) -> Vec<&'a str> { vec![] }
impl Naming { pub fn separator(&self) -> &str { "." } pub fn mirror_topic(&self, source: &str, _target: &str, topic: &str) -> Result<String, NamingError> { Ok(format!("{source}.{topic}")) } }
=======
//! What a mirror topic is called, which topics are in, and what would come back in a circle.
//!
//! Everything here works on names alone and asks no cluster: [`TopicFilter`] says whether a flow wants a topic,
//! [`Naming`] what its mirror is called, [`aliases_in_name`] where a topic with such a name came from.

mod filter;
mod naming;

pub use filter::{Pattern, PatternError, Selection, TopicFilter, is_internal};
pub use naming::{Naming, NamingError, Template, TemplateError, aliases_in_name};
>>>>>>> .merge_file_S30kbs
