//! Who is let in: deny by default, open only to this machine and only until a user or key exists.

use std::time::Duration;

use tarn_access::{AccessError, Credentials, Method, Peer, require};
use tarn_core::{Fault, FaultKind, Role};

use crate::world::{PASSWORD, World, admin, context, remote, secret, world};

fn all_kinds() -> [Credentials; 4] {
    [
        Credentials::None,
        Credentials::password("li", PASSWORD),
        Credentials::key("tarn_000000000000_0000"),
        Credentials::session("0000"),
    ]
}

#[tokio::test]
async fn without_users_only_this_machine_is_let_in() {
    let world = world().await;
    for credentials in all_kinds() {
        let identity = world.access.authenticate(&credentials, &Peer::local()).await.unwrap();
        assert_eq!((&*identity.principal.name, identity.principal.role), ("local", Role::Admin));
        assert_eq!((identity.tenant.as_str(), identity.method), ("main", Method::Open));
        for peer in [remote(), Peer::forwarded("127.0.0.1".parse().unwrap())] {
            let error = world.access.authenticate(&credentials, &peer).await.unwrap_err();
            assert!(matches!(error, AccessError::NotSetUp), "{error:?}");
            assert_eq!(error.kind(), FaultKind::Denied);
            assert!(error.hint().unwrap().contains("tarn access user add"));
        }
    }
    assert!(!world.access.is_authentication_required(&Peer::local()).await.unwrap());
    assert!(world.access.is_authentication_required(&remote()).await.unwrap());
}

#[tokio::test]
async fn once_a_user_exists_all_must_say_who_they_are() {
    let world = World::with_users().await;
    for peer in [Peer::local(), remote()] {
        let error = world.access.authenticate(&Credentials::None, &peer).await.unwrap_err();
        assert!(matches!(error, AccessError::NotAuthenticated) && error.is_unauthenticated(), "{error:?}");
        for credentials in &all_kinds()[2..] {
            let error = world.access.authenticate(credentials, &peer).await.unwrap_err();
            assert!(matches!(error, AccessError::WrongCredentials { .. }), "{error:?}");
        }
        assert!(world.access.is_authentication_required(&peer).await.unwrap());
        let identity = world.access.authenticate(&all_kinds()[1], &peer).await.unwrap();
        assert_eq!((&*identity.principal.name, identity.method), ("li", Method::Password));
    }
}

#[tokio::test]
async fn once_a_key_exists_all_must_say_who_they_are() {
    let world = world().await;
    let key = world.access.create_key(&admin(), "ci", Role::Admin, None).await.unwrap();
    assert!(world.access.authenticate(&Credentials::None, &Peer::local()).await.is_err());
    world.access.authenticate(&Credentials::key(&key.key), &remote()).await.unwrap();
    world.access.delete_key(&admin(), &key.id).await.unwrap();
    world.access.authenticate(&Credentials::None, &Peer::local()).await.unwrap();
}

#[tokio::test]
async fn wrong_passwords_and_unknown_users_look_alike() {
    let world = World::with_users().await;
    let wrong = world.password("li", "wrong").await.unwrap_err();
    let mut texts = vec![format!("{wrong} {:?} {:?}", wrong.kind(), wrong.hint())];
    for user in ["nobody", "", "li\0", &"x".repeat(10_000)] {
        let error = world.password(user, PASSWORD).await.unwrap_err();
        texts.push(format!("{error} {:?} {:?}", error.kind(), error.hint()));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(world.password("li", &"x".repeat(1 << 20)).await.is_err());
    assert!(world.password("LI", PASSWORD).await.is_err(), "names are exact");
}

#[tokio::test]
async fn failures_slow_down_the_next_try() {
    let world = World::with_users().await;
    for _ in 0..5 {
        let error = world.password("li", "wrong").await.unwrap_err();
        assert!(matches!(error, AccessError::WrongCredentials { .. }), "{error:?}");
        assert!(error.hint().is_some());
    }
    let error = world.password("li", PASSWORD).await.unwrap_err();
    assert!(matches!(error, AccessError::TooManyAttempts { retry_after_s: 1 }), "{error:?}");
    assert!(error.hint().is_some());
    assert_eq!(error.kind(), FaultKind::Exhausted);
    let elsewhere = world.access.authenticate(&Credentials::password("li", PASSWORD), &remote()).await;
    elsewhere.expect("another place is not held up, so that nobody can lock out a user");
    world.clock.advance(Duration::from_secs(2));
    world.access.log_in("wang", &secret("another password"), &Peer::local()).await.unwrap();
    assert!(matches!(world.password("li", "wrong").await, Err(AccessError::WrongCredentials { .. })));
    let error = world.password("li", "wrong again").await.unwrap_err();
    assert!(matches!(error, AccessError::TooManyAttempts { retry_after_s: 2 }), "{error:?}");
    world.clock.advance(Duration::from_secs(120));
    world.password("li", PASSWORD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tries_at_once_do_not_pass_the_limit() {
    let world = World::with_users().await;
    let tries = (0..40).map(|number| {
        let access = world.access.clone();
        tokio::spawn(async move {
            let credentials = Credentials::password("li", format!("wrong {number}"));
            access.authenticate(&credentials, &remote()).await.unwrap_err()
        })
    });
    let mut hashed = 0;
    for task in tries.collect::<Vec<_>>() {
        hashed += usize::from(matches!(task.await.unwrap(), AccessError::WrongCredentials { .. }));
    }
    assert!((5..=8).contains(&hashed), "{hashed} tries got an answer");
}

#[tokio::test]
async fn a_right_password_is_not_hashed_again_until_it_changes() {
    let world = World::with_users().await;
    world.password("li", PASSWORD).await.unwrap();
    // Held up here, a hashing check would fail; a remembered one is not asked.
    for _ in 0..6 {
        let _ = world.password("li", "wrong").await;
    }
    world.password("li", PASSWORD).await.unwrap();
    world.access.set_password(&admin(), "li", &secret("a new password")).await.unwrap();
    let error = world.password("li", PASSWORD).await.unwrap_err();
    assert!(matches!(error, AccessError::TooManyAttempts { .. }), "{error:?}");
    world.clock.advance(Duration::from_secs(120));
    assert!(matches!(world.password("li", PASSWORD).await, Err(AccessError::WrongCredentials { .. })));
    world.clock.advance(Duration::from_secs(120));
    world.password("li", "a new password").await.unwrap();
}

#[tokio::test]
async fn roles_include_the_ones_before_them() {
    for (held, needed, allowed) in [
        (Role::Viewer, Role::Viewer, true),
        (Role::Viewer, Role::Editor, false),
        (Role::Editor, Role::Viewer, true),
        (Role::Editor, Role::Admin, false),
        (Role::Admin, Role::Admin, true),
    ] {
        let result = require(&context("wang", held), needed);
        assert_eq!(result.is_ok(), allowed, "{held:?} {needed:?}");
        if let Err(error) = result {
            assert_eq!((error.kind(), error.is_unauthenticated()), (FaultKind::Denied, false));
            assert!(error.to_string().contains("`wang`"), "{error}");
        }
    }
}
