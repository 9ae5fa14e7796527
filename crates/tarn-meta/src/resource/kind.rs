//! Kinds of resources: what a spec of each may hold. The list is made by the program that knows all crates.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};
use tarn_core::{Fault, ResourceName, TableName, TopicName, nearest};

use super::document::ResourceDocument;
use super::problem::Problem;
use super::references::{self, secret_references};
use super::schema;
use crate::error::MetaError;

/// A check of a kind's own, after the schema. Use [`ResourceDocument::problem`] to point at a line.
pub type Validate = Arc<dyn Fn(&ResourceDocument) -> Vec<Problem> + Send + Sync>;
type References = Arc<dyn Fn(&Value) -> Vec<String> + Send + Sync>;
type Schema = Arc<dyn Fn() -> Value + Send + Sync>;

/// What the name of a resource must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// One word, such as `shop`.
    Simple,
    /// The name of a topic, such as `shop.public.orders`.
    Topic,
    /// The name of a table, such as `shop.orders`.
    Table,
}

/// Specs that differ by the value of one key, such as the types of sources.
#[derive(Clone)]
pub struct Variants {
    /// The key that chooses, such as `type`.
    pub key: &'static str,
    /// What a choice is called in messages, such as `source type`.
    pub noun: &'static str,
    /// JSON Schema of the choice's own keys, by choice.
    pub schemas: BTreeMap<String, Value>,
}

/// A kind of resource.
#[derive(Clone)]
pub struct KindSpec {
    /// As written in documents, such as `source`.
    pub name: &'static str,
    /// What names look like.
    pub names: NameRule,
    /// JSON Schema of the spec, without the keys that depend on a variant.
    pub schema: Schema,
    /// Specs that differ by one key.
    pub variants: Option<Variants>,
    /// A check of its own.
    pub validate: Validate,
    /// Names of the secrets that a spec refers to.
    pub references: References,
}

impl fmt::Debug for KindSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KindSpec({})", self.name)
    }
}

impl KindSpec {
    /// A kind with simple names, no check of its own, and references of the form `{secret: name}`.
    pub fn new(name: &'static str, schema: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        Self {
            name,
            names: NameRule::Simple,
            schema: Arc::new(schema),
            variants: None,
            validate: Arc::new(|_| Vec::new()),
            references: Arc::new(secret_references),
        }
    }

    /// With another form of names.
    pub fn with_names(mut self, names: NameRule) -> Self {
        self.names = names;
        self
    }

    /// With variants.
    pub fn with_variants(mut self, variants: Variants) -> Self {
        self.variants = Some(variants);
        self
    }

    /// With a check of its own.
    pub fn with_validate(
        mut self,
        validate: impl Fn(&ResourceDocument) -> Vec<Problem> + Send + Sync + 'static,
    ) -> Self {
        self.validate = Arc::new(validate);
        self
    }

    /// JSON Schema of the whole spec, for editors and forms.
    pub fn full_schema(&self) -> Value {
        let base = (self.schema)();
        match &self.variants {
            None => base,
            Some(variants) => {
                let all: Vec<Value> = variants
                    .schemas
                    .keys()
                    .filter_map(|choice| schema::merged(&base, variants, choice))
                    .collect();
                json!({ "type": "object", "required": [variants.key], "oneOf": all })
            }
        }
    }

    pub(crate) fn check_name(&self, name: &str) -> Result<(), Problem> {
        let checked = match self.names {
            NameRule::Simple => ResourceName::parse(name).map(|_| ()),
            NameRule::Topic => TopicName::parse(name).map(|_| ()),
            NameRule::Table => TableName::parse(name).map(|_| ()),
        };
        checked.map_err(|error| {
            let problem = Problem::error(error.to_string());
            match error.hint() {
                Some(hint) => problem.with_hint(hint),
                None => problem,
            }
        })
    }

    /// All that is wrong with a document of this kind by itself.
    pub(crate) fn problems_of(&self, document: &ResourceDocument) -> Vec<Problem> {
        let mut problems = references::malformed(document);
        problems.extend(schema::spec_problems(self, document));
        // A check of its own may rely on the schema.
        if !problems.iter().any(Problem::is_error) {
            problems.extend((self.validate)(document));
        }
        problems
    }
}

/// The kinds that a program knows.
#[derive(Clone, Debug, Default)]
pub struct Kinds {
    specs: Arc<Vec<KindSpec>>,
}

impl Kinds {
    /// Takes the list; of two kinds with one name the first counts.
    pub fn new(specs: Vec<KindSpec>) -> Self {
        Self { specs: Arc::new(specs) }
    }

    /// One kind. Errors: `UnknownKind` with the nearest one.
    pub fn get(&self, name: &str) -> Result<&KindSpec, MetaError> {
        self.specs.iter().find(|spec| spec.name == name).ok_or_else(|| {
            let hint = nearest(name, self.names()).map_or_else(
                || {
                    format!(
                        "kinds are {}",
                        self.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                    )
                },
                |near| format!("did you mean `{near}`?"),
            );
            MetaError::UnknownKind { kind: name.to_string(), hint }
        })
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.specs.iter().map(|spec| spec.name)
    }
}
