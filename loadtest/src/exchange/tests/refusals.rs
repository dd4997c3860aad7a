//! What the real server would refuse is refused with its documented error, and counted as misuse under a clear name.

use std::time::Duration;

use super::client::*;
use crate::exchange::Group;
use crate::world::MailSpec;

#[tokio::test]
async fn who_does_not_log_on_gets_a_challenge_and_bearer_only_when_it_is_asked_for() {
    let company = Company::new().await;
    let wrong = company.ask(ANNA, &get_folder()).account(("CORP\\svc", "wrong")).send().await;
    assert_eq!(wrong.status, 401);
    let url = company.server.ews_url();
    let offered = |headers: &reqwest::header::HeaderMap| {
        let all = headers.get_all("www-authenticate").iter().map(|offer| offer.to_str().unwrap().split(' ').next().unwrap().to_owned());
        all.collect::<Vec<_>>()
    };
    assert_eq!(offered(&wrong.headers), ["Negotiate", "NTLM", "Basic"]);
    let looked = company.http.get(&url).send().await.unwrap();
    assert_eq!((looked.status().as_u16(), offered(looked.headers())), (401, vec!["Negotiate".into(), "NTLM".into(), "Basic".into()]));
    let begun = company.http.get(&url).header("authorization", "NTLM TlRMTVNTUAABAAAAN4II4gAAAAAoAAAAAAAAACgAAAAADAQAAAAADw==");
    let challenge = begun.send().await.unwrap().headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(challenge.starts_with("NTLM TlRMTVNTUAACAAAA"), "{challenge}");
    let page = company.http.get(&url).basic_auth(SVC.0, Some(SVC.1)).send().await.unwrap();
    assert_eq!((page.status().as_u16(), page.headers()["content-type"].to_str().unwrap()), (200, "text/html; charset=utf-8"));
    let empty = company.http.post(&url).header("Authorization", "Bearer ").send().await.unwrap();
    assert_eq!(empty.status().as_u16(), 401);
    assert!(empty.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer client_id="));
    let token = company.accounts.issue("app", "https://localhost", Duration::ZERO);
    let expired = company.http.post(&url).bearer_auth(token).send().await.unwrap();
    assert_eq!(expired.status().as_u16(), 401);
    assert!(expired.headers()["x-ms-diagnostics"].to_str().unwrap().contains("invalid_token"));
    let token = company.accounts.issue("app", "https://localhost", Duration::from_secs(60));
    let body = envelope(&impersonation(ANNA), &get_folder());
    let request = company.http.post(&url).bearer_auth(token).header("X-AnchorMailbox", ANNA);
    let good = request.header("content-type", "text/xml; charset=utf-8").body(body).send().await.unwrap();
    assert_eq!(good.status().as_u16(), 200);
    assert!(company.misuse().is_empty(), "wrong credentials are a wrong configuration");
}

#[tokio::test]
async fn impersonation_is_demanded_and_granted_to_the_allowed_account_only() {
    let company = Company::with(|options| options.impersonators = vec![SVC.0.to_owned()]).await;
    let without = company.ask(ANNA, &get_folder()).nobody().send().await;
    assert_eq!((without.status, without.code()), (200, "ErrorMissingEmailAddress".to_owned()));
    assert_eq!(company.misuse(), ["impersonation-missing"]);
    let token = company.accounts.issue("app", "https://localhost", Duration::from_secs(60));
    let request = company.http.post(company.server.ews_url()).bearer_auth(token).header("content-type", "text/xml");
    let text = request.body(envelope("", &get_folder())).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("ErrorInvalidExchangeImpersonationHeaderData"), "an application has no mailbox of its own");
    assert_eq!(company.misuse(), ["impersonation-missing"]);
    let other = company.ask(ANNA, &get_folder()).account(OTHER).send().await;
    assert_eq!(other.code(), "ErrorImpersonateUserDenied");
    let stranger = company.ask("nobody@corp.example", &get_folder()).send().await;
    assert_eq!(stranger.code(), "ErrorNonExistentMailbox");
    assert!(company.misuse().is_empty());
    company.ask(ANNA, &get_folder()).anchor(None).send().await;
    assert_eq!((company.misuse(), company.remarks()), (vec![], vec!["anchor-missing"]), "advised, not demanded");
    company.ask(ANNA, &get_folder()).anchor(None).affinity(None).send().await;
    assert_eq!(company.misuse(), ["anchor-missing"], "affinity cannot do without");
    company.ask(ANNA, &get_folder()).anchor(Some(BOB)).send().await;
    assert_eq!(company.misuse(), ["anchor-of-another-mailbox"]);
}

