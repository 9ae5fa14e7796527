//! What every store must do for the Iceberg catalog.

use std::sync::Arc;

use serde_json::json;
use tarn_core::{Fault, FaultKind, Receipt, RequestContext};
use tarn_meta::{Expected, MetaError, PointerInsert, PointerSwap, Properties, RelationKind};

use crate::world::World;

pub async fn suite(world: &World) {
    namespaces_have_properties(world).await;
    pointers_move_together_or_not_at_all(world).await;
    pointers_are_renamed_and_deleted(world).await;
    views_share_the_names_of_tables_and_are_listed_apart(world).await;
    one_of_many_commits_wins(world).await;
    a_receipt_comes_with_its_change_or_not_at_all(world).await;
}

fn properties(pairs: &[(&str, &str)]) -> Properties {
    pairs.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect()
}

fn insert(namespace: &str, name: &str, location: &str) -> PointerInsert {
    PointerInsert {
        kind: RelationKind::Table,
        namespace: namespace.into(),
        name: name.into(),
        metadata_location: location.into(),
    }
}

fn swap(name: &str, from: &str, to: &str) -> PointerSwap {
    PointerSwap {
        namespace: "shop".into(),
        name: name.into(),
        expected_location: from.into(),
        new_location: to.into(),
    }
}

async fn a_receipt_comes_with_its_change_or_not_at_all(world: &World) {
    let (store, plain) = (&world.store, world.ctx());
    let with = |key: &str| {
        let receipt = Receipt { space: "receipts", key: key.to_string(), value: json!({ "of": key }) };
        RequestContext { receipt: Some(Arc::new(receipt)), ..plain.clone() }
    };
    let kept =
        async |key: &str| store.document(&plain, "receipts", key).await.unwrap().map(|found| found.value);
    store.create_namespace(&with("made"), "shop", &Properties::new()).await.unwrap();
    assert_eq!(kept("made").await, Some(json!({ "of": "made" })));
    store.create_namespace(&with("refused"), "shop", &Properties::new()).await.unwrap_err();
    assert_eq!(kept("refused").await, None, "nothing took place");
    store.swap_pointers(&with("inserted"), &[], &[insert("shop", "t", "m1")]).await.unwrap();
    store.swap_pointers(&with("lost"), &[swap("t", "m0", "m2")], &[]).await.unwrap_err();
    assert_eq!((kept("inserted").await.is_some(), kept("lost").await), (true, None));
    // What is there stays, such as the whole answer.
    store.put_document(&plain, "receipts", "inserted", &json!("answer"), Expected::Any).await.unwrap();
    store.swap_pointers(&with("inserted"), &[swap("t", "m1", "m2")], &[]).await.unwrap();
    assert_eq!(kept("inserted").await, Some(json!("answer")));
    store.delete_pointer(&with("dropped"), RelationKind::Table, "shop", "t").await.unwrap();
    assert!(kept("dropped").await.is_some());
}

async fn namespaces_have_properties(world: &World) {
    let (store, ctx) = (&world.store, world.ctx());
    assert_eq!(store.namespace(&ctx, "shop").await.unwrap(), None);
    store.create_namespace(&ctx, "shop", &properties(&[("owner", "li"), ("a", "1")])).await.unwrap();
    store.create_namespace(&ctx, "empty", &Properties::new()).await.unwrap();
    let error = store.create_namespace(&ctx, "shop", &Properties::new()).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::Conflict);
    assert_eq!(store.namespaces(&ctx).await.unwrap(), ["empty", "shop"]);
    assert_eq!(store.namespace(&ctx, "empty").await.unwrap(), Some(Properties::new()));
    let update = store
        .update_namespace(
            &ctx,
            "shop",
            &properties(&[("a", "2"), ("b", "3")]),
            &["owner".into(), "none".into()],
        )
        .await
        .unwrap();
    assert_eq!(
        (update.updated, update.removed, update.missing),
        (vec!["a".to_string(), "b".to_string()], vec!["owner".to_string()], vec!["none".to_string()])
    );
    assert_eq!(store.namespace(&ctx, "shop").await.unwrap(), Some(properties(&[("a", "2"), ("b", "3")])));
    let error = store.update_namespace(&ctx, "shp", &Properties::new(), &[]).await.unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `shop`?"));
    store.swap_pointers(&ctx, &[], &[insert("shop", "orders", "m1")]).await.unwrap();
    let error = store.drop_namespace(&ctx, "shop").await.unwrap_err();
    assert!(matches!(error, MetaError::NamespaceNotEmpty { tables: 1, .. }), "{error:?}");
    store.delete_pointer(&ctx, RelationKind::Table, "shop", "orders").await.unwrap();
    store.drop_namespace(&ctx, "shop").await.unwrap();
    assert_eq!(store.drop_namespace(&ctx, "shop").await.unwrap_err().kind(), FaultKind::NotFound);
}

