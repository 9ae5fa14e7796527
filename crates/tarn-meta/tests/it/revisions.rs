//! What every store must do for revisions and states of resources.

use serde_json::{Value, json};
use tarn_core::RequestContext;
use tarn_meta::{ChangeAction, MetaError, NewRevision, ResourceChange, ResourceState, StatusReport};

use crate::world::World;

pub async fn suite(world: &World) {
    revisions_add_up(world).await;
    one_of_many_appends_wins(world).await;
    states_remember_what_was_good(world).await;
}

fn change(action: ChangeAction, name: &str, spec: Option<Value>) -> ResourceChange {
    ResourceChange { action, kind: "source".into(), name: name.into(), spec, origin: None }
}

fn revision(base: u64, changes: Vec<ResourceChange>) -> NewRevision {
    NewRevision { base, author: "li".into(), message: "why".into(), changes }
}

async fn names_at(world: &World, ctx: &RequestContext, number: u64) -> Vec<(String, Value, u64)> {
    let all = world.store.resources_at(ctx, number).await.unwrap();
    all.into_iter().map(|own| (own.name, own.spec, own.revision)).collect()
}

async fn revisions_add_up(world: &World) {
    use ChangeAction::{Create, Delete, Update};
    let (store, ctx) = (&world.store, world.ctx());
    assert_eq!(store.resources(&ctx).await.unwrap(), (0, Vec::new()));
    let first =
        revision(0, vec![change(Create, "b", Some(json!({"v": 1}))), change(Create, "a", Some(json!({})))]);
    assert_eq!(store.append_revision(&ctx, &first).await.unwrap(), 1);
    world.clock.advance(std::time::Duration::from_secs(1));
    let second = revision(1, vec![change(Update, "b", Some(json!({"v": 2}))), change(Delete, "a", None)]);
    assert_eq!(store.append_revision(&ctx, &second).await.unwrap(), 2);
    let third = revision(2, vec![change(Create, "a", Some(json!({"v": 3})))]);
    assert_eq!(store.append_revision(&ctx, &third).await.unwrap(), 3);
    let a = |spec: Value, number: u64| ("a".to_string(), spec, number);
    let b = |spec: Value, number: u64| ("b".to_string(), spec, number);
    assert_eq!(names_at(world, &ctx, 0).await, []);
    assert_eq!(names_at(world, &ctx, 1).await, [a(json!({}), 1), b(json!({"v": 1}), 1)]);
    assert_eq!(names_at(world, &ctx, 2).await, [b(json!({"v": 2}), 2)]);
    assert_eq!(names_at(world, &ctx, 3).await, [a(json!({"v": 3}), 3), b(json!({"v": 2}), 2)]);
    let (current, resources) = store.resources(&ctx).await.unwrap();
    assert_eq!((current, &resources), (3, &store.resources_at(&ctx, 3).await.unwrap()), "both ways agree");
    assert!(resources[0].updated_ms > 0 && resources[0].author == "li");
    let error = store.append_revision(&ctx, &third).await.unwrap_err();
    assert!(matches!(error, MetaError::RevisionConflict { base: 2, current: 3 }), "{error:?}");
    assert!(matches!(store.resources_at(&ctx, 4).await, Err(MetaError::RevisionNotFound { .. })));
    let all = store.revisions(&ctx, 2).await.unwrap();
    assert_eq!(all.iter().map(|own| own.revision).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(all[1].changes.len(), 2);
    assert_eq!((all[1].changes[0].action, all[1].changes[0].name.as_str()), (Delete, "a"));
    assert_eq!(store.revision(&ctx, 2).await.unwrap(), all[1]);
    assert!(matches!(
        store.revision(&ctx, 9).await,
        Err(MetaError::RevisionNotFound { revision: 9, current: 3 })
    ));
    let history = store.resource_history(&ctx, "source", "a").await.unwrap();
    assert_eq!(history, [Some(json!({})), None, Some(json!({"v": 3}))]);
}

async fn one_of_many_appends_wins(world: &World) {
    let ctx = world.ctx();
    let append = |number: i32| {
        let (store, ctx) = (world.store.clone(), ctx.clone());
        let new = revision(0, vec![change(ChangeAction::Create, "a", Some(json!(number)))]);
        tokio::spawn(async move { store.append_revision(&ctx, &new).await })
    };
    let mut winners = 0;
    for task in (0..8).map(append).collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(number) => {
                assert_eq!(number, 1);
                winners += 1;
            }
            Err(error) => assert!(matches!(error, MetaError::RevisionConflict { .. }), "{error:?}"),
        }
    }
    assert_eq!((winners, world.store.current_revision(&ctx).await.unwrap()), (1, 1));
}

async fn states_remember_what_was_good(world: &World) {
    use ChangeAction::{Create, Delete, Update};
    let (store, ctx) = (&world.store, world.ctx());
    let report = |revision, state, message: Option<&str>| {
        let message = message.map(ToString::to_string);
        StatusReport { kind: "source".into(), name: "a".into(), revision, state, message }
    };
    store.set_status(&ctx, &report(1, ResourceState::Active, None)).await.unwrap();
    assert_eq!(store.statuses(&ctx).await.unwrap(), [], "nothing is known of what is not declared");
    store
        .append_revision(&ctx, &revision(0, vec![change(Create, "a", Some(json!({"v": 1})))]))
        .await
        .unwrap();
    store.set_status(&ctx, &report(1, ResourceState::Failed, Some("no route"))).await.unwrap();
    let status = store.statuses(&ctx).await.unwrap().remove(0);
    assert_eq!((status.running_revision, status.good_revision, &status.good_spec), (None, None, &None));
    store.set_status(&ctx, &report(1, ResourceState::Active, None)).await.unwrap();
    store
        .append_revision(&ctx, &revision(1, vec![change(Update, "a", Some(json!({"v": 2})))]))
        .await
        .unwrap();
    store.set_status(&ctx, &report(2, ResourceState::Pending, None)).await.unwrap();
    let status = store.statuses(&ctx).await.unwrap().remove(0);
    assert_eq!((status.state, status.running_revision), (ResourceState::Pending, Some(1)));
    store.set_status(&ctx, &report(2, ResourceState::Failed, Some("wrong password"))).await.unwrap();
    let status = store.statuses(&ctx).await.unwrap().remove(0);
    assert_eq!((status.state, status.message.as_deref()), (ResourceState::Failed, Some("wrong password")));
    assert_eq!((status.revision, status.running_revision, status.good_revision), (2, Some(1), Some(1)));
    assert_eq!(status.good_spec, Some(json!({"v": 1})));
    store.set_status(&ctx, &report(2, ResourceState::Active, None)).await.unwrap();
    let status = store.statuses(&ctx).await.unwrap().remove(0);
    assert_eq!((status.running_revision, status.good_revision, status.message), (Some(2), Some(2), None));
    store.append_revision(&ctx, &revision(2, vec![change(Delete, "a", None)])).await.unwrap();
    assert_eq!(store.statuses(&ctx).await.unwrap(), []);
}
