//! Why an exchange failed, as the lowest layer told it: a code for decisions, metrics and logs, and a text for people.

use std::error::Error;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};

use super::answer::with_causes;
use super::names::NameError;

/// Errors that stand behind one another beyond so many are not looked at.
const DEEPEST: usize = 16;
/// The code where no layer names a cause.
const UNNAMED: &str = "Transport";

/// A failure of the way to a server. It prints its text; two are equal if their codes and texts are.
#[derive(Clone, PartialEq, Eq)]
pub struct Cause {
    /// What the lowest layer that names a cause calls it, e.g. `UnknownIssuer`, `ConnectionRefused` or `NameUnknown`: letters and digits only.
    pub code: Box<str>,
    text: Box<str>,
}

impl Cause {
    /// A cause that we name ourselves.
    #[must_use]
    pub fn named(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into().into_boxed_str() }
    }

    /// What stands behind an error; the text begins with `text` and has each layer's own word.
    #[must_use]
    pub fn of(text: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        Self { code: code(error).into(), text: with_causes(text.into(), error).into() }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code, self.text)
    }
}

impl From<&str> for Cause {
    fn from(text: &str) -> Self {
        Self::named(UNNAMED, text)
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self::named(UNNAMED, text)
    }
}

/// The code of the lowest error that names a cause. An `io::Error` hides the error that it carries from `source`, so it is opened.
#[must_use]
pub fn code(error: &(dyn Error + 'static)) -> String {
    let chain: Vec<&(dyn Error + 'static)> = std::iter::successors(Some(error), behind).take(DEEPEST).collect();
    chain.into_iter().rev().find_map(name).unwrap_or_else(|| UNNAMED.to_owned())
}

fn behind<'e>(error: &&'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    let error = *error;
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(carried) => Some(carried),
        None => error.source(),
    }
}

fn name(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(of_tls(error));
    }
    if let Some(error) = error.downcast_ref::<NameError>() {
        return Some(error.code().to_owned());
    }
    if error.is::<super::http1::Late>() || error.is::<tokio::time::error::Elapsed>() {
        return Some("ConnectDeadline".into());
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        let named = [
            (error.is_incomplete_message(), "ConnectionClosed"),
            (error.is_parse(), "NotHttp"),
            (error.is_timeout(), "TimedOut"),
            (error.is_canceled(), "Cancelled"),
        ];
        return named.into_iter().find_map(|(it_is, code)| it_is.then(|| code.to_owned()));
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return error.reason().map(|reason| first_word(&format!("{reason:?}")));
    }
    let error = error.downcast_ref::<io::Error>()?;
    // A kind that says nothing is no cause.
    (error.kind() != io::ErrorKind::Other).then(|| first_word(&format!("{:?}", error.kind())))
}

fn of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(_)) => "CertificateUnusable".into(),
        rustls::Error::InvalidCertificate(why) => first_word(&format!("{why:?}").replace("Context", "")),
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) => HANDSHAKE_FAILURE.into(),
        rustls::Error::AlertReceived(alert) => format!("Alert{}", first_word(&format!("{alert:?}"))),
        // An answer that is no TLS: often https on a port that speaks without it.
        rustls::Error::InvalidMessage(_) => "NotTls".into(),
        rustls::Error::PeerIncompatible(why) => first_word(&format!("{why:?}")),
        rustls::Error::PeerMisbehaved(why) => first_word(&format!("{why:?}")),
        other => first_word(&format!("{other:?}")),
    }
}

/// The server's alert that no cipher suite, version or group is common to both (RFC 8446, section 6.2).
pub const HANDSHAKE_FAILURE: &str = "AlertHandshakeFailure";

/// What to do about a cause of the way to a server; `None` for one of which only its text tells.
#[must_use]
pub fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "UnknownIssuer" | "BadSignature" => {
            "the certificate was signed by nobody who is trusted here: add the company's authority (PEM) to http.roots, and check that nothing in between breaks TLS open"
        }
        "Expired" => "renew the server's certificate, or mend this machine's clock",
        "NotValidYet" => "mend this machine's clock, or wait until the server's certificate is valid",
        "NotValidForName" => "the server's certificate is for other names: correct the address, or the certificate",
        HANDSHAKE_FAILURE | "NoCipherSuitesInCommon" => {
            "server and client have no cipher suite in common: Windows Server 2012 (R2) with an RSA key offers none that is accepted here; give it an ECDSA certificate or a newer Windows"
        }
        "AlertProtocolVersion" | "ServerTlsVersionIsDisabledByOurConfig" | "ServerDoesNotSupportTls12Or13" => {
            "the server speaks no TLS 1.2: switch it on there"
        }
        "NotTls" => "what answers there does not speak TLS: check the port",
        "NotHttp" => "what answers there does not speak HTTP: check the port",
        "ConnectionRefused" => "nobody listens there: check host and port, and whether the server runs",
        "ConnectionReset" | "ConnectionClosed" | "UnexpectedEof" => {
            "the connection was cut: look at the server, and at what stands in between"
        }
        "HostUnreachable" | "NetworkUnreachable" => "there is no route to the server: check the network and the firewall",
        "ConnectDeadline" | "TimedOut" => "nothing came back in time: the server is silent, or a firewall lets nothing through",
        "NameUnknown" => "correct the name, or add it to DNS",
        "NameWithoutRecord" => "add an address (A or AAAA) for the name to DNS, or correct the name",
        "DnsSilent" => {
            "DNS itself does not answer: check the name servers of this machine (/etc/resolv.conf, or http.name_servers) and port 53 in the firewall"
        }
        "DnsFailed" => "DNS itself fails: look at the name servers of this machine (/etc/resolv.conf, or http.name_servers)",
        _ => return None,
    })
}

/// The name of a variant without what it carries.
fn first_word(debug: &str) -> String {
    debug.chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_layer_names_the_cause_though_others_wrap_it() {
        let wrapped = |error: rustls::Error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, told) in [
            (rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer), "UnknownIssuer"),
            (rustls::Error::InvalidCertificate(CertificateError::Expired), "Expired"),
            (rustls::Error::InvalidCertificate(CertificateError::NotValidForName), "NotValidForName"),
            (rustls::Error::AlertReceived(AlertDescription::HandshakeFailure), HANDSHAKE_FAILURE),
            (rustls::Error::AlertReceived(AlertDescription::ProtocolVersion), "AlertProtocolVersion"),
            (rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "NotTls"),
        ] {
            assert_eq!(code(&wrapped(error)), told);
        }
        assert_eq!(code(&io::Error::from(io::ErrorKind::ConnectionRefused)), "ConnectionRefused");
        assert_eq!(code(&io::Error::other(NameError::Unknown)), "NameUnknown");
        assert_eq!(code(&io::Error::other("a text that says nothing to programs")), UNNAMED);
    }

    #[test]
    fn a_cause_prints_every_layer_for_people() {
        let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError));
        let cause = Cause::of("no connection", &error);
        assert_eq!(&*cause.code, "DecryptError");
        assert!(cause.to_string().starts_with("no connection"), "{cause}");
    }
}
