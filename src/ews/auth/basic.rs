//! Basic authentication with a service account (RFC 7617), on premises.

use async_trait::async_trait;
use base64::Engine;
use http::HeaderValue;

use crate::config::secret::Secret;
use crate::exchange::{AuthError, Authenticator};

/// A service account and its password. Prints nothing.
pub struct Basic {
    header: HeaderValue,
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Basic(…)")
    }
}

impl Basic {
    /// Takes `DOMAIN\user` or a UPN, and the password.
    #[must_use]
    pub fn new(user: &str, password: &Secret) -> Self {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.expose()));
        let mut header = HeaderValue::from_str(&format!("Basic {encoded}")).expect("base64 is made of visible ASCII");
        header.set_sensitive(true);
        Self { header }
    }
}

#[async_trait]
impl Authenticator for Basic {
    fn kind(&self) -> &'static str {
        "Basic"
    }

    fn scheme(&self) -> Option<&'static str> {
        Some("Basic")
    }

    async fn authorization(&self) -> Result<HeaderValue, AuthError> {
        Ok(self.header.clone())
    }

    fn refused(&self, _used: &HeaderValue) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn user_and_password_travel_in_base64_and_print_nothing() {
        let basic = Basic::new("EXAMPLE\\svc", &Secret::new("p:ä"));
        assert_eq!(basic.authorization().await.unwrap().to_str().unwrap(), "Basic RVhBTVBMRVxzdmM6cDrDpA==");
        assert_eq!(format!("{:?} {:?}", basic, basic.header), "Basic(…) Sensitive");
    }
}
