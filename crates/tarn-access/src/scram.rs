//! SCRAM-SHA-256 (RFC 5802 and 7677), as PostgreSQL clients speak it: both sides prove that they know the password, and
//! neither sends it. Without channel binding.

use std::borrow::Cow;
use std::num::NonZeroU32;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;

const KEY_BYTES: usize = 32;
pub(crate) const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 18;
/// A client's nonce is some 24 characters long; it is sent back and kept.
const CLIENT_NONCE_MAX: usize = 256;

type Key = [u8; KEY_BYTES];

/// What is kept of a password: enough to check a proof, not enough to make one.
#[derive(Clone)]
pub(crate) struct Verifier {
    salt: Vec<u8>,
    iterations: NonZeroU32,
    stored_key: Key,
    server_key: Key,
}

/// A client's message is not one of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The two first messages, which the last ones refer to.
pub(crate) struct Exchange {
    binding: String,
    client_first: String,
    server_first: String,
    nonce: String,
}

fn mac(key: &[u8], text: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let mut bytes = Key::default();
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

fn sha256(bytes: &[u8]) -> Key {
    let mut hash = Key::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

impl Verifier {
    /// Of a password. Takes milliseconds.
    pub(crate) fn of(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        // Like PostgreSQL, a password that cannot be normalised is taken as it is.
        let normal = stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password));
        let mut salted = Key::default();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, normal.as_bytes(), &mut salted);
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: sha256(&mac(&salted, b"Client Key")),
            server_key: mac(&salted, b"Server Key"),
        }
    }

    /// For a name that no user has: always the same, and fulfilled by no password.
    pub(crate) fn mock(secret: &[u8], user: &str, iterations: NonZeroU32) -> Self {
        let derived = |purpose: &str| mac(secret, format!("{purpose} {user}").as_bytes());
        Self {
            salt: derived("salt").get(..SALT_BYTES).unwrap_or_default().to_vec(),
            iterations,
            stored_key: derived("stored key"),
            server_key: derived("server key"),
        }
    }

    /// The form that PostgreSQL keeps: `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
    pub(crate) fn to_text(&self) -> String {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|bytes| BASE64_STANDARD.encode(bytes));
        format!("SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (costs, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let ((iterations, salt), (stored, server)) = (costs.split_once(':')?, keys.split_once(':')?);
        Some(Self {
            salt: BASE64_STANDARD.decode(salt).ok()?,
            iterations: iterations.parse().ok()?,
            stored_key: decode_key(stored)?,
            server_key: decode_key(server)?,
        })
    }

    /// Answers a client's first message.
    pub(crate) fn answer(&self, message: &[u8], entropy: &[u8; NONCE_BYTES]) -> Result<Exchange, Malformed> {
        let text = std::str::from_utf8(message).map_err(|_| Malformed)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(on_behalf_of), Some(client_first)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed);
        };
        if !matches!(flag, "n" | "y") || !on_behalf_of.is_empty() {
            return Err(Malformed);
        }
        // The name in this message is empty or ignored: the one of the start of the connection counts.
        let mut attributes = client_first.split(',');
        let name = attributes.next().and_then(|name| name.strip_prefix("n="));
        let nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r="));
        let (Some(_), Some(nonce)) = (name, nonce) else { return Err(Malformed) };
        if nonce.is_empty() || nonce.len() > CLIENT_NONCE_MAX {
            return Err(Malformed);
        }
        let nonce = format!("{nonce}{}", BASE64_STANDARD.encode(entropy));
        let server_first =
            format!("r={nonce},s={},i={}", BASE64_STANDARD.encode(&self.salt), self.iterations);
        let (binding, client_first) = (format!("{flag},,"), client_first.to_string());
        Ok(Exchange { binding, client_first, server_first, nonce })
    }

    /// Checks a client's proof. Returns the server's, or `None` for another password.
    pub(crate) fn finish(&self, exchange: &Exchange, message: &[u8]) -> Result<Option<String>, Malformed> {
        let text = std::str::from_utf8(message).map_err(|_| Malformed)?;
        let (bare, proof) = text.rsplit_once(",p=").ok_or(Malformed)?;
        let mut proof = decode_key(proof).ok_or(Malformed)?;
        let mut attributes = bare.split(',');
        let binding = attributes.next().and_then(|binding| binding.strip_prefix("c="));
        let nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r="));
        if binding != Some(BASE64_STANDARD.encode(&exchange.binding).as_str())
            || nonce != Some(exchange.nonce.as_str())
        {
            return Err(Malformed);
        }
        let said = format!("{},{},{bare}", exchange.client_first, exchange.server_first);
        let signature = mac(&self.stored_key, said.as_bytes());
        proof.iter_mut().zip(signature).for_each(|(proof, signature)| *proof ^= signature);
        // What is left is the client's key.
        let is_right = bool::from(sha256(&proof).ct_eq(&self.stored_key));
        let server = || format!("v={}", BASE64_STANDARD.encode(mac(&self.server_key, said.as_bytes())));
        Ok(is_right.then(server))
    }
}

