//! Plain XML autodiscover (MS-OXDSCLI).

use http::header::HeaderValue;
use http::{HeaderMap, Method, Response, StatusCode};

use super::super::door::{is_xml, log_on, unauthorized, with_type};
use super::super::server::Shared;
use super::{Found, Redirect, look_up, misuse, moved};
use crate::https::Body;
use crate::world::Mailbox;
use crate::xml::{self, Element, escape};

const REQUEST: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006";
const OUTER: &str = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006";
const INNER: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";

/// Answers a request to `autodiscover.xml`. A GET is how clients find out which forms are spoken: the headers tell, even on 401.
pub(in crate::exchange) fn pox(shared: &Shared, method: &Method, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
    let mut response = match log_on(shared, headers) {
        Err(why) => unauthorized(why),
        Ok(_) if method == Method::POST => answer(shared, headers, body),
        Ok(_) => document(&error("600", "Invalid Request")),
    };
    for (name, value) in [("X-SOAP-Enabled", "True"), ("X-OAuth-Enabled", "True")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn answer(shared: &Shared, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
    if !is_xml(headers) {
        misuse(shared, "content-type", "a request is not text/xml");
        return document(&error("600", "Invalid Request"));
    }
    let Some(address) = read(body) else {
        misuse(shared, "schema", "no request for an address");
        return document(&error("600", "Invalid Request"));
    };
    match look_up(shared, &address) {
        Found::Redirect(Redirect::Http(url)) => moved(&url),
        Found::Redirect(Redirect::Busy) => with_type(StatusCode::SERVICE_UNAVAILABLE, "text/plain", Vec::new()),
        Found::Redirect(Redirect::Address(to)) => {
            document(&account(&format!("<Action>redirectAddr</Action><RedirectAddr>{}</RedirectAddr>", escape(&to))))
        }
        Found::Redirect(Redirect::Url(to)) => {
            document(&account(&format!("<Action>redirectUrl</Action><RedirectUrl>{}</RedirectUrl>", escape(&to))))
        }
        Found::Mailbox(mailbox) => document(&settings(shared, &mailbox)),
        Found::Nobody => document(&error("500", "The email address can't be found.")),
    }
}

fn read(body: &[u8]) -> Option<String> {
    let root = xml::parse(std::str::from_utf8(body).ok()?).ok()?;
    if root.name != "Autodiscover" || root.namespace != REQUEST {
        return None;
    }
    let child = |parent: &'_ Element, name: &str| {
        let found = parent.children.iter().find(|child| child.name == name && child.namespace == REQUEST);
        found.cloned()
    };
    let request = child(&root, "Request")?;
    let schema = child(&request, "AcceptableResponseSchema")?;
    let address = child(&request, "EMailAddress")?;
    let address = address.trimmed();
    (schema.trimmed() == INNER && !address.is_empty()).then(|| address.to_owned())
}

fn settings(shared: &Shared, mailbox: &Mailbox) -> String {
    let url = escape(&shared.ews_url(mailbox));
    let group = shared.group(mailbox).map(|group| escape(&group.name)).unwrap_or_default();
    let group = if group.is_empty() { String::new() } else { format!("<GroupingInformation>{group}</GroupingInformation>") };
    let smtp = escape(mailbox.smtp());
    format!(
        r#"<Autodiscover xmlns="{OUTER}"><Response xmlns="{INNER}"><User><DisplayName>{smtp}</DisplayName><AutoDiscoverSMTPAddress>{smtp}</AutoDiscoverSMTPAddress></User><Account><AccountType>email</AccountType><Action>settings</Action><Protocol><Type>EXCH</Type><EwsUrl>{url}</EwsUrl><ASUrl>{url}</ASUrl></Protocol><Protocol><Type>EXPR</Type><EwsUrl>{url}</EwsUrl><ASUrl>{url}</ASUrl>{group}</Protocol></Account></Response></Autodiscover>"#
    )
}

fn account(content: &str) -> String {
    format!(r#"<Autodiscover xmlns="{OUTER}"><Response xmlns="{INNER}"><Account>{content}</Account></Response></Autodiscover>"#)
}

fn error(code: &str, text: &str) -> String {
    format!(
        r#"<Autodiscover xmlns="{OUTER}"><Response><Error Time="12:00:00.0000000" Id="2477272013"><ErrorCode>{code}</ErrorCode><Message>{text}</Message><DebugData/></Error></Response></Autodiscover>"#
    )
}

fn document(text: &str) -> Response<Body> {
    let text = format!(r#"<?xml version="1.0" encoding="utf-8"?>{text}"#);
    with_type(StatusCode::OK, "text/xml; charset=utf-8", text.into_bytes())
}
