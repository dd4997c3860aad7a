//! Whom outgoing connections trust: the system's authorities together with configured ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::HttpError;

/// Whom we trust: the system's roots together with configured ones. Cheap to clone.
#[derive(Clone)]
pub struct TrustRoots(pub(super) Arc<RootCertStore>);

impl std::fmt::Debug for TrustRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TrustRoots({})", self.0.len())
    }
}

impl TrustRoots {
    /// Reads the system's roots and the PEM files in `extra`. A system without roots (a bare container) is no error as long as `extra` has some.
    ///
    /// # Errors
    /// A configured file that cannot be read, holds no certificate or a damaged one; or nobody to trust at all.
    pub fn load(extra: &[PathBuf]) -> Result<Self, HttpError> {
        let mut store = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        // A system's store may hold oddities that nobody can use; they are left out, as browsers do.
        let (_, unusable) = store.add_parsable_certificates(system.certs);
        if unusable > 0 {
            tracing::debug!(unusable, "system trust roots left out");
        }
        for path in extra {
            add_pem_file(&mut store, path)?;
        }
        if store.is_empty() {
            return Err(HttpError::NoRoots { reason: system.errors.first().map(ToString::to_string) });
        }
        Ok(Self(Arc::new(store)))
    }

    /// Trusts only the certificates in `pem`; `name` stands for the file in errors.
    ///
    /// # Errors
    /// No certificate in it, or a damaged one.
    pub fn only(name: &str, pem: &[u8]) -> Result<Self, HttpError> {
        let mut store = RootCertStore::empty();
        add_pem(&mut store, Path::new(name), pem)?;
        Ok(Self(Arc::new(store)))
    }
}

fn add_pem_file(store: &mut RootCertStore, path: &Path) -> Result<(), HttpError> {
    let pem = std::fs::read(path).map_err(|error| HttpError::RootsUnreadable { path: path.to_owned(), error })?;
    add_pem(store, path, &pem)
}

fn add_pem(store: &mut RootCertStore, path: &Path, pem: &[u8]) -> Result<(), HttpError> {
    let invalid = |problem: String| HttpError::RootsInvalid { path: path.to_owned(), problem };
    let mut number = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        number += 1;
        let certificate = certificate.map_err(|error| invalid(format!("damaged PEM at certificate {number} ({error:?})")))?;
        store.add(certificate).map_err(|error| {
            invalid(format!("certificate {number} cannot be a trust root ({error}); export the authority's certificate again, as PEM"))
        })?;
    }
    if number == 0 {
        let found = if pem.windows(11).any(|w| w == b"PRIVATE KEY") { "a private key" } else { "no PEM certificate" };
        return Err(invalid(format!(
            "the file holds {found}; wanted are certificates in PEM, each between BEGIN CERTIFICATE and END CERTIFICATE"
        )));
    }
    Ok(())
}
