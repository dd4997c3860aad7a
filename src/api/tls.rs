//! The server's certificate: read and checked at the start, read again when its files change, without a connection being lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::api::Tls;

/// Why a certificate or key cannot be used; never its content.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds something else.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The two files do not go together.
    #[error("the certificate in {} and the key in {} do not go together: {problem}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Reads both files. TLS 1.2 or newer, HTTP/2 and HTTP/1.1.
///
/// # Errors
/// The file that cannot be used, or that they do not go together.
pub fn load(files: &Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let problem = |path: &Path, problem: String| TlsError::File { path: path.to_owned(), problem };
    let read = |path: &Path| std::fs::read(path).map_err(|error| problem(path, format!("cannot be read ({error})")));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&files.certificate)?).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| problem(&files.certificate, "holds no certificate in PEM".to_owned()))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?);
    let key =
        key.map_err(|_| problem(&files.key, "holds no private key in PEM (PKCS#8, PKCS#1 or SEC1, without a password)".to_owned()))?;
    let pair = |error: rustls::Error| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        problem: error.to_string(),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificate in use and the files that it came from.
#[derive(Clone)]
pub struct Certificate {
    files: Tls,
    seen: Seen,
    /// What the listeners serve with.
    pub config: RustlsConfig,
}

/// When the two files were changed and how long they are.
type Seen = [Option<(SystemTime, u64)>; 2];

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// See [`load`].
    pub fn read(files: &Tls) -> Result<Self, TlsError> {
        let seen = changed_at(files);
        Ok(Self { config: RustlsConfig::from_config(load(files)?), files: files.clone(), seen })
    }

    /// Looks at the files now and then until told to stop, and reads them at once when `asked`, changed or not. Files that cannot be used leave the former
    /// certificate in place and are tried again at each look.
    pub async fn keep_current(mut self, asked: &Notify, stop: &CancellationToken) {
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                () = asked.notified() => true,
                () = tokio::time::sleep(self.files.reload) => false,
            };
            let latest = changed_at(&self.files);
            if latest == self.seen && !asked {
                continue;
            }
            let files = self.files.clone();
            match tokio::task::spawn_blocking(move || load(&files)).await {
                Ok(Ok(fresh)) => {
                    self.config.reload_from_config(fresh);
                    self.seen = latest;
                    tracing::info!("the API's certificate was read again");
                }
                Ok(Err(error)) => tracing::error!(%error, "the API's certificate cannot be used; the former one stays"),
                Err(error) => tracing::error!(%error, "reading the API's certificate failed"),
            }
        }
    }
}

/// A link that points elsewhere shows its new target.
fn changed_at(files: &Tls) -> Seen {
    [&files.certificate, &files.key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}
