//! Which Arrow type a PostgreSQL type becomes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use rustc_hash::FxHashMap;

/// Metadata key of Arrow's canonical extension types.
const EXTENSION_NAME: &str = "ARROW:extension:name";
const DECIMAL_PRECISION_MAX: i32 = 38;

/// What a single value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// `Boolean`.
    Bool,
    /// `Int32`: Iceberg has no 16-bit integer.
    Int2,
    /// `Int32`.
    Int4,
    /// `Int64`.
    Int8,
    /// `Float32`.
    Float4,
    /// `Float64`.
    Float8,
    /// `Decimal128`.
    Numeric {
        /// Digits, 1 to 38.
        precision: u8,
        /// Digits after the point, 0 to `precision`.
        scale: i8,
    },
    /// `Utf8`; the binary form is the text.
    Text,
    /// `Utf8`; the binary form is a version byte and the text.
    Jsonb,
    /// `Utf8`, the server's text form; the binary form is not read.
    TextForm,
    /// `Binary`.
    Bytes,
    /// `Date32`.
    Date,
    /// `Time64(us)`.
    Time,
    /// `Timestamp(us)`.
    Timestamp,
    /// `Timestamp(us, UTC)`.
    TimestampTz,
    /// `FixedSizeBinary(16)` with the extension `arrow.uuid`.
    Uuid,
}

/// What the values of a column become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnType {
    /// A value, or an element of a list.
    pub scalar: Scalar,
    /// For a one-dimensional array: the letter between its elements in text form.
    pub list: Option<u8>,
}

impl ColumnType {
    const fn single(scalar: Scalar) -> Self {
        Self { scalar, list: None }
    }

    /// Whether a snapshot reads the server's text form instead of the binary one.
    pub fn reads_text_form(self) -> bool {
        self.scalar == Scalar::TextForm
    }

    /// Whether some value of the source's type cannot be held, and becomes null with a dead letter.
    pub fn may_drop_values(self) -> bool {
        let exact = matches!(
            self.scalar,
            Scalar::Bool
                | Scalar::Int2
                | Scalar::Int4
                | Scalar::Int8
                | Scalar::Float4
                | Scalar::Float8
                | Scalar::Text
                | Scalar::Jsonb
                | Scalar::TextForm
                | Scalar::Bytes
                | Scalar::Date
                | Scalar::Uuid
        );
        self.list.is_some() || !exact
    }

    /// The Arrow field of a column.
    pub fn field(self, name: &str, nullable: bool) -> Field {
        match self.list {
            None => self.scalar.field(name, nullable),
            Some(_) => Field::new(name, DataType::List(self.element()), nullable),
        }
    }

    /// The field of the elements of a list.
    pub fn element(self) -> Arc<Field> {
        Arc::new(self.scalar.field("element", true))
    }
}

impl Scalar {
    fn field(self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.data_type(), nullable);
        if self == Self::Uuid {
            let extension = HashMap::from([(EXTENSION_NAME.to_string(), "arrow.uuid".to_string())]);
            return field.with_metadata(extension);
        }
        field
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 | Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric { precision, scale } => DataType::Decimal128(precision, scale),
            Self::Text | Self::Jsonb | Self::TextForm => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Uuid => DataType::FixedSizeBinary(16),
        }
    }
}

/// A row of `pg_type`.
#[derive(Clone, Debug)]
pub struct ServerType {
    /// Its name.
    pub name: String,
    /// `b` base, `d` domain, `e` enum, …
    pub kind: char,
    /// Of a domain: the type below.
    pub base: u32,
    /// Of a domain: the modifier that it gives the type below.
    pub modifier: i32,
    /// Of a true array: the type of its elements, otherwise 0.
    pub element: u32,
    /// Of an element type: the letter between elements in text form.
    pub delimiter: u8,
    /// Dimensions that a domain over an array declares.
    pub dimensions: i32,
    /// The function that makes the text form, qualified and quoted.
    pub output: String,
}

/// The types of one database, by their number.
#[derive(Clone, Debug, Default)]
pub struct ServerTypes {
    types: FxHashMap<u32, ServerType>,
}

impl ServerTypes {
    /// From rows of `pg_type`.
    pub fn new(types: impl IntoIterator<Item = (u32, ServerType)>) -> Self {
        Self { types: types.into_iter().collect() }
    }

    /// A type.
    pub fn get(&self, oid: u32) -> Option<&ServerType> {
        self.types.get(&oid)
    }

    /// The function that makes the text form of a type.
    pub fn output(&self, oid: u32) -> Option<&str> {
        self.types.get(&oid).map(|found| found.output.as_str())
    }

