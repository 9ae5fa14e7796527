//! `tarn init`: a new project folder.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output::print_line;
use super::{Failure, io_failure};

/// Options of `tarn init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder to make.
    folder: PathBuf,
}

const CONFIG: &str = "\
# Settings of this project. All have defaults; `docs/reference/config.md` lists them.
# An environment variable such as TARN_SERVER__HTTP__LISTEN=127.0.0.1:9000 overrides one.
";

const FIRST_SOURCE: &str = "\
# A source reads one system. Every table of it becomes a topic and an Iceberg table.
# Take away the leading `# ` to read your own PostgreSQL, then: tarn apply
#
# kind: source
# name: shop
# spec:
#   type: postgres_cdc
#   url: postgres://user@127.0.0.1:5432/shop
#   password: { secret: shop_password }   # tarn access secret set shop_password
#   tables: [public.*]

# Try it without a database: send rows with
#   curl -d '{\"id\": 1, \"note\": \"hello\"}' http://127.0.0.1:8080/api/v1/ingest/inbox/push
kind: source
name: inbox
spec:
  type: http_push
";

const README: &str = "\
# A Tarn project

    tarn up            # start, and follow resources/
    tarn plan          # what would change after an edit
    tarn apply         # make it so
    tarn sql \"select * from inbox.inbox\"

`resources/` holds what this project is made of, `tarn.toml` its settings, `.tarn/` everything that is stored.
";

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| io_failure("write", path, &error))
}

/// `tarn init`.
pub fn run(args: &InitArgs) -> Result<(), Failure> {
    let folder = &args.folder;
    let taken = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if taken {
        return Err(Failure::new(
            tarn_core::FaultKind::Conflict,
            format!("`{}` is not empty", folder.display()),
            Some("choose the name of a new folder".into()),
        ));
    }
    let resources = folder.join("resources");
    std::fs::create_dir_all(&resources).map_err(|error| io_failure("make", &resources, &error))?;
    write(&folder.join("tarn.toml"), CONFIG)?;
    write(&resources.join("sources.yaml"), FIRST_SOURCE)?;
    write(&folder.join("README.md"), README)?;
    write(&folder.join(".gitignore"), "/.tarn\n")?;
    print_line(format_args!("made `{}`; next: cd {} && tarn up", folder.display(), folder.display()));
    Ok(())
}
