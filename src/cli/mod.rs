//! The command line.

pub mod live;
pub mod logging;
pub mod rates;
pub mod records;
pub mod run;
pub mod screen;
pub mod status;
pub mod table;
pub mod text;
pub mod view;
