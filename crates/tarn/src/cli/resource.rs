//! `tarn plan | apply | rollback | export | resource`: declared resources and their revisions.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use super::output::{items, print_items, print_json, print_line, print_text, text};
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

/// The text of all files as one, and which of its lines is which line of a file.
struct Documents {
    text: String,
    /// First line of each file in the text, from 1, and the file as people name it.
    files: Vec<(u64, String)>,
}

impl Documents {
    fn add(&mut self, file: &str, content: &str) {
        if !self.text.is_empty() {
            self.text.push_str("\n---\n");
        }
        self.files.push((self.text.matches('\n').count() as u64 + 1, file.to_string()));
        self.text.push_str(content);
    }

    /// `file:line: ` of a line of the text, empty if there is none.
    fn place(&self, line: &Value) -> String {
        let Some(line) = line.as_u64() else { return String::new() };
        match self.files.iter().rev().find(|(first, _)| *first <= line) {
            Some((first, file)) => format!("{file}:{}: ", line - first + 1),
            None => String::new(),
        }
    }
}

fn documents(global: &Global, files: &[PathBuf]) -> Result<Documents, Failure> {
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
    let mut documents = Documents { text: String::new(), files: Vec::new() };
    for file in files {
        let content = std::fs::read_to_string(&file).map_err(|error| io_failure("read", &file, &error))?;
        let shown = file.strip_prefix(&global.project).unwrap_or(&file).display().to_string();
        documents.add(&shown, &content);
    }
    Ok(documents)
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

/// Prints problems and returns how many are errors.
fn print_problems(problems: &Value, documents: Option<&Documents>) -> usize {
    let mut errors = 0;
    for problem in problems.as_array().into_iter().flatten() {
        errors += usize::from(problem["severity"] == "error");
        let place = documents.map(|documents| documents.place(&problem["line"])).unwrap_or_default();
        print_line(format_args!("  {}: {place}{}", text(&problem["severity"]), text(&problem["message"])));
        if problem["hint"].is_string() {
            print_line(format_args!("    hint: {}", text(&problem["hint"])));
        }
    }
    errors
}

/// Prints what changes and what is wrong; returns how many changes and how many errors there are.
fn print_changes(answer: &Value, documents: Option<&Documents>) -> (usize, usize) {
    let mut changed = 0;
    let mut errors = print_problems(&answer["problems"], documents);
    for change in answer["changes"].as_array().into_iter().flatten() {
        let action = text(&change["action"]);
        if action != "none" {
            changed += 1;
            print_line(format_args!("{action} {} `{}`", text(&change["kind"]), text(&change["name"])));
            for line in text(&change["diff"]).lines().filter(|_| change["diff"].is_string()) {
                print_line(format_args!("    {line}"));
            }
        }
        errors += print_problems(&change["problems"], documents);
    }
    (changed, errors)
}

/// What was asked and answered, with the changes shown unless JSON is wanted.
struct Planned {
    body: Value,
    answer: Value,
    changed: usize,
}

/// Errors: the plan has problems, which are shown.
async fn planned(global: &Global, client: &Client, args: &PlanArgs) -> Result<Planned, Failure> {
    let documents = documents(global, &args.files)?;
    let body = json!({ "documents": documents.text, "prune": args.prune });
    let answer = client.post("/api/v1/resource/plan", &body).await?;
    let (changed, errors) = match global.json {
        true => (1, 0),
        false => print_changes(&answer, Some(&documents)),
    };
    if errors > 0 || answer["ok"] == false {
        if global.json {
            print_json(&answer);
        }
        return Err(refuse(errors.max(1)));
    }
    Ok(Planned { body, answer, changed })
}

fn refuse(errors: usize) -> Failure {
    let what = match errors {
        1 => "one problem stands against it".to_string(),
        n => format!("{n} problems stand against it"),
    };
    Failure::invalid(what, "mend the files and run this again")
}

/// `tarn plan`.
pub async fn plan(global: &Global, args: PlanArgs) -> Result<(), Failure> {
    let client = Client::new(global)?;
    let planned = planned(global, &client, &args).await?;
    match (global.json, planned.changed) {
        (true, _) => print_json(&planned.answer),
        (_, 0) => print_line("nothing to change"),
        (_, 1) => print_line("\none change; `tarn apply` makes it"),
        (_, n) => print_line(format_args!("\n{n} changes; `tarn apply` makes them")),
    }
    Ok(())
}

/// `tarn apply`.
pub async fn apply(global: &Global, args: ApplyArgs) -> Result<(), Failure> {
    let client = Client::new(global)?;
    let Planned { mut body, answer: plan, changed } = planned(global, &client, &args.plan).await?;
    if changed == 0 {
        print_line("nothing to change");
        return Ok(());
    }
    if !args.yes && !global.json && std::io::stdin().is_terminal() && !confirmed()? {
        print_line("nothing was changed");
        return Ok(());
    }
    body["base_revision"] = plan["base_revision"].clone();
    body["message"] = json!(args.message);
    let answer = client.post("/api/v1/resource/apply", &body).await?;
    match global.json {
        true => print_json(&answer),
        false => print_line(format_args!("revision {}", text(&answer["revision"]))),
    }
    Ok(())
}

fn confirmed() -> Result<bool, Failure> {
    print_text("\napply? [y/N] ");
    let failed = |error: std::io::Error| Failure::internal(format!("could not ask: {error}"));
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
    print_changes(&answer, None);
    print_line(format_args!(
        "revision {}: as it was at revision {}",
        text(&answer["revision"]),
        args.revision
    ));
    Ok(())
}

/// `tarn export`.
pub async fn export(global: &Global, args: ExportArgs) -> Result<(), Failure> {
    let client = Client::new(global)?;
    if args.write {
        let answer = client.post("/api/v1/resource/write-back", &json!({})).await?;
        for file in answer["files"].as_array().into_iter().flatten() {
            print_line(text(file));
        }
        return Ok(());
    }
    print_text(client.get_text("/api/v1/resource/export").await?);
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
                false => drop(print_changes(&answer, None)),
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
