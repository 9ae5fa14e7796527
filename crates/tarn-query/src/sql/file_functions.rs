//! Files in place of a table: `read_csv('data/a.csv', header => true)`, `read_json`, `read_parquet`, `read_avro`, `read_orc`,
//! `read_excel('a.xlsx', sheet => '2024')`, `read_files`, and tables of
//! other lakes: `read_delta('folder', version => 3)`, `read_iceberg`.
//!
//! Like other relations they become a name with a mark that no table name can have.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Value,
};
use serde_json::{Map, Value as Json, json};

use crate::QueryError;
use crate::sql::text::position;

const MARK: &str = "@files:";
/// The functions with the format that they read; `None`: by the ending of the files.
const FUNCTIONS: [(&str, Option<&str>); 9] = [
    ("read_csv", Some("csv")),
    ("read_json", Some("json")),
    ("read_parquet", Some("parquet")),
    ("read_avro", Some("avro")),
    ("read_orc", Some("orc")),
    ("read_excel", Some("excel")),
    ("read_delta", Some("delta")),
    ("read_iceberg", Some("iceberg")),
    ("read_files", None),
];
const USAGE: &str = "write `read_csv('path', header => true)`; options: header, delim, quote, nullstr, encoding, compression, \
                     hive_partitioning, sample_size, ignore_errors; of `read_excel`: sheet, range; of `read_delta`: version, timestamp; of `read_iceberg`: \
                     snapshot, ref, timestamp; of both: locations";

/// What is asked of files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AskedFiles {
    /// As their readers want it.
    pub(crate) config: Json,
    /// Records that are no rows are left out.
    pub(crate) ignores_errors: bool,
}

/// The marked name of such a function, and its own; `None` for another function. Errors: `Plan` for wrong arguments.
pub(super) fn marked(
    name: &ObjectName,
    args: &[FunctionArg],
) -> Option<Result<(ObjectName, &'static str), QueryError>> {
    let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return None };
    let (function, format) = FUNCTIONS.iter().find(|(known, _)| ident.value.eq_ignore_ascii_case(known))?;
    let made = asked(*format, args).map_err(|what| {
        QueryError::plan(format!("`{function}`: {what}"), position(ident.span.start), Some(USAGE.into()))
    });
    Some(made.map(|text| {
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        (ObjectName::from(vec![Ident::with_quote('"', format!("{MARK}{hex}"))]), *function)
    }))
}

fn asked(format: Option<&str>, args: &[FunctionArg]) -> Result<String, String> {
    let mut config = Map::new();
    let mut csv = Map::new();
    let mut own = Map::new();
    let mut ignores_errors = false;
    if let Some(format) = format {
        config.insert("format".into(), json!(format));
    }
    for (at, arg) in args.iter().enumerate() {
        let (name, value) = parts(arg).ok_or_else(|| format!("argument {} is no literal", at + 1))?;
        let Some(name) = name else {
            match (at, value) {
                (0, Json::String(path)) => config.insert("path".into(), Json::String(path)),
                (0, _) => return Err("the path is no text".to_string()),
                _ => return Err(format!("argument {} has no name", at + 1)),
            };
            continue;
        };
        match name.as_str() {
            "sheet" | "range" | "header" if format == Some("excel") => own.insert(name, value),
            "header" => csv.insert("header".into(), value),
            "delim" | "delimiter" | "sep" => csv.insert("delimiter".into(), value),
            "quote" => csv.insert("quote".into(), value),
            "encoding" => csv.insert("encoding".into(), value),
            "nullstr" | "null" => {
                csv.insert("null".into(), if value.is_array() { value } else { json!([value]) })
            }
            "compression" => config.insert("compression".into(), value),
            "hive_partitioning" | "hive" => config.insert("hive".into(), value),
            "sample_size" => {
                config.insert("infer_rows".into(), if value == json!(-1) { json!(0) } else { value })
            }
            "version" if format == Some("delta") => own.insert("version".into(), value),
            "snapshot" | "ref" if format == Some("iceberg") => own.insert(name, value),
            "timestamp" if matches!(format, Some("delta" | "iceberg")) => own.insert(name, value),
            "locations" => config.insert(name, if value.is_array() { value } else { json!([value]) }),
            "ignore_errors" => {
                ignores_errors = value.as_bool().ok_or("`ignore_errors` is neither true nor false")?;
                None
            }
            other => return Err(format!("it has no option `{other}`")),
        };
    }
    if !config.contains_key("path") {
        return Err("the path is missing".to_string());
    }
    if let Some(format) = format.filter(|_| !own.is_empty()) {
        config.insert(format.into(), Json::Object(own));
    }
    if !csv.is_empty() {
        config.insert("csv".into(), Json::Object(csv));
    }
    Ok(json!([config, ignores_errors]).to_string())
}