#[tokio::test]
async fn a_request_that_breaks_the_schema_is_refused() {
    let company = Company::new().await;
    let id = company.subscribe(ANNA).await;
    let state = |max: usize| sync(None, max);
    let bad = [
        ("31 minutes", streaming(&[&id], 31)),
        ("0 minutes", streaming(&[&id], 0)),
        ("no ids", streaming(&[], 5)),
        ("ids in the wrong namespace", streaming(&[&id], 5).replace("t:SubscriptionId", "m:SubscriptionId")),
        ("513 changes", state(513)),
        ("0 changes", state(0)),
        ("order", "<m:Unsubscribe><m:SubscriptionId>x</m:SubscriptionId><m:More/></m:Unsubscribe>".to_owned()),
        ("status events", subscribe().replace("CopiedEvent", "StatusEvent")),
        ("watermark", subscribe().replace("</t:EventTypes>", "</t:EventTypes><t:Watermark>x</t:Watermark>")),
        ("property", get_item(&["x"]).replace("item:Subject", "Subject")),
        ("base shape", get_item(&["x"]).replace("IdOnly", "Everything")),
        ("unknown property", get_item(&["x"]).replace("item:Subject", "item:Subjects")),
        ("property of another family", get_item(&["x"]).replace("message:From", "item:From")),
        ("unknown folder", get_folder().replace("\"inbox\"", "\"in-box\"")),
        ("two folders to sync", sync(None, 1).replace(INBOX, &format!("{INBOX}{INBOX}"))),
        ("operation", "<m:DropEverything/>".to_owned()),
        ("two operations", format!("{}{}", get_folder(), get_folder())),
        ("https namespace", r#"<GetFolder xmlns="https://schemas.microsoft.com/exchange/services/2006/messages"/>"#.to_owned()),
        ("not XML", "<m:GetFolder>".to_owned()),
    ];
    for (what, body) in bad {
        let reply = company.ask(ANNA, &body).send().await;
        assert_eq!((reply.status, reply.code()), (500, "ErrorSchemaValidation".to_owned()), "{what}");
        assert_eq!(company.misuse(), ["schema"], "{what}");
    }
}

#[tokio::test]
async fn another_content_type_a_foreign_folder_and_an_unknown_path_are_refused() {
    let company = Company::new().await;
    let url = company.server.ews_url();
    let plain = company.http.post(&url).basic_auth(SVC.0, Some(SVC.1)).body("<x/>").send().await.unwrap();
    assert_eq!(plain.status().as_u16(), 415);
    assert_eq!(company.misuse(), ["content-type"]);
    let drafts = company.ask(ANNA, &get_folder().replace("\"inbox\"", "\"drafts\"")).send().await;
    assert_eq!(drafts.code(), "ErrorFolderNotFound");
    let elsewhere = format!("{}/nothing", company.server.base_url());
    assert_eq!(company.http.get(elsewhere).send().await.unwrap().status().as_u16(), 404);
}

#[tokio::test]
async fn a_stream_of_201_ids_and_a_get_item_of_11_are_too_much() {
    let company = Company::new().await;
    let ids = vec!["AAA="; 201];
    let reply = company.ask(ANNA, &streaming(&ids, 30)).send().await;
    assert_eq!(reply.code(), "ErrorInvalidRequest");
    assert_eq!(company.misuse(), ["too-many-subscription-ids"]);
    let id = company.world.deliver(ANNA, MailSpec::new("Bob", "x", "y")).unwrap();
    let ids = vec![id.as_str(); 11];
    let reply = company.ask(ANNA, &get_item(&ids)).send().await;
    assert_eq!(reply.code(), "NoError", "ten are advised, more are answered");
    assert_eq!((company.misuse(), company.remarks()), (vec![], vec!["too-many-item-ids"]));
}

#[tokio::test]
async fn one_bad_id_spoils_the_stream_for_the_good_ones() {
    let company = Company::new().await;
    let good = company.subscribe(ANNA).await;
    let mut stream = company.ask(ANNA, &streaming(&[&good, "AAA-"], 30)).stream().await;
    let reply = stream.document().await;
    assert_eq!((reply.code(), reply.value("ConnectionStatus")), ("ErrorInvalidSubscription".to_owned(), "Closed".to_owned()));
    let root = reply.xml();
    let ids = root.find("ErrorSubscriptionIds").unwrap();
    assert_eq!(ids.children.len(), 1);
    assert_eq!((ids.children[0].text.as_str(), ids.children[0].namespace.ends_with("/messages")), ("AAA-", true));
    assert!(stream.next().await.unwrap().is_none());
    assert_eq!(company.misuse(), ["invalid-subscription-id"]);
}

#[tokio::test]
async fn a_stream_at_the_wrong_back_end_or_of_another_account_is_refused() {
    let company = Company::new().await;
    let asked = company.ask(ANNA, &subscribe()).affinity(None).send().await;
    let id = asked.value("SubscriptionId");
    let cookie = asked.headers.get_all("set-cookie").iter().find_map(|line| {
        let line = line.to_str().unwrap();
        line.strip_prefix("X-BackEndOverrideCookie=").map(|rest| rest.split(';').next().unwrap().to_owned())
    });
    let cookie = cookie.expect("the first Subscribe sets the cookie");
    let again = company.ask(BOB, &subscribe()).anchor(Some(ANNA)).affinity(Some(&cookie)).send().await;
    assert!(again.headers.get("set-cookie").is_none(), "only the first response sets it");
    let bobs = again.value("SubscriptionId");
    let ids = [id.as_str(), &bobs];
    let mut stream = company.ask(ANNA, &streaming(&ids, 30)).affinity(Some(&cookie)).stream().await;
    assert_eq!(stream.document().await.value("ConnectionStatus"), "OK");
    assert!(company.misuse().is_empty());
    let number: usize = cookie.split("mb").nth(1).unwrap()[..4].parse().unwrap();
    let elsewhere = cookie.replacen(&format!("mb{number:04}"), &format!("mb{:04}", number % 3 + 1), 1);
    let lost = company.ask(ANNA, &streaming(&[&id], 30)).affinity(Some(&elsewhere)).send().await;
    assert_eq!(lost.code(), "ErrorSubscriptionNotFound");
    assert_eq!(company.misuse(), ["wrong-back-end"]);
    let foreign = company.ask(ANNA, &streaming(&[&id], 30)).affinity(Some(&cookie)).account(OTHER).send().await;
    assert_eq!(foreign.code(), "ErrorSubscriptionAccessDenied");
    assert_eq!(company.misuse(), ["foreign-subscription"]);
}

#[tokio::test]
async fn a_second_opener_closes_the_first_stream_and_hears_what_follows() {
    let company = Company::new().await;
    let id = company.subscribe(ANNA).await;
    let mut first = company.ask(ANNA, &streaming(&[&id], 30)).stream().await;
    first.document().await;
    let mut second = company.ask(ANNA, &streaming(&[&id], 30)).stream().await;
    second.document().await;
    let end = first.document().await;
    assert_eq!((end.code(), end.value("ConnectionStatus")), ("ErrorNewEventStreamConnectionOpened".to_owned(), "Closed".to_owned()));
    assert!(first.next().await.unwrap().is_none());
    let item = company.world.deliver(ANNA, MailSpec::new("Bob", "x", "y")).unwrap();
    assert_eq!(second.document().await.attribute("ItemId", "Id"), item);
    assert!(company.misuse().is_empty());
}

#[tokio::test]
async fn a_budget_holds_so_many_streams_and_a_mailbox_so_many_subscriptions() {
    let company = Company::with(|options| {
        options.limits.hanging_connections = 3;
        options.limits.subscriptions = 5;
    })
    .await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let id = company.subscribe(ANNA).await;
        let mut stream = company.ask(ANNA, &streaming(&[&id], 30)).stream().await;
        stream.document().await;
        streams.push(stream);
    }
    let id = company.subscribe(ANNA).await;
    let refused = company.ask(ANNA, &streaming(&[&id], 30)).send().await;
    assert_eq!((refused.status, refused.code()), (500, "ErrorExceededConnectionCount".to_owned()));
    assert_eq!(company.misuse(), ["hanging-connections"]);
    let bobs = company.subscribe(BOB).await;
    company.ask(BOB, &streaming(&[&bobs], 30)).stream().await.document().await;
    company.subscribe(ANNA).await;
    let full = company.ask(ANNA, &subscribe()).send().await;
    assert_eq!((full.status, full.code()), (200, "ErrorExceededSubscriptionCount".to_owned()));
    assert_eq!(company.misuse(), ["too-many-subscriptions"]);
    drop(streams);
    // A closed connection counts until the server has noticed.
    let again = async || company.ask(ANNA, &streaming(&[&id], 30)).open().await.unwrap();
    let mut opened = again().await;
    while opened.status().as_u16() == 500 {
        opened = again().await;
    }
    assert_eq!(Stream::of(opened).document().await.value("ConnectionStatus"), "OK", "closed connections give their places back");
}

