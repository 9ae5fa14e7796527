//! Plan, apply, roll back, export, and the news of it.

use std::time::Duration;

use tarn_core::{Fault, FaultKind, RequestContext, Spawner};
use tarn_meta::{
    Applied, ChangeAction, MetaError, PlanOptions, ResourceId, ResourceState, Resources, SecretKey,
    SecretValue, Secrets, StatusReport,
};

use crate::kinds::kinds;
use crate::world::World;

pub async fn suite(world: &World) {
    a_plan_shows_what_an_apply_does(world).await;
    problems_stop_an_apply(world).await;
    one_of_many_applies_wins(world).await;
    deletes_are_asked_for(world).await;
    views_tell_how_resources_fare(world).await;
    news_reach_this_and_other_processes(world).await;
}

const SHOP: &str = "\
kind: source
name: shop
spec:
  type: generator
  rows: 10
  note: first
---
kind: table
name: shop.orders
spec:
  freshness: 1s
";

pub fn resources(world: &World) -> Resources {
    Resources::new(world.store.clone(), kinds(), world.env.clone())
}

pub async fn apply(resources: &Resources, ctx: &RequestContext, text: &str) -> Result<Applied, MetaError> {
    resources.apply(ctx, &resources.parse(text, None), &PlanOptions::default(), None, "test").await
}

fn actions(applied: &Applied) -> Vec<(ChangeAction, &str)> {
    applied.changes.iter().map(|change| (change.action, change.name.as_str())).collect()
}

async fn a_plan_shows_what_an_apply_does(world: &World) {
    let (resources, ctx) = (resources(world), world.ctx());
    let plan = resources.plan(&ctx, &resources.parse(SHOP, None), &PlanOptions::default()).await.unwrap();
    assert!(plan.ok && !plan.is_empty());
    assert_eq!(plan.base_revision, 0);
    assert_eq!(
        plan.changes[1].diff,
        "--- /dev/null\n+++ b/table/shop.orders.yaml\n@@ -0,0 +1,4 @@\n+kind: table\n+name: shop.orders\n\
         +spec:\n+  freshness: 1s\n"
    );
    assert_eq!(resources.current(&ctx).await.unwrap().0, 0, "a plan changes nothing");
    let applied = apply(&resources, &ctx, SHOP).await.unwrap();
    assert_eq!(applied.revision, 1);
    assert_eq!(applied.changes, plan.changes);
    // The same keys in another order are the same; a changed key shows as one line, whatever moved.
    let moved = SHOP.replace(
        "  type: generator\n  rows: 10\n  note: first",
        "  note: first\n  rows: 10\n  type: generator",
    );
    let applied = apply(&resources, &ctx, &moved).await.unwrap();
    assert_eq!((applied.revision, actions(&applied)[0].0), (1, ChangeAction::None));
    let changed = moved.replace("rows: 10", "rows: 20");
    let applied = apply(&resources, &ctx, &changed).await.unwrap();
    assert_eq!(actions(&applied), [(ChangeAction::Update, "shop"), (ChangeAction::None, "shop.orders")]);
    let lines = |sign| applied.changes[0].diff.lines().filter(|line: &&str| line.starts_with(sign)).count();
    assert_eq!((lines('+'), lines('-')), (2, 2), "{}", applied.changes[0].diff);
    assert!(applied.changes[0].diff.contains("-  rows: 10\n+  rows: 20\n"));
    let detail = resources.revision(&ctx, 2).await.unwrap();
    assert_eq!(detail.changes.len(), 1, "what did not change is no change of the revision");
    assert!(detail.changes[0].diff.contains("+  rows: 20"));
    assert_eq!((detail.author.as_str(), detail.message.as_str()), ("li", "test"));
    let list = resources.revisions(&ctx, 10).await.unwrap();
    assert_eq!(list.iter().map(|own| own.revision).collect::<Vec<_>>(), [2, 1]);
    assert!(list[0].at.starts_with("2023-11-14T22:13:"), "{}", list[0].at);
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["changes"][0]["action"], "create");
    assert_eq!(json["base_revision"], 0);
    assert_eq!(json["ok"], true);
}