impl Exchange {
    /// What the client is answered first.
    pub(crate) fn server_first(&self) -> &str {
        &self.server_first
    }
}

pub(crate) fn new_nonce(entropy: &dyn tarn_core::Entropy) -> [u8; NONCE_BYTES] {
    let mut bytes = [0; NONCE_BYTES];
    entropy.fill(&mut bytes);
    bytes
}

fn decode_key(text: &str) -> Option<Key> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_standard_holds() {
        let iterations = NonZeroU32::new(4096).unwrap();
        let verifier =
            Verifier::of("pencil", &BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), iterations);
        let verifier = Verifier::parse(&verifier.to_text()).unwrap();
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let exchange = Exchange {
            binding: "n,,".to_string(),
            client_first: "n=user,r=rOprNGfwEbeRWgbNEkqO".to_string(),
            server_first: format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
            nonce: nonce.to_string(),
        };
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let proof = verifier.finish(&exchange, last.as_bytes());
        assert_eq!(proof, Ok(Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_string())));
        let other = Verifier::of("pencils", &verifier.salt, iterations);
        assert_eq!(other.finish(&exchange, last.as_bytes()), Ok(None));
        let mock = Verifier::mock(b"secret", "user", iterations);
        assert_eq!(mock.finish(&exchange, last.as_bytes()), Ok(None));
        assert_eq!(mock.to_text(), Verifier::mock(b"secret", "user", iterations).to_text());
    }

    #[test]
    fn what_is_no_message_of_the_protocol_is_refused() {
        let verifier = Verifier::mock(b"secret", "user", NonZeroU32::MIN);
        let first = |message: &[u8]| verifier.answer(message, &[7; NONCE_BYTES]);
        for message in
            ["", "n", "n,,", "n,,n=,r=", "p=tls-unique,,n=,r=x", "n,a=root,n=,r=x", "x,,n=,r=x", "n,,r=x,n="]
        {
            assert!(first(message.as_bytes()).is_err(), "{message}");
        }
        assert!(first(&[b'n', b',', b',', 0xff]).is_err());
        assert!(first(format!("n,,n=,r={}", "x".repeat(CLIENT_NONCE_MAX + 1)).as_bytes()).is_err());
        let exchange = first(b"n,,n=,r=abc").unwrap_or_else(|_| panic!("a first message"));
        assert!(exchange.server_first().starts_with("r=abc"));
        let (nonce, proof) = (exchange.nonce.clone(), BASE64_STANDARD.encode([0; KEY_BYTES]));
        for message in [
            String::new(),
            format!("c=biws,r={nonce}"),
            format!("c=biws,r={nonce},p=short"),
            format!("c=biws,r={nonce}x,p={proof}"),
            format!("c=eSws,r={nonce},p={proof}"),
        ] {
            assert_eq!(verifier.finish(&exchange, message.as_bytes()), Err(Malformed), "{message}");
        }
        let wrong = format!("c=biws,r={nonce},p={proof}");
        assert_eq!(verifier.finish(&exchange, wrong.as_bytes()), Ok(None));
    }
}
