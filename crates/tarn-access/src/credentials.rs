//! What a caller shows, where they come from, and who they turn out to be.

use std::net::{IpAddr, Ipv4Addr};

use tarn_core::{Principal, RequestContext, Role, TenantId, TraceId};
use tarn_meta::SecretValue;

use crate::error::{AccessError, role_name};

/// What a caller shows. `Debug` shows no password, key or token.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// User and password, as in HTTP Basic and the PostgreSQL protocol. An API key is taken as a password, too,
    /// with any user name.
    Password {
        /// The name.
        user: String,
        /// The password or API key.
        password: SecretValue,
    },
    /// An API key, `tarn_<id>_<secret>`.
    Key(SecretValue),
    /// The token of a session.
    Session(SecretValue),
    /// Nothing.
    None,
}

impl Credentials {
    /// User and password.
    pub fn password(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Password { user: user.into(), password: SecretValue::new(password) }
    }

    /// An API key.
    pub fn key(key: impl Into<String>) -> Self {
        Self::Key(SecretValue::new(key))
    }

    /// The token of a session.
    pub fn session(token: impl Into<String>) -> Self {
        Self::Session(SecretValue::new(token))
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    address: IpAddr,
    is_forwarded: bool,
}

impl Peer {
    /// The other end of the connection.
    pub fn direct(address: IpAddr) -> Self {
        Self { address: address.to_canonical(), is_forwarded: false }
    }

    /// The other end of a connection over which a proxy passes on requests of others (it sent `Forwarded` or
    /// `X-Forwarded-For`). Never counts as this machine itself.
    pub fn forwarded(address: IpAddr) -> Self {
        Self { address: address.to_canonical(), is_forwarded: true }
    }

    /// This machine itself, such as the command line on the data folder.
    pub fn local() -> Self {
        Self::direct(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Whether the request was made on this machine.
    pub fn is_loopback(&self) -> bool {
        self.address.is_loopback() && !self.is_forwarded
    }

    /// What failures are counted for: the address, for IPv6 its network of 64 bits, which one customer owns.
    pub(crate) fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => self.address,
            IpAddr::V6(address) => IpAddr::from((u128::from(address) & !u128::from(u64::MAX)).to_be_bytes()),
        }
    }
}

/// How a caller proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Not at all: this machine itself, and no user exists yet.
    Open,
    /// By password.
    Password,
    /// By API key.
    Key,
    /// By session.
    Session,
}

/// Who a caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `local` for an open installation, the user's name, or `key/` and the key's name.
    pub principal: Principal,
    /// Whose data they work with.
    pub tenant: TenantId,
    /// How they proved it.
    pub method: Method,
}

impl Identity {
    pub(crate) fn new(name: &str, role: Role, tenant: &str, method: Method) -> Self {
        Self { principal: Principal { name: name.into(), role }, tenant: TenantId::new(tenant), method }
    }

    /// The context of a request of theirs.
    pub fn context(&self, trace: TraceId) -> RequestContext {
        let mut ctx = RequestContext::system(self.tenant.clone(), trace);
        ctx.principal = self.principal.clone();
        ctx
    }
}

/// Refuses a caller whose role is lower. Errors: `Forbidden`.
pub fn require(ctx: &RequestContext, role: Role) -> Result<(), AccessError> {
    if ctx.allows(role) {
        return Ok(());
    }
    Err(AccessError::Forbidden {
        principal: ctx.principal.name.to_string(),
        held: role_name(ctx.principal.role),
        needed: role_name(role),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_direct_loopback_is_this_machine() {
        let peer = |text: &str| Peer::direct(text.parse().unwrap());
        assert!(peer("127.0.0.1").is_loopback());
        assert!(peer("127.8.8.8").is_loopback());
        assert!(peer("::1").is_loopback());
        assert!(peer("::ffff:127.0.0.1").is_loopback());
        assert!(!peer("10.0.0.1").is_loopback());
        assert!(!Peer::forwarded("127.0.0.1".parse().unwrap()).is_loopback());
        assert_eq!(peer("2001:db8:1:2:3:4:5:6").network(), peer("2001:db8:1:2::1").network());
    }

    #[test]
    fn credentials_are_not_printed() {
        for credentials in [
            Credentials::password("li", "hunter2"),
            Credentials::key("hunter2"),
            Credentials::session("hunter2"),
        ] {
            assert!(!format!("{credentials:?}").contains("hunter2"));
        }
    }
}