async fn locations(world: &World, ctx: &RequestContext) -> Vec<(String, String, Option<String>)> {
    let all = world.store.table_pointers(ctx, "shop").await.unwrap();
    all.into_iter().map(|own| (own.name, own.metadata_location, own.previous_location)).collect()
}

async fn pointers_move_together_or_not_at_all(world: &World) {
    let (store, ctx) = (&world.store, world.ctx());
    let error = store.swap_pointers(&ctx, &[], &[insert("shop", "a", "a1")]).await.unwrap_err();
    assert!(matches!(error, MetaError::NamespaceNotFound { .. }), "{error:?}");
    store.create_namespace(&ctx, "shop", &Properties::new()).await.unwrap();
    store.swap_pointers(&ctx, &[], &[insert("shop", "a", "a1"), insert("shop", "b", "b1")]).await.unwrap();
    store.swap_pointers(&ctx, &[swap("a", "a1", "a2"), swap("b", "b1", "b2")], &[]).await.unwrap();
    let before = locations(world, &ctx).await;
    assert_eq!(
        before,
        [
            ("a".to_string(), "a2".to_string(), Some("a1".to_string())),
            ("b".to_string(), "b2".to_string(), Some("b1".to_string()))
        ]
    );
    let stale =
        store.swap_pointers(&ctx, &[swap("a", "a2", "a3"), swap("b", "b1", "b3")], &[]).await.unwrap_err();
    assert!(
        matches!(&stale, MetaError::PointerConflict { table, found, .. } if table == "shop.b" && found == "b2")
    );
    assert_eq!(stale.kind(), FaultKind::Conflict);
    let gone =
        store.swap_pointers(&ctx, &[swap("a", "a2", "a3"), swap("bb", "b1", "b3")], &[]).await.unwrap_err();
    assert!(
        matches!(&gone, MetaError::TableNotFound { similar: Some(near), .. } if near.starts_with("shop."))
    );
    let twice = store
        .swap_pointers(&ctx, &[swap("a", "a2", "a3")], &[insert("shop", "c", "c1"), insert("shop", "b", "x")])
        .await
        .unwrap_err();
    assert!(matches!(&twice, MetaError::TableExists { table } if table == "shop.b"), "{twice:?}");
    assert_eq!(locations(world, &ctx).await, before, "nothing of the failed calls was kept");
    store.swap_pointers(&ctx, &[swap("a", "a2", "a3")], &[insert("shop", "c", "c1")]).await.unwrap();
    let pointer = store.table_pointer(&ctx, "shop", "c").await.unwrap().unwrap();
    assert_eq!((pointer.metadata_location.as_str(), pointer.previous_location), ("c1", None));
    assert_eq!(store.all_table_pointers(&ctx).await.unwrap().len(), 3);
}

async fn pointers_are_renamed_and_deleted(world: &World) {
    let (store, ctx) = (&world.store, world.ctx());
    for namespace in ["shop", "old"] {
        store.create_namespace(&ctx, namespace, &Properties::new()).await.unwrap();
    }
    store.swap_pointers(&ctx, &[], &[insert("shop", "a", "a1"), insert("shop", "b", "b1")]).await.unwrap();
    let rename = |from: (&'static str, &'static str), to: (&'static str, &'static str)| {
        let ctx = ctx.clone();
        async move { store.rename_pointer(&ctx, RelationKind::Table, from, to).await }
    };
    assert!(matches!(rename(("shop", "a"), ("shop", "b")).await, Err(MetaError::TableExists { .. })));
    assert!(matches!(rename(("shop", "x"), ("shop", "y")).await, Err(MetaError::TableNotFound { .. })));
    assert!(matches!(rename(("shop", "a"), ("none", "a")).await, Err(MetaError::NamespaceNotFound { .. })));
    rename(("shop", "a"), ("old", "c")).await.unwrap();
    assert_eq!(store.table_pointer(&ctx, "shop", "a").await.unwrap(), None);
    let deleted = store.delete_pointer(&ctx, RelationKind::Table, "old", "c").await.unwrap();
    assert_eq!(deleted.metadata_location, "a1");
    let error = store.delete_pointer(&ctx, RelationKind::Table, "shop", "bb").await.unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `shop.b`?"));
}

