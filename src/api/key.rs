//! API keys `prk_<id>_<secret>`: made once, kept as a hash, compared in constant time.

use aws_lc_rs::{constant_time, digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postrider_actors::ids::TenantId;
use postrider_actors::ports::registry_store::{ApiKey, Role};
use postrider_actors::time::Timestamp;

use crate::config::secret::Secret;

/// What every key begins with, so that scanners for leaked secrets find it.
pub const PREFIX: &str = "prk_";
/// Bytes of the public part; in hexadecimal, as an underscore ends it.
const ID_BYTES: usize = 8;
/// Bytes of the secret part: 256 bits, so a plain hash without salt or stretching keeps it.
const SECRET_BYTES: usize = 32;

/// Makes a key: what is kept, and the whole key that is shown once and never again.
///
/// # Panics
/// Never in practice: the system's random source is there once the process runs.
#[must_use]
pub fn generate(role: Role, tenant: TenantId, note: &str, now: Timestamp) -> (ApiKey, Secret) {
    let id: String = random::<ID_BYTES>().iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = URL_SAFE_NO_PAD.encode(random::<SECRET_BYTES>());
    let shown = Secret::new(format!("{PREFIX}{id}_{secret}"));
    (ApiKey { id, hash: hash(&secret), role, tenant, note: note.to_owned(), created_at: now }, shown)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system has a random source");
    bytes
}

fn hash(secret: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
    hash
}

/// A key as a caller presents it.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Its public part.
    pub id: &'a str,
    secret: &'a str,
}

impl<'a> Presented<'a> {
    /// Takes a key apart; `None` if it cannot be one.
    #[must_use]
    pub fn read(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let well_formed = id.len() == 2 * ID_BYTES && id.bytes().all(hex) && secret.len() == (SECRET_BYTES * 4).div_ceil(3);
        well_formed.then_some(Self { id, secret })
    }

    /// Whether its secret is the kept one; takes equally long for every wrong secret.
    #[must_use]
    pub fn matches(&self, kept: &ApiKey) -> bool {
        constant_time::verify_slices_are_equal(&hash(self.secret), &kept.hash).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> (ApiKey, Secret) {
        generate(Role::Admin, TenantId("t".into()), "a note", Timestamp(7))
    }

    #[test]
    fn a_key_is_recognised_by_what_was_shown_once() {
        let (kept, shown) = one();
        let presented = Presented::read(shown.expose()).unwrap();
        assert_eq!(presented.id, kept.id);
        assert!(presented.matches(&kept));
        assert!(!Presented::read(one().1.expose()).unwrap().matches(&kept));
        assert_eq!((kept.role, kept.created_at, kept.note.as_str()), (Role::Admin, Timestamp(7), "a note"));
    }

    #[test]
    fn what_cannot_be_a_key_is_not_looked_up() {
        let (_, shown) = one();
        let whole = shown.expose();
        let upper = whole.to_uppercase();
        for text in ["", "prk_", "prk__", "prk_0123456789abcdef_", "prk_x_y", &whole[..whole.len() - 1], &whole[1..], &upper] {
            assert!(Presented::read(text).is_none(), "{text}");
        }
    }
}
