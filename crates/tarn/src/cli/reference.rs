//! Writes `docs/reference/` from the code.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use tarn_ingest::SOURCES;

use super::{Cli, Failure, io_failure};
use crate::config::Config;

/// Options of `tarn reference`.
#[derive(Debug, Args)]
pub struct ReferenceArgs {
    /// The folder to write into.
    #[arg(long)]
    out: PathBuf,
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(|error| io_failure("make", parent, &error))?;
    std::fs::write(&path, text).map_err(|error| io_failure("write", &path, &error))
}

/// `tarn reference`.
pub fn run(args: &ReferenceArgs) -> Result<(), Failure> {
    write(&args.out, "config.md", &tarn_core::config::reference_markdown::<Config>())?;
    write(&args.out, "cli.md", &commands())?;
    let mut index = String::from("# Sources\n\n| type | what |\n|---|---|\n");
    for spec in SOURCES {
        let component = &spec.component;
        let name = component.name;
        // Writing to a String cannot fail.
        let _ = writeln!(index, "| [`{name}`](sources/{name}.md) | {} |", component.summary);
        write(&args.out, &format!("sources/{name}.md"), &source_page(component))?;
    }
    write(&args.out, "sources.md", &index)?;
    let kinds = crate::platform::kinds();
    for name in kinds.names() {
        let schema = serde_json::to_string_pretty(&kinds.get(name)?.full_schema())
            .map_err(|error| Failure::internal(error.to_string()))?;
        write(&args.out, &format!("schema/{name}.json"), &(schema + "\n"))?;
    }
    let openapi = tarn_server::openapi_json();
    write(&args.out, "openapi.json", &(openapi + "\n"))
}

fn source_page(component: &tarn_component::ComponentSpec) -> String {
    let mut page = format!("# {}\n\n`{}` · {}\n\n", component.title, component.name, component.summary);
    let schema = (component.config)().to_value();
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
    page.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let kind = property["type"].as_str().map_or_else(|| property["type"].to_string(), str::to_string);
        let default = match (&property["default"], required.contains(&key.as_str())) {
            (_, true) => "required".to_string(),
            (serde_json::Value::Null, _) => String::new(),
            (value, _) => format!("`{value}`"),
        };
        let meaning = property["description"].as_str().unwrap_or("").replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{key}` | {} | {default} | {meaning} |",
            kind.replace('"', "").replace("null", "")
        );
    }
    page.push_str("\n## Examples\n");
    for example in component.examples {
        let _ = write!(page, "\n{}\n\n```yaml\n{}\n```\n", example.title, example.config.trim());
    }
    let _ = write!(page, "\n{}\n", component.docs.trim());
    page
}

fn commands() -> String {
    let mut page = String::from("# Commands\n\n`tarn --help` prints the same.\n");
    let mut root = Cli::command();
    root.build();
    describe(&root, "tarn", &mut page);
    page
}

fn describe(command: &clap::Command, path: &str, page: &mut String) {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(page, "\n## `{path}`\n\n{about}\n");
        let own = sub.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set());
        let own: Vec<&clap::Arg> =
            own.filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")).collect();
        if !own.is_empty() {
            page.push('\n');
        }
        for arg in own {
            let name = match (arg.get_long(), arg.is_positional()) {
                (Some(long), _) => format!("--{long}"),
                (None, _) => format!("<{}>", arg.get_id().as_str().to_uppercase()),
            };
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(page, "- `{name}`: {help}");
        }
        describe(sub, &path, page);
    }
}
