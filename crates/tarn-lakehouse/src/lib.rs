//! Tables: open Iceberg v2 tables with an embedded catalog, row-level commits and the sink that follows topics.

mod view;

pub use view::{DataFileView, EqualityDeleteView, TableView};
