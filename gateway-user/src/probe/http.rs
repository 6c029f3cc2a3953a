//! Asks for the status of an HTTP/1.1 answer (RFC 9112).

use super::ask::{Patience, connect};
use super::{Failure, Stage};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::pin::pin;
use tokio::net::TcpStream;

/// Longest status line and header fields together, bytes. hyper takes no fewer than 8,192.
const HEAD_LEN_MAX: usize = 16_384;
/// Most header fields.
const FIELDS_MAX: usize = 100;
const USER_AGENT: &str = concat!("gateway/", env!("CARGO_PKG_VERSION"));

/// The question.
pub(super) fn request(
    address: SocketAddr,
    path: &str,
    host: Option<&str>,
) -> Result<Request<Empty<Bytes>>, Failure> {
    let host = host.map_or_else(|| address.to_string(), str::to_owned);
    Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| Failure::Unaskable { reason: error.to_string() })
}

/// Ends well with an expected status. The body is not read.
pub(super) async fn ask(
    address: SocketAddr,
    request: Request<Empty<Bytes>>,
    expected: &[RangeInclusive<u16>],
    patience: &Patience,
) -> Result<(), Failure> {
    let stream = connect(address, patience).await?;
    let answer =
        patience.with(Stage::Answer, exchange(stream, request)).await?.map_err(|error| failure(&error))?;
    let status = answer.status().as_u16();
    if expected.iter().any(|range| range.contains(&status)) {
        return Ok(());
    }
    Err(Failure::Status { status })
}

async fn exchange(stream: TcpStream, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_LEN_MAX)
        .max_headers(FIELDS_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    let mut answer = pin!(sender.send_request(request));
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // Nothing moves unless the connection is driven; where it ends well the answer is there.
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    }
}

fn failure(error: &hyper::Error) -> Failure {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match source {
        Some(source) => Failure::of_io(source, Stage::Answer),
        None if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => {
            Failure::Closed { stage: Stage::Answer }
        }
        None => Failure::Malformed { reason: error.to_string() },
    }
}
