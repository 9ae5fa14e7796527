//! Keys in the order of an earlier value, so that a diff shows what changed and not what moved.

use serde_json::{Map, Value};

/// `value` with the keys of its mappings in the order of `model`, new keys behind in their own order.
pub(crate) fn aligned(value: &Value, model: &Value) -> Value {
    match (value, model) {
        (Value::Object(map), Value::Object(model)) => {
            let known =
                model.iter().filter_map(|(key, model)| map.get(key).map(|own| (key, aligned(own, model))));
            let added =
                map.iter().filter(|(key, _)| !model.contains_key(*key)).map(|(key, own)| (key, own.clone()));
            Value::Object(known.chain(added).map(|(key, value)| (key.clone(), value)).collect::<Map<_, _>>())
        }
        (Value::Array(items), Value::Array(models)) => Value::Array(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    models.get(index).map_or_else(|| item.clone(), |model| aligned(item, model))
                })
                .collect(),
        ),
        _ => value.clone(),
    }
}
