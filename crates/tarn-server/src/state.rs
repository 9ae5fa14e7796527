//! The services behind the protocols.

use std::path::PathBuf;
use std::sync::Arc;

use tarn_access::Access;
use tarn_eventlog::EventLog;
use tarn_ingest::Ingest;
use tarn_lakehouse::Lakehouse;
use tarn_lakehouse::import::Imports;
use tarn_meta::{Resources, Secrets};
use tarn_observe::{FaultBoard, Metrics, RateHistory};
use tarn_query::{QueryEngine, Tables};

/// Everything that answers requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerState {
    /// Users, keys, sessions, audit log.
    pub access: Access,
    /// Declared resources and their revisions.
    pub resources: Resources,
    /// Secrets.
    pub secrets: Secrets,
    /// Topics.
    pub eventlog: Arc<dyn EventLog>,
    /// Sources.
    pub ingest: Ingest,
    /// Tables.
    pub lakehouse: Arc<Lakehouse>,
    /// Imports.
    pub imports: Arc<Imports>,
    /// Tables as the engine sees them.
    pub tables: Arc<dyn Tables>,
    /// SQL.
    pub engine: QueryEngine,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// Rates of the last minutes.
    pub rates: Arc<RateHistory>,
    /// What is wrong now.
    pub faults: Arc<FaultBoard>,
    /// The data folder, whose size and disk are shown.
    pub data: PathBuf,
    /// The project folder, into which resources are written back.
    pub project: PathBuf,
}