async fn problems_stop_an_apply(world: &World) {
    let (resources, ctx) = (resources(world), world.ctx());
    let text = "kind: source\nname: shop\nspec:\n  type: postgres_cdc\n  url: postgres://h/d\n  \
                password: {secret: shop_pasword}\n";
    let secrets = secrets_of(world);
    secrets.put(&ctx, "shop_password", &SecretValue::new("hunter2")).await.unwrap();
    let parsed = resources.parse(text, Some("resources/shop.yaml"));
    let plan = resources.plan(&ctx, &parsed, &PlanOptions::default()).await.unwrap();
    assert!(!plan.ok);
    assert_eq!(
        plan.changes[0].problems[0].to_string(),
        "secret `shop_pasword` of source `shop` is not set (resources/shop.yaml:6); did you mean `shop_password`? \
         Or set it with `tarn access secret set shop_pasword`"
    );
    let error = resources.apply(&ctx, &parsed, &PlanOptions::default(), None, "").await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::Invalid);
    assert!(error.to_string().contains("resources/shop.yaml:6"), "{error}");
    assert_eq!(resources.current(&ctx).await.unwrap(), (0, Vec::new()));
    let right = text.replace("pasword", "password");
    apply(&resources, &ctx, &right).await.unwrap();
    // A secret that went away is told, but does not stop changes of other resources.
    secrets.delete(&ctx, "shop_password").await.unwrap();
    let more = format!("{right}---\n{SHOP}")
        .replace("name: shop\nspec:\n  type: generator", "name: gen\nspec:\n  type: generator");
    let applied = apply(&resources, &ctx, &more).await.unwrap();
    assert_eq!(applied.revision, 2);
    let shop = applied.changes.iter().find(|change| change.name == "shop").unwrap();
    assert!(shop.action == ChangeAction::None && !shop.problems[0].is_error(), "{shop:?}");
}

fn secrets_of(world: &World) -> Secrets {
    let key = SecretKey::from_base64("MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=", "test").unwrap();
    Secrets::new(world.store.clone(), key, &world.env)
}

async fn one_of_many_applies_wins(world: &World) {
    let (resources, ctx) = (resources(world), world.ctx());
    let run = |number: usize| {
        let (resources, ctx) = (resources.clone(), ctx.clone());
        tokio::spawn(async move {
            let text = SHOP.replace("rows: 10", &format!("rows: {number}"));
            resources.apply(&ctx, &resources.parse(&text, None), &PlanOptions::default(), Some(0), "").await
        })
    };
    let mut winners = 0;
    for task in (1..9).map(run).collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(applied) => {
                assert_eq!(applied.revision, 1);
                winners += 1;
            }
            Err(error) => {
                assert!(matches!(error, MetaError::RevisionConflict { base: 0, .. }), "{error:?}");
                assert!(error.hint().unwrap().contains("plan again"));
            }
        }
    }
    assert_eq!((winners, resources.current(&ctx).await.unwrap().0), (1, 1));
}

