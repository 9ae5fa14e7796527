//! A spec against its JSON Schema, with messages for people: what is wrong, where, and what was probably meant.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value, json};
use tarn_core::nearest;

use super::document::ResourceDocument;
use super::kind::{KindSpec, Variants};
use super::problem::Problem;
use super::references::{reference_places, replace};

// What stands for the value of a secret while the rest of the spec is checked.
const PLACEHOLDER: &str = "secret";
const SECRET_FORMAT: &str = "secret";
const BRANCH_DEPTH_MAX: usize = 8;

/// All violations of a kind's schema by a document.
pub(super) fn spec_problems(kind: &KindSpec, document: &ResourceDocument) -> Vec<Problem> {
    let base = (kind.schema)();
    let Some(variants) = &kind.variants else { return schema_problems(document, &base) };
    let names = || variants.schemas.keys().map(String::as_str);
    let choice = match document.spec.get(variants.key) {
        Some(Value::String(choice)) => choice,
        Some(_) => {
            return vec![document.problem(&format!("/{}", variants.key), must_be(variants.key, "text"))];
        }
        None => {
            let problem = document.problem("", format!("{} has no `{}`", document.id(), variants.key));
            return vec![problem.with_hint(format!("{}s are {}", variants.noun, list(names())))];
        }
    };
    match merged(&base, variants, choice) {
        Some(schema) => schema_problems(document, &schema),
        None => {
            let message = format!("unknown {} `{choice}` in {}", variants.noun, document.id());
            let problem = document.problem(&format!("/{}", variants.key), message);
            let all = format!("{}s are {}", variants.noun, list(names()));
            vec![problem.with_hint(all).suggesting(nearest(choice, names()))]
        }
    }
}

/// The schema of a kind together with that of one of its variants, `None` if there is no such variant.
pub(super) fn merged(base: &Value, variants: &Variants, choice: &str) -> Option<Value> {
    let own = variants.schemas.get(choice)?;
    let mut schema = base.as_object().cloned().unwrap_or_default();
    schema.insert("type".into(), json!("object"));
    schema.insert("title".into(), json!(choice));
    for (key, value) in own.as_object().into_iter().flatten() {
        match (key.as_str(), schema.get_mut(key), value) {
            ("properties" | "$defs" | "definitions", Some(Value::Object(map)), Value::Object(own)) => {
                map.extend(own.clone());
            }
            ("required", Some(Value::Array(all)), Value::Array(own)) => all.extend(own.clone()),
            ("type" | "title" | "$schema", _, _) => {}
            _ => {
                schema.insert(key.clone(), value.clone());
            }
        }
    }
    let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(properties) = properties {
        properties.insert(variants.key.to_string(), json!({ "const": choice }));
    }
    Some(Value::Object(schema))
}

/// All violations of a schema by the spec of a document. A reference to a secret counts as text; a key with
/// `"format": "secret"` should be one.
pub fn schema_problems(document: &ResourceDocument, schema: &Value) -> Vec<Problem> {
    let places = reference_places(&document.spec);
    let mut instance = document.spec.clone();
    let _ = replace(&mut instance, &mut |_| Ok::<_, std::convert::Infallible>(PLACEHOLDER.to_string()));
    let validator = match jsonschema::validator_for(schema) {
        Ok(validator) => validator,
        Err(error) => {
            return vec![document.problem("", format!("the schema of {} is broken: {error}", document.id()))];
        }
    };
    let check = Check { document, root: schema, schema, places: &places };
    let mut problems = Vec::new();
    for error in validator.iter_errors(&instance) {
        check.explain(&error, &instance, &mut problems, 0);
    }
    check.plain_secrets(schema, &document.spec, "", &mut problems, 0);
    problems
}

struct Check<'a> {
    document: &'a ResourceDocument,
    /// Where `#/...` begins.
    root: &'a Value,
    /// Where the paths of errors begin.
    schema: &'a Value,
    places: &'a [(String, String)],
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn must_be(what: &str, kind: &str) -> String {
    format!("`{what}` must be {kind}")
}

