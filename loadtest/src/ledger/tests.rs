//! Each definition of the ledger, held against small stories told by hand.

use super::*;
use jiff::Timestamp;

const WINDOW: Duration = Duration::from_secs(3);
const HOUR_MS: i64 = 3_600_000;
/// Later than any clock that runs this test, so that a phone of these stories is never the first to watch.
const T0_MS: i64 = 4_000_000_000_000;

struct Story {
    ledger: Ledger,
    begin: Instant,
}

impl Story {
    /// Two phones of one mailbox: `a` with a cut-off of one hour, `b` with none allowed at all.
    fn begin() -> Self {
        Self::with(Ledger::new(WINDOW))
    }

    fn with(ledger: Ledger) -> Self {
        let begin = ledger.start;
        let story = Self { ledger, begin };
        story.phone("a", 3_600);
        story.phone("b", 0);
        story
    }

    fn phone(&self, token: &str, cutoff_s: u64) {
        let device = Device {
            token: token.to_owned(),
            provider: Provider::Apns,
            mailbox: "ann@example.com".to_owned(),
            cutoff: Duration::from_secs(cutoff_s),
        };
        self.ledger.device_at(&device, self.begin, T0_MS);
    }

    fn at(&self, ms: u64) -> Instant {
        self.begin + Duration::from_millis(ms)
    }

    fn mail(&self, id: &str, at_ms: u64, to_announce: bool) {
        self.ledger.mail_delivered(&MailFact {
            mailbox: "ann@example.com".to_owned(),
            item_id: id.to_owned(),
            at: self.at(at_ms),
            received_at: Timestamp::UNIX_EPOCH,
            sender: String::new(),
            subject: String::new(),
            preview: String::new(),
            to_announce,
        });
        self.ledger.hint_on_wire("ann@example.com", id, self.at(at_ms + 10));
    }

    fn push(&self, token: &str, id: &str, mails: &[&str], at_ms: u64) {
        self.push_of(token, id, mails, mails.len() as u32, at_ms, false, Expiry::AtOnce);
    }

    #[expect(clippy::too_many_arguments, reason = "a push is what these tests vary")]
    fn push_of(&self, token: &str, id: &str, mails: &[&str], count: u32, at_ms: u64, details: bool, expiry: Expiry) {
        let hashes: Vec<_> = mails.iter().map(|id| ShortHash::of_item(id)).collect();
        self.ledger.push_accepted(&Push {
            provider: Provider::Apns,
            token,
            id,
            kind: PushKind::Mail,
            count,
            hashes: &hashes,
            details,
            badge: Some(1),
            expiry,
            arrived: self.at(at_ms),
            arrived_ms: T0_MS + at_ms as i64,
            payload: b"{}",
        });
    }

    fn verdict(&self) -> Verdict {
        self.ledger.judge()
    }
}

#[test]
fn a_mail_that_one_of_two_phones_never_heard_of_is_lost_once() {
    let story = Story::begin();
    story.mail("m1", 100, true);
    story.push("a", "p1", &["m1"], 150);
    let verdict = story.verdict();
    assert_eq!((verdict.announced, verdict.lost_count), (1, 1));
    assert_eq!(verdict.lost[0].device, "b");
    assert_eq!(verdict.lost[0].mail, ShortHash::of_item("m1").to_string());
    assert!(!verdict.is_clean());
}

#[test]
fn a_mail_read_or_deleted_before_its_push_is_excused() {
    let story = Story::begin();
    story.mail("m1", 100, true);
    story.mail("m2", 100, true);
    story.ledger.mail_gone("ann@example.com", "m1", Gone::Read);
    story.ledger.mail_gone("ann@example.com", "m2", Gone::Deleted);
    story.ledger.mail_gone("ann@example.com", "m2", Gone::Deleted);
    let verdict = story.verdict();
    assert_eq!((verdict.lost_count, verdict.gone), (0, 2));
    assert!(verdict.is_clean());
}

#[test]
fn the_same_mail_in_another_push_is_doubled_and_with_the_same_id_a_repeat() {
    let story = Story::begin();
    story.mail("m1", 100, true);
    story.push("a", "p1", &["m1"], 150);
    story.push("b", "p1", &["m1"], 150);
    assert_eq!((story.verdict().doubled, story.verdict().repeats), (0, 0));
    story.push("a", "p1", &["m1"], 200);
    assert_eq!((story.verdict().doubled, story.verdict().repeats), (0, 1));
    story.push("a", "p2", &["m1"], 250);
    assert_eq!((story.verdict().doubled, story.verdict().repeats), (1, 1));
}

