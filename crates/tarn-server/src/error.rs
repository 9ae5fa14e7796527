//! What keeps the server from starting.

use tarn_core::{Fault, FaultKind};

/// Errors of starting the server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The text is no address.
    #[error("`{listen}` is not an address to listen on")]
    Address {
        /// What was configured.
        listen: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody else listens there.
    #[error("port {port} is in use by another program")]
    PortInUse {
        /// The port.
        port: u16,
        /// The option that changes it, such as `--http`.
        option: &'static str,
    },
    /// The system does not let us listen.
    #[error("could not listen on `{listen}`")]
    Bind {
        /// What was configured.
        listen: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Everyone in the network could change everything.
    #[error(
        "refusing to listen on `{listen}`: it is reachable from other machines and no user or key exists"
    )]
    Exposed {
        /// What was configured.
        listen: String,
    },
    /// The certificate or the key cannot be used.
    #[error("cannot use the TLS file `{path}`: {what}")]
    Tls {
        /// The file.
        path: String,
        /// Why not.
        what: String,
    },
    /// A part that answers requests could not be set up.
    #[error("could not set up {part}: {what}")]
    Setup {
        /// Which part.
        part: &'static str,
        /// Why not.
        what: String,
    },
}

impl Fault for ServerError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Address { .. } | Self::Tls { .. } => FaultKind::Invalid,
            Self::PortInUse { .. } => FaultKind::Conflict,
            Self::Bind { .. } => FaultKind::Unavailable,
            Self::Exposed { .. } => FaultKind::Denied,
            Self::Setup { .. } => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Address { .. } => Some("write host and port, such as 127.0.0.1:8080, or off".to_string()),
            Self::PortInUse { option, .. } => Some(format!("choose another with {option} 127.0.0.1:0")),
            Self::Bind { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("ports below 1024 need a privilege; choose a higher one".to_string())
            }
            Self::Exposed { .. } => Some(
                "add a user with `tarn access user add NAME --role admin`, or listen on 127.0.0.1"
                    .to_string(),
            ),
            Self::Tls { .. } => Some("give PEM files in tls.cert and tls.key".to_string()),
            Self::Bind { .. } | Self::Setup { .. } => None,
        }
    }
}
