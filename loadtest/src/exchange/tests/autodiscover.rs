//! Autodiscover in both forms.

use super::client::*;
use crate::exchange::{Group, Redirect};

const NS: &str = "http://schemas.microsoft.com/exchange/2010/Autodiscover";

async fn soap(company: &Company, users: &[&str]) -> Reply {
    send(company, "/autodiscover/autodiscover.svc", soap_request(users)).await
}

fn soap_request(users: &[&str]) -> String {
    let list: String = users.iter().map(|user| format!("<a:User><a:Mailbox>{user}</a:Mailbox></a:User>")).collect();
    format!(
        r#"<soap:Envelope xmlns:a="{NS}" xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Header><a:RequestedServerVersion>Exchange2013</a:RequestedServerVersion><wsa:Action>{NS}/Autodiscover/GetUserSettings</wsa:Action><wsa:To>https://localhost/autodiscover/autodiscover.svc</wsa:To></soap:Header><soap:Body><a:GetUserSettingsRequestMessage><a:Request><a:Users>{list}</a:Users><a:RequestedSettings><a:Setting>ExternalEwsUrl</a:Setting><a:Setting>GroupingInformation</a:Setting><a:Setting>UserDN</a:Setting></a:RequestedSettings></a:Request></a:GetUserSettingsRequestMessage></soap:Body></soap:Envelope>"#
    )
}

async fn pox(company: &Company, user: &str) -> Reply {
    send(company, "/Autodiscover/Autodiscover.xml", pox_request(user)).await
}

fn pox_request(user: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress>{user}</EMailAddress><AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>"#
    )
}

async fn send(company: &Company, path: &str, body: String) -> Reply {
    let url = format!("{}{path}", company.server.base_url());
    let request = company.http.post(url).basic_auth(SVC.0, Some(SVC.1));
    let response = request.header("content-type", "text/xml; charset=utf-8").body(body).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Reply { status, headers, text: response.text().await.unwrap() }
}

/// The setting of this name.
fn setting(reply: &Reply, name: &str) -> Option<String> {
    let root = reply.xml();
    let mut all = Vec::new();
    root.find_all("UserSetting", &mut all);
    let found = all.into_iter().find(|setting| setting.child("Name").unwrap().text == name)?;
    Some(found.child("Value").unwrap().text.clone())
}

#[tokio::test]
async fn both_forms_tell_address_and_group_of_a_mailbox() {
    let company = Company::with(|options| options.groups = vec![Group::named("ALPHA"), Group::named("BETA")]).await;
    company.world.mailbox(BOB).unwrap().set_group(1);
    let anna = soap(&company, &["Anna@corp.example"]).await;
    assert_eq!(setting(&anna, "ExternalEwsUrl"), Some(company.server.ews_url()));
    assert_eq!(setting(&anna, "GroupingInformation").as_deref(), Some("ALPHA"));
    assert_eq!(anna.value("UserSettingErrors"), "");
    assert!(anna.text.contains("SettingIsNotAvailable"));
    let bob = pox(&company, BOB).await;
    assert_eq!(bob.value("GroupingInformation"), "BETA");
    assert_eq!(bob.value("EwsUrl"), company.server.ews_url());
    let both = soap(&company, &[ANNA, "nobody@corp.example"]).await;
    assert!(both.text.contains("InvalidUser"));
    assert_eq!(pox(&company, "nobody@corp.example").await.value("ErrorCode"), "500");
    assert!(company.misuse().is_empty());
}

#[tokio::test]
async fn redirects_come_in_every_form() {
    let company = Company::new().await;
    let to = "a@other.example".to_owned();
    company.server.redirect(ANNA, Some(Redirect::Address(to.clone())));
    assert_eq!(soap(&company, &[ANNA]).await.value("RedirectTarget"), to);
    assert_eq!(pox(&company, ANNA).await.value("RedirectAddr"), to);
    let url = "https://other.example/autodiscover/autodiscover.svc".to_owned();
    company.server.redirect(ANNA, Some(Redirect::Url(url.clone())));
    assert_eq!(soap(&company, &[ANNA]).await.value("RedirectTarget"), url);
    assert_eq!(pox(&company, ANNA).await.value("RedirectUrl"), url);
    company.server.redirect(ANNA, Some(Redirect::Http(url.clone())));
    let moved = soap(&company, &[ANNA]).await;
    assert_eq!((moved.status, moved.headers["location"].to_str().unwrap()), (302, url.as_str()));
    company.server.redirect(ANNA, Some(Redirect::Busy));
    assert_eq!(soap(&company, &[ANNA]).await.value("ErrorCode"), "ServerBusy");
    company.server.redirect(ANNA, None);
    assert!(setting(&soap(&company, &[ANNA]).await, "ExternalEwsUrl").is_some());
}

#[tokio::test]
async fn who_does_not_log_on_learns_the_forms_and_broken_requests_are_misuse() {
    let company = Company::new().await;
    let url = format!("{}/autodiscover/autodiscover.xml", company.server.base_url());
    let probe = company.http.get(url).send().await.unwrap();
    assert_eq!((probe.status().as_u16(), probe.headers()["x-soap-enabled"].to_str().unwrap()), (401, "True"));
    let reply = send(&company, "/autodiscover/autodiscover.svc", "<x/>".to_owned()).await;
    assert_eq!(reply.value("ErrorCode"), "InvalidRequest");
    assert_eq!(company.misuse(), ["schema"]);
    let unprefixed = soap_request(&[ANNA]).replace("a:Users>", "wsa:Users>");
    let reply = send(&company, "/autodiscover/autodiscover.svc", unprefixed).await;
    assert_eq!((reply.value("ErrorCode"), company.misuse()), ("InvalidRequest".to_owned(), vec!["schema"]), "a name in another namespace");
    let foreign = pox_request(ANNA).replace("<Request>", r#"<Request xmlns="http://schemas.microsoft.com/exchange">"#);
    let reply = send(&company, "/autodiscover/autodiscover.xml", foreign).await;
    assert_eq!((reply.value("ErrorCode"), company.misuse()), ("600".to_owned(), vec!["schema"]));
    for (path, status) in [("autodiscover.svc", 415), ("autodiscover.xml", 200)] {
        let url = format!("{}/autodiscover/{path}", company.server.base_url());
        let request = company.http.post(url).basic_auth(SVC.0, Some(SVC.1)).header("content-type", "application/xml");
        let reply = request.body(soap_request(&[ANNA])).send().await.unwrap();
        assert_eq!((reply.status().as_u16(), company.misuse()), (status, vec!["content-type"]), "{path}");
    }
}
