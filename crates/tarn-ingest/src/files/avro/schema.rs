//! The schema of an Avro file, as far as reading its data needs it.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

/// Types of a schema, where those used again count again.
const TYPES_MAX: usize = 20_000;
/// Types within each other.
const DEPTH_MAX: usize = 64;
/// The column of a file whose records are no records.
const VALUE: &str = "value";

/// How the bytes of a number or identifier stand in the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// Behind their length.
    Counted,
    /// As many as the type says.
    Fixed(usize),
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// How values of a type stand in the data.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Vec<String>),
    Decimal {
        width: Width,
        precision: u8,
        scale: u8,
    },
    Date,
    /// Since midnight; milliseconds are an `int`.
    Time(Unit),
    /// Since 1970; with UTC it is a moment.
    Timestamp {
        unit: Unit,
        utc: bool,
    },
    /// As text, or as 16 bytes.
    Uuid(Width),
    /// Months, days, milliseconds.
    Duration,
    Record(Vec<(String, Shape)>),
    Array(Box<Shape>),
    Map(Box<Shape>),
    Union(Vec<Shape>),
    /// A type within itself, by its name in [`Layout::named`].
    Named(String),
}

/// The columns of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub(super) columns: Vec<(String, Shape)>,
    /// Types that stand within themselves.
    pub(super) named: HashMap<String, Shape>,
    /// Why columns have their types, where it is no matter of course.
    pub(super) reasons: BTreeMap<String, String>,
}

#[derive(Default)]
struct Parser {
    done: HashMap<String, Shape>,
    open: HashSet<String>,
    types: usize,
}

impl Layout {
    /// Of a schema as text. Errors: what is wrong with it, for people.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("its schema is not JSON: {error}"))?;
        let mut parser = Parser::default();
        let shape = parser.shape(&value, "", 0).map_err(|what| format!("its schema: {what}"))?;
        let columns = match shape {
            Shape::Record(fields) => fields,
            other => vec![(VALUE.to_string(), other)],
        };
        let mut seen = HashSet::new();
        if let Some((name, _)) = columns.iter().find(|(name, _)| !seen.insert(name.as_str())) {
            return Err(format!("its schema: field `{name}` stands twice"));
        }
        if columns.is_empty() {
            return Err("its schema: the record has no fields".to_string());
        }
        let reasons = columns.iter().filter_map(|(name, shape)| Some((name.clone(), reason(shape)?)));
        Ok(Self { reasons: reasons.collect(), columns, named: parser.done })
    }
}

/// Why a column has its type.
fn reason(shape: &Shape) -> Option<String> {
    Some(match shape {
        Shape::Enum(symbols) => format!("an enum of {} symbols, as text", symbols.len()),
        Shape::Fixed(size) if *size > 256 => format!("a fixed of {size} bytes, as binary"),
        Shape::Duration => "a duration, as text such as `P1M2DT3.004S`".to_string(),
        Shape::Named(name) => format!("`{name}` stands within itself, so it becomes JSON text"),
        Shape::Record(fields) if fields.is_empty() => {
            "a record without fields, so it becomes JSON text".to_string()
        }
        Shape::Union(_) => match shape.merged() {
            Shape::Union(shapes) => {
                let names: Vec<&str> = shapes.iter().map(Shape::name).collect();
                format!("a union of {}, so each value becomes JSON text", names.join(", "))
            }
            merged => return reason(&merged),
        },
        _ => return None,
    })
}

impl Shape {
    fn name(&self) -> &str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Fixed(_) => "fixed",
            Self::Enum(_) => "enum",
            Self::Decimal { .. } => "decimal",
            Self::Date => "date",
            Self::Time(_) => "time",
            Self::Timestamp { utc: true, .. } => "timestamp",
            Self::Timestamp { .. } => "local-timestamp",
            Self::Uuid(_) => "uuid",
            Self::Duration => "duration",
            Self::Record(_) => "record",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
            Self::Named(name) => name,
        }
    }

    /// The one type that a union's values have, numbers widened and nulls aside; itself where there is none.
    pub(super) fn merged(&self) -> Self {
        let Self::Union(shapes) = self else { return self.clone() };
        let valued: Vec<&Self> = shapes.iter().filter(|shape| **shape != Self::Null).collect();
        let all = |fits: fn(&Self) -> bool| valued.iter().all(|shape| fits(shape));
        match valued.as_slice() {
            [] => Self::Null,
            [one] => one.merged(),
            _ if all(|shape| matches!(shape, Self::Int | Self::Long)) => Self::Long,
            _ if all(|shape| matches!(shape, Self::Int | Self::Float | Self::Double)) => Self::Double,
            _ if all(|shape| matches!(shape, Self::String | Self::Enum(_))) => Self::String,
            _ => self.clone(),
        }
    }
}

