//! `tarn access`: users, API keys, secrets.

use std::io::{IsTerminal, Read};

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, part};
use super::output::{items, print_items, print_json, print_line, text};
use super::{Failure, Global};

/// Users, API keys and secrets.
#[derive(Debug, Subcommand)]
pub enum Access {
    /// Users with passwords
    #[command(subcommand)]
    User(User),
    /// API keys for programs
    #[command(subcommand)]
    Key(Key),
    /// Passwords and tokens that resources refer to by name
    #[command(subcommand)]
    Secret(Secret),
    /// Who did what, newest first
    Audit {
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

/// Users.
#[derive(Debug, Subcommand)]
pub enum User {
    /// All users
    List,
    /// Add a user; the password is read from standard input. From then on everyone must say who they are
    Add {
        /// The name.
        name: String,
        /// What they may do.
        #[arg(long, value_enum, default_value_t = RoleArg::Viewer)]
        role: RoleArg,
    },
    /// Remove a user
    Remove {
        /// The name.
        name: String,
    },
}

/// API keys.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// All keys
    List,
    /// Make a key; it is printed once
    Create {
        /// What it is for.
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value_t = RoleArg::Viewer)]
        role: RoleArg,
        /// How long it works, such as `90d`; for ever by default.
        #[arg(long, value_name = "TIME")]
        expires_in: Option<String>,
    },
    /// Make a key useless
    Revoke {
        /// The key's identifier, as `list` shows it.
        id: String,
    },
}

/// Secrets.
#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Names of all secrets, never their values
    List,
    /// Set a secret; the value is read from standard input
    Set {
        /// The name, as resources refer to it.
        name: String,
    },
    /// Remove a secret
    Remove {
        /// The name.
        name: String,
    },
}

/// Roles; each includes the ones before it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleArg {
    /// Read tables, topics and states.
    Viewer,
    /// Also write data and edit resources.
    Editor,
    /// Also manage users, keys and secrets.
    Admin,
}

impl RoleArg {
    fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

/// Reads a value that must not stand on the command line, where other users of the machine could see it.
fn read_hidden(what: &str) -> Result<String, Failure> {
    let mut value = String::new();
    if std::io::stdin().is_terminal() {
        value = rpassword::prompt_password(format!("{what}: "))
            .map_err(|error| Failure::internal(format!("could not read from the terminal: {error}")))?;
    } else {
        std::io::stdin()
            .take(1 << 20)
            .read_to_string(&mut value)
            .map_err(|error| Failure::internal(format!("could not read standard input: {error}")))?;
    }
    let value = value.trim_end_matches(['\r', '\n']).to_string();
    if value.is_empty() {
        return Err(Failure::invalid(
            format!("the {what} is empty"),
            format!("type the {what}, or pipe it in"),
        ));
    }
    Ok(value)
}

fn list(global: &Global, answer: &Value, columns: &[(&str, &str)], empty: &str) {
    if global.json {
        print_json(answer);
    } else {
        print_items(&items(answer), columns, empty);
    }
}

/// `tarn access`.
pub async fn run(global: &Global, command: Access) -> Result<(), Failure> {
    let client = Client::new(global)?;
    match command {
        Access::User(command) => user(global, &client, command).await,
        Access::Key(command) => key(global, &client, command).await,
        Access::Secret(command) => secret(global, &client, command).await,
        Access::Audit { limit } => {
            let answer = client.get(&format!("/api/v1/access/audit?limit={limit}")).await?;
            let columns = [
                ("AT", "at"),
                ("WHO", "principal"),
                ("ACTION", "action"),
                ("TARGET", "target"),
                ("OUTCOME", "outcome"),
            ];
            list(global, &answer, &columns, "nothing happened yet");
            Ok(())
        }
    }
}

async fn user(global: &Global, client: &Client, command: User) -> Result<(), Failure> {
    match command {
        User::List => {
            let answer = client.get("/api/v1/access/users").await?;
            list(
                global,
                &answer,
                &[("NAME", "name"), ("ROLE", "role"), ("SINCE", "created_at")],
                "no users: open on loopback",
            );
        }
        User::Add { name, role } => {
            let password = read_hidden("password")?;
            let body = json!({ "name": name, "role": role.name(), "password": password });
            client.post("/api/v1/access/users", &body).await?;
            print_line(format_args!("user `{name}` may log in as {}", role.name()));
        }
        User::Remove { name } => drop(client.delete(&format!("/api/v1/access/users/{}", part(&name))).await?),
    }
    Ok(())
}

async fn key(global: &Global, client: &Client, command: Key) -> Result<(), Failure> {
    match command {
        Key::List => {
            let answer = client.get("/api/v1/access/keys").await?;
            let columns = [
                ("ID", "id"),
                ("NAME", "name"),
                ("ROLE", "role"),
                ("EXPIRES", "expires_at"),
                ("LAST USED", "last_used_at"),
            ];
            list(global, &answer, &columns, "no keys");
        }
        Key::Create { name, role, expires_in } => {
            let body = json!({ "name": name, "role": role.name(), "expires_in": expires_in });
            let answer = client.post("/api/v1/access/keys", &body).await?;
            if global.json {
                print_json(&answer);
            } else {
                print_line(format_args!("{}\nkeep it: it is not shown again", text(&answer["key"])));
            }
        }
        Key::Revoke { id } => drop(client.delete(&format!("/api/v1/access/keys/{}", part(&id))).await?),
    }
    Ok(())
}

async fn secret(global: &Global, client: &Client, command: Secret) -> Result<(), Failure> {
    match command {
        Secret::List => {
            let answer = client.get("/api/v1/access/secrets").await?;
            list(
                global,
                &answer,
                &[("NAME", "name"), ("CHANGED", "updated_at"), ("USED BY", "used_by")],
                "no secrets",
            );
        }
        Secret::Set { name } => {
            let value = read_hidden("value")?;
            client
                .put(&format!("/api/v1/access/secrets/{}", part(&name)), &json!({ "value": value }))
                .await?;
            print_line(format_args!("secret `{name}` is set; resources refer to it as {{ secret: {name} }}"));
        }
        Secret::Remove { name } => {
            drop(client.delete(&format!("/api/v1/access/secrets/{}", part(&name))).await?)
        }
    }
    Ok(())
}
