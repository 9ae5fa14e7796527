//! Fields within structs, lists and maps, found by a path such as `address.zip`, `points.element.x` or `scores.value.n`.

use std::sync::Arc;

use iceberg::spec::{NestedField, StructType, Type};

/// Edits the fields of the struct that holds the last name of a path, given that name; columns are the fields of the
/// outermost one. A name may have points itself: the longest one that fits counts. `None` where the path leads nowhere; then
/// nothing has changed.
pub(super) fn within<R>(
    fields: &mut Vec<NestedField>,
    path: &str,
    edit: &mut dyn FnMut(&mut Vec<NestedField>, &str) -> R,
) -> Option<R> {
    if !path.contains('.') || fields.iter().any(|field| field.name == path) {
        return Some(edit(fields, path));
    }
    for field in fields {
        let rest = path.strip_prefix(field.name.as_str()).and_then(|rest| rest.strip_prefix('.'));
        if let Some(done) = rest.and_then(|rest| within_type(&mut field.field_type, rest, edit)) {
            return Some(done);
        }
    }
    None
}

fn within_type<R>(
    of: &mut Type,
    path: &str,
    edit: &mut dyn FnMut(&mut Vec<NestedField>, &str) -> R,
) -> Option<R> {
    match of {
        Type::Struct(fields) => {
            let mut inner: Vec<NestedField> =
                fields.fields().iter().map(|field| field.as_ref().clone()).collect();
            let done = within(&mut inner, path, edit)?;
            *of = Type::Struct(StructType::new(inner.into_iter().map(Arc::new).collect()));
            Some(done)
        }
        Type::List(list) => {
            let mut element = list.element_field.as_ref().clone();
            let done = within_type(&mut element.field_type, path.strip_prefix("element.")?, edit)?;
            list.element_field = Arc::new(element);
            Some(done)
        }
        Type::Map(map) => {
            let mut value = map.value_field.as_ref().clone();
            let done = within_type(&mut value.field_type, path.strip_prefix("value.")?, edit)?;
            map.value_field = Arc::new(value);
            Some(done)
        }
        Type::Primitive(_) => None,
    }
}

/// The ids of a field and of all fields within it.
pub(super) fn ids_of(field: &NestedField) -> Vec<i32> {
    let mut ids = vec![field.id];
    match field.field_type.as_ref() {
        Type::Struct(fields) => ids.extend(fields.fields().iter().flat_map(|field| ids_of(field))),
        Type::List(list) => ids.extend(ids_of(&list.element_field)),
        Type::Map(map) => {
            ids.extend(ids_of(&map.key_field));
            ids.extend(ids_of(&map.value_field));
        }
        Type::Primitive(_) => {}
    }
    ids
}

/// The name of a neighbour of the field that a path leads to, whether it is given as a name or as a path too.
pub(super) fn neighbour<'a>(path: &str, other: &'a str) -> &'a str {
    let within = path.rsplit_once('.').and_then(|(parent, _)| other.strip_prefix(parent)?.strip_prefix('.'));
    within.unwrap_or(other)
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{ListType, PrimitiveType};

    use super::*;

    fn fields() -> Vec<NestedField> {
        let text = || Type::Primitive(PrimitiveType::String);
        let inner = Type::Struct(StructType::new(vec![Arc::new(NestedField::optional(4, "zip", text()))]));
        let list = Type::List(ListType {
            element_field: Arc::new(NestedField::list_element(5, inner.clone(), false)),
        });
        vec![
            NestedField::optional(1, "address", inner),
            NestedField::optional(2, "homes", list),
            NestedField::optional(3, "a.b", text()),
        ]
    }

    #[test]
    fn a_path_leads_through_structs_and_lists() {
        for (path, found) in [
            ("address", Some((3, "address".to_string()))),
            ("a.b", Some((3, "a.b".to_string()))),
            ("address.zip", Some((1, "zip".to_string()))),
            ("homes.element.zip", Some((1, "zip".to_string()))),
            ("homes.zip", None),
            ("nowhere.zip", None),
        ] {
            let mut fields = fields();
            let led = within(&mut fields, path, &mut |siblings, name| (siblings.len(), name.to_string()));
            assert_eq!(led, found, "{path}");
        }
        let mut fields = fields();
        within(&mut fields, "homes.element.zip", &mut |siblings, _| siblings[0].name = "code".into());
        assert!(within(&mut fields, "homes.element.code", &mut |_, _| ()).is_some());
        assert_eq!(ids_of(&fields[1]), [2, 5, 4]);
        let pairs = [("a.b", "c", "c"), ("a.b", "a.c", "c"), ("b", "x.y", "x.y"), ("a.b", "x.y", "x.y")];
        pairs.into_iter().for_each(|(path, other, name)| assert_eq!(neighbour(path, other), name));
    }
}
