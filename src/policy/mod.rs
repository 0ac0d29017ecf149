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