#[tokio::test]
async fn too_many_sync_calls_at_once_are_told_to_wait() {
    let company = Company::with(|options| {
        options.limits.sync_calls = 2;
        options.timings.latency = Duration::from_millis(300);
    })
    .await;
    let body = sync(None, 10);
    let all = futures_util::future::join_all((0..3).map(|_| company.ask(ANNA, &body).send())).await;
    let refused: Vec<_> = all.iter().filter(|reply| reply.status == 500).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].code(), refused[0].value("Value")), ("ErrorServerBusy".to_owned(), "5000".to_owned()));
    assert_eq!(company.misuse(), ["concurrent-sync-calls"]);
}

#[tokio::test]
async fn a_subscription_without_a_stream_expires_and_a_moved_one_says_so() {
    let company = Company::with(|options| options.timings.subscription_lifetime = Duration::ZERO).await;
    let id = company.subscribe(ANNA).await;
    let gone = company.ask(ANNA, &unsubscribe(&id)).send().await;
    assert_eq!(gone.code(), "ErrorSubscriptionNotFound");
    let company = Company::new().await;
    let (anna, bob) = (company.subscribe(ANNA).await, company.subscribe(BOB).await);
    let groups = [Group::named("POSTSIM01")];
    let home = |smtp: &str| super::super::affinity::BackEnd::home(smtp, 0, &groups);
    assert_eq!(home(ANNA), home(BOB), "else one stream could not hold both");
    let mut stream = company.ask(ANNA, &streaming(&[&anna, &bob], 30)).stream().await;
    stream.document().await;
    company.world.move_mailbox(ANNA).unwrap();
    let told = stream.document().await;
    assert_eq!((told.code(), told.value("SubscriptionId")), ("ErrorInvalidSubscription".to_owned(), anna));
    assert!(told.value("MessageText").contains("MailboxMoveStarted"));
    company.world.deliver(BOB, MailSpec::new("Bob", "x", "y")).unwrap();
    assert_eq!(stream.document().await.value("SubscriptionId"), bob, "the others go on");
}

#[tokio::test]
async fn a_refused_sync_state_is_told_by_its_code() {
    let company = Company::new().await;
    let page = company.ask(ANNA, &sync(None, 10)).send().await;
    let state = page.value("SyncState");
    assert_eq!(company.ask(ANNA, &sync(Some(&state), 10)).send().await.code(), "NoError");
    company.world.refuse_sync_states(ANNA).unwrap();
    let refused = company.ask(ANNA, &sync(Some(&state), 10)).send().await;
    assert_eq!((refused.status, refused.code()), (200, "ErrorInvalidSyncStateData".to_owned()));
}
