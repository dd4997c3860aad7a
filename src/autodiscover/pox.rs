//! The plain old XML protocol (MS-OXDSCLI 3.2.5).

use super::answer::{Answer, code};
use crate::exchange::xml::{Document, Element, XmlError, escape};

/// The content type of a request.
pub const CONTENT_TYPE: &str = "text/xml";

/// Writes a request for one mailbox.
#[must_use]
pub fn request(smtp: &str) -> String {
    format!(
        concat!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>",
            "<Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006\"><Request>",
            "<EMailAddress>{}</EMailAddress>",
            "<AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema>",
            "</Request></Autodiscover>",
        ),
        escape(smtp)
    )
}

/// Reads an answer.
///
/// # Errors
/// [`XmlError`] if it is no XML.
pub fn read(document: &[u8]) -> Result<Answer, XmlError> {
    let document = Document::parse(document)?;
    let root = document.root();
    let Some(response) = root.child("Response") else { return Ok(Answer::Failed("NoAnswer".into())) };
    if let Some(error) = response.child("Error") {
        let number = error.text_at(&["ErrorCode"]).map_or("", str::trim);
        // 500: the address cannot be found (MS-OXDSCLI 2.2.4.1.1.3).
        return Ok(if number == "500" { Answer::NoSuchMailbox("500".into()) } else { Answer::Failed(code(number)) });
    }
    let Some(account) = response.child("Account") else { return Ok(Answer::Failed("NoAccount".into())) };
    let text = |name: &str| account.text_at(&[name]).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if let Some(address) = text("RedirectAddr") {
        return Ok(Answer::RedirectAddress(address));
    }
    if let Some(url) = text("RedirectUrl") {
        return Ok(Answer::RedirectUrl(url));
    }
    Ok(protocol(account, "EXPR").or_else(|| protocol(account, "EXCH")).unwrap_or_else(|| Answer::Failed("NoEwsUrl".into())))
}

/// What one protocol section names: EXPR is the external, EXCH the internal one.
fn protocol(account: Element<'_>, kind: &str) -> Option<Answer> {
    let is_wanted =
        |section: &Element<'_>| section.name() == "Protocol" && section.text_at(&["Type"]).is_some_and(|text| text.trim() == kind);
    let section = account.children().find(is_wanted)?;
    let text = |name: &str| section.text_at(&[name]).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Some(Answer::Settings { ews_url: text("EwsUrl")?, grouping: text("GroupingInformation") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(inside: &str) -> Answer {
        let document = format!(
            "<?xml version=\"1.0\"?><Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\
             <Response xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\">{inside}</Response></Autodiscover>"
        );
        read(document.as_bytes()).unwrap()
    }

    #[test]
    fn the_external_section_comes_before_the_internal_one() {
        let section = |kind: &str| {
            format!("<Protocol><Type>{kind}</Type><EwsUrl>https://{kind}/</EwsUrl><GroupingInformation>G</GroupingInformation></Protocol>")
        };
        let settings = |url: &str| Answer::Settings { ews_url: url.into(), grouping: Some("G".into()) };
        let account = |inside: &str| answer(&format!("<Account><Action>settings</Action>{inside}</Account>"));
        assert_eq!(account(&format!("{}{}", section("EXCH"), section("EXPR"))), settings("https://EXPR/"));
        assert_eq!(account(&section("EXCH")), settings("https://EXCH/"));
        assert_eq!(account(""), Answer::Failed("NoEwsUrl".into()));
    }

    #[test]
    fn redirections_and_errors_are_told_apart() {
        let account = |inside: &str| answer(&format!("<Account>{inside}</Account>"));
        assert_eq!(account("<Action>redirectAddr</Action><RedirectAddr>a@b</RedirectAddr>"), Answer::RedirectAddress("a@b".into()));
        assert_eq!(account("<Action>redirectUrl</Action><RedirectUrl>https://b/</RedirectUrl>"), Answer::RedirectUrl("https://b/".into()));
        assert_eq!(answer("<Error><ErrorCode>500</ErrorCode></Error>"), Answer::NoSuchMailbox("500".into()));
        assert_eq!(answer("<Error><ErrorCode>600</ErrorCode></Error>"), Answer::Failed("600".into()));
    }
}
