//! Names of topics and tables of a source.

use std::collections::HashSet;

use tarn_core::{InvalidName, ResourceName, TableName, TopicName};
use tarn_eventlog::TopicInfo;

use crate::source::SourceTable;

const DEAD_LETTERS: &str = "dead_letters";

/// Where the rows of a source's table go.
#[derive(Clone, Debug)]
pub struct Route {
    /// The source.
    pub source: ResourceName,
    /// The table as the source knows it.
    pub table: SourceTable,
    /// The topic with its rows.
    pub topic: TopicName,
    /// The table of the lakehouse that follows the topic.
    pub lakehouse_table: TableName,
    /// Names of the key columns.
    pub key: Vec<String>,
}

/// Writes a part of a topic name: what a topic name does not allow becomes `$hex$`, so that the name can be read back.
fn encode(part: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    part.chars().map(|c| if plain(c) { c.to_string() } else { format!("${:x}$", u32::from(c)) }).collect()
}

fn decode(part: &str) -> Option<String> {
    let mut text = String::new();
    let mut pieces = part.split('$');
    text.push_str(pieces.next()?);
    while let Some(code) = pieces.next() {
        text.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        text.push_str(pieces.next()?);
    }
    Some(text)
}

/// The topic of a source's table: `source.namespace.table`, or `source.table` without a namespace.
/// Errors: the names together are too long.
pub fn topic_of(source: &ResourceName, table: &SourceTable) -> Result<TopicName, InvalidName> {
    let name = match encode(&table.name) {
        // A table of that name would share the topic of the dead letters.
        name if table.namespace.is_empty() && name == DEAD_LETTERS => "$64$ead_letters".to_string(),
        name => name,
    };
    if table.namespace.is_empty() {
        return TopicName::parse(&format!("{source}.{name}"));
    }
    TopicName::parse(&format!("{source}.{}.{name}", encode(&table.namespace)))
}

/// The table whose rows a topic holds, if it is one of the source's and not its dead letters.
pub fn table_of(source: &ResourceName, topic: &TopicName) -> Option<SourceTable> {
    let rest = topic.as_str().strip_prefix(source.as_str())?.strip_prefix('.')?;
    if rest == DEAD_LETTERS {
        return None;
    }
    let (namespace, name) = rest.split_once('.').unwrap_or(("", rest));
    Some(SourceTable { namespace: decode(namespace)?, name: decode(name)? })
}

/// The topic of a source's dead letters.
pub fn dead_letter_topic(source: &ResourceName) -> TopicName {
    TopicName::parse(&format!("{source}.{DEAD_LETTERS}"))
        .expect("a resource name is a topic part, and both together are short enough")
}

/// A text as a name of the lakehouse: letters, digits, `_`, `-`, `$`, not starting with a digit, at most 128 bytes.
fn table_part(text: &str) -> String {
    let allowed = |c: char| if c.is_alphanumeric() || matches!(c, '_' | '-' | '$') { c } else { '_' };
    let mut name: String = text.chars().map(allowed).collect();
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        name.insert(0, '_');
    }
    while name.len() > 120 {
        name.pop();
    }
    name
}

/// The routes of a source's topics. The oldest topic gets the plain name `into.table`, a later one of the same table
/// name `into.namespace_table`.
pub(crate) fn routes_of(source: &ResourceName, into: &str, topics: &[TopicInfo]) -> Vec<Route> {
    let mut own: Vec<(&TopicInfo, SourceTable)> =
        topics.iter().filter_map(|info| Some((info, table_of(source, &info.spec.name)?))).collect();
    own.sort_by(|(a, _), (b, _)| (a.created_ms, &a.spec.name).cmp(&(b.created_ms, &b.spec.name)));
    let mut taken = HashSet::new();
    let routes = own.into_iter().filter_map(|(info, table)| {
        let plain = table_part(&table.name);
        let long = table_part(&format!("{}_{}", table.namespace, table.name));
        let numbered = (2..).map(|n| format!("{long}_{n}"));
        let name =
            [plain, long.clone()].into_iter().chain(numbered).find(|name| taken.insert(name.clone()))?;
        let lakehouse_table = TableName::new(&table_part(into), &name).ok()?;
        let (topic, key) = (info.spec.name.clone(), info.spec.key.clone());
        Some(Route { source: source.clone(), table, topic, lakehouse_table, key })
    });
    routes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarn_eventlog::{Retention, TopicSpec};

    fn table(namespace: &str, name: &str) -> SourceTable {
        SourceTable { namespace: namespace.to_string(), name: name.to_string() }
    }

    fn source() -> ResourceName {
        ResourceName::parse("shop").expect("a name")
    }

    #[test]
    fn every_table_has_a_topic_of_its_own_and_comes_back() {
        let tables = [
            table("public", "orders"),
            table("", "orders"),
            table("public", "order.items"),
            table("public.order", "items"),
            table("", "dead_letters"),
            table("a$b", "c d"),
            table("库", "订单/明细"),
        ];
        let topics: HashSet<_> = tables.iter().map(|t| topic_of(&source(), t).expect("a topic")).collect();
        assert_eq!(topics.len(), tables.len());
        for table in &tables {
            let topic = topic_of(&source(), table).expect("a topic");
            assert_eq!(table_of(&source(), &topic).as_ref(), Some(table), "{topic}");
        }
        assert_eq!(topic_of(&source(), &tables[0]).expect("a topic").as_str(), "shop.public.orders");
        assert_eq!(table_of(&source(), &dead_letter_topic(&source())), None);
        let other = TopicName::parse("shop2.orders").expect("a topic");
        assert_eq!(table_of(&source(), &other), None);
    }

    #[test]
    fn the_older_topic_keeps_the_plain_name() {
        let info = |name: &str, created_ms| TopicInfo {
            spec: TopicSpec {
                name: TopicName::parse(name).expect("a topic"),
                partitions: 1,
                retention: Retention::default(),
                key: Vec::new(),
            },
            schema: None,
            partitions: Vec::new(),
            created_ms,
        };
        let topics = [info("shop.a.orders", 2), info("shop.b.orders", 1)];
        let topics: Vec<_> =
            topics.into_iter().chain([info("shop.dead_letters", 0), info("other.a.orders", 0)]).collect();
        let routes = routes_of(&source(), "into", &topics);
        let found: Vec<_> = routes.iter().map(|r| format!("{} -> {}", r.topic, r.lakehouse_table)).collect();
        assert_eq!(found, ["shop.b.orders -> into.orders", "shop.a.orders -> into.a_orders"]);
    }
}
