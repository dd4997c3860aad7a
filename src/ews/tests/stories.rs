//! What happens when nothing goes wrong: mail is hinted at, read, counted; watches begin and end.

use postrider_actors::ports::mail_source::{BackEnd, Change, Hint, MailSource, SourceError};
use postrider_actors::time::Timestamp;

use super::harness::{Company, Different, mailbox, until};
use crate::ews::doctor::{Step, Told};
use crate::probe::Went;

#[tokio::test]
async fn a_mail_is_hinted_at_found_by_the_sync_and_read() {
    let company = Company::usual().await;
    let (before, state) = company.drain(1, None).await;
    assert_eq!(before, []);
    company.watch(1).await;
    let item = company.deliver(1);
    let hint = company.hinted(1, |hint| matches!(hint, Hint::Touched { mail: true, .. })).await;
    assert!(matches!(hint, Hint::Touched { unread: Some(1), .. }), "one hint with the count of the folder event: {hint:?}");
    let (changes, after) = company.drain(1, Some(state.clone())).await;
    let [Change::Created(facts)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((&facts.item, facts.read, facts.draft, facts.mail_class), (&item, false, false, true));
    assert_eq!(company.drain(1, Some(state)).await.0, changes, "the same state repeats its answer");
    assert_eq!(company.drain(1, Some(after)).await.0, []);
    let gone = company.deliver(1);
    company.world.delete(&super::harness::address(1), &gone.0).unwrap();
    let contents = company.source.contents(&mailbox(1), &[gone, item.clone()]).await.unwrap();
    assert_eq!(contents[0], None);
    let content = contents[1].as_ref().unwrap();
    assert_eq!((content.sender.as_str(), content.subject.as_str(), content.preview.as_str()), ("Ada", "Notes", "Dear reader"));
    assert_eq!(company.source.unread(&mailbox(1)).await, Ok(1));
    let since = company.source.received_since(&mailbox(1), Timestamp(0), 10).await.unwrap();
    assert_eq!(since.iter().map(|facts| &facts.item).collect::<Vec<_>>(), [&item]);
    company.no_misuse();
}

#[tokio::test]
async fn mailboxes_of_one_server_are_of_one_back_end_and_what_is_not_found_yet_is_of_its_domain() {
    let company = Company::usual().await;
    assert_eq!(company.source.back_end(&mailbox(1)), BackEnd("corp corp.example".into()));
    company.drain(1, None).await;
    company.drain(2, None).await;
    let origin = company.server.base_url();
    assert_eq!(company.source.back_end(&mailbox(1)), BackEnd(format!("corp {origin}").into()));
    assert_eq!(company.source.back_end(&mailbox(2)), company.source.back_end(&mailbox(1)));
}

#[tokio::test]
async fn many_mailboxes_share_a_stream_and_each_hears_of_its_own_mail() {
    let company = Company::different(Different { mailboxes: 230, ..Different::default() }).await;
    let mailboxes: Vec<_> = (1..=230).map(mailbox).collect();
    let watched = futures_util::future::join_all(mailboxes.iter().map(|mailbox| company.source.watch(mailbox, None))).await;
    assert!(watched.iter().all(Result::is_ok), "{watched:?}");
    for n in 1..=230 {
        company.hinted(n, |hint| hint == Hint::StreamOpened).await;
    }
    assert_eq!(company.source.counts(), (230, 2), "200 in one group, 30 in another");
    until("two streams", || company.server.streams() == 2).await;
    for n in [1, 57, 200, 201, 230] {
        company.deliver(n);
        company.mail_hinted(n).await;
    }
    company.no_misuse();
}

#[tokio::test]
async fn a_mailbox_that_is_unwatched_leaves_no_subscription_behind() {
    let company = Company::usual().await;
    company.watch(1).await;
    company.watch(2).await;
    until("two subscriptions", || company.server.subscriptions() == 2).await;
    company.source.unwatch(mailbox(1).id);
    until("one subscription", || company.server.subscriptions() == 1).await;
    company.deliver(2);
    company.mail_hinted(2).await;
    company.source.unwatch(mailbox(2).id);
    until("nothing left", || company.server.subscriptions() == 0 && company.source.counts() == (0, 0)).await;
    until("no stream left", || company.server.streams() == 0).await;
    company.no_misuse();
}

#[tokio::test]
async fn watching_again_and_a_predecessor_s_record_end_the_former_subscription() {
    let company = Company::usual().await;
    let record = company.watch(1).await;
    company.source.watch(&mailbox(1), None).await.unwrap();
    until("one of its own", || company.server.subscriptions() == 1).await;
    company.source.watch(&mailbox(1), Some(record)).await.unwrap();
    until("one of its own", || company.server.subscriptions() == 1).await;
    company.hinted(1, |hint| hint == Hint::StreamOpened).await;
    company.deliver(1);
    company.mail_hinted(1).await;
    company.no_misuse();
}

/// The steps of an examination.
async fn diagnosed(company: &Company, number: usize) -> Vec<Step> {
    let steps = std::sync::Mutex::new(Vec::new());
    let hears = |told: Told| {
        if let Told::Done(step) = told {
            steps.lock().unwrap().push(step);
        }
    };
    company.source.diagnose(&mailbox(number), &hears).await;
    steps.into_inner().unwrap()
}

#[tokio::test]
async fn the_doctor_names_every_step_and_the_one_that_fails() {
    let company = Company::usual().await;
    let steps = diagnosed(&company, 1).await;
    let names: Vec<_> = steps.iter().map(|step| (step.name, step.went)).collect();
    let expected = ["authorization", "autodiscover", "server", "door", "mailbox", "sync", "subscription", "stream", "end"];
    assert_eq!(names, expected.map(|name| (name, Went::Well)));
    until("nothing left", || company.server.subscriptions() == 0).await;
    let steps = diagnosed(&company, 77).await;
    let last = steps.last().unwrap();
    assert_eq!((last.name, last.went), ("mailbox", Went::Wrong));
    assert!(last.came_back.contains("ErrorNonExistentMailbox") && !last.advice.is_empty());
    company.no_misuse();
}

#[tokio::test]
async fn autodiscover_finds_the_server_by_soap_and_by_pox_and_follows_only_allowed_redirections() {
    let place = |file: &str, hosts: &str| {
        format!("autodiscover_url = \"URL\"\nallowed_hosts = [{hosts}]\n").replace("URL", &format!("BASE/autodiscover/{file}"))
    };
    for file in ["autodiscover.svc", "autodiscover.xml"] {
        let company = Company::different(Different { mail: &place(file, "\"localhost\""), ..Different::default() }).await;
        company.watch(1).await;
        company.deliver(1);
        company.mail_hinted(1).await;
        company.no_misuse();
    }
    use postrider_loadtest::exchange::Redirect;
    let company = Company::different(Different { mail: &place("autodiscover.svc", "\"localhost\""), ..Different::default() }).await;
    let foreign = ["http://localhost:1/autodiscover/autodiscover.svc", "https://evil.example/autodiscover/autodiscover.svc"];
    for (n, to) in foreign.into_iter().enumerate() {
        company.server.redirect(&super::harness::address(n + 1), Some(Redirect::Url(to.to_owned())));
        let refused = company.source.watch(&mailbox(n + 1), None).await;
        assert_eq!(refused, Err(SourceError::Refused { code: "HostNotAllowed".into() }));
        let steps = diagnosed(&company, n + 1).await;
        let went = |step: &Step| (step.name, step.went, step.came_back.contains("not an allowed host"));
        assert!(steps.iter().any(|step| went(step) == ("autodiscover", Went::Nowhere, true)), "{steps:?}");
        assert_eq!(steps.iter().filter(|step| step.went == Went::Wrong).map(|step| step.name).collect::<Vec<_>>(), ["server"]);
    }
    company.server.redirect(&super::harness::address(3), Some(Redirect::Address(super::harness::address(3))));
    assert!(matches!(company.source.watch(&mailbox(3), None).await, Err(SourceError::Unavailable { .. } | SourceError::Refused { .. })));
}
