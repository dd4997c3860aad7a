//! The SOAP protocol: GetUserSettings (MS-OXWSADISC 3.1.4.3).

use super::answer::{Answer, code};
use crate::exchange::xml::{Document, Element, XmlError, escape};

/// The content type of a request.
pub const CONTENT_TYPE: &str = "text/xml; charset=utf-8";

/// Writes a request for one mailbox to one address.
#[must_use]
pub fn request(smtp: &str, url: &str) -> String {
    format!(
        concat!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>",
            "<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"",
            " xmlns:wsa=\"http://www.w3.org/2005/08/addressing\"",
            " xmlns:a=\"http://schemas.microsoft.com/exchange/2010/Autodiscover\"><soap:Header>",
            "<a:RequestedServerVersion>Exchange2013</a:RequestedServerVersion>",
            "<wsa:Action>http://schemas.microsoft.com/exchange/2010/Autodiscover/Autodiscover/GetUserSettings</wsa:Action>",
            "<wsa:To>{}</wsa:To></soap:Header><soap:Body><a:GetUserSettingsRequestMessage><a:Request>",
            "<a:Users><a:User><a:Mailbox>{}</a:Mailbox></a:User></a:Users><a:RequestedSettings>",
            "<a:Setting>ExternalEwsUrl</a:Setting><a:Setting>InternalEwsUrl</a:Setting><a:Setting>GroupingInformation</a:Setting>",
            "</a:RequestedSettings></a:Request></a:GetUserSettingsRequestMessage></soap:Body></soap:Envelope>",
        ),
        escape(url),
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
    let Some(response) = root.at(&["Body", "GetUserSettingsResponseMessage", "Response"]) else {
        return Ok(Answer::Failed(if root.at(&["Body", "Fault"]).is_some() { "SoapFault".into() } else { "NoAnswer".into() }));
    };
    let whole = response.text_at(&["ErrorCode"]).map_or("NoError", str::trim);
    let Some(user) = response.child("UserResponses").and_then(|users| users.child("UserResponse")) else {
        return Ok(Answer::Failed(code(whole)));
    };
    let own = user.text_at(&["ErrorCode"]).map_or("NoError", str::trim);
    let target = user.text_at(&["RedirectTarget"]).map_or("", str::trim).to_owned();
    Ok(match (whole, own) {
        ("NoError", "NoError") => settings(user),
        (_, "RedirectAddress") => Answer::RedirectAddress(target),
        (_, "RedirectUrl") => Answer::RedirectUrl(target),
        (_, "InvalidUser" | "InvalidDomain") => Answer::NoSuchMailbox(code(own)),
        ("NoError", other) | (other, _) => Answer::Failed(code(other)),
    })
}

fn settings(user: Element<'_>) -> Answer {
    let value = |name: &str| {
        let setting =
            user.child("UserSettings")?.children().find(|setting| setting.text_at(&["Name"]).is_some_and(|known| known.trim() == name))?;
        setting.text_at(&["Value"]).map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    match value("ExternalEwsUrl").or_else(|| value("InternalEwsUrl")) {
        Some(ews_url) => Answer::Settings { ews_url, grouping: value("GroupingInformation") },
        None => Answer::Failed("SettingIsNotAvailable".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(inside: &str) -> Answer {
        let document = format!(
            "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><GetUserSettingsResponseMessage \
             xmlns='http://schemas.microsoft.com/exchange/2010/Autodiscover'><Response>{inside}</Response>\
             </GetUserSettingsResponseMessage></s:Body></s:Envelope>"
        );
        read(document.as_bytes()).unwrap()
    }

    fn user(inside: &str) -> Answer {
        answer(&format!("<ErrorCode>NoError</ErrorCode><UserResponses><UserResponse>{inside}</UserResponse></UserResponses>"))
    }

    #[test]
    fn settings_redirections_and_refusals_are_told_apart() {
        let setting = |name: &str, value: &str| {
            format!("<UserSetting i:type='StringSetting' xmlns:i='i'><Name>{name}</Name><Value>{value}</Value></UserSetting>")
        };
        let both = format!(
            "<ErrorCode>NoError</ErrorCode><UserSettings>{}{}</UserSettings>",
            setting("ExternalEwsUrl", "https://x/EWS/Exchange.asmx"),
            setting("GroupingInformation", "CO1PR06")
        );
        let expected = Answer::Settings { ews_url: "https://x/EWS/Exchange.asmx".into(), grouping: Some("CO1PR06".into()) };
        assert_eq!(user(&both), expected);
        assert_eq!(user("<ErrorCode>NoError</ErrorCode>"), Answer::Failed("SettingIsNotAvailable".into()));
        let redirect = |code: &str| format!("<ErrorCode>{code}</ErrorCode><RedirectTarget>there</RedirectTarget>");
        assert_eq!(user(&redirect("RedirectAddress")), Answer::RedirectAddress("there".into()));
        assert_eq!(user(&redirect("RedirectUrl")), Answer::RedirectUrl("there".into()));
        assert_eq!(user("<ErrorCode>InvalidUser</ErrorCode>"), Answer::NoSuchMailbox("InvalidUser".into()));
        assert_eq!(answer("<ErrorCode>ServerBusy</ErrorCode>"), Answer::Failed("ServerBusy".into()));
    }
}
