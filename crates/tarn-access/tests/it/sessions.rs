//! Sessions: opaque, sliding, ending with the user or the password.

use std::time::Duration;

use tarn_access::{AccessError, Credentials, Method, NewSession, Peer};
use tarn_core::Role;

use crate::world::{PASSWORD, World, admin, remote, secret};

const HOUR: Duration = Duration::from_secs(3_600);

async fn log_in(world: &World) -> NewSession {
    world.access.log_in("wang", &secret("another password"), &remote()).await.unwrap()
}

async fn is_valid(world: &World, session: &NewSession) -> bool {
    let credentials = Credentials::Session(session.token.clone());
    match world.access.authenticate(&credentials, &Peer::local()).await {
        Ok(identity) => {
            assert_eq!((&*identity.principal.name, identity.method), ("wang", Method::Session));
            true
        }
        Err(error) => {
            assert!(matches!(error, AccessError::WrongCredentials { what: "session" }), "{error:?}");
            false
        }
    }
}

#[tokio::test]
async fn a_session_slides_while_it_is_used_and_ends_in_the_end() {
    let world = World::with_users().await;
    let session = log_in(&world).await;
    assert_eq!(session.identity.principal.role, Role::Viewer);
    assert_eq!(session.token.expose().len(), 64);
    assert_eq!(session.expires_at, "2023-11-15T10:13:20.000Z");
    world.clock.advance(HOUR * 13);
    assert!(!is_valid(&world, &session).await, "idle for too long");
    let session = log_in(&world).await;
    for _ in 0..(30 * 24 / 10 - 1) {
        world.clock.advance(HOUR * 10);
        assert!(is_valid(&world, &session).await);
    }
    world.clock.advance(HOUR * 10);
    assert!(!is_valid(&world, &session).await, "nothing lasts for more than 30 days");
}

#[tokio::test]
async fn log_out_password_and_user_end_a_session() {
    let world = World::with_users().await;
    let (one, two) = (log_in(&world).await, log_in(&world).await);
    assert_ne!(one.token.expose(), two.token.expose());
    world.access.log_out(&one.token).await.unwrap();
    world.access.log_out(&one.token).await.unwrap();
    assert!(!is_valid(&world, &one).await && is_valid(&world, &two).await);
    world.access.set_role(&admin(), "wang", Role::Editor).await.unwrap();
    let identity =
        world.access.authenticate(&Credentials::Session(two.token.clone()), &remote()).await.unwrap();
    assert_eq!(identity.principal.role, Role::Editor, "a new role counts at once");
    world.access.set_password(&admin(), "wang", &secret("another password")).await.unwrap();
    assert!(!is_valid(&world, &two).await, "a new password ends all sessions, even if it is the old one");
    let three = log_in(&world).await;
    world.access.delete_user(&admin(), "wang").await.unwrap();
    assert!(!is_valid(&world, &three).await);
    world.access.create_user(&admin(), "wang", Role::Admin, &secret("another password")).await.unwrap();
    assert!(!is_valid(&world, &three).await, "a new user of that name does not inherit a session");
}

#[tokio::test]
async fn wrong_passwords_open_nothing_and_tokens_are_not_stored() {
    let world = World::with_users().await;
    let error = world.access.log_in("wang", &secret(PASSWORD), &remote()).await.unwrap_err();
    assert!(matches!(error, AccessError::WrongCredentials { .. }));
    let session = log_in(&world).await;
    assert!(!format!("{session:?}").contains(session.token.expose()));
    world.store.close().await;
    let bytes = std::fs::read(world.folder.path().join("meta.db")).unwrap();
    let token = session.token.expose().as_bytes();
    assert!(!bytes.windows(token.len()).any(|window| window == token));
}

#[tokio::test]
async fn the_number_of_sessions_is_bounded() {
    let world = World::with_users().await;
    let first = log_in(&world).await;
    let mut last = None;
    for _ in 0..64 {
        world.clock.advance(Duration::from_secs(1));
        last = Some(log_in(&world).await);
    }
    assert!(!is_valid(&world, &first).await, "the oldest went");
    assert!(is_valid(&world, &last.unwrap()).await);
    world.clock.advance(HOUR * 13);
    log_in(&world).await;
    let mut ctx = admin();
    ctx.tenant = tarn_core::TenantId::new("*access");
    assert_eq!(
        world.store.count_documents(&ctx, "access.sessions").await.unwrap(),
        1,
        "ended ones are removed"
    );
}
