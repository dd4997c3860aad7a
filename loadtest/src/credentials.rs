//! The credentials with which a product enters the simulated world: made up once, and kept in a folder when a product in another process needs them.

use std::fmt;
use std::io;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use crate::identity::ClientCertificate;
use crate::tls::Authority;

/// Files of a credentials folder.
const CA: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
const APNS_KEY: &str = "apns.p8";
const FCM_KEY: &str = "fcm-key.pem";
const FCM_ACCOUNT: &str = "fcm.json";
const OAUTH_SECRET: &str = "oauth-client-secret";
const OAUTH_CERTIFICATE: &str = "oauth-client.pem";
const OAUTH_KEY: &str = "oauth-client-key.pem";
const BASIC_PASSWORD: &str = "basic-password";

/// Everything that a product must be configured with, and the authority behind it.
///
/// Names are fixed, so that a configuration file can state them; keys and passwords are made up.
pub struct Credentials {
    /// Signs the certificates of all simulators.
    pub authority: Authority,
    /// The key with which provider tokens for APNs are signed.
    pub apns_key: KeyPair,
    /// The service account's key for FCM.
    pub fcm_key: KeyPair,
    /// The secret of the application that may read mailboxes.
    pub oauth_secret: String,
    /// The certificate of the same application and its key, both PEM; made for a folder only, as few clients sign assertions.
    pub oauth_signer: Option<(String, KeyPair)>,
    /// The password of the service account that may read mailboxes, and of the one that may not.
    pub basic_password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// The key id of the APNs key.
    pub const APNS_KID: &'static str = "SIMKEY0001";
    /// The team that the APNs key belongs to.
    pub const APNS_TEAM: &'static str = "SIMTEAM001";
    /// The bundle id that it may push to, which is the FCM app's package name as well.
    pub const APP: &'static str = "com.example.mail";
    /// The FCM project.
    pub const FCM_PROJECT: &'static str = "example-mail";
    /// The service account's address.
    pub const FCM_EMAIL: &'static str = "push@example-mail.iam.gserviceaccount.com";
    /// The tenant at the identity provider.
    pub const TENANT: &'static str = "11111111-2222-3333-4444-555555555555";
    /// The application that may read mailboxes.
    pub const OAUTH_CLIENT_ID: &'static str = "66666666-7777-8888-9999-000000000000";
    /// The service account that may read mailboxes.
    pub const BASIC_USER: &'static str = "CORP\\svc-push";
    /// A service account of the same password that may log on, and impersonate nobody.
    pub const PLAIN_USER: &'static str = "CORP\\svc-plain";

    /// Makes all of them up. Takes a good part of a second for the RSA key.
    pub fn generate() -> Self {
        let authority = Authority::new();
        let possible = "the provider can make P-256 and RSA keys";
        let secret = || format!("{:032x}", rand::random::<u128>());
        Self {
            authority,
            apns_key: KeyPair::generate().expect(possible),
            fcm_key: KeyPair::generate_for(&PKCS_RSA_SHA256).expect(possible),
            oauth_secret: secret(),
            oauth_signer: None,
            basic_password: secret(),
        }
    }

    /// Reads them from a folder, or makes them up and writes them there.
    ///
    /// # Errors
    /// When the folder cannot be read or written, or holds something else.
    pub fn load_or_create(dir: &Path) -> io::Result<Self> {
        if dir.join(CA_KEY).exists() {
            return Self::load(dir);
        }
        let mut made = Self::generate();
        made.oauth_signer = Some(make_signer());
        made.save(dir)?;
        Ok(made)
    }

