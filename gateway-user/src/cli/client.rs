//! HTTP with JSON over the daemon's Unix socket.

use super::target::Target;
use crate::api::types::{ErrorBody, ErrorInfo};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// For a question.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// For a change: compiling a very large policy takes its time.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a request had no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("the daemon cannot be reached at {}: {}", socket.display(), unreachable_because(source))]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No answer in time.
    #[error("the daemon at {} did not answer within {} s", socket.display(), after.as_secs())]
    Timeout {
        /// The socket.
        socket: PathBuf,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to the daemon at {} broke: {source}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: hyper::Error,
    },
    /// What answers is not this daemon, or is of another version.
    #[error("the daemon at {} answered what this version does not understand: {what}", socket.display())]
    NotUnderstood {
        /// The socket.
        socket: PathBuf,
        /// What.
        what: String,
    },
    /// It said no.
    #[error("{}", refusal(.0))]
    Refused(Box<ErrorInfo>),
}

/// What an engineer should know about a failed connection, with the remedy.
fn unreachable_because(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket\n\
            help: start the daemon with `gateway run`, or name its socket with --socket"
            .to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody listens on it: the daemon ended\n\
            help: packets flow on by the last policy; start the daemon again with `gateway run`"
            .to_owned(),
        io::ErrorKind::PermissionDenied => "no permission\n\
            help: run it as root, or to read only, as a member of the socket's group"
            .to_owned(),
        _ => error.to_string(),
    }
}

/// A refusal as text: what is wrong, the diagnostics with their source lines, and the remedy.
fn refusal(error: &ErrorInfo) -> String {
    let mut text = error.message.clone();
    if !error.diagnostics.is_empty() && error.diagnostics.iter().all(|found| found.file == REQUEST) {
        for found in &error.diagnostics {
            text = format!("{text}\n  {}", found.message);
            if let Some(help) = &found.help {
                text = format!("{text}\n    help: {help}");
            }
        }
    } else if let Some(rendered) = error.rendered.as_deref().filter(|rendered| !rendered.is_empty()) {
        text = format!("{text}\n{}", rendered.trim_end());
    }
    if let Some(help) = &error.help {
        text = format!("{text}\nhelp: {help}");
    }
    text
}

/// The file that diagnostics name where the body of a request is wrong: made of flags here, it is
/// nothing that anybody wrote, and its source lines would only puzzle.
const REQUEST: &str = "request";

/// The daemon behind a socket. Each request takes a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The daemon that listens on this socket.
    #[must_use]
    pub fn new(socket: PathBuf) -> Client {
        Client { socket }
    }

    /// Asks.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, target: &Target) -> Result<T, ClientError> {
        self.exchange(Method::GET, target, None, READ_TIMEOUT).await
    }

    /// Sends a JSON body.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &Target,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.not_understood(&error))?;
        self.exchange(method, target, Some(("application/json", body.into())), CHANGE_TIMEOUT).await
    }

    /// Sends a policy document.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn send_yaml<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &Target,
        text: String,
    ) -> Result<T, ClientError> {
        self.exchange(method, target, Some(("text/yaml", text.into())), CHANGE_TIMEOUT).await
    }

    /// Sends nothing but the request.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call<T: DeserializeOwned>(&self, method: Method, target: &Target) -> Result<T, ClientError> {
        self.exchange(method, target, None, CHANGE_TIMEOUT).await
    }

    /// Opens an answer without end, a JSON value a line.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn follow(&self, target: &Target) -> Result<Lines, ClientError> {
        let response = self.within(READ_TIMEOUT, self.request(Method::GET, target, None)).await?;
        if response.status().is_success() {
            return Ok(Lines { socket: self.socket.clone(), body: response.into_body(), buffer: Vec::new() });
        }
        Err(self.within(READ_TIMEOUT, self.read_error(response)).await?)
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &Target,
        body: Option<(&'static str, Bytes)>,
        limit: Duration,
    ) -> Result<T, ClientError> {
        self.within(limit, async {
            let response = self.request(method, target, body).await?;
            if !response.status().is_success() {
                return Err(self.read_error(response).await?);
            }
            let body = self.read(response).await?;
            serde_json::from_slice(&body).map_err(|error| self.not_understood(&error))
        })
        .await
    }

    async fn request(
        &self,
        method: Method,
        target: &Target,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::Connect { socket: self.socket.clone(), source })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|source| self.broken(source))?;
        // Its outcome reaches the caller through the response; the task ends with the connection.
        tokio::spawn(connection);
        let mut request =
            Request::builder().method(method).uri(target.as_str()).header(header::HOST, "gateway");
        let bytes = match body {
            Some((content_type, bytes)) => {
                request = request.header(header::CONTENT_TYPE, content_type);
                bytes
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(bytes)).map_err(|error| self.not_understood(&error))?;
        sender.send_request(request).await.map_err(|source| self.broken(source))
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = response.into_body().collect().await.map_err(|source| self.broken(source))?;
        Ok(body.to_bytes())
    }

    /// The error in an answer that is not 2xx.
    async fn read_error(&self, response: Response<Incoming>) -> Result<ClientError, ClientError> {
        let status = response.status();
        let body = self.read(response).await?;
        Ok(match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => ClientError::Refused(Box::new(body.error)),
            Err(_) => self.not_understood(&plain_status(status)),
        })
    }

    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(ClientError::Timeout { socket: self.socket.clone(), after: limit }))
    }

    fn broken(&self, source: hyper::Error) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), source }
    }

    fn not_understood(&self, what: &impl ToString) -> ClientError {
        ClientError::NotUnderstood { socket: self.socket.clone(), what: what.to_string() }
    }
}

/// An answer that is an error, but not one of this API's.
fn plain_status(status: StatusCode) -> String {
    format!("HTTP status {status}")
}

/// The lines of an answer without end.
pub struct Lines {
    socket: PathBuf,
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line's value; nothing when the daemon ended the answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(|error| ClientError::NotUnderstood {
                    socket: self.socket.clone(),
                    what: error.to_string(),
                });
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(source)) => {
                    return Err(ClientError::Broken { socket: self.socket.clone(), source });
                }
                None => return Ok(None),
            }
        }
    }
}
