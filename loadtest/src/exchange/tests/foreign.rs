//! What other people's clients ask: valid requests are answered or turned down politely, and held against nobody.

use super::client::*;
use crate::world::MailSpec;

fn resolve(entry: &str) -> String {
    format!(
        r#"<m:ResolveNames ReturnFullContactData="true" SearchScope="ActiveDirectory"><m:UnresolvedEntry>{entry}</m:UnresolvedEntry></m:ResolveNames>"#
    )
}

fn pull(events: &[&str]) -> String {
    let events: String = events.iter().map(|kind| format!("<t:EventType>{kind}</t:EventType>")).collect();
    format!(
        "<m:Subscribe><m:PullSubscriptionRequest><t:FolderIds>{INBOX}</t:FolderIds><t:EventTypes>{events}</t:EventTypes><t:Timeout>10</t:Timeout></m:PullSubscriptionRequest></m:Subscribe>"
    )
}

fn get_events(id: &str, watermark: &str) -> String {
    format!("<m:GetEvents><m:SubscriptionId>{id}</m:SubscriptionId><m:Watermark>{watermark}</m:Watermark></m:GetEvents>")
}

#[tokio::test]
async fn the_directory_knows_people_by_the_beginning_of_their_address_and_needs_no_mailbox() {
    let company = Company::new().await;
    let one = company.ask(ANNA, &resolve("anna")).nobody().send().await;
    assert_eq!((one.code(), one.value("EmailAddress")), ("NoError".to_owned(), ANNA.to_owned()));
    company.world.add_mailbox("annabel@corp.example");
    let several = company.ask(BOB, &resolve("anna")).send().await;
    assert_eq!(several.code(), "ErrorNameResolutionMultipleResults");
    assert_eq!(several.attribute("ResolveNamesResponseMessage", "ResponseClass"), "Warning");
    assert_eq!(several.attribute("ResolutionSet", "TotalItemsInView"), "2");
    assert_eq!(company.ask(ANNA, &resolve("zoe")).send().await.code(), "ErrorNameResolutionNoResults");
    assert!(company.misuse().is_empty());
}

