//! What an apply would do: the declared documents against the current state.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use tarn_core::nearest;

use super::diff;
use super::document::{ParsedDocuments, ResourceDocument, ResourceId};
use super::kind::Kinds;
use super::problem::{Problem, Severity};
use super::revision::{ChangeAction, ResourceChange, StoredResource};

/// What else a plan may do than create and update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Delete every resource that no document declares.
    pub prune: bool,
    /// Delete these.
    pub delete: Vec<ResourceId>,
    /// A secret that is not set is a warning, because it can be set only once the server runs.
    pub secrets_may_follow: bool,
}

/// What happens to one resource.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedChange {
    /// What happens.
    pub action: ChangeAction,
    /// Kind of the resource.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Unified diff of its YAML, empty for `None`.
    pub diff: String,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// What an apply would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The revision it was made for, 0 before the first.
    pub base_revision: u64,
    /// By kind and name.
    pub changes: Vec<PlannedChange>,
    /// What is wrong with the text as a whole, or with documents that have no kind and name.
    pub problems: Vec<Problem>,
    /// Whether it can be applied: no problem is an error.
    pub ok: bool,
}

/// What an apply or a rollback did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Applied {
    /// The newest revision: the new one, or the one before if nothing changed.
    pub revision: u64,
    /// By kind and name.
    pub changes: Vec<PlannedChange>,
}

impl Plan {
    /// Whether anything would change.
    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(|change| change.action == ChangeAction::None)
    }

    /// All problems, of the text and of each resource.
    pub fn all_problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().chain(self.changes.iter().flat_map(|change| &change.problems))
    }
}

/// A plan and what it would store.
pub(super) struct Draft {
    pub(super) plan: Plan,
    pub(super) changes: Vec<ResourceChange>,
}

/// What a plan is made from.
pub(super) struct DraftInputs<'a> {
    pub(super) kinds: &'a Kinds,
    pub(super) base: u64,
    pub(super) current: &'a [StoredResource],
    pub(super) parsed: &'a ParsedDocuments,
    pub(super) options: &'a PlanOptions,
    /// Names of stored secrets.
    pub(super) secrets: &'a BTreeSet<String>,
}

/// Compares declared and current state. Nothing is stored.
pub(super) fn draft(inputs: &DraftInputs<'_>) -> Draft {
    let current: BTreeMap<ResourceId, &StoredResource> =
        inputs.current.iter().map(|own| (ResourceId::new(&own.kind, &own.name), own)).collect();
    let mut planned = BTreeMap::new();
    let mut changes = Vec::new();
    for document in &inputs.parsed.documents {
        let id = document.id();
        let before = current.get(&id).copied();
        let action = match before {
            None => ChangeAction::Create,
            Some(before) if before.spec != document.spec => ChangeAction::Update,
            Some(_) => ChangeAction::None,
        };
        let diff = diff::unified(&id, before.map(|before| &before.spec), Some(&document.spec));
        let problems = document_problems(inputs, document, action);
        if action != ChangeAction::None {
            changes.push(stored_change(action, document, before));
        }
        planned.insert(id.clone(), PlannedChange { action, kind: id.kind, name: id.name, diff, problems });
    }
    let mut problems = inputs.parsed.problems.clone();
    let prunable = current.keys().filter(|id| inputs.options.prune && !planned.contains_key(*id));
    let pruned: Vec<ResourceId> = prunable.cloned().collect();
    for id in inputs.options.delete.iter().filter(|id| !pruned.contains(id)).chain(&pruned) {
        if planned.get(id).is_some_and(|change| change.action == ChangeAction::Delete) {
            continue;
        }
        if planned.contains_key(id) {
            problems.push(Problem::error(format!("{id} is both declared and to be deleted")));
            continue;
        }
        let Some(before) = current.get(id) else {
            let names = current.keys().filter(|own| own.kind == id.kind).map(|own| own.name.as_str());
            problems.push(Problem::error(format!("{id} not found")).suggesting(nearest(&id.name, names)));
            continue;
        };
        changes.push(deletion(id, before));
        let diff = diff::unified(id, Some(&before.spec), None);
        let (kind, name) = (id.kind.clone(), id.name.clone());
        let change = PlannedChange { action: ChangeAction::Delete, kind, name, diff, problems: Vec::new() };
        planned.insert(id.clone(), change);
    }
    changes.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    let mut plan =
        Plan { base_revision: inputs.base, changes: planned.into_values().collect(), problems, ok: false };
    let failed = plan.all_problems().any(Problem::is_error);
    plan.ok = !failed;
    Draft { plan, changes }
}

