//! Connection tests.

use std::time::Duration;

use serde_json::Value;
use tarn_core::{RequestContext, ResourceName};

use super::service::Ingest;
use crate::error::IngestError;
use crate::source::{CheckReport, CheckStep};

/// How long a connection test may take.
const CHECK_LIMIT: Duration = Duration::from_secs(20);

impl Ingest {
    /// Tries a configuration without starting anything. A configuration that cannot be parsed is a failed step.
    /// `name`: of the source, after which things in its system are named; `None` if it has none yet.
    pub async fn check(
        &self,
        ctx: &RequestContext,
        name: Option<&ResourceName>,
        source_type: &str,
        config: Value,
    ) -> CheckReport {
        let failed = |name: &str, error: IngestError| {
            let step = CheckStep::of(name, &Err::<(), _>(error), |()| String::new());
            CheckReport { steps: vec![step], tables: Vec::new() }
        };
        let unnamed = ResourceName::parse("check").expect("letters are a name");
        let connector = match self.build(name.unwrap_or(&unnamed), source_type, config) {
            Ok(connector) => connector,
            Err(error) => return failed("configuration", error),
        };
        tokio::select! {
            report = connector.check(ctx) => report,
            () = self.ports.env.clock.sleep(CHECK_LIMIT) => failed("answer in time", IngestError::Unreachable {
                system: format!("the system of source type `{source_type}`"),
                source: format!("no answer within {} s", CHECK_LIMIT.as_secs()).into(),
            }),
        }
    }
}
