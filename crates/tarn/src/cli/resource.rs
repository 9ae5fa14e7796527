//! `tarn plan | apply | rollback | export | resource`: declared resources and their revisions.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use super::output::{items, print_items, print_json, text};
use super::{Failure, Global, io_failure};
use crate::project::resource_files;

/// Options of `tarn plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Files or folders [default: resources/ of the project].
    files: Vec<PathBuf>,
    /// Also delete resources that the files do not name.
    #[arg(long)]
    prune: bool,
}

/// Options of `tarn apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    plan: PlanArgs,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Why, for the list of revisions.
    #[arg(long, short)]
    message: Option<String>,
}

/// Options of `tarn rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The revision to go back to, as `tarn resource revisions` shows it.
    revision: u64,
}

/// Options of `tarn export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Write into the project folder of the server instead of printing.
    #[arg(long)]
    write: bool,
}

/// `tarn resource`.
#[derive(Debug, Subcommand)]
pub enum Revisions {
    /// All resources with their states
    List,
    /// All revisions, newest first
    #[command(name = "revisions")]
    History,
    /// One revision with what it changed
    Show {
        /// Its number.
        revision: u64,
    },
}

fn documents(global: &Global, files: &[PathBuf]) -> Result<String, Failure> {
    let files = match files {
        [] => resource_files(&global.project)?,
        files => {
            let mut all = Vec::new();
            for file in files {
                match file.is_dir() {
                    true => all.extend(resource_files_of(file)?),
                    false => all.push(file.clone()),
                }
            }
            all
        }
    };
    if files.is_empty() {
        return Err(Failure::invalid(
            format!("no resource files in `{}`", global.project.join("resources").display()),
            "run this in a project folder, name one with --project, or make one with `tarn init`",
        ));
    }
    let mut text = String::new();
    for file in files {
        let content = std::fs::read_to_string(&file).map_err(|error| io_failure("read", &file, &error))?;
        if !text.is_empty() {
            text.push_str("\n---\n");
        }
        text.push_str(&content);
    }
    Ok(text)
}

fn resource_files_of(folder: &std::path::Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|error| io_failure("read", folder, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| io_failure("read", folder, &error))?.path();
        if path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn print_changes(answer: &Value) -> (usize, usize) {
    let mut changed = 0;
    let mut errors = 0;
    for change in answer["changes"].as_array().into_iter().flatten() {
        let action = text(&change["action"]);
        if action != "none" {
            changed += 1;
            println!("{action} {} `{}`", text(&change["kind"]), text(&change["name"]));
            for line in text(&change["diff"]).lines().filter(|_| change["diff"].is_string()) {
                println!("    {line}");
            }
        }
        for problem in change["problems"].as_array().into_iter().flatten() {
            errors += usize::from(problem["severity"] == "error");
            println!("  {}: {}", text(&problem["severity"]), text(&problem["message"]));
            if problem["hint"].is_string() {
                println!("    hint: {}", text(&problem["hint"]));
            }
        }
    }
    (changed, errors)
}

async fn planned(global: &Global, client: &Client, args: &PlanArgs) -> Result<(Value, Value), Failure> {
    let body = json!({ "documents": documents(global, &args.files)?, "prune": args.prune });
    let answer = client.post("/api/v1/resource/plan", &body).await?;
    Ok((body, answer))
}

fn refuse(errors: usize) -> Failure {
    Failure::invalid(
        format!("{errors} problems stand against it"),
        "mend them in the files and run this again",
    )
}

/// `tarn plan`.
pub async fn plan(global: &Global, args: PlanArgs) -> Result<(), Failure> {
    let client = Client::new(global)?;
    let (_, answer) = planned(global, &client, &args).await?;
    if global.json {
        print_json(&answer);
    }
    let (changed, errors) = if global.json { (0, 0) } else { print_changes(&answer) };
    if errors > 0 || answer["ok"] == false {
        return Err(refuse(errors.max(1)));
    }
    if !global.json {
        match changed {
            0 => println!("nothing to change"),
            n => println!("\n{n} changes; `tarn apply` makes them"),
        }
    }
    Ok(())
}

/// `tarn apply`.
pub async fn apply(global: &Global, args: ApplyArgs) -> Result<(), Failure> {
    let client = Client::new(global)?;
    let (mut body, plan) = planned(global, &client, &args.plan).await?;
    let (changed, errors) = if global.json { (1, 0) } else { print_changes(&plan) };
    if errors > 0 || plan["ok"] == false {
        return Err(refuse(errors.max(1)));
    }
    if changed == 0 {
        println!("nothing to change");
        return Ok(());
    }
    if !args.yes && !global.json && std::io::stdin().is_terminal() && !confirmed()? {
        println!("nothing was changed");
        return Ok(());
    }
    body["base_revision"] = plan["base_revision"].clone();
    body["message"] = json!(args.message);
    let answer = client.post("/api/v1/resource/apply", &body).await?;
    match global.json {
        true => print_json(&answer),
        false => println!("revision {}", text(&answer["revision"])),
    }
    Ok(())
}

fn confirmed() -> Result<bool, Failure> {
    print!("\napply? [y/N] ");
    let failed = |error: std::io::Error| Failure::internal(format!("could not ask: {error}"));
    std::io::stdout().flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// `tarn rollback`.
pub async fn rollback(global: &Global, args: RollbackArgs) -> Result<(), Failure> {
    let client = Client::new(global)?;
    let answer = client.post("/api/v1/resource/rollback", &json!({ "revision": args.revision })).await?;
    if global.json {
        print_json(&answer);
        return Ok(());
    }
    print_changes(&answer);
    println!("revision {}: as it was at revision {}", text(&answer["revision"]), args.revision);
    Ok(())
}

/// `tarn export`.
pub async fn export(global: &Global, args: ExportArgs) -> Result<(), Failure> {
    let client = Client::new(global)?;
    if args.write {
        let answer = client.post("/api/v1/resource/write-back", &json!({})).await?;
        for file in answer["files"].as_array().into_iter().flatten() {
            println!("{}", text(file));
        }
        return Ok(());
    }
    print!("{}", client.get_text("/api/v1/resource/export").await?);
    Ok(())
}

/// `tarn resource`.
pub async fn revisions(global: &Global, command: Revisions) -> Result<(), Failure> {
    let client = Client::new(global)?;
    let (path, columns): (String, &[(&str, &str)]) = match command {
        Revisions::List => (
            "/api/v1/resource".into(),
            &[
                ("KIND", "kind"),
                ("NAME", "name"),
                ("REVISION", "revision"),
                ("STATE", "state"),
                ("MESSAGE", "message"),
            ],
        ),
        Revisions::History => (
            "/api/v1/resource/revisions".into(),
            &[("REVISION", "revision"), ("AT", "at"), ("BY", "author"), ("MESSAGE", "message")],
        ),
        Revisions::Show { revision } => {
            let answer = client.get(&format!("/api/v1/resource/revisions/{revision}")).await?;
            match global.json {
                true => print_json(&answer),
                false => drop(print_changes(&answer)),
            }
            return Ok(());
        }
    };
    let answer = client.get(&path).await?;
    match global.json {
        true => print_json(&answer),
        false => print_items(&items(&answer), columns, "none yet; `tarn apply` makes the first"),
    }
    Ok(())
}
