//! Secrets are kept, found where they are named, and shown nowhere.

use serde_json::json;
use tarn_core::{Fault, FaultKind, chain_text};
use tarn_meta::{PlanOptions, SecretKey, SecretValue, Secrets};

use crate::resources::resources;
use crate::world::{self, World};

const VALUE: &str = "s3cr3t-Passw0rd-of-the-shop";

fn secrets(world: &World, key: &str) -> Secrets {
    Secrets::new(world.store.clone(), SecretKey::from_base64(key, "test").unwrap(), &world.env)
}

const KEY: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";
const OTHER_KEY: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";

pub async fn suite(world: &World) {
    let (secrets, ctx) = (secrets(world, KEY), world.ctx());
    secrets.put(&ctx, "shop", &SecretValue::new("old")).await.unwrap();
    secrets.put(&ctx, "shop", &SecretValue::new(VALUE)).await.unwrap();
    assert_eq!(secrets.get(&ctx, "shop").await.unwrap().expose(), VALUE);
    let error = secrets.get(&ctx, "shp").await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::NotFound);
    assert_eq!(error.hint().unwrap(), "did you mean `shop`? Or set it with `tarn access secret set shp`");
    assert_eq!(
        secrets.get(&world.ctx(), "shop").await.unwrap_err().kind(),
        FaultKind::NotFound,
        "another tenant"
    );
    for (name, value) in [("shop", ""), ("../x", "v"), ("large", &*"x".repeat(70_000))] {
        let error = secrets.put(&ctx, name, &SecretValue::new(value)).await.unwrap_err();
        assert_eq!(error.kind(), FaultKind::Invalid, "{name}");
    }
    let spec = json!({"url": "x", "auth": [{"password": {"secret": "shop"}}, {"secret": "shop", "more": 1}]});
    let resolved = secrets.resolve(&ctx, &spec).await.unwrap();
    assert_eq!(resolved.expose()["auth"], json!([{"password": VALUE}, {"secret": "shop", "more": 1}]));
    assert!(!format!("{resolved:?}").contains(VALUE));
    let error =
        secrets.resolve(&ctx, &json!({"a": {"secret": "shop"}, "b": {"secret": "none"}})).await.unwrap_err();
    assert!(error.to_string().contains("`none`"));
    uses_are_listed(world, &secrets, &ctx).await;
    let other = self::secrets(world, OTHER_KEY);
    let error = other.get(&ctx, "shop").await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::Corrupt);
    assert!(error.hint().unwrap().contains("TARN_SECRET_KEY"));
    // A sealed value moved to another name does not open there.
    let sealed = world.store.sealed(&ctx, "shop").await.unwrap().unwrap();
    world.store.put_sealed(&ctx, "moved", &sealed).await.unwrap();
    assert_eq!(secrets.get(&ctx, "moved").await.unwrap_err().kind(), FaultKind::Corrupt);
    secrets.delete(&ctx, "shop").await.unwrap();
    assert_eq!(secrets.delete(&ctx, "shop").await.unwrap_err().kind(), FaultKind::NotFound);
}

async fn uses_are_listed(world: &World, secrets: &Secrets, ctx: &tarn_core::RequestContext) {
    secrets.put(ctx, "unused", &SecretValue::new("x")).await.unwrap();
    let resources = resources(world);
    let text =
        "kind: source\nname: a\nspec: {type: postgres_cdc, url: {secret: shop}, password: {secret: shop}}\n";
    let parsed = resources.parse(text, None);
    resources.apply(ctx, &parsed, &PlanOptions::default(), None, "").await.unwrap();
    let list = secrets.list(ctx).await.unwrap();
    assert_eq!(list[0].used_by, ["source/a"]);
    assert_eq!(list[1].used_by, Vec::<String>::new());
    let json = serde_json::to_value(&list[0]).unwrap();
    assert_eq!(json, json!({"name": "shop", "updated_at": json["updated_at"], "used_by": ["source/a"]}));
    assert!(json["updated_at"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn values_are_in_no_text_and_in_no_file() {
    let (folder, world) = world::sqlite().await;
    let ctx = world.ctx();
    let key = SecretKey::load(folder.path(), &*world.env.entropy).unwrap();
    let secrets = Secrets::new(world.store.clone(), key.clone(), &world.env);
    secrets.put(&ctx, "shop", &SecretValue::new(VALUE)).await.unwrap();
    let resources = resources(&world);
    let text =
        "kind: source\nname: a\nspec: {type: postgres_cdc, url: {secret: shop}, password: {secret: none}}\n";
    let parsed = resources.parse(text, None);
    let resolved = secrets.resolve(&ctx, &json!({"a": {"secret": "shop"}})).await.unwrap();
    let missing =
        secrets.resolve(&ctx, &json!({"a": {"secret": "shop"}, "b": {"secret": "x"}})).await.unwrap_err();
    let invalid = resources.apply(&ctx, &parsed, &PlanOptions::default(), None, "").await.unwrap_err();
    let plan = resources.plan(&ctx, &parsed, &PlanOptions::default()).await.unwrap();
    let shown = [
        format!("{secrets:?} {key:?} {resolved:?} {parsed:?} {:?}", secrets.get(&ctx, "shop").await.unwrap()),
        format!("{missing:?} {} {invalid:?} {}", chain_text(&missing), chain_text(&invalid)),
        serde_json::to_string(&plan).unwrap(),
        serde_json::to_string(&secrets.list(&ctx).await.unwrap()).unwrap(),
    ];
    let key_text = std::fs::read_to_string(folder.path().join("secret.key")).unwrap();
    for text in &shown {
        assert!(!text.contains(VALUE) && !text.contains(key_text.trim()), "{text}");
    }
    let mut files = 0;
    for close in [false, true] {
        if close {
            world.store.close().await;
        }
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let holds = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
            assert!(!holds(VALUE.as_bytes()));
            files += usize::from(holds(b"x1."));
        }
    }
    assert!(files >= 2, "the sealed value is there, in the write-ahead file and then in the main one");
}