#[test]
fn late_is_more_than_the_window_and_two_seconds_after_the_hint() {
    let story = Story::begin();
    story.mail("m1", 100, true);
    story.push("a", "p1", &["m1"], 110 + 5_000);
    assert_eq!(story.verdict().late, 0);
    story.push("b", "p1", &["m1"], 110 + 5_001);
    assert_eq!(story.verdict().late, 1);
}

#[test]
fn a_mail_without_a_hint_is_announced_but_not_late() {
    let story = Story::begin();
    story.ledger.mail_delivered(&MailFact {
        mailbox: "ann@example.com".to_owned(),
        item_id: "m1".to_owned(),
        at: story.at(0),
        received_at: Timestamp::UNIX_EPOCH,
        sender: String::new(),
        subject: String::new(),
        preview: String::new(),
        to_announce: true,
    });
    story.push("a", "p1", &["m1"], 60_000);
    let verdict = story.verdict();
    assert_eq!((verdict.late, verdict.unhinted, verdict.announced), (0, 1, 1));
}

#[test]
fn latencies_run_from_the_hint_and_from_the_delivery() {
    let story = Story::begin();
    story.mail("m1", 100, true);
    story.push("a", "p1", &["m1"], 150);
    let verdict = story.verdict();
    assert!((verdict.from_hint.p50_ms - 40.0).abs() < 1.0, "{}", verdict.from_hint);
    assert!((verdict.from_delivery.p50_ms - 50.0).abs() < 1.0);
}

#[test]
fn mails_after_quiet_are_measured_apart_from_those_that_wait_for_the_window() {
    let story = Story::begin();
    // After quiet; beside it; within the window after its push; after quiet again.
    for (id, at, told) in [("m1", 100, 150), ("m2", 105, 3_100), ("m3", 5_000, 6_100), ("m4", 9_500, 9_520)] {
        story.mail(id, at, true);
        story.push("a", id, &[id], told);
    }
    let verdict = story.verdict();
    assert_eq!((verdict.first.count, verdict.in_window.count, verdict.from_hint.count), (2, 2, 4));
    assert!(verdict.first.max_ms < 45.0, "{}", verdict.first);
    assert!(verdict.in_window.p50_ms > 1_000.0, "{}", verdict.in_window);
    let table = verdict.to_string();
    assert!(table.contains("hint to push, at once ") && table.contains("hint to push, in window "), "{table}");
}

#[test]
fn a_push_that_counts_more_than_it_names_stands_for_the_next_older_ones() {
    let story = Story::begin();
    for n in 1..=5 {
        story.mail(&format!("m{n}"), 100 + n, true);
    }
    story.push("a", "p1", &["m2"], 120);
    story.push_of("a", "p2", &["m5", "m4"], 4, 200, false, Expiry::AtOnce);
    let lost_to_a = |v: &Verdict| v.lost.iter().filter(|lost| lost.device == "a").count();
    let verdict = story.verdict();
    assert_eq!(verdict.announced, 5, "m2, then m5 m4 and behind them m3 and m1");
    assert_eq!((lost_to_a(&verdict), verdict.doubled), (0, 0));
    story.push("a", "p3", &["m3"], 300);
    assert_eq!(story.verdict().doubled, 0, "it had been counted, not named");
    story.push("a", "p4", &["m3"], 300);
    assert_eq!(story.verdict().doubled, 1);
}