    /// What a column becomes. `dimensions`: as declared (`attndims`). An unknown type is read in its text form.
    pub fn resolve(&self, oid: u32, modifier: i32, dimensions: i32) -> ColumnType {
        let (oid, modifier, dimensions) = self.below_domains(oid, modifier, dimensions);
        let Some(found) = self.types.get(&oid).filter(|found| found.element != 0) else {
            return ColumnType::single(self.scalar(oid, modifier));
        };
        if dimensions > 1 {
            return ColumnType::single(Scalar::TextForm);
        }
        let (element, modifier, _) = self.below_domains(found.element, modifier, 0);
        let delimiter = self.types.get(&found.element).map_or(b',', |element| element.delimiter);
        ColumnType { scalar: self.scalar(element, modifier), list: Some(delimiter) }
    }

    fn below_domains(&self, mut oid: u32, mut modifier: i32, mut dimensions: i32) -> (u32, i32, i32) {
        // A domain cannot contain itself; the bound only guards against a damaged catalogue.
        for _ in 0..32 {
            match self.types.get(&oid) {
                Some(domain) if domain.kind == 'd' => {
                    oid = domain.base;
                    modifier = if domain.modifier >= 0 { domain.modifier } else { modifier };
                    dimensions = dimensions.max(domain.dimensions);
                }
                _ => break,
            }
        }
        (oid, modifier, dimensions)
    }

    fn scalar(&self, oid: u32, modifier: i32) -> Scalar {
        match oid {
            16 => Scalar::Bool,
            17 => Scalar::Bytes,
            19 | 25 | 114 | 1042 | 1043 => Scalar::Text,
            20 => Scalar::Int8,
            21 => Scalar::Int2,
            23 => Scalar::Int4,
            700 => Scalar::Float4,
            701 => Scalar::Float8,
            1082 => Scalar::Date,
            1083 => Scalar::Time,
            1114 => Scalar::Timestamp,
            1184 => Scalar::TimestampTz,
            1700 => numeric(modifier),
            2950 => Scalar::Uuid,
            3802 => Scalar::Jsonb,
            _ => match self.types.get(&oid) {
                Some(found) if found.kind == 'e' => Scalar::Text,
                _ => Scalar::TextForm,
            },
        }
    }
}

/// `numeric(p, s)` fits a decimal up to 38 digits; PostgreSQL 15 also knows `s` below 0 and above `p`.
fn numeric(modifier: i32) -> Scalar {
    if modifier < 4 {
        return Scalar::TextForm;
    }
    let precision = ((modifier - 4) >> 16) & 0xffff;
    let scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
    if (1..=DECIMAL_PRECISION_MAX).contains(&precision) && (0..=precision).contains(&scale) {
        // Both are at most 38.
        return Scalar::Numeric { precision: precision as u8, scale: scale as i8 };
    }
    Scalar::TextForm
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_type(kind: char, base: u32, modifier: i32, element: u32) -> ServerType {
        let (name, output) = (String::new(), "textout".to_string());
        ServerType { name, kind, base, modifier, element, delimiter: b',', dimensions: 0, output }
    }

    #[test]
    fn the_precision_of_a_numeric_decides() {
        let modifier = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        assert_eq!(numeric(modifier(10, 2)), Scalar::Numeric { precision: 10, scale: 2 });
        assert_eq!(numeric(modifier(38, 38)), Scalar::Numeric { precision: 38, scale: 38 });
        assert_eq!(numeric(modifier(39, 0)), Scalar::TextForm);
        assert_eq!(numeric(modifier(5, -2)), Scalar::TextForm);
        assert_eq!(numeric(modifier(2, 5)), Scalar::TextForm);
        assert_eq!(numeric(-1), Scalar::TextForm);
    }

    #[test]
    fn domains_and_arrays_are_followed() {
        let types = ServerTypes::new([
            (90001, server_type('d', 1700, ((9 << 16) | 3) + 4, 0)),
            (90002, server_type('d', 90001, -1, 0)),
            (90003, server_type('b', 0, -1, 90002)),
            (90004, server_type('e', 0, -1, 0)),
        ]);
        let decimal = Scalar::Numeric { precision: 9, scale: 3 };
        assert_eq!(types.resolve(90002, -1, 0), ColumnType::single(decimal));
        assert_eq!(types.resolve(90003, -1, 1), ColumnType { scalar: decimal, list: Some(b',') });
        assert_eq!(types.resolve(90003, -1, 2), ColumnType::single(Scalar::TextForm));
        assert_eq!(types.resolve(90004, -1, 0), ColumnType::single(Scalar::Text));
        assert_eq!(types.resolve(99999, -1, 0), ColumnType::single(Scalar::TextForm));
    }
}
