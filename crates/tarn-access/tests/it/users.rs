//! Users are managed by admins, and one admin always stays.

use tarn_access::AccessError;
use tarn_core::{Fault, FaultKind, Role};

use crate::world::{PASSWORD, World, admin, admin_of, context, secret, world};

#[tokio::test]
async fn the_first_user_is_an_admin_and_the_last_admin_stays() {
    let world = world().await;
    let access = &world.access;
    let error = access.create_user(&admin(), "wang", Role::Viewer, &secret(PASSWORD)).await.unwrap_err();
    assert!(matches!(error, AccessError::FirstMustBeAdmin), "{error:?}");
    let error = access.create_key(&admin(), "ci", Role::Editor, None).await.unwrap_err();
    assert!(matches!(error, AccessError::FirstMustBeAdmin), "{error:?}");
    access.create_user(&admin(), "li", Role::Admin, &secret(PASSWORD)).await.unwrap();
    access.create_user(&admin(), "wang", Role::Viewer, &secret(PASSWORD)).await.unwrap();
    assert!(matches!(access.delete_user(&admin(), "li").await, Err(AccessError::LastAdmin { .. })));
    assert!(matches!(
        access.set_role(&admin(), "li", Role::Editor).await,
        Err(AccessError::LastAdmin { .. })
    ));
    access.set_role(&admin(), "wang", Role::Admin).await.unwrap();
    access.set_role(&admin(), "li", Role::Editor).await.unwrap();
    access.delete_user(&admin(), "li").await.unwrap();
    assert!(matches!(
        access.set_role(&admin(), "wang", Role::Viewer).await,
        Err(AccessError::LastAdmin { .. })
    ));
    access.delete_user(&admin(), "wang").await.expect("the only user may go: the installation is as new");
}

#[tokio::test]
async fn bad_names_and_passwords_are_told() {
    let world = World::with_users().await;
    let create = |name: &'static str, password: &'static str| {
        let access = &world.access;
        async move { access.create_user(&admin(), name, Role::Viewer, &secret(password)).await.unwrap_err() }
    };
    assert!(matches!(create("li", PASSWORD).await, AccessError::UserExists { .. }));
    for name in ["", "a b", "-x", "local", "system", "a/b", "a\0"] {
        assert_eq!(create(name, PASSWORD).await.kind(), FaultKind::Invalid, "{name}");
    }
    let error = create("zhao", "short").await;
    assert!(error.to_string().contains("at least 8 characters"), "{error}");
    assert_eq!(error.kind(), FaultKind::Invalid);
    assert!(error.hint().is_some_and(|hint| hint.contains("longer")), "{error:?}");
    let error = world.access.delete_user(&admin(), "wan").await.unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `wang`?"));
    world
        .access
        .create_user(&admin(), "zhao.li@example.com", Role::Viewer, &secret("八个汉字也可以啊"))
        .await
        .unwrap();
    assert!(world.password("zhao.li@example.com", "八个汉字也可以啊").await.is_ok());
}

#[tokio::test]
async fn only_admins_manage_users_and_keys() {
    let world = World::with_users().await;
    let access = &world.access;
    for ctx in [context("wang", Role::Viewer), context("wang", Role::Editor)] {
        let password = secret("a new password");
        let refused = [
            access.users(&ctx).await.map(|_| ()),
            access.keys(&ctx).await.map(|_| ()),
            access.create_user(&ctx, "x", Role::Viewer, &password).await.map(|_| ()),
            access.create_key(&ctx, "x", Role::Viewer, None).await.map(|_| ()),
            access.delete_user(&ctx, "li").await,
            access.delete_key(&ctx, "x").await,
            access.set_role(&ctx, "wang", Role::Admin).await,
            access.set_password(&ctx, "li", &password).await,
            access.audit_log(&ctx, 10).await.map(|_| ()),
            access.verify_audit(&ctx).await.map(|_| ()),
        ];
        for result in refused {
            assert!(matches!(result, Err(AccessError::Forbidden { .. })), "{result:?}");
        }
    }
    let own = context("wang", Role::Viewer);
    access.set_password(&own, "wang", &secret("a new password")).await.expect("one's own password");
    assert!(world.password("wang", "a new password").await.is_ok());
}

#[tokio::test]
async fn tenants_have_their_own_users_and_keys() {
    let world = World::with_users().await;
    let (access, other) = (&world.access, admin_of("other"));
    access.create_user(&other, "zhao", Role::Admin, &secret(PASSWORD)).await.unwrap();
    let key = access.create_key(&other, "ci", Role::Viewer, None).await.unwrap();
    let error = access.create_user(&other, "li", Role::Admin, &secret(PASSWORD)).await.unwrap_err();
    assert!(matches!(error, AccessError::UserExists { .. }), "a login names no tenant, so names are unique");
    assert_eq!(world.password("zhao", PASSWORD).await.unwrap().tenant.as_str(), "other");
    let names: Vec<_> = access.users(&admin()).await.unwrap().into_iter().map(|user| user.name).collect();
    assert_eq!(names, ["li", "wang"]);
    assert_eq!(access.keys(&admin()).await.unwrap(), []);
    assert!(matches!(access.delete_user(&admin(), "zhao").await, Err(AccessError::UserNotFound { .. })));
    assert!(matches!(access.delete_key(&admin(), &key.id).await, Err(AccessError::KeyNotFound { .. })));
    assert!(matches!(
        access.set_password(&admin(), "zhao", &secret("a new password")).await,
        Err(AccessError::UserNotFound { .. })
    ));
}

#[tokio::test]
async fn no_password_and_no_hash_is_shown_and_no_password_is_stored() {
    let world = World::with_users().await;
    let users = world.access.users(&admin()).await.unwrap();
    let json = serde_json::to_value(&users).unwrap();
    assert_eq!(json[1]["name"], "wang");
    assert_eq!(json[1]["role"], "viewer");
    assert!(!json.to_string().contains("argon2"));
    world.store.close().await;
    let bytes = std::fs::read(world.folder.path().join("meta.db")).unwrap();
    let holds = |wanted: &str| bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes());
    assert!(holds("$argon2id$") && !holds(PASSWORD));
}