#[test]
fn details_past_the_cut_off_are_too_much_on_arrival_and_by_expiry() {
    let story = Story::begin();
    let second = |over_ms: i64| (HOUR_MS + over_ms) as u64;
    let count = || story.verdict().too_much_content;
    story.push_of("a", "1", &[], 0, second(1_000), true, Expiry::AtOnce);
    assert_eq!(count(), 0, "one second of grace");
    story.push_of("a", "2", &[], 0, second(1_001), true, Expiry::AtOnce);
    assert_eq!(count(), 1);
    story.push_of("a", "3", &[], 0, second(5_000), false, Expiry::Unbounded);
    assert_eq!(count(), 1, "mail only may always be sent");
    story.push_of("a", "4", &[], 0, 10, true, Expiry::At(T0_MS + HOUR_MS));
    assert_eq!(count(), 1);
    story.push_of("a", "5", &[], 0, 10, true, Expiry::At(T0_MS + HOUR_MS + 2_000));
    assert_eq!(count(), 2, "the provider may show it past the cut-off");
    story.push_of("a", "6", &[], 0, 10, true, Expiry::Unbounded);
    assert_eq!(count(), 3);
    story.push_of("b", "7", &[], 0, 10, true, Expiry::AtOnce);
    assert_eq!(count(), 4, "a cut-off of zero never allows details");
}

#[test]
fn use_of_the_phone_brings_details_back() {
    let story = Story::begin();
    let later = (2 * HOUR_MS) as u64;
    let used = Timestamp::from_millisecond(T0_MS + 2 * HOUR_MS).unwrap();
    story.ledger.activity("a", used);
    story.push_of("a", "1", &[], 0, later + 100, true, Expiry::AtOnce);
    assert_eq!(story.verdict().too_much_content, 0);
}

#[test]
fn a_forgotten_phone_is_owed_nothing_and_a_returning_one_only_what_comes_after() {
    let story = Story::begin();
    story.ledger.forgotten("b");
    story.mail("m1", 100, true);
    story.push("a", "p1", &["m1"], 150);
    assert_eq!(story.verdict().lost_count, 0);
    let back = Device { token: "b".to_owned(), provider: Provider::Apns, mailbox: "ann@example.com".to_owned(), cutoff: Duration::ZERO };
    story.ledger.device_at(&back, story.at(200), T0_MS);
    assert_eq!(story.verdict().lost_count, 0);
    story.mail("m2", 300, true);
    story.push("a", "p2", &["m2"], 350);
    assert_eq!(story.verdict().lost_count, 1);
}

#[test]
fn a_token_that_another_user_registers_leaves_its_former_mailbox() {
    let story = Story::begin();
    let moved = Device { token: "b".to_owned(), provider: Provider::Apns, mailbox: "bob@example.com".to_owned(), cutoff: Duration::ZERO };
    story.ledger.device_at(&moved, story.at(50), T0_MS);
    story.mail("m1", 100, true);
    story.push("a", "p1", &["m1"], 150);
    assert_eq!(story.verdict().lost_count, 0, "b hears of bob's mail, not of ann's");
    story.push("b", "p1", &["m1"], 150);
    assert_eq!(story.verdict().unknown_mails, 1);
}

#[test]
fn a_mail_under_a_new_id_is_the_same_mail() {
    let story = Story::begin();
    story.mail("m1", 100, true);
    story.push("a", "p1", &["m1"], 150);
    story.ledger.mail_renamed("ann@example.com", "m1", "m1-moved");
    story.push("b", "p2", &["m1-moved"], 150);
    assert_eq!(story.verdict().lost_count, 0);
    story.push("a", "p3", &["m1-moved"], 200);
    assert_eq!(story.verdict().doubled, 1);
}

#[test]
fn an_old_mail_or_an_invented_one_is_not_to_be_announced() {
    let story = Story::begin();
    story.mail("old", 100, false);
    assert!(story.verdict().is_clean(), "nobody has to hear of it");
    story.push("a", "p1", &["old"], 150);
    story.push("a", "p2", &["never"], 150);
    let verdict = story.verdict();
    assert_eq!((verdict.unwanted, verdict.unknown_mails), (1, 1));
    assert!(!verdict.is_clean());
}

#[test]
fn an_older_mail_moved_in_is_news_only_to_who_watched_when_it_was_received() {
    let story = Story::begin();
    let moved_in = |id: &str, received_ms: i64| {
        story.ledger.mail_delivered(&MailFact {
            mailbox: "ann@example.com".to_owned(),
            item_id: id.to_owned(),
            at: story.at(100),
            received_at: Timestamp::from_millisecond(received_ms).unwrap(),
            sender: String::new(),
            subject: String::new(),
            preview: String::new(),
            to_announce: false,
        });
    };
    let now_ms = Timestamp::now().as_millisecond();
    let early = Device { token: "c".to_owned(), provider: Provider::Apns, mailbox: "ann@example.com".to_owned(), cutoff: Duration::ZERO };
    story.ledger.device_at(&early, story.begin, now_ms - HOUR_MS);
    moved_in("half an hour old", now_ms - HOUR_MS / 2);
    moved_in("two hours old", now_ms - 2 * HOUR_MS);
    moved_in("read before it came", now_ms);
    story.push("c", "p1", &["half an hour old"], 150);
    assert_eq!(story.verdict().unwanted, 0);
    story.push("c", "p2", &["two hours old"], 150);
    assert_eq!(story.verdict().unwanted, 1);
    story.push("c", "p3", &["read before it came"], 150);
    assert_eq!(story.verdict().unwanted, 2);
}

