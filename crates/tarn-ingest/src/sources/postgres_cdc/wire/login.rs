//! Opens a connection: TCP or local socket, TLS, authentication, session settings.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::super::config::{Server, TlsMode};
use super::{CONNECT_TIMEOUT, Connection, Fields, Transport, WireError, read_error, tls, unexpected};

/// Session settings that fix how values are written, so that a value looks the same in a snapshot and in the stream.
const SESSION: [(&str, &str); 11] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "iso_8601"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("search_path", ""),
    ("statement_timeout", "0"),
    ("lock_timeout", "30s"),
    ("idle_in_transaction_session_timeout", "0"),
];

/// Connects and logs in. `replication`: for replication commands, on the same database.
/// Errors: `Io` when nobody answers, `Server` with the server's refusal.
pub async fn connect(server: &Server, replication: bool) -> Result<Connection, WireError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, attempt(server, replication)).await {
        Ok(result) => result,
        Err(_) => {
            let text = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
            Err(WireError::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text)))
        }
    }
}

async fn attempt(server: &Server, replication: bool) -> Result<Connection, WireError> {
    let (transport, encrypted) = open(server).await?;
    let mut connection = Connection::new(transport);
    connection.encrypted = encrypted;
    let mut parameters = vec![
        ("user", server.user.as_str()),
        ("database", server.database.as_str()),
        ("application_name", server.application.as_str()),
    ];
    parameters.extend(SESSION);
    if replication {
        parameters.push(("replication", "database"));
    }
    frontend::startup_message(parameters, &mut connection.outbox)?;
    connection.flush().await?;
    authenticate(&mut connection, server).await?;
    loop {
        let frame = connection.next_frame().await?;
        match frame.tag {
            b'K' => connection.process = Fields::new(connection.body(frame)).i32()?,
            b'E' => return Err(read_error(connection.body(frame))?.into()),
            b'Z' => {
                connection.consume(frame);
                return Ok(connection);
            }
            tag => return Err(unexpected(tag)),
        }
        connection.consume(frame);
    }
}

async fn open(server: &Server) -> Result<(Box<dyn Transport>, bool), WireError> {
    if server.host.starts_with('/') {
        let path = format!("{}/.s.PGSQL.{}", server.host, server.port);
        return Ok((Box::new(UnixStream::connect(path).await?), false));
    }
    let mut stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
    stream.set_nodelay(true)?;
    if server.tls == TlsMode::Disable {
        return Ok((Box::new(stream), false));
    }
    let mut request = bytes::BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    match stream.read_u8().await? {
        b'S' => Ok((tls::wrap(server, stream).await?, true)),
        b'N' if server.tls == TlsMode::Prefer => Ok((Box::new(stream), false)),
        b'N' => Err(WireError::Tls("the server does not offer encryption (`ssl = off` there)".to_string())),
        _ => Err(WireError::Protocol(
            "the answer to the request for encryption is not one of PostgreSQL".into(),
        )),
    }
}

async fn authenticate(connection: &mut Connection, server: &Server) -> Result<(), WireError> {
    let mut scram: Option<ScramSha256> = None;
    loop {
        let frame = connection.next_frame().await?;
        if frame.tag == b'E' {
            return Err(read_error(connection.body(frame))?.into());
        }
        if frame.tag != b'R' {
            return Err(unexpected(frame.tag));
        }
        let mut fields = Fields::new(connection.body(frame));
        let mut answer = bytes::BytesMut::new();
        match fields.i32()? {
            0 => {
                connection.consume(frame);
                return Ok(());
            }
            3 => frontend::password_message(password(server)?, &mut answer)?,
            5 => {
                let salt = fields.bytes(4)?;
                let salt = [salt[0], salt[1], salt[2], salt[3]];
                let hash = md5_hash(server.user.as_bytes(), password(server)?, salt);
                frontend::password_message(hash.as_bytes(), &mut answer)?;
            }
            10 => {
                let exchange = start_scram(fields, server)?;
                frontend::sasl_initial_response(SCRAM_SHA_256, exchange.message(), &mut answer)?;
                scram = Some(exchange);
            }
            11 => {
                let exchange = scram.as_mut().ok_or_else(|| out_of_order("SCRAM"))?;
                exchange.update(fields.rest()).map_err(|error| WireError::Login(error.to_string()))?;
                frontend::sasl_response(exchange.message(), &mut answer)?;
            }
            12 => {
                let exchange = scram.as_mut().ok_or_else(|| out_of_order("SCRAM"))?;
                exchange.finish(fields.rest()).map_err(|error| WireError::Login(error.to_string()))?;
            }
            method => {
                return Err(WireError::Login(format!(
                    "the server asks for authentication method {method}, which is not supported; \
                     let pg_hba.conf ask for scram-sha-256"
                )));
            }
        }
        connection.consume(frame);
        connection.outbox.extend_from_slice(&answer);
        connection.flush().await?;
    }
}

fn out_of_order(what: &str) -> WireError {
    WireError::Protocol(format!("a message of {what} out of order"))
}

fn password(server: &Server) -> Result<&[u8], WireError> {
    match &server.password {
        Some(password) if !password.is_empty() => Ok(password.expose().as_bytes()),
        _ => Err(WireError::Login("the server asks for a password, and none is configured".to_string())),
    }
}

fn start_scram(mut fields: Fields<'_>, server: &Server) -> Result<ScramSha256, WireError> {
    let mut offered = Vec::new();
    loop {
        let mechanism = fields.text()?;
        if mechanism.is_empty() {
            break;
        }
        offered.push(mechanism.into_owned());
    }
    if !offered.iter().any(|mechanism| mechanism == SCRAM_SHA_256) {
        return Err(WireError::Login(format!("the server offers only {}", offered.join(", "))));
    }
    Ok(ScramSha256::new(password(server)?, ChannelBinding::unsupported()))
}
