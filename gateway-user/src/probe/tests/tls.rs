use super::super::Stage;
use super::*;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{AlertDescription, Error, ServerConfig, SupportedProtocolVersion};

fn tls(name: Option<&str>) -> CheckKind {
    CheckKind::Tls { port: None, name: name.map(str::to_owned) }
}

/// A server of TLS whose certificate nobody vouches for, and what clients named who took their leave in good form.
async fn serving(
    on: IpAddr,
    version: &'static SupportedProtocolVersion,
) -> (SocketAddr, mpsc::Receiver<Option<String>>) {
    let made = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (names, named) = mpsc::channel(16);
    let address = serve(on, move |stream| {
        let (acceptor, names) = (acceptor.clone(), names.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let name = stream.get_ref().1.server_name().map(str::to_owned);
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "it is told of the end");
            let _ = names.send(name).await;
        }
    })
    .await;
    (address, named)
}

#[tokio::test]
async fn a_handshake_that_ends_is_good_whatever_the_certificate() {
    for on in [V4, V6] {
        for version in [&TLS12, &TLS13] {
            let (address, mut named) = serving(on, version).await;
            ask(address, check(tls(Some("shop.example")))).await.unwrap();
            assert_eq!(
                timeout(PATIENCE, named.recv()).await.unwrap().unwrap().as_deref(),
                Some("shop.example")
            );
            ask(address, check(tls(None))).await.unwrap();
            assert_eq!(timeout(PATIENCE, named.recv()).await.unwrap().unwrap(), None);
        }
    }
}

#[tokio::test]
async fn an_alert_is_told() {
    let address = serve(V4, |mut stream| async move {
        let _ = stream.read(&mut [0; 16_384]).await;
        // A record of TLS 1.2 with the fatal alert 40 (RFC 8446 6).
        let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await;
    })
    .await;
    let failure = Failure::Tls(Error::AlertReceived(AlertDescription::HandshakeFailure));
    assert_eq!(ask(address, check(tls(None))).await, Err(failure));
}

#[tokio::test]
async fn what_is_not_tls_is_told() {
    let address = serve(V4, |mut stream| async move {
        let _ = stream.read(&mut [0; 16_384]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let failure = ask(address, check(tls(None))).await.unwrap_err();
    assert!(matches!(failure, Failure::Tls(Error::InvalidMessage(_))), "{failure}");
}

#[tokio::test]
async fn who_closes_resets_or_is_silent_ended_no_handshake() {
    let stage = Stage::Handshake;
    let closed = Failure::Closed { stage };
    assert_eq!(ask(closing(V4).await, check(tls(None))).await, Err(closed));
    let reset = Failure::Reset { stage };
    assert_eq!(ask(resetting(V4).await, check(tls(None))).await, Err(reset));
    let timeout = Failure::Timeout { stage, after: SHORT };
    assert_eq!(ask(silent(V6).await, hasty(tls(None))).await, Err(timeout));
}

#[tokio::test]
async fn what_is_no_name_is_not_asked() {
    let failure = ask(silent(V4).await, check(tls(Some("not a name")))).await.unwrap_err();
    assert!(matches!(failure, Failure::Unaskable { .. }), "{failure}");
}
