//! Writes the SOAP envelope of a request: version, impersonation, body.

use serde::{Deserialize, Serialize};

use super::xml::escape;

/// By which property the mailbox to act for is named in `t:ExchangeImpersonation` (MS-OXWSCDATA 2.2.4.21, `ConnectingSIDType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Impersonation {
    /// The primary SMTP address: works everywhere, costs the server a look-up in the directory.
    #[default]
    PrimarySmtpAddress,
    /// Any SMTP address of the mailbox.
    SmtpAddress,
    /// The user principal name, where it is the same text as the primary address: saves the look-up.
    PrincipalName,
}

impl Impersonation {
    fn element(self) -> &'static str {
        match self {
            Self::PrimarySmtpAddress => "PrimarySmtpAddress",
            Self::SmtpAddress => "SmtpAddress",
            Self::PrincipalName => "PrincipalName",
        }
    }
}

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
    let element = header.form.element();
    out.push_str(&format!(
        "<t:RequestServerVersion Version=\"{SCHEMA_VERSION}\"/><t:ExchangeImpersonation><t:ConnectingSID><t:{element}>{}</t:{element}></t:ConnectingSID></t:ExchangeImpersonation>",
        escape(header.act_for)
    ));
    out.push_str("</soap:Header><soap:Body>");
    body(&mut out);
    out.push_str("</soap:Body></soap:Envelope>");
    out
}
