//! The key that seals secrets, and sealing.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use tarn_core::Entropy;
use tracing::warn;
use zeroize::Zeroizing;

use super::value::SecretValue;
use crate::error::MetaError;

/// The environment variable that may hold the key as base64, instead of a file.
pub const KEY_VARIABLE: &str = "TARN_SECRET_KEY";

const KEY_FILE: &str = "secret.key";
const NONCE_BYTES: usize = 24;
const FORMAT: &str = "x1.";

/// 32 bytes that seal and open all secrets of an installation.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret key)")
    }
}

impl SecretKey {
    /// The key in the variable `TARN_SECRET_KEY`, else in `<data>/secret.key`, which is made at the first start for
    /// its owner alone. Blocks on the disk. Errors: `InvalidSecretKey`, `Io`.
    pub fn load(data: &Path, entropy: &dyn Entropy) -> Result<Self, MetaError> {
        match std::env::var(KEY_VARIABLE) {
            Ok(text) => Self::from_base64(&Zeroizing::new(text), KEY_VARIABLE),
            Err(std::env::VarError::NotPresent) => Self::load_file(&data.join(KEY_FILE), entropy),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(MetaError::InvalidSecretKey { place: KEY_VARIABLE.into(), what: "it is not base64" })
            }
        }
    }

    /// Reads a key of 32 bytes written as base64; `place` names it in errors. Errors: `InvalidSecretKey`.
    pub fn from_base64(text: &str, place: &str) -> Result<Self, MetaError> {
        let invalid = |what| MetaError::InvalidSecretKey { place: place.to_string(), what };
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| invalid("it is not base64"))?);
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| invalid("it does not have 32 bytes"))?;
        Ok(Self(Zeroizing::new(key)))
    }

    fn load_file(path: &Path, entropy: &dyn Entropy) -> Result<Self, MetaError> {
        let place = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => {
                warn_if_open(path);
                Self::from_base64(&Zeroizing::new(text), &place)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Self::make_file(path, entropy),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(MetaError::InvalidSecretKey { place, what: "it is not base64" })
            }
            Err(source) => Err(MetaError::Io { action: "read", path: place, source }),
        }
    }

    // Written beside its place and linked there, so that of two processes at their first start one wins and both
    // read the same whole key.
    fn make_file(path: &Path, entropy: &dyn Entropy) -> Result<Self, MetaError> {
        let fail = |source| MetaError::Io { action: "write", path: path.display().to_string(), source };
        let mut key = Zeroizing::new([0; 32]);
        entropy.fill(key.as_mut());
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(fail)?;
        let part = folder.join(format!(".{KEY_FILE}.{:016x}", entropy.next_u64()));
        let text = Zeroizing::new(format!("{}\n", STANDARD.encode(key.as_ref())));
        let linked =
            write_private(&part, text.as_bytes()).and_then(|()| match std::fs::hard_link(&part, path) {
                // Some file systems have no links; there only the moment of the write is open to a race.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) =>
                {
                    write_private(path, text.as_bytes())
                }
                other => other,
            });
        let _ = std::fs::remove_file(&part);
        match linked {
            Ok(()) => {
                std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)?;
                Ok(Self(key))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let text = Zeroizing::new(std::fs::read_to_string(path).map_err(fail)?);
                Self::from_base64(&text, &path.display().to_string())
            }
            Err(error) => Err(fail(error)),
        }
    }

    // What the sealed bytes belong to: they cannot be moved to another name or tenant.
    fn associated(tenant: &str, name: &str) -> Vec<u8> {
        format!("tarn secret\0{}\0{tenant}\0{name}", tenant.len()).into_bytes()
    }

    /// Seals a value for a tenant and a name. Returns text for the store.
    pub(super) fn seal(
        &self,
        tenant: &str,
        name: &str,
        value: &SecretValue,
        entropy: &dyn Entropy,
    ) -> String {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce);
        let aad = Self::associated(tenant, name);
        let payload = Payload { msg: value.expose().as_bytes(), aad: &aad };
        let sealed = XChaCha20Poly1305::new(self.0.as_ref().into())
            .encrypt(XNonce::from_slice(&nonce), payload)
            .expect("values are far below the 256 GiB that the cipher takes");
        format!("{FORMAT}{}", STANDARD.encode([&nonce[..], &sealed].concat()))
    }

    /// Opens what `seal` gave. Errors: `SecretUnreadable` with another key, tenant or name, or damaged text.
    pub(super) fn open(&self, tenant: &str, name: &str, sealed: &str) -> Result<SecretValue, MetaError> {
        let unreadable = || MetaError::SecretUnreadable { name: name.to_string() };
        let text = sealed.strip_prefix(FORMAT).ok_or_else(unreadable)?;
        let bytes = STANDARD.decode(text).map_err(|_| unreadable())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(unreadable)?;
        let aad = Self::associated(tenant, name);
        let opened = XChaCha20Poly1305::new(self.0.as_ref().into())
            .decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: &aad })
            .map_err(|_| unreadable())?;
        String::from_utf8(opened).map(SecretValue::new).map_err(|_| unreadable())
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(unix)]
fn warn_if_open(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
        warn!(path = %path.display(), "the secret key can be read by other users; set its mode to 0600");
    }
}

#[cfg(not(unix))]
fn warn_if_open(_: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;
    use tarn_core::{Fault, FaultKind, SystemEntropy};

    #[test]
    fn a_sealed_value_opens_only_where_it_belongs() {
        let key = SecretKey::from_base64(&STANDARD.encode([7; 32]), "test").unwrap();
        let sealed = key.seal("main", "shop", &SecretValue::new("hunter2"), &SystemEntropy);
        assert!(!sealed.contains("hunter2"));
        assert_ne!(
            sealed,
            key.seal("main", "shop", &SecretValue::new("hunter2"), &SystemEntropy),
            "fresh nonce"
        );
        assert_eq!(key.open("main", "shop", &sealed).unwrap().expose(), "hunter2");
        for (tenant, name) in [("other", "shop"), ("main", "ship"), ("mainshop", "")] {
            assert_eq!(key.open(tenant, name, &sealed).unwrap_err().kind(), FaultKind::Corrupt);
        }
        let other = SecretKey::from_base64(&STANDARD.encode([8; 32]), "test").unwrap();
        let error = other.open("main", "shop", &sealed).unwrap_err();
        assert!(error.hint().unwrap().contains("secret.key"));
        for damaged in ["", "x1.", "x1.AAAA", "x1.!!", &sealed[..sealed.len() - 4]] {
            assert!(key.open("main", "shop", damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn the_key_file_is_made_once_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data").join(KEY_FILE);
        let first = SecretKey::load_file(&path, &SystemEntropy).unwrap();
        let second = SecretKey::load_file(&path, &SystemEntropy).unwrap();
        assert_eq!(first.0, second.0);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
        for bad in ["", "not base64!", "c2hvcnQ="] {
            std::fs::write(&path, bad).unwrap();
            let error = SecretKey::load_file(&path, &SystemEntropy).unwrap_err();
            assert_eq!(error.kind(), FaultKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn a_race_at_the_first_start_has_one_winner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        let keys: Vec<SecretKey> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| SecretKey::load_file(&path, &SystemEntropy).unwrap()))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| key.0 == keys[0].0));
    }
}
