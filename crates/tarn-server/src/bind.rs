//! Taking a port, with errors that say what to do.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::{TcpListener, lookup_host};

use crate::config::Listen;
use crate::error::ServerError;

/// A port that is ours.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Accepts connections.
    pub listener: TcpListener,
    /// Where, with the real port when port 0 was asked for.
    pub address: SocketAddr,
}

/// Takes the port that `listen` names; `None` when it is off.
///
/// `option`: the command line option named in errors. `guarded`: whether users or keys exist, without which only
/// loopback addresses are taken. Errors: `Address`, `PortInUse`, `Bind`, `Exposed`.
pub(crate) async fn bind(
    listen: &Listen,
    option: &'static str,
    guarded: bool,
) -> Result<Option<Bound>, ServerError> {
    let Some(text) = listen.address() else { return Ok(None) };
    let address_error = |source| ServerError::Address { listen: text.to_string(), source };
    let address =
        lookup_host(text).await.map_err(address_error)?.next().ok_or_else(|| {
            address_error(std::io::Error::new(ErrorKind::NotFound, "the name has no address"))
        })?;
    if !guarded && !address.ip().to_canonical().is_loopback() {
        return Err(ServerError::Exposed { listen: text.to_string() });
    }
    let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => ServerError::PortInUse { port: address.port(), option },
        _ => ServerError::Bind { listen: text.to_string(), source },
    })?;
    let address =
        listener.local_addr().map_err(|source| ServerError::Bind { listen: text.to_string(), source })?;
    Ok(Some(Bound { listener, address }))
}

#[cfg(test)]
mod tests {
    use tarn_core::{Fault, FaultKind};

    use super::*;

    #[tokio::test]
    async fn port_zero_takes_a_free_port_and_says_which() {
        let bound = bind(&Listen::at("127.0.0.1:0"), "--http", false).await.unwrap().unwrap();
        assert_ne!(bound.address.port(), 0);
    }

    #[tokio::test]
    async fn a_port_in_use_names_the_option_that_changes_it() {
        let first = bind(&Listen::at("127.0.0.1:0"), "--http", false).await.unwrap().unwrap();
        let again = bind(&Listen::at(first.address.to_string()), "--http", false).await.unwrap_err();
        assert_eq!(again.to_string(), format!("port {} is in use by another program", first.address.port()));
        assert_eq!(again.hint().unwrap(), "choose another with --http 127.0.0.1:0");
    }

    #[tokio::test]
    async fn other_machines_are_let_in_only_when_somebody_can_log_in() {
        let refused = bind(&Listen::at("0.0.0.0:0"), "--http", false).await.unwrap_err();
        assert_eq!(refused.kind(), FaultKind::Denied);
        assert!(refused.hint().unwrap().contains("tarn access user add"));
        assert!(bind(&Listen::at("0.0.0.0:0"), "--http", true).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn nonsense_is_no_address() {
        let refused = bind(&Listen::at("here"), "--http", true).await.unwrap_err();
        assert_eq!(refused.kind(), FaultKind::Invalid);
        assert!(bind(&Listen::OFF, "--http", true).await.unwrap().is_none());
    }
}
