//! SOAP autodiscover: GetUserSettings (MS-OXWSADISC).

use std::fmt::Write as _;

use http::{HeaderMap, Response, StatusCode};

use super::super::door::{is_xml, log_on, plain, unauthorized, with_type};
use super::super::names::SOAP;
use super::super::server::Shared;
use super::{Found, Redirect, look_up, misuse, moved};
use crate::https::Body;
use crate::world::Mailbox;
use crate::xml::{self, Element, escape};

const NS: &str = "http://schemas.microsoft.com/exchange/2010/Autodiscover";
const ADDRESSING: &str = "http://www.w3.org/2005/08/addressing";
/// Users of one request; real servers publish no figure, and clients ask for few at a time.
const MAX_USERS: usize = 100;

/// Answers a request to `autodiscover.svc`.
pub(in crate::exchange) fn soap(shared: &Shared, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
    if let Err(why) = log_on(shared, headers) {
        return unauthorized(why);
    }
    if !is_xml(headers) {
        misuse(shared, "content-type", "a request is not text/xml");
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "text/xml is expected");
    }
    let ask = match read(body) {
        Ok(ask) => ask,
        Err(what) => {
            misuse(shared, "schema", what);
            let text = "The request could not be understood.";
            return document(&response(&codes("InvalidRequest", text)));
        }
    };
    let mut users = String::new();
    for user in &ask.users {
        match look_up(shared, user) {
            Found::Redirect(Redirect::Http(url)) => return moved(&url),
            Found::Redirect(Redirect::Busy) => {
                return document(&response(&codes("ServerBusy", "The server is too busy.")));
            }
            Found::Redirect(redirect) => users.push_str(&redirected(&redirect)),
            Found::Mailbox(mailbox) => users.push_str(&settings(shared, &mailbox, &ask.settings)),
            Found::Nobody => {
                let text = "The user could not be found.";
                let body = codes("InvalidUser", text);
                let _ = write!(users, "<UserResponse>{body}<UserSettingErrors/><UserSettings/></UserResponse>");
            }
        }
    }
    let none = codes("NoError", "");
    document(&response(&format!("{none}<UserResponses>{users}</UserResponses>")))
}

/// The first child of that name in that namespace: the same name in another one is another element.
fn child<'a>(parent: &'a Element, namespace: &str, name: &str) -> Option<&'a Element> {
    parent.children.iter().find(|child| child.name == name && child.namespace == namespace)
}

struct Ask {
    users: Vec<String>,
    settings: Vec<String>,
}

fn read(body: &[u8]) -> Result<Ask, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "not UTF-8")?;
    let root = xml::parse(text).map_err(|_| "not XML")?;
    if root.name != "Envelope" || root.namespace != SOAP {
        return Err("no SOAP 1.1 envelope");
    }
    let header = child(&root, SOAP, "Header").ok_or("no header")?;
    let action = child(header, ADDRESSING, "Action").ok_or("no action")?;
    if action.trimmed() != format!("{NS}/Autodiscover/GetUserSettings") {
        return Err("another action");
    }
    if child(header, NS, "RequestedServerVersion").is_none() {
        return Err("no RequestedServerVersion");
    }
    let message = child(&root, SOAP, "Body").and_then(|body| child(body, NS, "GetUserSettingsRequestMessage"));
    let request = message.ok_or("another message").and_then(|message| child(message, NS, "Request").ok_or("no request"))?;
    let users = child(request, NS, "Users").ok_or("no users")?;
    let mut addresses = Vec::with_capacity(users.children.len());
    for user in &users.children {
        let mailbox = Some(user).filter(|user| user.name == "User" && user.namespace == NS).and_then(|user| child(user, NS, "Mailbox"));
        addresses.push(mailbox.ok_or("a user without a mailbox")?.trimmed().to_owned());
    }
    let wanted = child(request, NS, "RequestedSettings").ok_or("no settings")?;
    if wanted.children.iter().any(|setting| setting.name != "Setting" || setting.namespace != NS) {
        return Err("something else among the settings");
    }
    let settings = wanted.children.iter().map(|setting| setting.trimmed().to_owned()).collect();
    let ask = Ask { users: addresses, settings };
    if ask.users.is_empty() || ask.users.len() > MAX_USERS || ask.settings.is_empty() {
        return Err("too few or too many users, or no setting");
    }
    Ok(ask)
}

fn settings(shared: &Shared, mailbox: &Mailbox, wanted: &[String]) -> String {
    let (mut known, mut errors) = (String::new(), String::new());
    for name in wanted {
        match setting(shared, mailbox, name) {
            Some(value) => {
                let _ = write!(
                    known,
                    r#"<UserSetting i:type="StringSetting"><Name>{name}</Name><Value>{}</Value></UserSetting>"#,
                    escape(&value),
                    name = escape(name)
                );
            }
            None => {
                let code = codes("SettingIsNotAvailable", "The setting is not available.");
                let _ = write!(errors, "<UserSettingError>{code}<SettingName>{}</SettingName></UserSettingError>", escape(name));
            }
        }
    }
    let none = codes("NoError", "No error.");
    format!(
        r#"<UserResponse>{none}<RedirectTarget i:nil="true"/><UserSettingErrors>{errors}</UserSettingErrors><UserSettings>{known}</UserSettings></UserResponse>"#
    )
}

fn setting(shared: &Shared, mailbox: &Mailbox, name: &str) -> Option<String> {
    match name {
        "ExternalEwsUrl" | "InternalEwsUrl" => Some(shared.ews_url(mailbox)),
        "GroupingInformation" => shared.group(mailbox).map(|group| group.name.clone()).filter(|name| !name.is_empty()),
        "AutoDiscoverSMTPAddress" => Some(mailbox.smtp().to_owned()),
        "UserDisplayName" => Some(mailbox.smtp().split('@').next().unwrap_or_default().to_owned()),
        "EwsSupportedSchemas" => Some("Exchange2007, Exchange2010_SP1, Exchange2013, Exchange2013_SP1, Exchange2016".to_owned()),
        "CasVersion" | "ExternalEwsVersion" => Some("15.02.1748.010".to_owned()),
        _ => None,
    }
}

fn redirected(redirect: &Redirect) -> String {
    let (code, target) = match redirect {
        Redirect::Address(address) => ("RedirectAddress", address),
        Redirect::Url(url) | Redirect::Http(url) => ("RedirectUrl", url),
        Redirect::Busy => return String::new(),
    };
    let codes = codes(code, "Ask elsewhere.");
    format!("<UserResponse>{codes}<RedirectTarget>{}</RedirectTarget><UserSettingErrors/><UserSettings/></UserResponse>", escape(target))
}

fn codes(code: &str, text: &str) -> String {
    format!("<ErrorCode>{code}</ErrorCode><ErrorMessage>{text}</ErrorMessage>")
}

fn response(content: &str) -> String {
    format!(
        r#"<s:Envelope xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}"><s:Header><a:Action s:mustUnderstand="1">{NS}/Autodiscover/GetUserSettingsResponse</a:Action><h:ServerVersionInfo xmlns:h="{NS}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><h:MajorVersion>15</h:MajorVersion><h:MinorVersion>2</h:MinorVersion></h:ServerVersionInfo></s:Header><s:Body><GetUserSettingsResponseMessage xmlns="{NS}"><Response xmlns:i="http://www.w3.org/2001/XMLSchema-instance">{content}</Response></GetUserSettingsResponseMessage></s:Body></s:Envelope>"#
    )
}

fn document(xml: &str) -> Response<Body> {
    with_type(StatusCode::OK, "text/xml; charset=utf-8", xml.as_bytes().to_vec())
}