fn primitive(name: &str) -> Option<Shape> {
    Some(match name {
        "null" => Shape::Null,
        "boolean" => Shape::Boolean,
        "int" => Shape::Int,
        "long" => Shape::Long,
        "float" => Shape::Float,
        "double" => Shape::Double,
        "bytes" => Shape::Bytes,
        "string" => Shape::String,
        _ => return None,
    })
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

/// The full name of a type, and the namespace of what stands in it.
fn full_name(name: &str, namespace: Option<&str>, outer: &str) -> (String, String) {
    match name.rsplit_once('.') {
        Some((namespace, _)) => (name.to_string(), namespace.to_string()),
        None => {
            let namespace = namespace.unwrap_or(outer);
            let full = if namespace.is_empty() { name.to_string() } else { format!("{namespace}.{name}") };
            (full, namespace.to_string())
        }
    }
}

/// Types in a shape, itself too.
fn size(shape: &Shape) -> usize {
    1 + match shape {
        Shape::Record(fields) => fields.iter().map(|(_, shape)| size(shape)).sum(),
        Shape::Array(inner) | Shape::Map(inner) => size(inner),
        Shape::Union(shapes) => shapes.iter().map(size).sum(),
        _ => 0,
    }
}

impl Parser {
    fn count(&mut self, types: usize) -> Result<(), String> {
        self.types += types;
        match self.types > TYPES_MAX {
            true => Err(format!("it has more than {TYPES_MAX} types")),
            false => Ok(()),
        }
    }

    fn shape(&mut self, value: &Value, namespace: &str, depth: usize) -> Result<Shape, String> {
        if depth > DEPTH_MAX {
            return Err(format!("types stand more than {DEPTH_MAX} deep within each other"));
        }
        match value {
            Value::String(name) => self.reference(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.shape(branch, namespace, depth + 1));
                let branches = branches.collect::<Result<Vec<_>, _>>()?;
                match branches.is_empty() {
                    true => Err("a union has no types".to_string()),
                    false => Ok(Shape::Union(branches)),
                }
            }
            Value::Object(object) => self.object(object, namespace, depth),
            other => Err(format!("`{other}` is no type")),
        }
    }

    fn reference(&mut self, name: &str, namespace: &str) -> Result<Shape, String> {
        self.count(1)?;
        if let Some(shape) = primitive(name) {
            return Ok(shape);
        }
        let (full, _) = full_name(name, None, namespace);
        for name in [full.as_str(), name] {
            if self.open.contains(name) {
                return Ok(Shape::Named(name.to_string()));
            }
            if let Some(shape) = self.done.get(name).cloned() {
                self.count(size(&shape))?;
                return Ok(shape);
            }
        }
        Err(format!("there is no type `{full}`"))
    }

    fn object(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Shape, String> {
        let inner = object.get("type").ok_or("a type has no `type`")?;
        let kind = inner.as_str().unwrap_or_default();
        match kind {
            "array" => {
                let items = object.get("items").ok_or("an array has no `items`")?;
                Ok(Shape::Array(Box::new(self.shape(items, namespace, depth + 1)?)))
            }
            "map" => {
                let values = object.get("values").ok_or("a map has no `values`")?;
                Ok(Shape::Map(Box::new(self.shape(values, namespace, depth + 1)?)))
            }
            "record" | "error" | "enum" | "fixed" => {
                let name =
                    text(object, "name").ok_or_else(|| format!("a type of kind {kind} has no name"))?;
                let (full, inner) = full_name(name, text(object, "namespace"), namespace);
                self.count(1)?;
                let shape = match kind {
                    "enum" => symbols(object)?,
                    "fixed" => logical(object, Shape::Fixed(fixed_size(object)?))?,
                    _ => {
                        self.open.insert(full.clone());
                        let fields = self.fields(object, &inner, depth)?;
                        self.open.remove(&full);
                        Shape::Record(fields)
                    }
                };
                self.done.insert(full, shape.clone());
                Ok(shape)
            }
            _ => logical(object, self.shape(inner, namespace, depth + 1)?),
        }
    }

    fn fields(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Vec<(String, Shape)>, String> {
        let fields = object.get("fields").and_then(Value::as_array).ok_or("a record has no `fields`")?;
        let field = |field: &Value| {
            let name = field.get("name").and_then(Value::as_str).ok_or("a field has no name")?;
            let kind = field.get("type").ok_or_else(|| format!("field `{name}` has no type"))?;
            Ok((name.to_string(), self.shape(kind, namespace, depth + 1)?))
        };
        fields.iter().map(field).collect()
    }
}

fn symbols(object: &Map<String, Value>) -> Result<Shape, String> {
    let symbols = object.get("symbols").and_then(Value::as_array).ok_or("an enum has no `symbols`")?;
    let symbols = symbols.iter().map(|symbol| symbol.as_str().map(str::to_string));
    Ok(Shape::Enum(symbols.collect::<Option<_>>().ok_or("a symbol of an enum is no text")?))
}

fn fixed_size(object: &Map<String, Value>) -> Result<usize, String> {
    let size = object.get("size").and_then(Value::as_u64).and_then(|size| i32::try_from(size).ok());
    let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    size.ok_or_else(|| "a type of kind fixed has no `size` above 0".to_string())
}

/// What a logical type makes of a type. One that does not fit is passed over, as the specification wants it.
fn logical(object: &Map<String, Value>, shape: Shape) -> Result<Shape, String> {
    let width = match &shape {
        Shape::Bytes | Shape::String => Width::Counted,
        Shape::Fixed(size) => Width::Fixed(*size),
        _ => Width::Counted,
    };
    let timestamp = |unit, utc| Shape::Timestamp { unit, utc };
    Ok(match (text(object, "logicalType").unwrap_or_default(), &shape) {
        ("decimal", Shape::Bytes | Shape::Fixed(_)) => {
            let number = |key: &str| object.get(key).and_then(Value::as_u64);
            let (precision, scale) = (number("precision").unwrap_or(0), number("scale").unwrap_or(0));
            if precision == 0 || scale > precision {
                return Ok(shape);
            }
            let digits = |digits: u64| u8::try_from(digits.min(38)).unwrap_or(38);
            if scale > 38 {
                return Err(format!("a decimal with {scale} digits after the point; 38 are held"));
            }
            // Numbers that need more than 38 digits become problems.
            Shape::Decimal { width, precision: digits(precision), scale: digits(scale) }
        }
        ("date", Shape::Int) => Shape::Date,
        ("time-millis", Shape::Int) => Shape::Time(Unit::Millis),
        ("time-micros", Shape::Long) => Shape::Time(Unit::Micros),
        ("timestamp-millis", Shape::Long) => timestamp(Unit::Millis, true),
        ("timestamp-micros", Shape::Long) => timestamp(Unit::Micros, true),
        ("timestamp-nanos", Shape::Long) => timestamp(Unit::Nanos, true),
        ("local-timestamp-millis", Shape::Long) => timestamp(Unit::Millis, false),
        ("local-timestamp-micros", Shape::Long) => timestamp(Unit::Micros, false),
        ("local-timestamp-nanos", Shape::Long) => timestamp(Unit::Nanos, false),
        ("uuid", Shape::String | Shape::Fixed(16)) => Shape::Uuid(width),
        ("duration", Shape::Fixed(12)) => Shape::Duration,
        _ => shape,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(text: &str) -> Vec<(String, Shape)> {
        Layout::parse(text).expect("a schema").columns
    }

    #[test]
    fn names_are_found_in_their_namespace_and_types_within_themselves_are_named() {
        let text = r#"{"type": "record", "name": "Node", "namespace": "a.b", "fields": [
            {"name": "id", "type": {"type": "fixed", "name": "Id", "size": 4}},
            {"name": "again", "type": "Id"},
            {"name": "full", "type": ["null", "a.b.Id"]},
            {"name": "next", "type": ["null", "Node"]}]}"#;
        let found = columns(text);
        assert_eq!(found[1].1, Shape::Fixed(4));
        assert_eq!(found[2].1, Shape::Union(vec![Shape::Null, Shape::Fixed(4)]));
        assert_eq!(found[3].1.merged(), Shape::Named("a.b.Node".to_string()));
        assert_eq!(columns(r#""long""#), [("value".to_string(), Shape::Long)]);
    }

    #[test]
    fn logical_types_that_do_not_fit_are_passed_over() {
        let one = |text: &str| columns(text).remove(0).1;
        assert_eq!(one(r#"{"type": "int", "logicalType": "timestamp-millis"}"#), Shape::Int);
        assert_eq!(
            one(r#"{"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3}"#),
            Shape::Bytes
        );
        assert_eq!(one(r#"{"type": "string", "logicalType": "uuid"}"#), Shape::Uuid(Width::Counted));
        assert_eq!(
            one(r#"{"type": {"type": "int", "logicalType": "date"}}"#),
            Shape::Date,
            "a type may be wrapped"
        );
    }

    #[test]
    fn schemas_that_are_none_say_why() {
        let wide = (0..15).fold(r#""long""#.to_string(), |inner, n| {
            format!(
                r#"{{"type":"record","name":"R{n}","fields":[{{"name":"a","type":{inner}}},{{"name":"b","type":"{}"}}]}}"#,
                if n == 0 { "long".to_string() } else { format!("R{}", n - 1) }
            )
        });
        let deep = format!("{}\"long\"{}", r#"{"type":"array","items":"#.repeat(100), "}".repeat(100));
        for (text, why) in [
            ("{", "not JSON"),
            (r#""Missing""#, "no type `Missing`"),
            (r#"{"type": "record", "name": "R", "fields": []}"#, "no fields"),
            (r#"{"type": "fixed", "name": "F"}"#, "no `size`"),
            (wide.as_str(), "more than 20000 types"),
            (deep.as_str(), "deep within each other"),
        ] {
            let error = Layout::parse(text).expect_err(text);
            assert!(error.contains(why), "{error}");
        }
    }
}
