//! What a server offers those whom it does not let in (`WWW-Authenticate`, RFC 9110 section 11.6.1), for people.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use reqwest::Url;

/// Offers beyond so many are not looked at.
const MOST: usize = 8;
/// Longest name of a way in that is believed.
const LONGEST: usize = 24;

/// The ways in that an answer offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers(Vec<Offer>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    scheme: String,
    /// Where tokens for it come from.
    authority: Option<String>,
}

impl Offers {
    /// Reads them from the headers of an answer, each once.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut offers = Vec::new();
        for value in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()) {
            for part in value.split(',').map(str::trim) {
                let (first, rest) = part.split_once(' ').unwrap_or((part, ""));
                let is_scheme =
                    !first.is_empty() && first.len() <= LONGEST && first.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
                if is_scheme && offers.len() < MOST && !offers.iter().any(|offer: &Offer| offer.scheme.eq_ignore_ascii_case(first)) {
                    offers.push(Offer { scheme: first.to_owned(), authority: authority(rest) });
                } else if !is_scheme && let Some(last) = offers.last_mut() {
                    last.authority = last.authority.take().or_else(|| authority(part));
                }
            }
        }
        Self(offers)
    }

    /// Whether none is offered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this way in is offered.
    #[must_use]
    pub fn has(&self, scheme: &str) -> bool {
        self.0.iter().any(|offer| offer.scheme.eq_ignore_ascii_case(scheme))
    }
}

/// The server of `authorization_uri`, which names where tokens come from.
fn authority(parameter: &str) -> Option<String> {
    let value = parameter.strip_prefix("authorization_uri=")?.trim_matches('"');
    Some(Url::parse(value).ok()?.origin().ascii_serialization())
}

impl std::fmt::Display for Offers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no way in");
        }
        for (place, offer) in self.0.iter().enumerate() {
            let between = if place == 0 { "" } else { ", " };
            match &offer.authority {
                Some(authority) => write!(f, "{between}{} (tokens from {authority})", offer.scheme)?,
                None => write!(f, "{between}{}", offer.scheme)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn offers(values: &[&'static str]) -> Offers {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        Offers::of(&headers)
    }

    #[test]
    fn all_that_servers_offer_is_named_once_with_the_authority_of_tokens() {
        let on_premises = offers(&["Negotiate", "NTLM", "Basic realm=\"mail.example.com\""]);
        assert_eq!(on_premises.to_string(), "Negotiate, NTLM, Basic");
        assert!(on_premises.has("basic") && !on_premises.has("Bearer"));
        let online = offers(&[
            "Bearer client_id=\"00000002\", trusted_issuers=\"00000001@*\", token_types=\"app_asserted_user_v1\", authorization_uri=\"https://login.windows.net/common/oauth2/authorize\"",
            "Basic realm=\"\"",
        ]);
        assert_eq!(online.to_string(), "Bearer (tokens from https://login.windows.net), Basic");
        assert_eq!(offers(&[]).to_string(), "no way in");
        assert_eq!(offers(&["<script>, \"quoted\""]).to_string(), "no way in");
    }
}
