//! `http_push`: takes JSON records over HTTP.

mod body;
mod config;
mod reader;
mod table;

use std::sync::Arc;

use async_trait::async_trait;
use tarn_component::{ComponentSpec, Example, Stability, parse, schema_of};
use tarn_core::RequestContext;

pub use config::{HttpPushConfig, PushTable};

use crate::error::IngestError;
use crate::records::plain_table;
use crate::source::{CheckReport, CheckStep, Connector, Intake, Resume, Source, SourceSpec};
use reader::PushQueue;

const FREE: Example = Example {
    title: "Any records; columns are found in them",
    config: "
key: [id]
",
};

const FIXED: Example = Example {
    title: "Two tables with fixed columns",
    config: "
table: orders
key: [id]
schema:
  - { name: id, type: int64 }
  - { name: amount, type: 'decimal(18,2)' }
  - { name: placed_at, type: timestamptz }
tables:
  - name: customers
    key: [id]
    schema:
      - { name: id, type: int64 }
      - { name: name, type: string }
body_max: 4MB
",
};

/// The family member.
pub static SPEC: SourceSpec = SourceSpec {
    component: ComponentSpec {
        name: "http_push",
        title: "HTTP push",
        title_zh: "HTTP 推送",
        summary: "Takes JSON records over HTTP and answers once they are durable.",
        summary_zh: "通过 HTTP 接收 JSON 记录，落盘后才应答。",
        category: "http",
        stability: Stability::Beta,
        config: schema_of::<HttpPushConfig>,
        examples: &[FREE, FIXED],
        docs: "Send a JSON object, an array of objects or one object per line to `POST \
               /api/v1/ingest/<source>/push`, with `?table=` for another table than the default one. The answer names \
               the offsets of the rows; they are durable then. Records that do not fit go to the dead letters and \
               are named in the answer. A push with an `Idempotency-Key` that was among the last 1,000 of its table \
               is answered without storing it again, also after a restart.",
    },
    build: |context, config| {
        let config: HttpPushConfig = parse(config)?;
        config.check(context.name.as_str())?;
        let queue = PushQueue::new(config.clone(), context.name.to_string(), context.env);
        Ok(Arc::new(HttpPush { source: context.name.to_string(), config, queue }))
    },
};

#[derive(Debug)]
struct HttpPush {
    source: String,
    config: HttpPushConfig,
    queue: Arc<PushQueue>,
}

#[async_trait]
impl Connector for HttpPush {
    async fn check(&self, _: &RequestContext) -> CheckReport {
        let tables = self.config.all_tables(&self.source);
        let detail = "waits for pushes; there is nothing to connect to".to_string();
        let step = CheckStep { name: "configuration".to_string(), ok: true, detail };
        CheckReport {
            steps: vec![step],
            tables: tables.iter().map(|table| plain_table(&table.name)).collect(),
        }
    }

    async fn open(&self, _: &RequestContext, resume: Resume) -> Result<Box<dyn Source>, IngestError> {
        self.queue.open(&resume)
    }

    async fn remove(&self, _: &RequestContext) -> Result<(), IngestError> {
        Ok(())
    }

    fn intake(&self) -> Option<Arc<dyn Intake>> {
        Some(Arc::clone(&self.queue) as Arc<dyn Intake>)
    }
}
