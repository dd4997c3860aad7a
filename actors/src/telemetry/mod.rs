//! What the core tells about itself in numbers.

pub mod catalog;
pub mod labels;
pub mod metrics;
pub mod repeats;