async fn views_share_the_names_of_tables_and_are_listed_apart(world: &World) {
    let (store, ctx) = (&world.store, world.ctx());
    store.create_namespace(&ctx, "shop", &Properties::new()).await.unwrap();
    let view = |name: &str| PointerInsert { kind: RelationKind::View, ..insert("shop", name, "v1") };
    store.swap_pointers(&ctx, &[], &[insert("shop", "a", "a1"), view("v")]).await.unwrap();
    let twice = store.swap_pointers(&ctx, &[], &[view("a")]).await.unwrap_err();
    assert!(matches!(twice, MetaError::TableExists { .. }), "{twice:?}");
    let twice = store.swap_pointers(&ctx, &[], &[insert("shop", "v", "x")]).await.unwrap_err();
    assert!(matches!(twice, MetaError::TableExists { .. }), "{twice:?}");
    let names = |pointers: Vec<tarn_meta::TablePointer>| {
        pointers.into_iter().map(|pointer| pointer.name).collect::<Vec<_>>()
    };
    assert_eq!(names(store.table_pointers(&ctx, "shop").await.unwrap()), ["a"]);
    assert_eq!(names(store.all_table_pointers(&ctx).await.unwrap()), ["a"]);
    assert_eq!(names(store.view_pointers(&ctx, "shop").await.unwrap()), ["v"]);
    assert_eq!(store.table_pointer(&ctx, "shop", "v").await.unwrap(), None);
    let found = store.relation_pointer(&ctx, "shop", "v").await.unwrap().unwrap();
    assert_eq!(found.kind, RelationKind::View);
    let error = store.delete_pointer(&ctx, RelationKind::Table, "shop", "v").await.unwrap_err();
    assert!(matches!(error, MetaError::TableNotFound { .. }), "{error:?}");
    let error = store.delete_pointer(&ctx, RelationKind::View, "shop", "w").await.unwrap_err();
    assert!(
        matches!(&error, MetaError::ViewNotFound { similar: Some(near), .. } if near == "shop.v"),
        "{error:?}"
    );
    let taken =
        store.rename_pointer(&ctx, RelationKind::View, ("shop", "v"), ("shop", "a")).await.unwrap_err();
    assert!(matches!(taken, MetaError::TableExists { .. }), "{taken:?}");
    store.swap_pointers(&ctx, &[swap("v", "v1", "v2")], &[]).await.unwrap();
    store.rename_pointer(&ctx, RelationKind::View, ("shop", "v"), ("shop", "w")).await.unwrap();
    let moved = store.relation_pointer(&ctx, "shop", "w").await.unwrap().unwrap();
    assert_eq!((moved.kind, moved.metadata_location.as_str()), (RelationKind::View, "v2"));
    let full = store.drop_namespace(&ctx, "shop").await.unwrap_err();
    assert!(matches!(full, MetaError::NamespaceNotEmpty { tables: 2, .. }), "{full:?}");
    assert!(!store.delete_pointer_at(&ctx, "shop", "a", "elsewhere").await.unwrap());
    assert!(store.delete_pointer_at(&ctx, "shop", "a", "a1").await.unwrap());
    assert_eq!(store.table_pointer(&ctx, "shop", "a").await.unwrap(), None);
}

async fn one_of_many_commits_wins(world: &World) {
    let ctx = world.ctx();
    world.store.create_namespace(&ctx, "shop", &Properties::new()).await.unwrap();
    world.store.swap_pointers(&ctx, &[], &[insert("shop", "a", "start")]).await.unwrap();
    let commit = |number| {
        let (store, ctx) = (world.store.clone(), ctx.clone());
        let swap = swap("a", "start", &format!("new{number}"));
        tokio::spawn(async move { store.swap_pointers(&ctx, &[swap], &[]).await })
    };
    let mut winners = 0;
    for task in (0..8).map(commit).collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(()) => winners += 1,
            Err(error) => assert!(matches!(error, MetaError::PointerConflict { .. }), "{error:?}"),
        }
    }
    assert_eq!(winners, 1);
}
