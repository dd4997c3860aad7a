//! Autodiscover in both of its forms: where a mailbox's web services are, and which group it belongs to.

mod pox;
mod soap;

pub(super) use pox::pox;
pub(super) use soap::soap;

use std::sync::{Arc, PoisonError};

use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};

use super::door::plain;
use super::server::Shared;
use crate::https::Body;
use crate::witness::Misuse;
use crate::world::Mailbox;

/// What autodiscover answers instead of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// Ask again for this address (`RedirectAddress`, `redirectAddr`).
    Address(String),
    /// Ask again at this URL (`RedirectUrl`, `redirectUrl`).
    Url(String),
    /// An HTTP 302 to this URL, as long as this user is the one that is asked for.
    Http(String),
    /// The service is busy (`ServerBusy`, 503).
    Busy,
}

/// What is known about an address.
enum Found {
    Mailbox(Arc<Mailbox>),
    Redirect(Redirect),
    Nobody,
}

fn look_up(shared: &Shared, address: &str) -> Found {
    let address = address.trim().to_ascii_lowercase();
    let redirects = shared.redirects.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(redirect) = redirects.get(&address) {
        return Found::Redirect(redirect.clone());
    }
    drop(redirects);
    match shared.options.world.mailbox(&address) {
        Ok(mailbox) => Found::Mailbox(mailbox),
        Err(_) => Found::Nobody,
    }
}

fn misuse(shared: &Shared, rule: &'static str, detail: impl Into<String>) {
    shared.options.witness.misuse(Misuse { server: "autodiscover", rule, detail: detail.into() });
}

/// 302 to `url`.
fn moved(url: &str) -> Response<Body> {
    let mut response = plain(StatusCode::FOUND, "");
    match HeaderValue::from_str(url) {
        Ok(url) => response.headers_mut().insert(LOCATION, url),
        Err(_) => return plain(StatusCode::INTERNAL_SERVER_ERROR, "a redirect without an address"),
    };
    response
}
