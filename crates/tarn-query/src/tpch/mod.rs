//! The 22 queries of TPC-H, with the specification's validation parameters.

mod queries;

pub use queries::QUERIES;
