//! stub
mod config;
mod settings;
pub use config::*;
pub use settings::*;
