//! Tables: open Iceberg v2 tables with an embedded catalog, row-level commits and the sinks that follow topics.

mod alter;
pub mod bench;
mod catalog;
mod data_file;
mod describe;
mod error;
mod follow;
pub mod import;
mod inspect;
mod io;
mod key_bounds;
mod key_runs;
mod lakehouse;
mod layout;
mod load;
mod manifest;
mod outside;
mod refs;
mod reshape;
pub mod service;
mod sink;
mod snapshot;
mod sort;
mod statistics;
mod tidy;
mod transaction;
pub mod types;
mod view;
mod write;

pub use alter::{PartitionChange, PartitionTerm, TableAlteration, partition_terms, table_schema};
pub use catalog::{Catalog, CreateTable, CreateView, LoadedTable, LoadedView, TableCommit, ViewRequirement};
pub use data_file::{DataFileWriter, FileFactory};
pub use describe::{
    ColumnDetail, FileEntry, PartitionColumn, SchemaVersion, SnapshotEntry, TableDetail, TableState,
    TableSummary,
};
pub use error::LakehouseError;
pub use follow::{SchemaNote, SchemaPolicy, SchemaRule};
pub use inspect::{METADATA_KINDS, MetadataKind};
pub use io::Warehouse;
pub use lakehouse::{Lakehouse, LakehouseMemory};
pub use layout::names_of;
pub use load::ViewLoader;
pub use manifest::ManifestCache;
pub use outside::Place;
pub use refs::{RefKind, TableRef};
pub use reshape::reshape;
pub use sink::{Compaction, Optimize, SinkConfig, SinkSpec, SinkStatus, WithoutKey};
pub use snapshot::{Produced, RowDelta};
pub use sort::{OrderColumn, RowOrder};
pub use statistics::distinct_values;
pub use transaction::TRANSACTION_PREFIX;
pub use view::{DataFileView, DeadRows, EqualityDeleteView, HotBatch, TableView};
pub use write::{Appended, TableWriter, Written};
