//! A daemon that answers from a script, and the binary that asks it.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// An answer of the scripted daemon.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

pub fn ok(body: &Value) -> Answer {
    Answer { status: 200, body: body.to_string() }
}

pub fn refusal(status: u16, error: &Value) -> Answer {
    Answer { status, body: json!({ "error": error }).to_string() }
}

/// What the scripted daemon was asked: `METHOD path?query` and the body.
pub type Asked = Arc<Mutex<Vec<(String, String)>>>;

#[derive(Clone)]
struct Script {
    answers: Arc<Vec<(&'static str, Answer)>>,
    asked: Asked,
}

/// A daemon that answers from a script, until it is dropped.
pub struct Daemon {
    pub folder: TempDir,
    asked: Asked,
    _runtime: tokio::runtime::Runtime,
}

impl Daemon {
    /// `answers`: the answer to each `METHOD path`.
    pub fn start(answers: Vec<(&'static str, Answer)>) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let asked = Asked::default();
        let script = Script { answers: Arc::new(answers), asked: asked.clone() };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            axum::serve(listener, Router::new().fallback(answer).with_state(script)).await.unwrap();
        });
        Daemon { folder, asked, _runtime: runtime }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub fn gateway(&self, arguments: &str) -> Output {
        gateway(&self.socket(), arguments, "")
    }

    pub fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(State(script): State<Script>, method: Method, uri: Uri, body: Bytes) -> Response {
    script.asked.lock().unwrap().push((format!("{method} {uri}"), String::from_utf8(body.to_vec()).unwrap()));
    let wanted = format!("{method} {}", uri.path());
    match script.answers.iter().find(|(request, _)| *request == wanted) {
        Some((_, answer)) => {
            (StatusCode::from_u16(answer.status).unwrap(), Body::from(answer.body.clone())).into_response()
        }
        None => (StatusCode::NOT_FOUND, "nothing is scripted").into_response(),
    }
}

/// Runs the binary; arguments are divided at blanks.
pub fn gateway(socket: &Path, arguments: &str, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("--socket")
        .arg(socket)
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
pub fn assert_output(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str(), text(&output.stderr).as_str()),
        (Some(code), stdout, stderr)
    );
}
