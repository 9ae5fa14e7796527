//! Clients of the PostgreSQL port.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::error::{DbError, ErrorPosition};
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use crate::world::World;

impl World {
    /// Connects as a user. The connection lives as long as the client.
    pub async fn pg(&self, user: &str, password: &str) -> Result<Client, Error> {
        self.pg_with(user, password, |_| {}).await
    }

    pub async fn pg_with(
        &self,
        user: &str,
        password: &str,
        change: impl FnOnce(&mut tokio_postgres::Config),
    ) -> Result<Client, Error> {
        self.pg_line(user, password, change).await.map(|(client, _)| client)
    }

    /// A client and the task that moves its bytes: without it the line is dead.
    pub async fn pg_line(
        &self,
        user: &str,
        password: &str,
        change: impl FnOnce(&mut tokio_postgres::Config),
    ) -> Result<(Client, JoinHandle<Result<(), Error>>), Error> {
        let address = self.server.pgwire_addr.unwrap();
        let mut config = tokio_postgres::Config::new();
        config.host(address.ip().to_string()).port(address.port()).user(user).dbname("tarn");
        if !password.is_empty() {
            config.password(password);
        }
        change(&mut config);
        let (client, connection) = config.connect(NoTls).await?;
        Ok((client, self.env.spawner.spawn(connection)))
    }

    /// Asks to stop what runs on a connection, and waits until the server has done so: then it closes the line.
    pub async fn cancel(&self, client: &Client) {
        let mut line = TcpStream::connect(self.server.pgwire_addr.unwrap()).await.unwrap();
        client.cancel_token().cancel_query_raw(&mut line, NoTls).await.unwrap();
        assert_eq!(line.read_to_end(&mut Vec::new()).await.unwrap(), 0, "a request to cancel has no answer");
    }

    /// A client of an open server.
    pub async fn psql(&self) -> Client {
        self.pg("tarn", "").await.unwrap()
    }
}

/// What the server said.
pub fn told<T>(result: Result<T, Error>) -> DbError {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => match error.as_db_error() {
            Some(told) => told.clone(),
            None => panic!("not an error of the server: {error:?}"),
        },
    }
}

/// SQLSTATE of what the server said.
pub fn code<T>(result: Result<T, Error>) -> String {
    told(result).code().code().to_string()
}

/// The character that an error points at, from 1.
pub fn position(error: &DbError) -> Option<u32> {
    match error.position()? {
        ErrorPosition::Original(position) => Some(*position),
        ErrorPosition::Internal { .. } => panic!("an error in a query that nobody wrote"),
    }
}

/// The answers to a text of several statements: rows as `a | b`, command tags as `= rows`.
pub async fn run(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    shown(&messages)
}

pub fn shown(messages: &[SimpleQueryMessage]) -> Vec<String> {
    let line = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let values: Vec<&str> = (0..row.len()).map(|index| row.get(index).unwrap_or("∅")).collect();
            Some(values.join(" | "))
        }
        SimpleQueryMessage::CommandComplete(rows) => Some(format!("= {rows}")),
        _ => None,
    };
    messages.iter().filter_map(line).collect()
}

/// Rows alone.
pub async fn rows(client: &Client, sql: &str) -> Vec<String> {
    run(client, sql).await.into_iter().filter(|line| !line.starts_with("= ")).collect()
}
