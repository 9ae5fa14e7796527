//! A small client of PostgreSQL's protocol 3: simple queries, COPY out and replication. One connection type serves
//! all three, hands out message bodies without copying them, and can be waited on without losing bytes.

mod fields;
mod login;
mod tls;

use std::time::Duration;

use bytes::{Buf, BytesMut};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub use fields::{Fields, Malformed};
pub use login::connect;
pub use tls::certificates;

use super::config::Server;

/// A value is at most 1 GB in PostgreSQL, and so is a row; a longer message is not one of PostgreSQL.
const MESSAGE_BYTES_MAX: usize = (1 << 30) + (1 << 20);
const READ_BYTES_MIN: usize = 256 << 10;
/// How long a connection attempt may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A bidirectional byte stream: TCP, a local socket, with or without TLS.
pub trait Transport: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Transport for T {}

/// What the server said about a failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServerError {
    /// Five letters of SQLSTATE.
    pub code: String,
    /// The primary message.
    pub message: String,
    /// More, if the server said more.
    pub detail: Option<String>,
    /// What the server advises.
    pub hint: Option<String>,
}

/// Errors of the protocol.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The network failed or the server closed the connection.
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    /// The server refused.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Encryption could not be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// The login cannot be done.
    #[error("{0}")]
    Login(String),
    /// The server's bytes do not follow the protocol.
    #[error("{0}")]
    Protocol(String),
}

impl From<Malformed> for WireError {
    fn from(error: Malformed) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// A row of a simple query: texts, `None` for NULL.
pub type TextRow = Vec<Option<String>>;

/// One connection.
pub struct Connection {
    transport: Box<dyn Transport>,
    inbox: BytesMut,
    outbox: BytesMut,
    /// `server_version_num / 10000`, such as 15.
    pub version: u32,
    /// The server's process for this connection.
    pub process: i32,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "connection of server process {}", self.process)
    }
}

/// A whole message in the inbox: its tag and its length with the tag.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Kind of the message.
    pub tag: u8,
    total: usize,
}

impl Connection {
    fn new(transport: Box<dyn Transport>) -> Self {
        Self {
            transport,
            inbox: BytesMut::with_capacity(READ_BYTES_MIN),
            outbox: BytesMut::new(),
            version: 0,
            process: 0,
            encrypted: false,
        }
    }

    /// The next whole message, if the inbox holds one. Call [`Connection::consume`] when done with it.
    pub fn peek(&self) -> Result<Option<Frame>, WireError> {
        if self.inbox.len() < 5 {
            return Ok(None);
        }
        let total = frame_length(&self.inbox)?;
        Ok((self.inbox.len() >= total).then_some(Frame { tag: self.inbox[0], total }))
    }

    /// The body of a message from [`Connection::peek`].
    pub fn body(&self, frame: Frame) -> &[u8] {
        &self.inbox[5..frame.total]
    }

    /// Drops a message from [`Connection::peek`].
    pub fn consume(&mut self, frame: Frame) {
        self.inbox.advance(frame.total);
    }

    /// Waits for more bytes. Dropping the future loses none. Errors: the server closed the connection.
    pub async fn fill(&mut self) -> Result<(), WireError> {
        let missing = if self.inbox.len() >= 5 {
            frame_length(&self.inbox)?.saturating_sub(self.inbox.len())
        } else {
            0
        };
        if self.inbox.capacity() - self.inbox.len() < missing.max(READ_BYTES_MIN / 4) {
            self.inbox.reserve(missing.max(READ_BYTES_MIN));
        }
        if self.transport.read_buf(&mut self.inbox).await? == 0 {
            let kind = std::io::ErrorKind::UnexpectedEof;
            return Err(WireError::Io(std::io::Error::new(kind, "the server closed the connection")));
        }
        Ok(())
    }

    /// The next message that is not a notice or a parameter; its body stays in the inbox.
    pub async fn next_frame(&mut self) -> Result<Frame, WireError> {
        loop {
            match self.peek()? {
                Some(frame) if matches!(frame.tag, b'N' | b'S' | b'A') => {
                    self.note_parameter(frame)?;
                    self.consume(frame);
                }
                Some(frame) => return Ok(frame),
                None => self.fill().await?,
            }
        }
    }

