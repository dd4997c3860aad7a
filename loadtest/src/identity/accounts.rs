//! Who may speak to the simulated Exchange: service accounts with a password, and applications with a secret and their tokens.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Tokens remembered; the oldest are forgotten first, which a client notices as an expired token.
const MAX_TOKENS: usize = 100_000;

/// The simulated directory's service accounts.
pub struct Accounts {
    /// Name (`DOMAIN\user` or UPN) and password of each account that may use Basic.
    basic: Mutex<HashMap<String, String>>,
    tokens: Mutex<HashMap<String, Issued>>,
    refused: AtomicU64,
}

#[derive(Clone)]
struct Issued {
    account: String,
    audience: String,
    until: Instant,
}

/// Why a request is answered with 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No `Authorization` header.
    Missing,
    /// `Authorization: Bearer` without a token: the client asks for the challenge.
    EmptyBearer,
    /// Unknown name, wrong password, or a scheme that nobody here speaks.
    Wrong,
    /// The first message of an NTLM handshake under this scheme: the client waits for a challenge.
    HandshakeBegun(&'static str),
    /// Not a token of this issuer, or for another audience.
    InvalidToken,
    /// The token's time is over.
    ExpiredToken,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl Accounts {
    /// Accounts with these names and passwords for Basic.
    pub fn new(basic: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { basic: Mutex::new(basic.into_iter().collect()), tokens: Mutex::default(), refused: AtomicU64::new(0) }
    }

    /// Gives an account another password; whoever knows the former one is refused from here on.
    pub fn set_password(&self, account: &str, password: &str) {
        self.basic.lock().unwrap_or_else(PoisonError::into_inner).insert(account.to_owned(), password.to_owned());
    }

    /// How many logons with a password or token were refused: what a directory counts before it locks an account.
    pub fn refused_logons(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Makes a token for `account` that is good for `audience` (a host's address) and `lifetime`.
    pub fn issue(&self, account: &str, audience: &str, lifetime: Duration) -> String {
        let bytes: [u8; 96] = std::array::from_fn(|_| rand::random());
        let token = format!("eyJ0{}", URL_SAFE_NO_PAD.encode(bytes));
        let now = Instant::now();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MAX_TOKENS {
            tokens.retain(|_, issued| issued.until > now);
        }
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        let issued = Issued { account: account.to_owned(), audience: audience.to_owned(), until: now + lifetime };
        tokens.insert(token.clone(), issued);
        token
    }

    /// Makes every token given out so far invalid.
    pub fn revoke_tokens(&self) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.clear();
    }

    /// The account behind an `Authorization` header, for a server that is one of `audiences` (any when empty).
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(&self, header: Option<&str>, audiences: &[String]) -> Result<String, Refusal> {
        let checked = self.judge(header, audiences);
        if matches!(checked, Err(Refusal::Wrong | Refusal::InvalidToken | Refusal::ExpiredToken)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        checked
    }

    fn judge(&self, header: Option<&str>, audiences: &[String]) -> Result<String, Refusal> {
        let header = header.ok_or(Refusal::Missing)?;
        let (scheme, value) = header.split_once(' ').unwrap_or((header, ""));
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            if value.is_empty() {
                return Err(Refusal::EmptyBearer);
            }
            return self.check_token(value, audiences);
        }
        if scheme.eq_ignore_ascii_case("basic") {
            return self.check_password(value).ok_or(Refusal::Wrong);
        }
        // "NTLMSSP", a zero and the number of a NEGOTIATE_MESSAGE (MS-NLMP, section 2.2.1.1) in base64.
        let begun = ["NTLM", "Negotiate"].into_iter().find(|known| known.eq_ignore_ascii_case(scheme) && value.starts_with("TlRMTVNTUAAB"));
        Err(begun.map_or(Refusal::Wrong, Refusal::HandshakeBegun))
    }

    fn check_token(&self, token: &str, audiences: &[String]) -> Result<String, Refusal> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let issued = tokens.get(token).ok_or(Refusal::InvalidToken)?;
        if issued.until <= Instant::now() {
            return Err(Refusal::ExpiredToken);
        }
        let audience = issued.audience.trim_end_matches('/');
        let ours = |known: &String| known.trim_end_matches('/') == audience;
        if !audiences.is_empty() && !audiences.iter().any(ours) {
            return Err(Refusal::InvalidToken);
        }
        Ok(issued.account.clone())
    }

    fn check_password(&self, value: &str) -> Option<String> {
        let decoded = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
        let (name, password) = decoded.split_once(':')?;
        let basic = self.basic.lock().unwrap_or_else(PoisonError::into_inner);
        let known = basic.get(name)?;
        verify_slices_are_equal(known.as_bytes(), password.as_bytes()).ok()?;
        Some(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_tokens_name_their_account_and_nothing_else_does() {
        let accounts = Accounts::new([("CORP\\svc".to_owned(), "pa:ss".to_owned())]);
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let check = |header: &str| accounts.check(Some(header), &["https://ex.example".to_owned()]);
        assert_eq!(check(&basic("CORP\\svc:pa:ss")).as_deref(), Ok("CORP\\svc"));
        assert_eq!(check(&basic("CORP\\svc:pa")), Err(Refusal::Wrong));
        assert_eq!(check(&basic("CORP\\other:pa:ss")), Err(Refusal::Wrong));
        assert_eq!(check("Negotiate abc"), Err(Refusal::Wrong));
        assert_eq!(check("NTLM TlRMTVNTUAABAAAAN4II4g=="), Err(Refusal::HandshakeBegun("NTLM")));
        assert_eq!(check("NTLM TlRMTVNTUAADAAAAN4II4g=="), Err(Refusal::Wrong), "the last message");
        assert_eq!(check("Bearer "), Err(Refusal::EmptyBearer));
        assert_eq!(check("Bearer"), Err(Refusal::EmptyBearer));
        assert_eq!(accounts.check(None, &[]), Err(Refusal::Missing));
        let hour = Duration::from_secs(3600);
        let token = accounts.issue("app", "https://ex.example/", hour);
        assert_eq!(check(&format!("Bearer {token}")).as_deref(), Ok("app"));
        let other = accounts.issue("app", "https://graph.example", hour);
        assert_eq!(check(&format!("Bearer {other}")), Err(Refusal::InvalidToken));
        let old = accounts.issue("app", "https://ex.example", Duration::ZERO);
        assert_eq!(check(&format!("Bearer {old}")), Err(Refusal::ExpiredToken));
        let refused = accounts.refused_logons();
        accounts.set_password("CORP\\svc", "other");
        assert_eq!(check(&basic("CORP\\svc:pa:ss")), Err(Refusal::Wrong));
        assert_eq!((check("Bearer"), accounts.refused_logons()), (Err(Refusal::EmptyBearer), refused + 1), "an empty token is no logon");
        accounts.revoke_tokens();
        assert_eq!(check(&format!("Bearer {token}")), Err(Refusal::InvalidToken));
    }
}
