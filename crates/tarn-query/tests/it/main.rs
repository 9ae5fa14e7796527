//! Integration tests of the query engine.
