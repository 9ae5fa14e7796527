//! TLS by rustls with the ring provider.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;
use crate::error::ServerError;

/// A certificate with its key, checked to belong together.
#[derive(Clone)]
pub(crate) struct TlsIdentity {
    config: Arc<rustls::ServerConfig>,
}

impl TlsIdentity {
    /// Reads and checks the files. Errors: `Tls`.
    pub(crate) fn load(config: &TlsConfig) -> Result<Self, ServerError> {
        let cert_pem = read(&config.cert)?;
        let key_pem = read(&config.key)?;
        let chain: Vec<CertificateDer<'static>> = rustls_pemfile::certs(&mut cert_pem.as_ref())
            .collect::<Result<_, _>>()
            .map_err(|error| refuse(&config.cert, error.to_string()))?;
        if chain.is_empty() {
            return Err(refuse(&config.cert, "it holds no certificate in PEM form".to_string()));
        }
        let key: PrivateKeyDer<'static> = rustls_pemfile::private_key(&mut key_pem.as_ref())
            .map_err(|error| refuse(&config.key, error.to_string()))?
            .ok_or_else(|| refuse(&config.key, "it holds no private key in PEM form".to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| refuse(&config.cert, error.to_string()))?;
        Ok(Self { config: Arc::new(server) })
    }

    /// Accepts TLS for a protocol, `alpn` in order of preference.
    pub(crate) fn acceptor(&self, alpn: &[&[u8]]) -> TlsAcceptor {
        let mut config = self.config.as_ref().clone();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ServerError> {
    fs::read(path).map_err(|error| refuse(path, error.to_string()))
}

fn refuse(path: &Path, what: String) -> ServerError {
    ServerError::Tls { path: path.display().to_string(), what }
}
