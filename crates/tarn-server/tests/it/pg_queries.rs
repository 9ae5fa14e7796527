//! PostgreSQL: simple and extended queries, errors with their place, several statements at once.

use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::Type;

use crate::pg_client::{code, position, rows, run, shown, told};
use crate::world::World;

async fn shop() -> (World, tokio_postgres::Client) {
    let world = World::start().await;
    world.fill_shop().await;
    let client = world.psql().await;
    (world, client)
}

#[tokio::test]
async fn a_simple_query_gives_texts_as_postgresql_writes_them() {
    let (_world, client) = shop().await;
    let found = run(&client, "SELECT id, item, amount, paid FROM shop.orders ORDER BY id").await;
    assert_eq!(found, ["1 | tea | 2.50 | t", "2 | a \"pot\", blue | 30.00 | f", "3 | ∅ | -0.01 | ∅", "= 3"]);
    // An empty text has an answer of its own, which the client gives as a command without rows.
    assert_eq!(run(&client, "").await, ["= 0"]);
    assert_eq!(run(&client, " ; -- nothing\n").await, ["= 0"]);
}

#[tokio::test]
async fn an_extended_query_gives_typed_rows() {
    let (_world, client) = shop().await;
    let sql = "SELECT id, item, paid FROM shop.orders WHERE id >= $1 AND id < $2 ORDER BY id";
    let statement = client.prepare(sql).await.unwrap();
    assert_eq!(statement.params(), [Type::INT8, Type::INT8]);
    let columns: Vec<(&str, &Type)> =
        statement.columns().iter().map(|column| (column.name(), column.type_())).collect();
    assert_eq!(columns, [("id", &Type::INT8), ("item", &Type::TEXT), ("paid", &Type::BOOL)]);
    // The same statement with other values.
    for (from, to, ids) in [(1_i64, 3_i64, vec![1_i64, 2]), (3, 4, vec![3]), (9, 10, vec![])] {
        let found = client.query(&statement, &[&from, &to]).await.unwrap();
        let found: Vec<i64> = found.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, ids);
    }
    let row = client.query_one("SELECT item, paid FROM shop.orders WHERE id = 3", &[]).await.unwrap();
    assert_eq!((row.get::<_, Option<&str>>(0), row.get::<_, Option<bool>>(1)), (None, None));
}

