//! How answers travel: status, headers, compression, cookies; and how they fail to.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt as _, stream};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::super::affinity::OVERRIDE_COOKIE;
use super::super::budgets::Slot;
use super::super::faults::RequestFault;
use super::super::names::Failure;
use super::super::operations::{Answer, refused};
use super::super::reply;
use super::super::request::OperationName;
use super::checks::answer_to_another;
use super::{plain, unauthorized, with_type};
use crate::https::Body;
use crate::identity::Refusal;

const XML: &str = "text/xml; charset=utf-8";
/// The pause in the middle of a truncated answer.
const HALF_WAY: Duration = Duration::from_millis(20);

/// Whether the client takes compressed bodies.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    accepted.is_some_and(|list| list.contains("gzip"))
}

/// An ordinary answer.
pub(super) fn document(xml: &str, cookie: Option<&str>, gzip: bool) -> Response<Body> {
    let body = if gzip { compress(xml) } else { xml.as_bytes().to_vec() };
    let mut response = with_type(StatusCode::OK, XML, body);
    let headers = response.headers_mut();
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Some(value) = cookie {
        let line = format!("{OVERRIDE_COOKIE}={value}; path=/; secure; HttpOnly");
        if let Ok(line) = HeaderValue::from_str(&line) {
            headers.append(header::SET_COOKIE, line);
        }
        let other = HeaderValue::from_static("exchangecookie=5c3e1f60a1f94a1f; path=/; secure; HttpOnly");
        headers.append(header::SET_COOKIE, other);
    }
    response
}

fn compress(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

/// A SOAP fault.
pub(super) fn fault(failure: &Failure) -> Response<Body> {
    let body = reply::fault(failure).into_bytes();
    with_type(StatusCode::INTERNAL_SERVER_ERROR, XML, body)
}

/// A stream; its places in the budget are given back when it ends.
pub(super) fn stream(body: Body, slots: Vec<Slot>) -> Response<Body> {
    let mut response = Response::new(Charged { body, _slots: slots }.boxed());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(XML));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    headers.insert("x-nobuffering", HeaderValue::from_static("1"));
    response
}

/// A body that holds places in a budget.
struct Charged {
    body: Body,
    _slots: Vec<Slot>,
}

impl hyper::body::Body for Charged {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

/// The answers of faults that carry nothing out.
pub(super) fn faulty(fault: &RequestFault, name: OperationName) -> Response<Body> {
    match fault {
        RequestFault::Code { code, text } => document(&refused(name, &Failure::message(code, *text)), None, false),
        RequestFault::Fault { code, text, is_ok } => {
            let mut response = self::fault(&Failure::fault(code, *text));
            if *is_ok {
                *response.status_mut() = StatusCode::OK;
            }
            response
        }
        RequestFault::Status(401) => unauthorized(Refusal::Missing),
        RequestFault::Status(500) => with_type(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/html",
            b"<html><title>Server Error in '/EWS' Application.</title></html>".to_vec(),
        ),
        RequestFault::Status(status) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            plain(status, "The service is unavailable.")
        }
        RequestFault::Challenge => unauthorized(Refusal::EmptyBearer),
        RequestFault::ErrorPage => {
            let mut response = plain(StatusCode::FOUND, "");
            let to = "/ews/genericerrorpage.htm?aspxerrorpath=/ews/exchange.asmx";
            response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
            response
        }
        RequestFault::PolicyBlocked(reason) => {
            let mut response = plain(StatusCode::FORBIDDEN, "");
            let headers = response.headers_mut();
            headers.insert("X-EWS-Policy-Reason", HeaderValue::from_static(reason));
            response
        }
        RequestFault::WrongAnswer => document(&answer_to_another(name), None, false),
        RequestFault::Garbage => document("<s:Envelope><s:Body><m:</s:Envelope>", None, false),
        RequestFault::Long(bytes) => {
            let words = "word ".repeat(bytes / 5);
            document(&reply::response(name, &format!("<m:MessageText>{words}</m:MessageText>")), None, false)
        }
        RequestFault::Elements(count) => document(&reply::response(name, &"<a/>".repeat(*count)), None, false),
        RequestFault::Busy(_)
        | RequestFault::BusyInside(_)
        | RequestFault::LoseSubscription
        | RequestFault::Reset
        | RequestFault::LoseAnswer
        | RequestFault::WrongBackEnd
        | RequestFault::Truncate
        | RequestFault::Slow(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "The service is unavailable."),
    }
}

/// The first half of an answer, then the end of the connection.
pub(super) fn truncated(answer: Result<Answer, Failure>, name: OperationName) -> Response<Body> {
    let xml = match answer {
        Ok(Answer::Document(xml, _)) => xml,
        Ok(Answer::Stream(_)) => reply::stream_envelope(""),
        Err(failure) => refused(name, &failure),
    };
    let half = Bytes::from(xml.into_bytes()).split_to(200);
    let break_off = async {
        // What was written before must have left, or the whole answer would be lost instead of its half.
        tokio::time::sleep(HALF_WAY).await;
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    };
    let frames = stream::once(async { Ok(Frame::data(half)) }).chain(stream::once(break_off));
    let mut response = Response::new(BoxBody::new(StreamBody::new(frames)));
    let kind = HeaderValue::from_static(XML);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
