//! Logging in: any database name; nobody on a server of this machine without users; else user and password by
//! SCRAM-SHA-256, or an API key as the password of the user `key`, in clear text; over a network only within TLS.

use std::collections::HashMap;
use std::fmt::Debug;

use async_trait::async_trait;
use futures::{Sink, SinkExt};
use pgwire::api::auth::sasl::SCRAM_SHA_256_METHOD;
use pgwire::api::auth::{
    ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
};
use pgwire::api::{ClientInfo, METADATA_DATABASE, METADATA_USER, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::{Authentication, PasswordMessageFamily, Startup};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion};
use tarn_access::{AccessError, Credentials, Identity, Peer, ScramLogin};
use tarn_core::Fault;

use super::catalog::DATABASE;
use super::connection::Connection;
use super::error::fatal;
use super::settings;
use crate::http::envelope::new_trace;

/// What a client is told at the start.
struct Parameters;

impl ServerParameterProvider for Parameters {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        Some(settings::reported(client).into_iter().collect())
    }
}

#[async_trait]
impl StartupHandler for Connection {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => self.begin(client, &startup).await,
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                // The guard must not live in the arms.
                let login = self.login.lock().take();
                if let Some(login) = login {
                    return self.prove(client, login, message).await;
                }
                let password = message.into_password()?.password;
                let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
                let credentials = Credentials::password(user, password);
                let identity = self.identify(client, &credentials).await?;
                self.welcome(client, &identity).await
            }
            _ => Ok(()),
        }
    }
}

impl Connection {
    async fn begin<C>(&self, client: &mut C, startup: &Startup) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        protocol_negotiation(client, startup).await?;
        if self.is_full() {
            let hint =
                "close idle connections, or raise `server.pgwire.connections_max` in the configuration";
            return Err(fatal("53300", "sorry, too many clients already", Some(hint.to_string())));
        }
        for (name, value) in &startup.parameters {
            match name.as_str() {
                METADATA_USER | METADATA_DATABASE => {
                    client.metadata_mut().insert(name.clone(), value.clone());
                }
                "replication" if !matches!(value.as_str(), "false" | "off" | "no" | "0") => {
                    return Err(fatal("0A000", "replication is not possible here", None));
                }
                "options" => settings::start_options(client, value),
                _ => settings::start(client, name, value),
            }
        }
        client.metadata_mut().entry(METADATA_DATABASE.to_string()).or_insert_with(|| DATABASE.to_string());
        if client.metadata().get(METADATA_USER).is_none_or(String::is_empty) {
            return Err(fatal("28000", "no user name was given", None));
        }
        let peer = peer_of(client);
        let required = self.app().state.access.is_authentication_required(&peer).await;
        if !required.map_err(|error| refused(&error, ""))? {
            let identity = self.identify(client, &Credentials::None).await?;
            return self.welcome(client, &identity).await;
        }
        if !client.is_secure() && !peer.is_loopback() {
            let hint = match self.app().is_secure() {
                true => "connect with sslmode=require",
                false => "set `server.tls` in the configuration, then connect with sslmode=require",
            };
            let message = "a password may not be sent unencrypted over the network";
            return Err(fatal("28000", message, Some(hint.to_string())));
        }
        let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
        let login = self.app().state.access.begin_scram(&user, &peer).await;
        let login = login.map_err(|error| refused(&error, &user))?;
        let method = match login {
            Some(_) => Authentication::SASL(vec![SCRAM_SHA_256_METHOD.to_string()]),
            None => Authentication::CleartextPassword,
        };
        *self.login.lock() = login;
        client.set_state(PgWireConnectionState::AuthenticationInProgress);
        client.send(PgWireBackendMessage::Authentication(method)).await?;
        Ok(())
    }

    /// Takes the next message of a login by SCRAM.
    async fn prove<C>(
        &self,
        client: &mut C,
        mut login: ScramLogin,
        message: PasswordMessageFamily,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
        let access = &self.app().state.access;
        if login.is_answered() {
            let message = message.into_sasl_response()?;
            let proven = access.finish_scram(&login, &message.data, &peer_of(client)).await;
            let (identity, proof) = proven.map_err(|error| refused(&error, &user))?;
            let proof = Authentication::SASLFinal(proof.into());
            client.feed(PgWireBackendMessage::Authentication(proof)).await?;
            return self.welcome(client, &identity).await;
        }
        let message = message.into_sasl_initial_response()?;
        if message.auth_method != SCRAM_SHA_256_METHOD {
            let method = message.auth_method;
            return Err(fatal("28000", format!("the authentication method {method} was not offered"), None));
        }
        let answer = access.answer_scram(&mut login, message.data.as_deref().unwrap_or_default());
        let answer = answer.map_err(|error| refused(&error, &user))?;
        *self.login.lock() = Some(login);
        let answer = Authentication::SASLContinue(answer.into());
        client.send(PgWireBackendMessage::Authentication(answer)).await?;
        Ok(())
    }

    async fn identify<C: ClientInfo>(&self, client: &C, credentials: &Credentials) -> PgWireResult<Identity> {
        let user = client.metadata().get(METADATA_USER).map_or("", String::as_str);
        let access = &self.app().state.access;
        access.authenticate(credentials, &peer_of(client)).await.map_err(|error| refused(&error, user))
    }

    async fn welcome<C>(&self, client: &mut C, identity: &Identity) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let ctx = identity.context(new_trace(self.app()));
        let is_long_key = client.protocol_version() == ProtocolVersion::PROTOCOL3_2;
        let (pid, key) = self.open(&ctx, is_long_key);
        client.set_pid_and_secret_key(pid, key);
        let user = ctx.principal.name.to_string();
        client.metadata_mut().insert("session_authorization".to_string(), user);
        finish_authentication(client, &Parameters).await
    }
}

fn peer_of<C: ClientInfo + ?Sized>(client: &C) -> Peer {
    Peer::direct(client.socket_addr().ip())
}

fn refused(error: &AccessError, user: &str) -> PgWireError {
    match error {
        AccessError::WrongCredentials { .. } => {
            let hint = error.hint().map(|hint| format!("{hint}; an API key goes with the user name `key`"));
            fatal("28P01", format!("password authentication failed for user \"{user}\""), hint)
        }
        AccessError::Invalid { .. } => fatal("08P01", error.to_string(), None),
        AccessError::TooManyAttempts { .. } => fatal("28000", error.to_string(), error.hint()),
        other if other.is_unauthenticated() => fatal("28000", other.to_string(), other.hint()),
        other => fatal("58000", tarn_core::chain_text(other), other.hint()),
    }
}
