//! Contract suite of the store on both databases, and the laws of resources.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