    fn load(dir: &Path) -> io::Result<Self> {
        let read = |name: &str| std::fs::read_to_string(dir.join(name));
        let signer = match dir.join(OAUTH_KEY).exists() {
            true => {
                let key = KeyPair::from_pem(&read(OAUTH_KEY)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, OAUTH_KEY))?;
                (read(OAUTH_CERTIFICATE)?, key)
            }
            // The folder is older than the certificate.
            false => make_signer(),
        };
        let no_key = |name: &'static str| move |_| io::Error::new(io::ErrorKind::InvalidData, format!("{name} is no key"));
        Ok(Self {
            authority: Authority::from_pem(&read(CA)?, &read(CA_KEY)?).map_err(no_key(CA_KEY))?,
            apns_key: KeyPair::from_pem(&read(APNS_KEY)?).map_err(no_key(APNS_KEY))?,
            fcm_key: KeyPair::from_pem(&read(FCM_KEY)?).map_err(no_key(FCM_KEY))?,
            oauth_secret: read(OAUTH_SECRET)?,
            oauth_signer: Some(signer),
            basic_password: read(BASIC_PASSWORD)?,
        })
    }

    pub(crate) fn save(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        std::fs::write(dir.join(CA), self.authority.ca_pem())?;
        write_secret(&dir.join(APNS_KEY), &self.apns_key.serialize_pem())?;
        write_secret(&dir.join(FCM_KEY), &self.fcm_key.serialize_pem())?;
        write_secret(&dir.join(OAUTH_SECRET), &self.oauth_secret)?;
        if let Some((certificate, key)) = &self.oauth_signer {
            std::fs::write(dir.join(OAUTH_CERTIFICATE), certificate)?;
            write_secret(&dir.join(OAUTH_KEY), &key.serialize_pem())?;
        }
        write_secret(&dir.join(BASIC_PASSWORD), &self.basic_password)?;
        // Last, because it says that the folder is complete.
        write_secret(&dir.join(CA_KEY), &self.authority.key_pem())
    }

    /// What the identity provider knows of the application's certificate.
    pub(crate) fn oauth_certificate(&self) -> Option<ClientCertificate> {
        let (pem, key) = self.oauth_signer.as_ref()?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?.to_vec();
        Some(ClientCertificate { client_id: Self::OAUTH_CLIENT_ID.to_owned(), der, public_key: key.public_key_raw().to_vec() })
    }

    /// The service account's file as Google hands it out.
    pub fn fcm_account_json(&self, token_uri: &str) -> String {
        let account = json!({
            "type": "service_account",
            "project_id": Self::FCM_PROJECT,
            "private_key_id": "simulated",
            "private_key": self.fcm_key.serialize_pem(),
            "client_email": Self::FCM_EMAIL,
            "client_id": "100000000000000000001",
            "token_uri": token_uri,
        });
        format!("{account:#}\n")
    }

    /// Writes the service account's file into a folder.
    pub(crate) fn write_fcm_account(&self, dir: &Path, token_uri: &str) -> io::Result<()> {
        write_secret(&dir.join(FCM_ACCOUNT), &self.fcm_account_json(token_uri))
    }
}

/// A certificate that nobody but its own key signed, as such certificates usually are.
fn make_signer() -> (String, KeyPair) {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("the provider can make RSA keys");
    let certificate = CertificateParams::default().self_signed(&key).expect("default parameters and a fresh key make a certificate");
    (certificate.pem(), key)
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_the_same_credentials_again() {
        let dir = tempfile::tempdir().unwrap();
        let first = Credentials::load_or_create(dir.path()).unwrap();
        let again = Credentials::load_or_create(dir.path()).unwrap();
        assert_eq!(first.apns_key.serialize_pem(), again.apns_key.serialize_pem());
        assert_eq!(first.fcm_key.serialize_pem(), again.fcm_key.serialize_pem());
        assert_eq!(first.oauth_secret, again.oauth_secret);
        assert_eq!(first.authority.ca_pem(), again.authority.ca_pem());
        std::fs::write(dir.path().join(APNS_KEY), "nonsense").unwrap();
        assert!(Credentials::load_or_create(dir.path()).is_err());
    }
}