fn parts(arg: &FunctionArg) -> Option<(Option<String>, Json)> {
    match arg {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
            Some((Some(name.value.to_lowercase()), literal(value)?))
        }
        FunctionArg::ExprNamed {
            name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(value), ..
        } => Some((Some(name.value.to_lowercase()), literal(value)?)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        })) => match left.as_ref() {
            Expr::Identifier(name) => Some((Some(name.value.to_lowercase()), literal(right)?)),
            _ => None,
        },
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some((None, literal(value)?)),
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<Json> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(json!(text)),
            Value::Boolean(value) => Some(json!(value)),
            Value::Number(digits, _) => digits.parse::<i64>().ok().map(|number| json!(number)),
            _ => None,
        },
        Expr::UnaryOp { expr, .. } => literal(expr)?.as_i64().map(|number| json!(-number)),
        Expr::Array(array) => array.elem.iter().map(literal).collect::<Option<Vec<_>>>().map(Json::Array),
        _ => None,
    }
}

/// What a marked name asks.
pub(crate) fn asked_files(name: &str) -> Option<AskedFiles> {
    let hex = name.strip_prefix(MARK)?;
    let byte = |at| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    let (config, ignores_errors) = serde_json::from_slice(&bytes?).ok()?;
    Some(AskedFiles { config, ignores_errors })
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::super::relations::apply;
    use super::*;

    fn asked_by(call: &str) -> Result<AskedFiles, QueryError> {
        let sql = format!("SELECT * FROM {call}");
        let mut statement = DFParser::parse_sql(&sql).expect("parses").pop_front().expect("one");
        apply(&mut statement)?;
        let text = statement.to_string();
        let name = text.split('"').nth(1).expect("a quoted name");
        Ok(asked_files(name).expect("marked"))
    }

    #[test]
    fn arguments_become_a_configuration() {
        let asked = asked_by("read_csv('a b.csv', header => true, delim => ';', nullstr => 'NA') AS t")
            .expect("valid");
        let csv = json!({ "header": true, "delimiter": ";", "null": ["NA"] });
        assert_eq!(asked.config, json!({ "format": "csv", "path": "a b.csv", "csv": csv }));
        assert!(asked_by("READ_JSON('x', ignore_errors = true)").expect("valid").ignores_errors);
        assert_eq!(asked_by("read_files('x/')").expect("valid").config, json!({ "path": "x/" }));
        assert_eq!(
            asked_by("read_delta('t', version => 3, locations => 'b')").expect("valid").config,
            json!({ "format": "delta", "path": "t", "locations": ["b"], "delta": { "version": 3 } })
        );
        assert_eq!(
            asked_by("read_iceberg('t', ref => 'v1')").expect("valid").config,
            json!({ "format": "iceberg", "path": "t", "iceberg": { "ref": "v1" } })
        );
        assert_eq!(
            asked_by("read_excel('a.xlsx', sheet => 'S 1', header => false)").expect("valid").config,
            json!({ "format": "excel", "path": "a.xlsx", "excel": { "sheet": "S 1", "header": false } })
        );
        for (wrong, why) in [
            ("read_csv('a', sheet => 'S')", "no option `sheet`"),
            ("read_csv('a', version => 3)", "no option `version`"),
            ("read_csv()", "path is missing"),
            ("read_csv('a', 'b')", "has no name"),
            ("read_csv('a', colour => 'red')", "no option `colour`"),
            ("read_csv(1)", "no text"),
            ("read_csv('a' || 'b')", "no literal"),
        ] {
            let error = asked_by(wrong).expect_err(wrong).to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
