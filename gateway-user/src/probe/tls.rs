//! Asks for a TLS handshake (RFC 8446, RFC 5246).

use super::ask::{Patience, connect};
use super::{Failure, Stage};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// Takes any certificate. The check is of the handshake, as haproxy's `check-ssl verify none`: a target whose
/// certificate this node cannot verify, since its authority is a private one or it names clients' names, serves no
/// worse for that. Nothing secret is sent, and what is learnt is only that somebody there speaks TLS.
#[derive(Debug)]
struct AnyCertificate {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// TLS 1.2 and 1.3 with any certificate. No session is resumed, so that each handshake is a whole one.
pub(super) fn config() -> Result<Arc<ClientConfig>, Error> {
    let provider: CryptoProvider = ring::default_provider();
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate { schemes }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// How long a target is waited for that was told of the end.
const FAREWELL_MOST: Duration = Duration::from_millis(200);

/// Ends well with the handshake; how long it took.
pub(super) async fn ask(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    name: Option<&str>,
    patience: &Patience,
) -> Result<Duration, Failure> {
    let name = match name {
        Some(name) => ServerName::try_from(name.to_owned()).map_err(|_| Failure::Unaskable {
            reason: format!("`{name}` is no name that TLS can ask for"),
        })?,
        // For an address no name is sent (RFC 6066 3).
        None => ServerName::from(address.ip()),
    };
    let stream = connect(address, patience).await?;
    let mut stream = patience
        .with(Stage::Handshake, TlsConnector::from(config.clone()).connect(name, stream))
        .await?
        .map_err(|error| Failure::of_io(&error, Stage::Handshake))?;
    let took = patience.begun().elapsed();
    // The check is passed, whatever comes of this.
    let _ = timeout(FAREWELL_MOST, take_leave(&mut stream)).await;
    Ok(took)
}

/// Lets the target end the connection. In TLS 1.3 it still has to read this side's last message and may send tickets
/// for resumption: a reset at once would break its handshake, which it would log as an error each time. Without FIN
/// from here the connection does not stay in TIME-WAIT either.
async fn take_leave(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    stream.get_mut().1.send_close_notify();
    stream.flush().await?;
    let mut unread = [0; 1_024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
