//! Sources and their supervisor, on the real embedded log.

#![allow(clippy::disallowed_methods, reason = "tests read the clock that they replace")]

mod bed;
mod clock;
mod conformance;
mod faulty_log;
mod file;
mod files;
mod push;
mod replay;
mod scripted;
mod supervisor;
