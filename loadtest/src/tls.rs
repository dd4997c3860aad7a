//! A throw-away certificate authority, so that simulators are reached over real TLS and clients learn what a bad certificate looks like.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The ALPN name of HTTP/2 (RFC 9113, section 3.2).
pub const ALPN_H2: &[u8] = b"h2";
/// The ALPN name of HTTP/1.1 (RFC 7301, section 6).
pub const ALPN_HTTP_1_1: &[u8] = b"http/1.1";

/// Makes aws-lc-rs the process's TLS provider; harmless when called again.
///
/// Every `main` and every test that uses TLS calls this first.
pub fn install_provider() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        // Somebody else may have installed the same provider; that is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

/// A certificate authority that lives as long as the process and signs the simulators' certificates.
pub struct Authority {
    root: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Makes a key and a self-signed root certificate.
    pub fn new() -> Self {
        install_provider();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Load test root (throw-away)");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = generate_key();
        let certificate = params.self_signed(&key).expect("fixed parameters and a fresh P-256 key always make a certificate");
        let certificate = certificate.der().clone();
        let root = Issuer::new(params, key);
        Self { root, certificate }
    }

    /// Takes an authority up again from what [`Authority::ca_pem`] and [`Authority::key_pem`] gave out, so that clients that
    /// trust it need not be told anew.
    ///
    /// # Errors
    /// When the two are no certificate and key.
    pub fn from_pem(ca_pem: &str, key_pem: &str) -> Result<Self, rcgen::Error> {
        install_provider();
        let key = KeyPair::from_pem(key_pem)?;
        let certificate = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        let root = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { root, certificate })
    }

    /// The root's private key in PEM: as secret as the certificates that it signs are worth.
    pub fn key_pem(&self) -> String {
        self.root.key().serialize_pem()
    }

    /// The root certificate in PEM, for a client's list of trusted roots.
    pub fn ca_pem(&self) -> String {
        pem_certificate(&self.certificate)
    }

    /// A server's configuration with a valid certificate for `names` (host names or IP addresses), TLS 1.2 and 1.3.
    ///
    /// `alpn` lists the protocols offered; an empty list means a server that does not speak ALPN.
    ///
    /// # Panics
    /// When a name is not a host name; names are fixed by the caller's code.
    pub fn server_config(&self, names: &[&str], alpn: &[&[u8]]) -> ServerConfig {
        self.server_config_valid_until(names, alpn, 2100)
    }

    /// Like [`Authority::server_config`], with a certificate whose time ran out in 2020.
    pub fn expired_server_config(&self, names: &[&str], alpn: &[&[u8]]) -> ServerConfig {
        self.server_config_valid_until(names, alpn, 2020)
    }

    /// Like [`Authority::server_config`], with a certificate for a host that nobody asked for.
    pub fn wrong_name_server_config(&self, alpn: &[&[u8]]) -> ServerConfig {
        self.server_config(&["somebody-else.example.net"], alpn)
    }

    /// A client's configuration that trusts this authority and nobody else.
    pub fn client_config(&self, alpn: &[&[u8]]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root made here is a valid trust anchor");
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }

    /// A server certificate with its key, both PEM, for a product that serves TLS itself.
    pub fn issue_pem(&self, names: &[&str]) -> (String, String) {
        let (certificate, key) = self.issue(names, 2100);
        (certificate.pem(), key.serialize_pem())
    }

    fn server_config_valid_until(&self, names: &[&str], alpn: &[&[u8]], until_year: i32) -> ServerConfig {
        let (certificate, key) = self.issue(names, until_year);
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("aws-lc-rs has cipher suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the key belongs to the certificate that was made with it");
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }

    fn issue(&self, names: &[&str], until_year: i32) -> (rcgen::Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names are host names or addresses");
        params.distinguished_name.push(DnType::CommonName, "Load test simulator");
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(until_year, 1, 1);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = generate_key();
        let certificate = params.signed_by(&key, &self.root).expect("fixed parameters and a fresh P-256 key always make a certificate");
        (certificate, key)
    }
}

/// RFC 7468, section 5.
fn pem_certificate(der: &CertificateDer<'_>) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let body: String = lines.map(|line| format!("{line}\n")).collect();
    format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
}

fn generate_key() -> KeyPair {
    KeyPair::generate().expect("the provider can make a P-256 key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::ServerName;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn handshake(server: ServerConfig, client: ClientConfig) -> Result<Option<Vec<u8>>, std::io::Error> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        let serving = tokio::spawn(async move {
            if let Ok(mut stream) = acceptor.accept(far).await {
                let _ = stream.write_all(b"x").await;
                let _ = stream.shutdown().await;
            }
        });
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, near).await?;
        let mut one = [0_u8; 1];
        stream.read_exact(&mut one).await?;
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        serving.await.unwrap();
        Ok(alpn)
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_gets_through_and_agrees_on_the_protocol() {
        let authority = Authority::new();
        let server = authority.server_config(&["localhost", "127.0.0.1"], &[ALPN_H2]);
        let agreed = handshake(server, authority.client_config(&[ALPN_H2])).await;
        assert_eq!(agreed.unwrap().as_deref(), Some(ALPN_H2));
        let silent = authority.server_config(&["localhost"], &[]);
        let agreed = handshake(silent, authority.client_config(&[ALPN_H2])).await;
        assert_eq!(agreed.unwrap(), None, "a server without ALPN agrees on nothing");
    }

    #[tokio::test]
    async fn an_authority_taken_up_again_is_trusted_by_those_who_trusted_it_before() {
        let before = Authority::new();
        let client = before.client_config(&[]);
        let again = Authority::from_pem(&before.ca_pem(), &before.key_pem()).unwrap();
        assert_eq!(again.ca_pem(), before.ca_pem());
        assert!(handshake(again.server_config(&["localhost"], &[]), client).await.is_ok());
        assert!(Authority::from_pem("", &before.key_pem()).is_err());
    }

    #[tokio::test]
    async fn a_stranger_s_an_expired_and_a_misnamed_certificate_are_refused_by_clients() {
        let authority = Authority::new();
        let client = || authority.client_config(&[]);
        let refused = [
            Authority::new().server_config(&["localhost"], &[]),
            authority.expired_server_config(&["localhost"], &[]),
            authority.wrong_name_server_config(&[]),
        ];
        for server in refused {
            assert!(handshake(server, client()).await.is_err());
        }
    }
}