    fn note_parameter(&mut self, frame: Frame) -> Result<(), WireError> {
        if frame.tag != b'S' {
            return Ok(());
        }
        let mut fields = Fields::new(self.body(frame));
        if fields.text()? == "server_version" {
            // "15.13 (Debian 15.13-0+deb12u1)", "17beta1"
            let digits: String = fields.text()?.chars().take_while(char::is_ascii_digit).collect();
            self.version = digits.parse().unwrap_or(0);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), WireError> {
        let Self { transport, outbox, .. } = self;
        transport.write_all_buf(outbox).await?;
        transport.flush().await?;
        Ok(())
    }

    async fn send_query(&mut self, sql: &str) -> Result<(), WireError> {
        frontend::query(sql, &mut self.outbox)?;
        self.flush().await
    }

    /// Runs one or several statements and returns all their rows. Errors: the first that the server gave.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<TextRow>, WireError> {
        self.send_query(sql).await?;
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            let frame = self.next_frame().await?;
            match frame.tag {
                b'D' => rows.push(read_row(self.body(frame))?),
                b'E' => failure = Some(read_error(self.body(frame))?),
                b'Z' => {
                    self.consume(frame);
                    return failure.map_or(Ok(rows), |error: ServerError| Err(error.into()));
                }
                b'T' | b'C' | b'I' => {}
                tag => return Err(unexpected(tag)),
            }
            self.consume(frame);
        }
    }

    /// Runs a statement whose rows are not of interest.
    pub async fn run(&mut self, sql: &str) -> Result<(), WireError> {
        self.query(sql).await.map(drop)
    }

    /// Starts `COPY … TO STDOUT`; read the data with [`Connection::copy_frame`] until it gives `None`.
    pub async fn copy_out(&mut self, sql: &str) -> Result<(), WireError> {
        self.send_query(sql).await?;
        self.expect_start(b'H').await
    }

    /// The next piece of data of a COPY, or `None` at its end, when the connection is ready for the next statement.
    pub async fn copy_frame(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            let frame = self.next_frame().await?;
            match frame.tag {
                b'd' => return Ok(Some(frame)),
                b'c' | b'C' => self.consume(frame),
                b'E' => return Err(self.fail(frame).await),
                b'Z' => {
                    self.consume(frame);
                    return Ok(None);
                }
                tag => return Err(unexpected(tag)),
            }
        }
    }

    /// Starts `START_REPLICATION`; messages then come as tag `d`.
    pub async fn start_replication(&mut self, sql: &str) -> Result<(), WireError> {
        self.send_query(sql).await?;
        self.expect_start(b'W').await
    }

    async fn expect_start(&mut self, wanted: u8) -> Result<(), WireError> {
        let frame = self.next_frame().await?;
        match frame.tag {
            b'E' => Err(self.fail(frame).await),
            tag if tag == wanted => {
                self.consume(frame);
                Ok(())
            }
            tag => Err(unexpected(tag)),
        }
    }

    /// Takes an error message and reads on until the server is ready again, as far as it still answers.
    async fn fail(&mut self, frame: Frame) -> WireError {
        let error = read_error(self.body(frame));
        self.consume(frame);
        while let Ok(frame) = self.next_frame().await {
            self.consume(frame);
            if frame.tag == b'Z' {
                break;
            }
        }
        error.map_or_else(WireError::from, WireError::from)
    }

    /// Sends replication feedback: everything before `flushed` may be forgotten, everything before `written` was
    /// read. `now_us`: since 1970. `answer`: asks the server for a sign of life.
    pub async fn send_status(
        &mut self,
        written: u64,
        flushed: u64,
        now_us: i64,
        answer: bool,
    ) -> Result<(), WireError> {
        let mut status = Vec::with_capacity(34);
        status.push(b'r');
        for lsn in [written, flushed, flushed] {
            status.extend_from_slice(&lsn.to_be_bytes());
        }
        status.extend_from_slice(&(now_us - super::values::POSTGRES_EPOCH_US).to_be_bytes());
        status.push(u8::from(answer));
        frontend::CopyData::new(&status[..])?.write(&mut self.outbox);
        self.flush().await
    }

    /// Says goodbye, as far as the server still listens.
    pub async fn close(mut self) {
        frontend::terminate(&mut self.outbox);
        let _ = tokio::time::timeout(Duration::from_millis(500), self.flush()).await;
    }
}

