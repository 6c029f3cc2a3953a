//! `/v1/events/follow`: sampled packets as they come, a JSON object a line.

use super::server::Shared;
use super::types::{ErrorBody, Event};
use crate::daemon::{Calendar, Course, Governor, Seen};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;

/// Events put into one chunk of the answer.
const EVENTS_AT_ONCE: usize = 256;
/// Chunks that wait for a slow reader; behind them, events wait, and then are missed.
const CHUNKS_WAITING: usize = 4;

/// Sampled packets as they come, until the reader goes or the daemon ends.
#[utoipa::path(get, path = "/v1/events/follow", tag = "events", operation_id = "event_follow", responses(
    (status = 200, body = Event, content_type = "application/x-ndjson", description = "a line each"),
    (status = 503, body = ErrorBody, description = "stopping"),
))]
pub async fn follow(State(shared): State<Shared>) -> Response {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    let events = shared.governor.events();
    tokio::spawn(carry(shared.governor, events, sender));
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::new(Chunks(receiver))).into_response()
}

/// Carries events to a reader.
async fn carry(governor: Arc<Governor>, mut events: Receiver<Seen>, reader: mpsc::Sender<Bytes>) {
    let mut course = governor.course();
    let mut missed = 0;
    loop {
        let first = tokio::select! {
            event = events.recv() => event,
            () = reader.closed() => return,
            _ = course.wait_for(|course| *course != Course::Govern) => return,
        };
        let mut lines = Lines { governor: &governor, calendar: Calendar::now(), text: Vec::new() };
        let mut next = first.map_err(|error| match error {
            RecvError::Closed => TryRecvError::Closed,
            RecvError::Lagged(events) => TryRecvError::Lagged(events),
        });
        for taken in 1.. {
            match next {
                Ok(seen) => lines.add(&seen, std::mem::take(&mut missed)),
                Err(TryRecvError::Lagged(events)) => {
                    governor.add_missed_events(events);
                    missed += events;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Closed) => return,
            }
            if taken == EVENTS_AT_ONCE {
                break;
            }
            next = events.try_recv();
        }
        if !lines.text.is_empty() && reader.send(lines.text.into()).await.is_err() {
            return;
        }
    }
}

struct Lines<'a> {
    governor: &'a Governor,
    calendar: Calendar,
    text: Vec<u8>,
}

impl Lines<'_> {
    fn add(&mut self, seen: &Seen, missed: u64) {
        let event = self.governor.event(seen, missed, &self.calendar);
        match serde_json::to_writer(&mut self.text, &event) {
            Ok(()) => self.text.push(b'\n'),
            Err(error) => tracing::error!(%error, "an event could not be written down"),
        }
    }
}

/// A body out of chunks.
struct Chunks(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