fn deletion(id: &ResourceId, before: &StoredResource) -> ResourceChange {
    ResourceChange {
        action: ChangeAction::Delete,
        kind: id.kind.clone(),
        name: id.name.clone(),
        spec: None,
        origin: before.origin.clone(),
    }
}

fn stored_change(
    action: ChangeAction,
    document: &ResourceDocument,
    before: Option<&StoredResource>,
) -> ResourceChange {
    // An edit in the console does not move a resource out of the file it came from.
    let origin = document.origin.file.clone().or_else(|| before.and_then(|before| before.origin.clone()));
    ResourceChange {
        action,
        kind: document.kind.clone(),
        name: document.name.clone(),
        spec: Some(document.spec.clone()),
        origin,
    }
}

fn document_problems(
    inputs: &DraftInputs<'_>,
    document: &ResourceDocument,
    action: ChangeAction,
) -> Vec<Problem> {
    let mut problems = match inputs.kinds.get(&document.kind) {
        Ok(kind) => {
            let mut problems = kind.problems_of(document);
            if let Err(problem) = kind.check_name(&document.name) {
                problems.push(problem);
            }
            let mut missing = missing_secrets(&(kind.references)(&document.spec), document, inputs.secrets);
            if inputs.options.secrets_may_follow {
                missing.iter_mut().for_each(|problem| problem.severity = Severity::Warning);
            }
            problems.extend(missing);
            problems
        }
        Err(error) => vec![document.problem("", error.to_string())],
    };
    // What is already in force cannot be held against a plan that leaves it alone.
    if action == ChangeAction::None {
        problems.iter_mut().for_each(|problem| problem.severity = Severity::Warning);
    }
    problems
}

fn missing_secrets(
    names: &[String],
    document: &ResourceDocument,
    secrets: &BTreeSet<String>,
) -> Vec<Problem> {
    let places = super::references::reference_places(&document.spec);
    let mut problems = Vec::new();
    for name in names.iter().filter(|name| !secrets.contains(*name)) {
        let pointer = places.iter().find(|(_, own)| own == name).map_or("", |(pointer, _)| pointer);
        let hint = match nearest(name, secrets.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`? Or set it with `tarn access secret set {name}`"),
            None => format!("set it with `tarn access secret set {name}`"),
        };
        let message = format!("secret `{name}` of {} is not set", document.id());
        problems.push(document.problem(pointer, message).with_hint(hint));
    }
    problems
}

/// The changes that lead from the current state to another one.
pub(super) fn between(base: u64, current: &[StoredResource], target: &[StoredResource]) -> Draft {
    let by_id = |all: &[StoredResource]| -> BTreeMap<ResourceId, StoredResource> {
        all.iter().map(|own| (ResourceId::new(&own.kind, &own.name), own.clone())).collect()
    };
    let (current, target) = (by_id(current), by_id(target));
    let mut changes = Vec::new();
    let mut planned = Vec::new();
    let ids: BTreeSet<&ResourceId> = current.keys().chain(target.keys()).collect();
    for id in ids {
        let (before, after) = (current.get(id), target.get(id));
        let action = match (before, after) {
            (None, _) => ChangeAction::Create,
            (Some(_), None) => ChangeAction::Delete,
            (Some(before), Some(after)) if before.spec != after.spec => ChangeAction::Update,
            (Some(_), Some(_)) => ChangeAction::None,
        };
        let spec_of = |side: Option<&StoredResource>| -> Option<Value> { side.map(|own| own.spec.clone()) };
        let (old, new) = (spec_of(before), spec_of(after));
        let diff = diff::unified(id, old.as_ref(), new.as_ref());
        let (kind, name) = (id.kind.clone(), id.name.clone());
        if action != ChangeAction::None {
            let origin = after.or(before).and_then(|own| own.origin.clone());
            changes.push(ResourceChange {
                action,
                kind: kind.clone(),
                name: name.clone(),
                spec: new,
                origin,
            });
        }
        planned.push(PlannedChange { action, kind, name, diff, problems: Vec::new() });
    }
    let plan = Plan { base_revision: base, changes: planned, problems: Vec::new(), ok: true };
    Draft { plan, changes }
}