fn frame_length(inbox: &[u8]) -> Result<usize, WireError> {
    let length = u32::from_be_bytes([inbox[1], inbox[2], inbox[3], inbox[4]]) as usize;
    if !(4..=MESSAGE_BYTES_MAX).contains(&length) {
        return Err(WireError::Protocol(format!("a message announces {length} bytes")));
    }
    Ok(length + 1)
}

fn unexpected(tag: u8) -> WireError {
    WireError::Protocol(format!("an unexpected message `{}`", char::from(tag).escape_default()))
}

fn read_row(body: &[u8]) -> Result<TextRow, WireError> {
    let mut fields = Fields::new(body);
    let count = fields.count()?;
    let mut row = Vec::with_capacity(count.min(1664));
    for _ in 0..count {
        let length = fields.i32()?;
        row.push(match usize::try_from(length) {
            Ok(length) => Some(String::from_utf8_lossy(fields.bytes(length)?).into_owned()),
            Err(_) => None,
        });
    }
    Ok(row)
}

/// Reads an `ErrorResponse`.
pub fn read_error(body: &[u8]) -> Result<ServerError, Malformed> {
    let mut fields = Fields::new(body);
    let mut error = ServerError { code: String::new(), message: String::new(), detail: None, hint: None };
    loop {
        match fields.u8()? {
            0 => return Ok(error),
            b'C' => error.code = fields.text()?.into_owned(),
            b'M' => error.message = fields.text()?.into_owned(),
            b'D' => error.detail = Some(fields.text()?.into_owned()),
            b'H' => error.hint = Some(fields.text()?.into_owned()),
            _ => drop(fields.text()?),
        }
    }
}

/// Quotes a name for SQL.
pub fn identifier(name: &str) -> String {
    postgres_protocol::escape::escape_identifier(name)
}

/// Quotes a text for SQL.
pub fn literal(text: &str) -> String {
    postgres_protocol::escape::escape_literal(text)
}

/// Opens a connection for catalogues, snapshots and heartbeats.
pub async fn connect_normal(server: &Server) -> Result<Connection, WireError> {
    connect(server, false).await
}

/// Opens a connection for replication commands and streaming.
pub async fn connect_replication(server: &Server) -> Result<Connection, WireError> {
    connect(server, true).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarn_testkit::{for_each_seed, random_bytes};

    #[test]
    fn an_error_of_the_server_is_read_with_its_advice() {
        let body = b"SFATAL\0C28P01\0Mno\0Hask\0\0";
        let error = read_error(body).expect("whole");
        assert_eq!((error.code.as_str(), error.message.as_str()), ("28P01", "no"));
        assert_eq!(error.hint.as_deref(), Some("ask"));
        assert!(read_error(b"SFATAL\0C28P01").is_err());
        assert!(read_error(b"").is_err());
    }

    #[test]
    fn a_message_that_cannot_be_one_is_refused() {
        assert!(frame_length(&[b'd', 0x7f, 0xff, 0xff, 0xff]).is_err());
        assert!(frame_length(&[b'd', 0, 0, 0, 3]).is_err());
        assert_eq!(frame_length(&[b'd', 0, 0, 0, 4]).expect("empty body"), 5);
    }

    #[test]
    fn no_bytes_make_the_reader_of_rows_panic() {
        for_each_seed(5_000, |random| {
            let body = random_bytes(random, 64);
            let _ = read_row(&body);
            let _ = read_error(&body);
        });
    }
}