#[tokio::test]
async fn several_folders_are_answered_one_by_one() {
    let company = Company::new().await;
    let four = ["root", "msgfolderroot", "inbox", "calendar"].map(|name| format!(r#"<t:DistinguishedFolderId Id="{name}"/>"#)).concat();
    let ask = get_folder().replace(INBOX, &four).replace("folder:UnreadCount", "folder:ParentFolderId");
    let reply = company.ask(ANNA, &ask).send().await;
    let root = reply.xml();
    let (mut codes, mut ids, mut parents) = (Vec::new(), Vec::new(), Vec::new());
    root.find_all("ResponseCode", &mut codes);
    root.find_all("FolderId", &mut ids);
    root.find_all("ParentFolderId", &mut parents);
    let codes: Vec<&str> = codes.iter().map(|code| code.trimmed()).collect();
    assert_eq!(codes, ["NoError", "NoError", "NoError", "ErrorFolderNotFound"]);
    let id = |at: usize| ids[at].attribute("Id").unwrap();
    assert_eq!(parents[2].attribute("Id"), Some(id(1)), "the inbox lies below the top");
    let by_id = format!(r#"<t:FolderId Id="{}"/>"#, id(2));
    assert_eq!(company.ask(ANNA, &get_folder().replace(INBOX, &by_id)).send().await.code(), "NoError");
    for (id, code) in [("inbox", "ErrorInvalidIdMalformed"), ("", "ErrorInvalidIdEmpty")] {
        let ask = get_folder().replace(INBOX, &format!(r#"<t:FolderId Id="{id}"/>"#));
        assert_eq!(company.ask(ANNA, &ask).send().await.code(), code);
    }
    assert!(company.misuse().is_empty());
}

#[tokio::test]
async fn an_id_of_the_wrong_form_is_malformed_and_one_of_the_right_form_is_unknown() {
    let company = Company::new().await;
    let known = company.world.deliver(ANNA, MailSpec::new("Bob", "x", "y")).unwrap();
    let bobs = company.world.deliver(BOB, MailSpec::new("Bob", "x", "y")).unwrap();
    let reply = company.ask(ANNA, &get_item(&[&known, "not an id", "", &bobs])).send().await;
    let root = reply.xml();
    let mut codes = Vec::new();
    root.find_all("ResponseCode", &mut codes);
    let codes: Vec<&str> = codes.iter().map(|code| code.trimmed()).collect();
    assert_eq!(codes, ["NoError", "ErrorInvalidIdMalformed", "ErrorInvalidIdEmpty", "ErrorItemNotFound"]);
    assert!(company.misuse().is_empty());
}

#[tokio::test]
async fn a_request_is_judged_by_the_schema_of_the_version_that_it_names() {
    let company = Company::new().await;
    let ask = |version, body: &str| company.ask(ANNA, body).version(version).send();
    assert_eq!(ask("Exchange2011", &get_folder()).await.code(), "ErrorInvalidServerVersion");
    assert_eq!(company.misuse(), ["refused"]);
    assert_eq!(ask("", &get_folder()).await.code(), "NoError", "without a header it is Exchange 2007's");
    assert_eq!(ask("V2017_07_11", &get_item(&["AAA="])).await.code(), "ErrorInvalidIdMalformed");
    assert!(company.misuse().is_empty());
    for (version, body) in [("", subscribe()), ("Exchange2010", subscribe()), ("Exchange2010_SP2", get_item(&["AAA="]))] {
        assert_eq!(ask(version, &body).await.code(), "ErrorSchemaValidation", "{version}");
        assert_eq!(company.misuse(), ["schema"]);
    }
    assert_eq!(ask("Exchange2010_SP1", &subscribe()).await.code(), "NoError");
}

#[tokio::test]
async fn events_are_pulled_by_watermark_until_the_subscription_is_ended() {
    let company = Company::new().await;
    let made = company.ask(ANNA, &pull(&["NewMailEvent"])).send().await;
    let (id, start) = (made.value("SubscriptionId"), made.value("Watermark"));
    let idle = company.ask(ANNA, &get_events(&id, &start)).send().await;
    assert!(idle.text.contains("<t:StatusEvent><t:Watermark>"));
    let items: Vec<String> = (0..2).map(|_| company.world.deliver(ANNA, MailSpec::new("Bob", "x", "y")).unwrap()).collect();
    let both = company.ask(ANNA, &get_events(&id, &start)).send().await;
    let root = both.xml();
    let (mut found, mut marks) = (Vec::new(), Vec::new());
    root.find_all("ItemId", &mut found);
    root.find_all("Watermark", &mut marks);
    let found: Vec<&str> = found.iter().filter_map(|item| item.attribute("Id")).collect();
    assert_eq!(found, items);
    assert_eq!(both.value("MoreEvents"), "false");
    let after = |mark: &str| company.ask(ANNA, &get_events(&id, mark)).send();
    assert_eq!(after(marks[0].trimmed()).await.attribute("ItemId", "Id"), items[1], "the first is known");
    assert!(after(marks[1].trimmed()).await.text.contains("StatusEvent"));
    assert_eq!(after("AAAA").await.code(), "ErrorInvalidWatermark");
    assert_eq!(company.ask(ANNA, &unsubscribe(&id)).send().await.code(), "NoError");
    assert_eq!(after(&start).await.code(), "ErrorSubscriptionNotFound");
    assert!(company.misuse().is_empty());
}

#[tokio::test]
async fn valid_requests_that_are_not_simulated_are_turned_down_and_counted_apart() {
    let company = Company::new().await;
    let two = format!("{INBOX}{INBOX}");
    let find = r#"<m:FindItem Traversal="Shallow"><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:Restriction><t:IsEqualTo><t:FieldURI FieldURI="item:Subject"/><t:FieldURIOrConstant><t:Constant Value="x"/></t:FieldURIOrConstant></t:IsEqualTo></m:Restriction><m:ParentFolderIds>INBOX</m:ParentFolderIds></m:FindItem>"#;
    let cases = [
        "<m:SyncFolderHierarchy><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape></m:SyncFolderHierarchy>".to_owned(),
        subscribe().replace(INBOX, &two),
        find.replace("INBOX", INBOX),
        sync(None, 10).replace("\"inbox\"", "\"root\""),
        pull(&["NewMailEvent"]).replace("Pull", "Push"),
    ];
    for body in cases {
        let reply = company.ask(ANNA, &body).send().await;
        assert_eq!((reply.status, reply.code()), (500, "ErrorInvalidOperation".to_owned()), "{body}");
        assert_eq!((company.misuse(), company.remarks()), (vec![], vec!["not-simulated"]), "{body}");
    }
}

#[tokio::test]
async fn properties_by_number_or_by_key_are_asked_for_in_vain_and_the_oldest_can_come_first() {
    let company = Company::new().await;
    for subject in ["first", "second"] {
        company.world.deliver(ANNA, MailSpec::new("Bob", subject, "y")).unwrap();
    }
    let body = format!(
        r#"<m:FindItem Traversal="Shallow"><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="item:Subject"/><t:ExtendedFieldURI PropertyTag="0x0e08" PropertyType="Long"/><t:IndexedFieldURI FieldURI="item:InternetMessageHeader" FieldIndex="X-Mailer"/></t:AdditionalProperties></m:ItemShape><m:IndexedPageItemView MaxEntriesReturned="1" Offset="0" BasePoint="Beginning"/><m:SortOrder><t:FieldOrder Order="Ascending"><t:FieldURI FieldURI="item:DateTimeReceived"/></t:FieldOrder></m:SortOrder><m:ParentFolderIds>{INBOX}</m:ParentFolderIds></m:FindItem>"#
    );
    let reply = company.ask(ANNA, &body).send().await;
    assert_eq!((reply.value("Subject"), reply.attribute("RootFolder", "TotalItemsInView")), ("first".to_owned(), "2".to_owned()));
    assert_eq!(reply.attribute("RootFolder", "IncludesLastItemInRange"), "false");
    let unknown = body.replace("item:DateTimeReceived", "item:Received");
    assert_eq!(company.ask(ANNA, &unknown).send().await.code(), "ErrorSchemaValidation");
    assert_eq!(company.misuse(), ["schema"]);
    assert!(company.misuse().is_empty() && company.remarks().is_empty());
}

#[tokio::test]
async fn a_full_budget_refuses_at_once() {
    let company = Company::with(|options| {
        options.limits.concurrency = 2;
        options.timings.latency = std::time::Duration::from_millis(300);
    })
    .await;
    let body = get_folder();
    let all = futures_util::future::join_all((0..3).map(|_| company.ask(ANNA, &body).send())).await;
    let refused: Vec<_> = all.iter().filter(|reply| reply.status == 500).map(Reply::code).collect();
    assert_eq!(refused, ["ErrorExceededConnectionCount"], "nobody waits for a place");
    assert_eq!(company.misuse(), ["concurrency"]);
}
