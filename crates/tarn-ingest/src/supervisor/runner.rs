//! The task of one source.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tarn_core::FaultReport;

use super::pause::Pauses;
use super::session::{self, Ended, SessionPorts};
use super::status::SourceState;
use crate::error::IngestError;

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_string())
}

/// Runs a source until it is drained, stopped or failed for good.
pub(crate) async fn run(ports: SessionPorts) {
    let (env, status, stop) = (&ports.append.env, &ports.append.status, &ports.append.stop);
    let source = &ports.append.source;
    let mut pauses = Pauses::new();
    loop {
        status.enter(SourceState::Starting);
        let started_ms = env.clock.now_ms();
        let life = AssertUnwindSafe(session::run(ports.clone())).catch_unwind().await;
        let error = match life {
            Ok(Ok(Ended::Stopped)) => return,
            Ok(Ok(Ended::Drained)) => return status.done(),
            Ok(Err(_)) if stop.is_cancelled() => return,
            Ok(Err(error)) => error,
            Err(panic) => {
                let (source_type, what) = (ports.source_type.clone(), panic_text(panic.as_ref()));
                IngestError::Broken { source_type, what }
            }
        };
        let FaultReport { kind, message, .. } = FaultReport::of(&error);
        if !kind.is_transient() {
            tracing::error!(%source, kind = kind.as_str(), message, "source failed");
            return status.fail(SourceState::Failed, &error);
        }
        tracing::warn!(%source, kind = kind.as_str(), message, "source is started again");
        status.fail(SourceState::BackingOff, &error);
        if status.has_rows_since(started_ms) {
            pauses.reset();
        }
        pauses.after(&error);
        if !pauses.wait(env, stop).await {
            return;
        }
        status.count_restart();
    }
}
