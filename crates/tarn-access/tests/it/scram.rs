//! SCRAM-SHA-256 for PostgreSQL clients: who is offered it, and what names without user are told.

use tarn_access::{Access, AccessError, Peer};
use tarn_core::{RequestContext, TenantId, TraceId};
use tarn_meta::Expected;

use crate::world::{PASSWORD, World, admin, config, secret};

/// The space of the store in which users are kept.
const USERS: &str = "access.users";

fn installation() -> RequestContext {
    RequestContext::system(TenantId::new("*access"), TraceId(0))
}

/// Salt and iterations that a name is told; `None` if it is asked for the password itself.
async fn offered(access: &Access, user: &str) -> Option<String> {
    let mut login = access.begin_scram(user, &Peer::local()).await.unwrap()?;
    let answer = access.answer_scram(&mut login, b"n,,n=,r=abc").unwrap();
    answer.split_once(",s=").map(|(_, costs)| costs.to_string())
}

#[tokio::test]
async fn names_without_user_are_offered_the_same_as_users() {
    let world = World::with_users().await;
    let (known, unknown) = (offered(&world.access, "li").await.unwrap(), offered(&world.access, "no").await);
    let unknown = unknown.expect("an unknown name is not told apart");
    assert_eq!(known.len(), unknown.len());
    assert_eq!(known.split_once(",i=").unwrap().1, unknown.split_once(",i=").unwrap().1);
    assert_ne!(unknown, offered(&world.access, "nobody").await.unwrap(), "each name has a salt of its own");
    // The salts stay, also of names without user, after a restart.
    let again = Access::new(world.store.clone(), world.env.clone(), config()).unwrap();
    assert_eq!(offered(&again, "li").await, Some(known));
    assert_eq!(offered(&again, "no").await, Some(unknown));
    for name in ["key", "key/board"] {
        assert_eq!(offered(&world.access, name).await, None, "{name} shows an API key");
    }
}

#[tokio::test]
async fn a_new_password_has_a_new_salt() {
    let world = World::with_users().await;
    let before = offered(&world.access, "li").await.unwrap();
    world.access.set_password(&admin(), "li", &secret(PASSWORD)).await.unwrap();
    assert_ne!(offered(&world.access, "li").await.unwrap(), before);
}

#[tokio::test]
async fn a_user_from_before_is_offered_it_after_the_next_login() {
    let world = World::with_users().await;
    let kept = world.store.document(&installation(), USERS, "li").await.unwrap().unwrap();
    let mut old = kept.value;
    assert!(old.as_object_mut().unwrap().remove("scram").is_some());
    world
        .store
        .put_document(&installation(), USERS, "li", &old, Expected::Version(kept.version))
        .await
        .unwrap();
    assert_eq!(offered(&world.access, "li").await, None);
    world.password("li", "wrong password").await.unwrap_err();
    assert_eq!(offered(&world.access, "li").await, None);
    world.password("li", PASSWORD).await.unwrap();
    assert!(offered(&world.access, "li").await.is_some());
    world.password("li", PASSWORD).await.expect("the password is still the same");
}

#[tokio::test]
async fn failed_proofs_are_slowed_down_like_passwords() {
    let world = World::with_users().await;
    for name in ["li", "no"] {
        for _ in 0..5 {
            let mut login = world.access.begin_scram(name, &Peer::local()).await.unwrap().unwrap();
            let first = world.access.answer_scram(&mut login, b"n,,n=,r=abc").unwrap();
            let nonce = first.split_once("r=").unwrap().1.split_once(',').unwrap().0;
            let proof = "A".repeat(43);
            let last = format!("c=biws,r={nonce},p={proof}=");
            let error = world.access.finish_scram(&login, last.as_bytes(), &Peer::local()).await.unwrap_err();
            assert!(matches!(error, AccessError::WrongCredentials { .. }), "{error:?}");
        }
        let error = world.access.begin_scram(name, &Peer::local()).await.unwrap_err();
        assert!(matches!(error, AccessError::TooManyAttempts { .. }), "{name}: {error:?}");
    }
    world.password("li", PASSWORD).await.expect_err("the password waits, too");
}
