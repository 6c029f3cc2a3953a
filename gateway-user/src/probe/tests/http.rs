use super::super::Stage;
use super::*;
use std::ops::RangeInclusive;
use tokio::io::AsyncWriteExt;

/// What is asked of a target.
fn http(path: &str, host: Option<&str>, status: RangeInclusive<u16>) -> CheckKind {
    CheckKind::Http { port: None, path: path.into(), host: host.map(str::to_owned), status: vec![status] }
}

fn plain() -> CheckKind {
    http("/", None, CheckKind::STATUS)
}

/// A server that gives this answer to each request, and keeps the connection; and the requests.
async fn answering(on: IpAddr, answer: &'static [u8]) -> (SocketAddr, mpsc::Receiver<String>) {
    let (requests, asked) = mpsc::channel(16);
    let address = serve(on, move |mut stream| {
        let requests = requests.clone();
        async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let _ = requests.send(String::from_utf8(request).unwrap()).await;
            let _ = stream.write_all(answer).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    (address, asked)
}

#[tokio::test]
async fn an_expected_status_is_enough_and_the_body_is_not_waited_for() {
    for on in [V4, V6] {
        let (address, mut asked) = answering(on, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
        ask(address, check(http("/live?deep=1", None, CheckKind::STATUS))).await.unwrap();
        let request = asked.recv().await.unwrap().to_lowercase();
        let version = env!("CARGO_PKG_VERSION");
        assert!(request.starts_with("get /live?deep=1 http/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("\r\nhost: {address}\r\n")), "{request}");
        assert!(request.contains(&format!("\r\nuser-agent: gateway/{version}\r\n")), "{request}");
        assert!(request.contains("\r\nconnection: close\r\n"), "{request}");
    }
}

#[tokio::test]
async fn the_named_host_is_asked_for() {
    let (address, mut asked) = answering(V4, b"HTTP/1.0 204 No Content\r\n\r\n").await;
    ask(address, check(http("/", Some("shop.example"), CheckKind::STATUS))).await.unwrap();
    let request = asked.recv().await.unwrap();
    assert!(request.contains("\r\nhost: shop.example\r\n"), "{request}");
}

#[tokio::test]
async fn a_status_is_good_only_where_it_is_expected() {
    let (address, _asked) = answering(V4, b"HTTP/1.1 500 Internal Server Error\r\n\r\n").await;
    let failure = ask(address, check(plain())).await.unwrap_err();
    assert_eq!(failure, Failure::Status { status: 500 });
    assert_eq!(failure.to_string(), "HTTP status 500 is not an expected one");
    ask(address, check(http("/", None, 500..=500))).await.unwrap();
}

#[tokio::test]
async fn what_is_not_http_is_malformed() {
    for answer in
        [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"\x15\x03\x01\x00\x02\x02\x16\x00\x00", b"HTTP/1.1 abc OK\r\n\r\n"]
    {
        let (address, _asked) = answering(V4, answer).await;
        let failure = ask(address, check(plain())).await.unwrap_err();
        assert!(matches!(failure, Failure::Malformed { .. }), "{answer:?}: {failure}");
    }
}

#[tokio::test]
async fn who_speaks_first_speaks_no_http() {
    let address = serve(V4, |mut stream| async move {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let failure = ask(address, check(plain())).await.unwrap_err();
    assert!(matches!(failure, Failure::Malformed { .. }), "{failure}");
}

#[tokio::test]
async fn a_head_without_end_is_not_read_on() {
    let address = serve(V4, |mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
        while stream.write_all(&[b'x'; 4_096]).await.is_ok() {}
    })
    .await;
    let failure = ask(address, check(plain())).await.unwrap_err();
    assert!(matches!(failure, Failure::Malformed { .. }), "{failure}");
}

#[tokio::test]
async fn who_closes_resets_or_is_silent_did_not_answer() {
    let stage = Stage::Answer;
    let closed = Failure::Closed { stage };
    assert_eq!(ask(closing(V4).await, check(plain())).await, Err(closed));
    let reset = Failure::Reset { stage };
    assert_eq!(ask(resetting(V4).await, check(plain())).await, Err(reset));
    let timeout = Failure::Timeout { stage, after: SHORT };
    assert_eq!(ask(silent(V6).await, hasty(plain())).await, Err(timeout));
}

#[tokio::test]
async fn what_is_no_path_is_not_asked() {
    let failure = ask(silent(V4).await, check(http("/a b", None, CheckKind::STATUS))).await.unwrap_err();
    assert!(matches!(failure, Failure::Unaskable { .. }) && failure.is_local(), "{failure}");
}
