//! The targets, a module each.

pub mod frame;
pub mod google;
pub mod hello;
pub mod iso6709;
pub mod json;
pub mod line;
pub mod store;