async fn deletes_are_asked_for(world: &World) {
    let (resources, ctx) = (resources(world), world.ctx());
    apply(&resources, &ctx, SHOP).await.unwrap();
    let only_table = SHOP.split("---\n").nth(1).unwrap();
    let applied = apply(&resources, &ctx, only_table).await.unwrap();
    assert_eq!((applied.revision, applied.changes.len()), (1, 1), "what is not named stays");
    let options = |prune, delete: &[(&str, &str)]| PlanOptions {
        prune,
        delete: delete.iter().map(|(kind, name)| ResourceId::new(*kind, *name)).collect(),
        ..PlanOptions::default()
    };
    let parsed = resources.parse(only_table, None);
    let plan = resources.plan(&ctx, &parsed, &options(false, &[("source", "shp")])).await.unwrap();
    assert_eq!(plan.problems[0].to_string(), "source `shp` not found; did you mean `shop`?");
    assert!(!plan.ok);
    let plan = resources.plan(&ctx, &parsed, &options(false, &[("table", "shop.orders")])).await.unwrap();
    assert!(plan.problems[0].message.contains("both declared and to be deleted"));
    let delete = options(true, &[("source", "shop"), ("source", "shop")]);
    let applied = resources.apply(&ctx, &parsed, &delete, Some(1), "").await.unwrap();
    assert_eq!(actions(&applied), [(ChangeAction::Delete, "shop"), (ChangeAction::None, "shop.orders")]);
    assert!(applied.changes[0].diff.contains("+++ /dev/null"));
    let error = resources.get(&ctx, &ResourceId::new("table", "shop.order")).await.unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `shop.orders`?"));
    let rolled = resources.rollback(&ctx, 1).await.unwrap();
    assert_eq!((rolled.revision, actions(&rolled)[0]), (3, (ChangeAction::Create, "shop")));
    let rolled = resources.rollback(&ctx, 0).await.unwrap();
    assert_eq!((rolled.revision, resources.current(&ctx).await.unwrap().1.len()), (4, 0));
    let error = resources.rollback(&ctx, 17).await.unwrap_err();
    assert!(matches!(error, MetaError::RevisionNotFound { revision: 17, current: 4 }));
}

async fn views_tell_how_resources_fare(world: &World) {
    let (resources, ctx) = (resources(world), world.ctx());
    apply(&resources, &ctx, SHOP).await.unwrap();
    let report = |revision, state, message: Option<&str>| {
        let message = message.map(ToString::to_string);
        StatusReport { kind: "source".into(), name: "shop".into(), revision, state, message }
    };
    let shop = || async { resources.list(&ctx).await.unwrap().remove(0) };
    assert_eq!(shop().await.state, ResourceState::Pending);
    resources.set_status(&ctx, &report(1, ResourceState::Active, None)).await.unwrap();
    assert_eq!(shop().await.state, ResourceState::Active);
    apply(&resources, &ctx, &SHOP.replace("10", "11")).await.unwrap();
    let view = shop().await;
    assert_eq!((view.state, view.revision, view.running_revision), (ResourceState::Pending, 2, Some(1)));
    resources.set_status(&ctx, &report(2, ResourceState::Failed, Some("too many rows"))).await.unwrap();
    let json = serde_json::to_value(shop().await).unwrap();
    assert_eq!(json["state"], "failed");
    assert_eq!(json["message"], "too many rows");
    assert_eq!(json["running_revision"], 1);
    assert!(
        json["yaml"].as_str().unwrap().starts_with("kind: source\nname: shop\nspec:\n  type: generator\n")
    );
    let good = resources.statuses(&ctx).await.unwrap().remove(0).good_spec.unwrap();
    assert_eq!(good["rows"], 10);
}

async fn news_reach_this_and_other_processes(world: &World) {
    let ctx = world.ctx();
    let server_spawner = Spawner::default();
    let server_env = tarn_core::Env { spawner: server_spawner.clone(), ..world.env.clone() };
    let server_store = tarn_meta::open(&world.address, server_env.clone()).await.unwrap();
    let server = Resources::new(server_store, kinds(), server_env);
    let other = resources(world);
    apply(&other, &ctx, SHOP).await.unwrap();
    let mut news = server.watch(&ctx).await.unwrap();
    assert_eq!(*news.borrow_and_update(), 1, "what was applied before is known");
    apply(&server, &ctx, &SHOP.replace("10", "11")).await.unwrap();
    assert!(news.has_changed().unwrap(), "an apply of this process is known at once");
    assert_eq!(*news.borrow_and_update(), 2);
    server.follow(&ctx, Duration::from_millis(10));
    apply(&other, &ctx, &SHOP.replace("10", "12")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), news.changed()).await.unwrap().unwrap();
    assert_eq!(*news.borrow_and_update(), 3);
    assert!(server_spawner.shutdown(Duration::from_secs(20)).await, "the task ends at shutdown");
}
