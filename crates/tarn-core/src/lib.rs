//! Nouns that every crate shares: identifiers, the request context, faults, time, randomness and task spawning.
//!
//! No I/O happens here. A type moves into this crate only when two crates that may not import each other name it
//! in a signature.

pub mod change;
pub mod config;
mod context;
mod fault;
pub mod files;
mod human;
mod names;
mod runtime;
mod sealed;

pub use change::{ChangeKind, Position};
pub use context::{Principal, Receipt, RequestContext, Role, TenantId, TraceId};
pub use fault::{Fault, FaultKind, FaultReport, chain_text, nearest};
pub use human::{ByteSize, HumanDuration};
pub use names::{InvalidName, ResourceName, TableName, TopicName};
pub use runtime::{Clock, Entropy, Env, Spawner, SystemClock, SystemEntropy};
pub use sealed::Sealed;