#[test]
fn a_mail_that_became_unread_again_may_be_announced_or_not() {
    let story = Story::begin();
    story.mail("m1", 100, true);
    story.ledger.mail_gone("ann@example.com", "m1", Gone::Read);
    story.ledger.mail_unread("ann@example.com", "m1");
    assert_eq!(story.verdict().lost_count, 0);
    story.push("a", "p1", &["m1"], 150);
    assert!(story.verdict().is_clean());
}

#[test]
fn a_stranger_is_counted_or_else_adopted_by_the_mailbox_whose_mail_it_hears_of() {
    let strict = Story::begin();
    strict.mail("m1", 100, true);
    strict.push("stranger", "p1", &["m1"], 150);
    assert_eq!((strict.verdict().unknown_phones, strict.verdict().devices), (1, 2));
    let kind = Story::with(Ledger::new(WINDOW).adopting(true));
    kind.mail("m1", 100, true);
    kind.push("stranger", "p1", &["m1"], 150);
    kind.mail("m2", 200, true);
    let verdict = kind.verdict();
    assert_eq!((verdict.unknown_phones, verdict.devices, verdict.announced), (0, 3, 1));
    assert_eq!(verdict.lost.iter().filter(|lost| lost.device == "stranger").count(), 1, "it is owed the next one");
}

#[test]
fn misuse_is_counted_by_rule_with_examples_and_spoils_the_verdict() {
    let story = Story::begin();
    for n in 0..10 {
        story.ledger.misuse(Misuse { server: "apns", rule: "bad-topic", detail: format!("case {n}") });
    }
    let verdict = story.verdict();
    assert_eq!(verdict.misuse_count(), 10);
    assert_eq!(verdict.misuse[0].examples.len(), 3);
    assert!(!verdict.is_clean());
    assert!(verdict.to_string().contains("bad-topic"));
}

#[test]
fn badges_that_differ_from_the_inbox_are_behind() {
    let story = Story::begin();
    story.mail("m1", 100, true);
    story.ledger.unread_count("ann@example.com", 1);
    story.push("a", "p1", &["m1"], 150);
    assert_eq!(story.verdict().badges_behind, 0);
    story.ledger.unread_count("ann@example.com", 2);
    assert_eq!(story.verdict().badges_behind, 1);
}

#[tokio::test(start_paused = true)]
async fn the_verdict_waits_for_what_is_outstanding_but_not_for_ever() {
    let story = Story::begin();
    story.mail("m1", 100, true);
    let began = tokio::time::Instant::now();
    let verdict = story.ledger.verdict(Duration::from_secs(30)).await;
    assert_eq!(verdict.lost_count, 2);
    assert!(began.elapsed() >= Duration::from_secs(30));
    story.push("a", "p1", &["m1"], 150);
    story.push("b", "p1", &["m1"], 150);
    let began = tokio::time::Instant::now();
    assert!(story.ledger.verdict(Duration::from_secs(30)).await.is_clean());
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_mailbox_is_pushed_again_when_a_mail_that_came_since_is_announced() {
    let story = Story::begin();
    let again = |since_ms| story.ledger.pushed_again(story.at(since_ms), ["ann@example.com", "nobody@example.com"]);
    story.mail("before", 1_000, true);
    story.push("a", "p1", &["before"], 6_000);
    story.mail("after", 5_000, true);
    assert_eq!(again(4_000), [None, None], "what came before does not count");
    story.push("a", "p2", &["after"], 7_500);
    story.push("b", "p3", &["after"], 9_000);
    assert_eq!(again(4_000), [Some(Duration::from_millis(3_500)), None]);
}