#[tokio::test]
async fn rows_are_fetched_piece_by_piece_through_a_portal() {
    let world = World::start().await;
    let mut client = world.psql().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT value FROM generate_series(1, 7)", &[]).await.unwrap();
    let mut sizes = Vec::new();
    let mut sum = 0;
    loop {
        let part = transaction.query_portal(&portal, 3).await.unwrap();
        if part.is_empty() {
            break;
        }
        sizes.push(part.len());
        sum += part.iter().map(|row| row.get::<_, i64>(0)).sum::<i64>();
    }
    assert_eq!((sizes, sum), (vec![3, 3, 1], 28));
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_cursor_gives_its_rows_in_order() {
    let world = World::start().await;
    let client = world.psql().await;
    run(&client, "BEGIN; DECLARE c CURSOR FOR SELECT value FROM generate_series(1, 5)").await;
    assert_eq!(run(&client, "FETCH 2 FROM c").await, ["1", "2", "= 2"]);
    assert_eq!(run(&client, "MOVE 1 FROM c").await, ["= 1"]);
    assert_eq!(run(&client, "FETCH ALL FROM c").await, ["4", "5", "= 2"]);
    assert_eq!(run(&client, "FETCH 1 FROM c").await, ["= 0"]);
    run(&client, "CLOSE c").await;
    assert_eq!(code(client.simple_query("FETCH 1 FROM c").await), "34000");
    run(&client, "ROLLBACK").await;
}

#[tokio::test]
async fn an_error_has_its_code_place_and_hint() {
    let (_world, client) = shop().await;
    for (sql, sqlstate, at) in [
        ("SELECT id,\n  itme FROM shop.orders", "42703", Some(14)),
        ("SELECT * FROM shop.ordesr", "42P01", Some(15)),
        ("SELECT lenght('x')", "42883", Some(8)),
        ("SELECT 1 +", "42601", Some(11)),
        ("SELEC 1", "42601", Some(1)),
        ("SELECT 'é', nope FROM shop.orders", "42703", Some(13)),
        ("INSERT INTO shop.orders (nope) VALUES (4)", "42703", Some(26)),
        ("INSERT INTO shop.ordesr VALUES (4)", "42P01", Some(13)),
        ("GRANT SELECT ON shop.orders TO bob", "0A000", Some(1)),
        ("SELECT 1 / (id - 1) FROM shop.orders", "22012", None),
    ] {
        let error = told(client.simple_query(sql).await);
        assert_eq!((error.severity(), error.code().code()), ("ERROR", sqlstate), "{sql}: {error:?}");
        assert_eq!(position(&error), at, "{sql}: {error:?}");
        // The extended protocol says the same.
        let error = told(client.query(sql, &[]).await);
        assert_eq!((error.code().code(), position(&error)), (sqlstate, at), "{sql}: {error:?}");
    }
    let error = told(client.simple_query("SELECT itme FROM shop.orders").await);
    assert_eq!(error.hint(), Some("did you mean `item`?"));
    assert_eq!(rows(&client, "SELECT 1").await, ["1"], "the connection lives on");
}

#[tokio::test]
async fn a_value_that_cannot_be_converted_is_an_error_of_data() {
    let (_world, client) = shop().await;
    let refused = code(client.simple_query("SELECT item::bigint FROM shop.orders").await);
    assert!(refused.starts_with("22"), "{refused}");
}

#[tokio::test]
async fn several_statements_are_answered_one_after_the_other() {
    let (_world, client) = shop().await;
    let sql = "SELECT 1; SET application_name = 'two; words'; SHOW application_name;\n/* ; */ SELECT count(*) FROM \
               shop.orders; SELECT ';'";
    let answers = run(&client, sql).await;
    assert_eq!(answers, ["1", "= 1", "= 0", "two; words", "= 1", "3", "= 1", ";", "= 1"]);
}

#[tokio::test]
async fn an_error_ends_a_text_of_several_statements_after_what_came_before() {
    let (_world, client) = shop().await;
    let sql = "SELECT 1; SELECT nope FROM shop.orders; SET application_name = 'unseen'; SELECT 3";
    let error = told(client.simple_query(sql).await);
    assert_eq!((error.code().code(), position(&error)), ("42703", Some(18)), "{error:?}");
    assert_eq!(rows(&client, "SHOW application_name").await, [""], "what comes after is not carried out");
    // The first result did come: the messages are read one by one.
    use futures::TryStreamExt;
    let stream = client.simple_query_raw(sql).await.unwrap();
    let mut stream = Box::pin(stream);
    let mut seen: Vec<SimpleQueryMessage> = Vec::new();
    let end = loop {
        match stream.try_next().await {
            Ok(Some(message)) => seen.push(message),
            Ok(None) => break None,
            Err(error) => break error.code().map(|code| code.code().to_string()),
        }
    };
    assert_eq!((shown(&seen), end.as_deref()), (vec!["1".to_string(), "= 1".to_string()], Some("42703")));
}

#[tokio::test]
async fn a_prepared_statement_is_one_statement() {
    let (_world, client) = shop().await;
    assert_eq!(code(client.prepare("SELECT 1; SELECT 2").await), "42601");
    let empty = client.query("", &[]).await.unwrap();
    assert!(empty.is_empty());
    let trailing = client.query("SELECT 7::bigint ;", &[]).await.unwrap();
    assert_eq!(trailing[0].get::<_, i64>(0), 7);
}

#[tokio::test]
async fn an_error_between_prepared_statements_leaves_the_others_usable() {
    let (_world, client) = shop().await;
    let count = client.prepare("SELECT count(*) FROM shop.orders WHERE id > $1").await.unwrap();
    assert_eq!(code(client.prepare("SELECT nope FROM shop.orders").await), "42703");
    let zero = client.prepare("SELECT 1 / (id - $1) FROM shop.orders").await.unwrap();
    assert_eq!(code(client.query(&zero, &[&1_i64]).await), "22012");
    assert_eq!(client.query_one(&count, &[&0_i64]).await.unwrap().get::<_, i64>(0), 3);
    // Pipelined, the error of one does not swallow the answers to the others.
    let wrong = [&1_i64 as &(dyn tokio_postgres::types::ToSql + Sync)];
    let fine = [&1_i64 as &(dyn tokio_postgres::types::ToSql + Sync)];
    let (first, second, third) = futures::join!(
        client.query_one(&count, &fine),
        client.query(&zero, &wrong),
        client.query_one(&count, &fine),
    );
    assert_eq!(first.unwrap().get::<_, i64>(0), 2);
    assert_eq!(code(second), "22012");
    assert_eq!(third.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test]
async fn a_large_result_is_whole() {
    let world = World::start().await;
    let client = world.psql().await;
    let found = client.query("SELECT value FROM generate_series(1, 100000)", &[]).await.unwrap();
    assert_eq!(found.iter().map(|row| row.get::<_, i64>(0)).sum::<i64>(), (1..=100_000_i64).sum::<i64>());
}

#[tokio::test]
async fn columns_with_equal_names_are_given_in_order() {
    let (_world, client) = shop().await;
    assert_eq!(rows(&client, "SELECT 1, 1").await, ["1 | 1"]);
    assert_eq!(rows(&client, "SELECT 2; SELECT 1 AS a, 2 AS a").await, ["2", "1 | 2"]);
    let statement = client.prepare("SELECT id, item AS id FROM shop.orders WHERE id = $1").await.unwrap();
    let names: Vec<&str> = statement.columns().iter().map(|column| column.name()).collect();
    assert_eq!(names, ["id", "id"]);
    let row = client.query_one(&statement, &[&1_i64]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (1, "tea"));
}
