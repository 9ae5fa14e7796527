//! API keys: shown once, hashed, scoped, expiring.

use std::time::Duration;

use tarn_access::{AccessError, Credentials, Method, Peer};
use tarn_core::{Fault, FaultKind, HumanDuration, Role};

use crate::world::{World, admin, admin_of, remote};

#[tokio::test]
async fn a_key_stands_for_its_role_and_tenant() {
    let world = World::with_users().await;
    let other = admin_of("other");
    world
        .access
        .create_key(&other, "root", Role::Admin, None)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    world
        .access
        .create_user(&other, "zhao", Role::Admin, &crate::world::secret("long enough"))
        .await
        .unwrap();
    let key = world.access.create_key(&other, "ci", Role::Editor, None).await.unwrap();
    assert!(key.key.starts_with(&format!("tarn_{}_", key.id)));
    let identity = world.access.authenticate(&Credentials::key(&key.key), &remote()).await.unwrap();
    assert_eq!((&*identity.principal.name, identity.principal.role), ("key/ci", Role::Editor));
    assert_eq!((identity.tenant.as_str(), identity.method), ("other", Method::Key));
    // PostgreSQL clients and curl send it as a password, with any name.
    for user in ["li", "anything", ""] {
        let credentials = Credentials::password(user, &key.key);
        assert_eq!(world.access.authenticate(&credentials, &remote()).await.unwrap(), identity);
    }
    let ctx = identity.context(tarn_core::TraceId(3));
    assert_eq!((ctx.tenant.as_str(), ctx.principal.role), ("other", Role::Editor));
}

#[tokio::test]
async fn wrong_expired_and_deleted_keys_are_refused() {
    let world = World::with_users().await;
    let (access, day) = (&world.access, HumanDuration::from_secs(86_400));
    let key = access.create_key(&admin(), "ci", Role::Viewer, Some(day)).await.unwrap();
    let authenticate =
        |text: String| async move { access.authenticate(&Credentials::key(text), &Peer::local()).await };
    let last = key.key.chars().last().unwrap();
    let wrong = format!("{}{}", &key.key[..key.key.len() - 1], if last == '0' { '1' } else { '0' });
    for bad in [wrong, "tarn_".into(), key.key[..20].into(), key.key.to_uppercase(), format!("{} ", key.key)]
    {
        let error = authenticate(bad).await.unwrap_err();
        assert!(matches!(error, AccessError::WrongCredentials { what: "API key" }), "{error:?}");
    }
    authenticate(key.key.clone()).await.unwrap();
    world.clock.advance(Duration::from_secs(86_400));
    let error = authenticate(key.key.clone()).await.unwrap_err();
    assert!(matches!(&error, AccessError::KeyExpired { id } if *id == key.id), "{error:?}");
    assert!(error.hint().unwrap().contains("tarn access key create"));
    let key = access.create_key(&admin(), "ci", Role::Viewer, None).await.unwrap();
    authenticate(key.key.clone()).await.unwrap();
    access.delete_key(&admin(), &key.id).await.unwrap();
    assert!(authenticate(key.key.clone()).await.is_err());
    assert!(matches!(access.delete_key(&admin(), &key.id).await, Err(AccessError::KeyNotFound { .. })));
    let zero = Some(HumanDuration::from_secs(0));
    let error = access.create_key(&admin(), "ci", Role::Viewer, zero).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::Invalid);
    assert_eq!(
        access.create_key(&admin(), "a b", Role::Viewer, None).await.unwrap_err().kind(),
        FaultKind::Invalid
    );
}

#[tokio::test]
async fn lists_show_the_last_use_and_never_the_key() {
    let world = World::with_users().await;
    let day = HumanDuration::from_secs(86_400);
    let key = world.access.create_key(&admin(), "ci", Role::Viewer, Some(day)).await.unwrap();
    let view = || async { world.access.keys(&admin()).await.unwrap().remove(0) };
    assert_eq!(view().await.last_used_at, None);
    world.access.authenticate(&Credentials::key(&key.key), &remote()).await.unwrap();
    let first = view().await.last_used_at.unwrap();
    world.clock.advance(Duration::from_secs(10));
    world.access.authenticate(&Credentials::key(&key.key), &remote()).await.unwrap();
    assert_eq!(view().await.last_used_at.as_ref(), Some(&first), "noted at most once a minute");
    world.clock.advance(Duration::from_secs(60));
    world.access.authenticate(&Credentials::key(&key.key), &remote()).await.unwrap();
    assert!(view().await.last_used_at.unwrap() > first);
    let json = serde_json::to_string(&view().await).unwrap();
    let secret = key.key.rsplit('_').next().unwrap();
    assert!(json.contains(&key.id) && !json.contains(secret));
    assert!(json.contains("\"expires_at\":\"2023-11-15T22:13:20.000Z\""), "{json}");
    assert!(!format!("{key:?}").contains(secret));
    world.store.close().await;
    let bytes = std::fs::read(world.folder.path().join("meta.db")).unwrap();
    let holds = |wanted: &str| bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes());
    assert!(holds(&key.id) && !holds(secret));
}
