//! Contract tests of object stores.
