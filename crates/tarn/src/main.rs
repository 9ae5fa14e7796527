//! The command `tarn`.

mod bench;
mod cli;
mod config;
mod demo;
mod platform;
mod project;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Two providers would make rustls panic at the first handshake; one is chosen before anything else.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed before");
    }
    cli::run(cli::Cli::parse())
}