/// `/tables/0/name` as a person writes it: `tables[0].name`.
fn dotted(pointer: &str) -> String {
    let mut text = String::new();
    for part in pointer.split('/').skip(1) {
        if part.parse::<usize>().is_ok() && !text.is_empty() {
            text.push_str(&format!("[{part}]"));
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(&part.replace("~1", "/").replace("~0", "~"));
    }
    text
}

fn type_name(name: &str) -> &str {
    match name {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        "null" => "empty",
        other => other,
    }
}

fn type_names(kind: &TypeKind) -> String {
    let names: Vec<String> = match kind {
        TypeKind::Single(one) => vec![one.to_string()],
        TypeKind::Multiple(set) => set.iter().map(|one| one.to_string()).collect(),
    };
    let mut names: Vec<&str> =
        names.iter().filter(|name| *name != "null").map(|name| type_name(name)).collect();
    names.dedup();
    names.join(" or ")
}

fn plain_json(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

impl Check<'_> {
    fn is_reference(&self, pointer: &str) -> bool {
        self.places.iter().any(|(place, _)| place == pointer)
    }

    // The part of the schema that a keyword's path leads to, through references.
    fn schema_at(&self, path: &str) -> Option<&Value> {
        let mut node = self.schema;
        for part in path.split('/').skip(1) {
            node = match node {
                Value::Object(map) if part == "$ref" => {
                    self.root.pointer(map.get(part)?.as_str()?.strip_prefix('#')?)?
                }
                Value::Object(map) => map.get(&part.replace("~1", "/").replace("~0", "~"))?,
                Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(node)
    }

    fn push(&self, problems: &mut Vec<Problem>, pointer: &str, message: String, similar: Option<&str>) {
        let message = format!("{message} in {}", self.document.id());
        let problem = self.document.problem(pointer, message).suggesting(similar);
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    fn explain(
        &self,
        error: &ValidationError<'_>,
        instance: &Value,
        problems: &mut Vec<Problem>,
        depth: usize,
    ) {
        let pointer = error.instance_path.as_str();
        let here = if pointer.is_empty() { "spec".to_string() } else { dotted(pointer) };
        match &error.kind {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                self.unknown_keys(error, unexpected, pointer, problems);
            }
            ValidationErrorKind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let place = if pointer.is_empty() { String::new() } else { format!(" of `{here}`") };
                self.push(problems, pointer, format!("`{key}`{place} is missing"), None);
            }
            ValidationErrorKind::Type { kind } => {
                let names = type_names(kind);
                let message = if self.is_reference(pointer) {
                    format!("`{here}` must be {names}, and a secret is text")
                } else {
                    must_be(&here, &names)
                };
                self.push(problems, pointer, message, None);
            }
            // What a secret holds is not known here.
            _ if self.is_reference(pointer) => {}
            ValidationErrorKind::Enum { options } => {
                let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
                let value = instance.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                let similar = nearest(value, options.iter().filter_map(Value::as_str));
                let all = options.iter().map(plain_json).collect::<Vec<_>>().join(", ");
                self.push(problems, pointer, format!("`{here}` must be one of {all}"), similar);
            }
            ValidationErrorKind::Constant { expected_value } => {
                self.push(problems, pointer, must_be(&here, &plain_json(expected_value)), None);
            }
            ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::OneOfNotValid { .. } => {
                self.explain_branch(error, instance, problems, depth);
            }
            ValidationErrorKind::Pattern { .. } => self.wrong_form(error, &here, problems),
            kind => self.push(problems, pointer, limit_message(&here, kind), None),
        }
    }

    // Where the schema has examples they say more than a regular expression.
    fn wrong_form(&self, error: &ValidationError<'_>, here: &str, problems: &mut Vec<Problem>) {
        let examples = self.sibling(error, "examples").and_then(Value::as_array).map(Vec::as_slice);
        let examples: Vec<&str> = examples.unwrap_or_default().iter().filter_map(Value::as_str).collect();
        let pointer = error.instance_path.as_str();
        if examples.is_empty() {
            return self.push(problems, pointer, limit_message(here, &error.kind), None);
        }
        let message = format!("`{here}` is not in the right form in {}", self.document.id());
        let hint = format!("write it like {}", list(examples.into_iter()));
        let problem = self.document.problem(pointer, message).with_hint(hint);
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    // What stands beside the keyword that is violated.
    fn sibling(&self, error: &ValidationError<'_>, keyword: &str) -> Option<&Value> {
        let path = error.schema_path.as_str();
        self.schema_at(path.rfind('/').map_or("", |at| &path[..at]))?.get(keyword)
    }

    fn unknown_keys(
        &self,
        error: &ValidationError<'_>,
        unexpected: &[String],
        pointer: &str,
        problems: &mut Vec<Problem>,
    ) {
        let known = self.sibling(error, "properties");
        let known: Vec<&str> =
            known.and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        for key in unexpected {
            let own = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            let place = if pointer.is_empty() { String::new() } else { format!(" in `{}`", dotted(pointer)) };
            let similar = nearest(key, known.iter().copied());
            let message = format!("unknown key `{key}`{place}");
            self.push(problems, &own, message, similar);
            if similar.is_none()
                && !known.is_empty()
                && let Some(problem) = problems.last_mut()
            {
                problem.hint.get_or_insert_with(|| format!("keys here are {}", list(known.iter().copied())));
            }
        }
    }

    // None of several forms fits. The one that was meant has the fewest faults, and none in a key that can hold
    // only one value, such as a type.
    fn explain_branch(
        &self,
        error: &ValidationError<'_>,
        instance: &Value,
        problems: &mut Vec<Problem>,
        depth: usize,
    ) {
        let pointer = error.instance_path.as_str();
        let here = if pointer.is_empty() { "spec".to_string() } else { dotted(pointer) };
        let branches = self.schema_at(error.schema_path.as_str()).and_then(Value::as_array);
        let value = instance.pointer(pointer).unwrap_or(&Value::Null);
        let mut best: Option<(usize, Vec<Problem>)> = None;
        for branch in branches.into_iter().flatten().filter(|_| depth < BRANCH_DEPTH_MAX) {
            if branch.get("type") == Some(&json!("null")) {
                continue;
            }
            let Some(validator) = self.branch_validator(branch) else { continue };
            let inner =
                Check { document: self.document, root: self.root, schema: branch, places: self.places };
            let mut found = Vec::new();
            let mut weight = 0;
            for mut own in validator.iter_errors(value) {
                weight += match &own.kind {
                    ValidationErrorKind::Constant { .. } | ValidationErrorKind::Enum { .. } => 100,
                    ValidationErrorKind::Type { .. } if own.instance_path.as_str().is_empty() => 1_000,
                    _ => 1,
                };
                own.instance_path = join(&error.instance_path, &own.instance_path);
                inner.explain(&own, instance, &mut found, depth + 1);
            }
            if best.as_ref().is_none_or(|(least, _)| weight < *least) {
                best = Some((weight, found));
            }
        }
        match best {
            Some((weight, found)) if weight < 1_000 && !found.is_empty() => {
                problems.extend(
                    found.into_iter().filter(|problem| !problems.contains(problem)).collect::<Vec<_>>(),
                );
            }
            _ => {
                self.push(problems, pointer, format!("`{here}` has none of the forms that it may have"), None)
            }
        }
    }

    fn branch_validator(&self, branch: &Value) -> Option<Validator> {
        let mut branch = branch.clone();
        // References within the branch lead to definitions at the root.
        for key in ["$defs", "definitions"] {
            if let (Some(defs), Value::Object(map)) = (self.root.get(key), &mut branch) {
                map.entry(key).or_insert_with(|| defs.clone());
            }
        }
        jsonschema::validator_for(&branch).ok()
    }

    // Passwords in the open: they would be shown to every viewer and kept in every revision.
    fn plain_secrets(
        &self,
        schema: &Value,
        spec: &Value,
        pointer: &str,
        problems: &mut Vec<Problem>,
        depth: usize,
    ) {
        if depth > 64 {
            return;
        }
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        if let Some(target) = target.and_then(|target| self.root.pointer(target)) {
            self.plain_secrets(target, spec, pointer, problems, depth + 1);
        }
        if schema.get("format").and_then(Value::as_str) == Some(SECRET_FORMAT) {
            if spec.as_str().is_some_and(|text| !text.is_empty()) {
                let key = dotted(pointer);
                let name = format!("{}_{}", self.document.name, key.rsplit('.').next().unwrap_or("secret"));
                let message = format!("`{key}` in {} holds its value in the open", self.document.id());
                let hint =
                    format!("run `tarn access secret set {name}` and write `{key}: {{ secret: {name} }}`");
                problems.push(self.document.warning(pointer, message).with_hint(hint));
            }
            return;
        }
        for (key, value) in spec.as_object().into_iter().flatten() {
            let Some(own) = schema.get("properties").and_then(|properties| properties.get(key)) else {
                continue;
            };
            let place = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            self.plain_secrets(own, value, &place, problems, depth + 1);
        }
        if let (Some(items), Value::Array(values)) = (schema.get("items"), spec) {
            for (index, value) in values.iter().enumerate() {
                self.plain_secrets(items, value, &format!("{pointer}/{index}"), problems, depth + 1);
            }
        }
        for branch in
            ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema.get(*key)?.as_array()).flatten()
        {
            self.plain_secrets(branch, spec, pointer, problems, depth + 1);
        }
    }
}

fn join(
    outer: &jsonschema::paths::Location,
    inner: &jsonschema::paths::Location,
) -> jsonschema::paths::Location {
    inner
        .as_str()
        .split('/')
        .skip(1)
        .fold(outer.clone(), |path, part| path.join(part.replace("~1", "/").replace("~0", "~").as_str()))
}

// The value is not repeated: it may be a password.
fn limit_message(here: &str, kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Pattern { pattern } => format!("`{here}` does not have the form `{pattern}`"),
        ValidationErrorKind::Format { format } => format!("`{here}` is not a valid {format}"),
        ValidationErrorKind::Minimum { limit } => format!("`{here}` must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("`{here}` must be at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("`{here}` must be more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("`{here}` must be less than {limit}"),
        ValidationErrorKind::MinLength { limit } => format!("`{here}` must have at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("`{here}` must have at most {limit} characters"),
        ValidationErrorKind::MinItems { limit } => format!("`{here}` must have at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("`{here}` must have at most {limit} items"),
        ValidationErrorKind::MinProperties { limit } => format!("`{here}` must have at least {limit} keys"),
        ValidationErrorKind::MaxProperties { limit } => format!("`{here}` must have at most {limit} keys"),
        ValidationErrorKind::MultipleOf { multiple_of } => {
            format!("`{here}` must be a multiple of {multiple_of}")
        }
        ValidationErrorKind::UniqueItems => format!("`{here}` holds an item twice"),
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            format!("`{here}` has more than one of its possible forms")
        }
        ValidationErrorKind::PropertyNames { .. } => format!("`{here}` has a key that is not permitted"),
        _ => format!("`{here}` is not as its schema says"),
    }
}
