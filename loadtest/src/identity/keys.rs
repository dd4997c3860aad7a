//! The issuer's signing keys: one for each algorithm that is accepted, and what it publishes of them.

use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey};

/// A signing key and its name.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) private: EncodingKey,
}

impl Key {
    /// What is published of it; `None` for a key that has no public half.
    pub(super) fn public(&self) -> Option<Jwk> {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).ok()?;
        jwk.common.key_id = Some(self.id.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Some(jwk)
    }
}

/// Fresh keys for RS256, PS256 and ES256; their names carry the number of the rotation.
pub(super) fn generate(rotation: u32) -> Vec<Key> {
    let rsa = rsa();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
        .and_then(|pair| pair.to_pkcs8v1())
        .map(|der| EncodingKey::from_ec_der(der.as_ref()))
        .expect("the provider can make a P-256 key");
    let key = |algorithm: Algorithm, private| Key { id: format!("{algorithm:?}-{rotation}").to_ascii_lowercase(), algorithm, private };
    vec![key(Algorithm::RS256, rsa.clone()), key(Algorithm::PS256, rsa), key(Algorithm::ES256, ec)]
}

/// A key that nobody publishes.
pub(super) fn stranger() -> &'static EncodingKey {
    static KEY: OnceLock<EncodingKey> = OnceLock::new();
    KEY.get_or_init(rsa)
}

fn rsa() -> EncodingKey {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("the provider can make an RSA key");
    let der = pair.as_der().expect("a fresh key can be written down");
    // PKCS#8 wraps the PKCS#1 key that JOSE libraries read; a PEM label says which is which.
    let pem = pem_of(der.as_ref());
    EncodingKey::from_rsa_pem(pem.as_bytes()).expect("a fresh key in PKCS#8 is read back")
}

fn pem_of(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}
