//! The door: which service a request wants, who asks, and everything that is refused before an operation begins.

mod challenges;
mod checks;
mod dress;

use std::io;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

pub(super) use challenges::unauthorized;

use super::autodiscover;
use super::server::Shared;
use crate::https::{Body, full};
use crate::identity::Refusal;
use crate::socket::Cut;

/// The largest request that is read; 200 subscription ids take some 30 kilobytes.
const MAX_REQUEST: usize = 1024 * 1024;

/// Answers a request; an error ends the connection.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>, cut: Cut) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_REQUEST).collect().await else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "too large"));
    };
    let body = body.to_bytes();
    let path = head.uri.path().to_ascii_lowercase();
    let is_post = head.method == Method::POST;
    if path.starts_with("/autodiscover/")
        && let Some((status, retry_after_s)) = shared.options.autodiscover_faults.meet(&cut).await?
    {
        return Ok(unavailable(status, retry_after_s));
    }
    match path.as_str() {
        "/ews/exchange.asmx" if is_post => checks::web_service(shared, &head.headers, &body, cut).await,
        "/autodiscover/autodiscover.svc" if is_post => Ok(autodiscover::soap(&shared, &head.headers, &body)),
        "/ews/exchange.asmx" | "/autodiscover/autodiscover.svc" if head.method == Method::GET => Ok(page(&shared, &head.headers)),
        "/autodiscover/autodiscover.xml" => Ok(autodiscover::pox(&shared, &head.method, &head.headers, &body)),
        "/ews/exchange.asmx" | "/autodiscover/autodiscover.svc" => Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")),
        _ => Ok(plain(StatusCode::NOT_FOUND, "not found")),
    }
}

/// What a browser sees: the page of the service, after logging on.
fn page(shared: &Shared, headers: &HeaderMap) -> Response<Body> {
    match log_on(shared, headers) {
        Err(why) => unauthorized(why),
        Ok(_) => {
            let page = b"<html><head><title>Service</title></head><body><h1>Service</h1><p>You have created a service.</p></body></html>";
            with_type(StatusCode::OK, "text/html; charset=utf-8", page.to_vec())
        }
    }
}

/// What load balancers and overloaded front ends answer.
fn unavailable(status: u16, retry_after_s: Option<u64>) -> Response<Body> {
    let mut response = plain(StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), "unavailable");
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from(seconds));
    }
    response
}

/// A short answer for people.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", text.as_bytes().to_vec())
}

/// An answer with a body of this type.
pub(super) fn with_type(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static(kind);
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// Whether the body says that it is XML in the way of SOAP 1.1.
pub(super) fn is_xml(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/xml"))
}

/// Who asks.
pub(super) fn log_on(shared: &Shared, headers: &HeaderMap) -> Result<String, Refusal> {
    let header = headers.get(http::header::AUTHORIZATION);
    let header = header.and_then(|value| value.to_str().ok());
    let options = &shared.options;
    options.accounts.check(header, &options.audiences)
}
