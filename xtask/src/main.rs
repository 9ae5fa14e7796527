//! Checks and generators of this repository.

mod generate;
mod layers;
mod repository;
mod tidy;

use std::process::ExitCode;

use repository::Repository;

const USAGE: &str = "\
usage: cargo xtask <command>

  tidy               check layers, fences, file sizes and names, families, translations, pages
  generate           write docs/reference by running the binary in TARN_BIN
  generate --check   compare instead of writing";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["tidy"] => Repository::open().and_then(|repository| tidy::run(&repository)),
        ["generate"] => Repository::open().and_then(|repository| generate::write(&repository)),
        ["generate", "--check"] => Repository::open().and_then(|repository| generate::check(&repository)),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
