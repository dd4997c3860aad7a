//! Writes the SOAP envelope of a request: version, impersonation, body.

use crate::config::ews::Impersonation;
use crate::exchange::xml::escape_into;

/// The SOAP header of a request.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// How the mailbox is named.
    pub form: Impersonation,
    /// The mailbox to act for.
    pub act_for: &'a str,
}

/// The schema version we speak: the first with `item:Preview`, and old enough for every supported server.
pub const SCHEMA_VERSION: &str = "Exchange2013";

/// Writes a whole request around what `body` writes.
#[must_use]
pub fn write(header: Header<'_>, body: impl FnOnce(&mut String)) -> String {
    let mut out = String::with_capacity(1536);
    out.push_str(concat!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>",
        "<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"",
        " xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\"",
        " xmlns:m=\"http://schemas.microsoft.com/exchange/services/2006/messages\">",
        "<soap:Header>",
    ));
    let element = element(header.form);
    out.push_str(&format!("<t:RequestServerVersion Version=\"{SCHEMA_VERSION}\"/><t:ExchangeImpersonation><t:ConnectingSID><t:{element}>"));
    escape_into(&mut out, header.act_for);
    out.push_str(&format!("</t:{element}></t:ConnectingSID></t:ExchangeImpersonation>"));
    out.push_str("</soap:Header><soap:Body>");
    body(&mut out);
    out.push_str("</soap:Body></soap:Envelope>");
    out
}

/// The element that names the mailbox (MS-OXWSCDATA 2.2.4.21, `ConnectingSIDType`).
fn element(form: Impersonation) -> &'static str {
    match form {
        Impersonation::PrimarySmtpAddress => "PrimarySmtpAddress",
        Impersonation::SmtpAddress => "SmtpAddress",
        Impersonation::PrincipalName => "PrincipalName",
    }
}
