//! Invented mail: everyday senders and subjects, and now and then text of the kind that breaks programs.

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::world::MailSpec;

const SENDERS: [&str; 12] = [
    "Ann Baker",
    "Facilities",
    "Jürgen Großmann",
    "O'Neill, Siobhán",
    "Zoë & Partners <sales>",
    "李小龍",
    "Мария Иванова",
    "محمد العربي",
    "שרה כהן",
    "IT Service Desk",
    "Build server 🤖",
    "\"Quoted\" Name",
];

const SUBJECTS: [&str; 14] = [
    "Quarterly figures",
    "Re: Lunch on Thursday?",
    "Fwd: contract, signed",
    "Your parcel is on its way",
    "Minutes of the meeting",
    "Agenda for Monday <draft>",
    "AW: Rückfrage zur Lieferung",
    "Invoice 2026-1138 & reminder",
    "¿Nos vemos mañana?",
    "会議の件について",
    "Счёт на оплату",
    "اجتماع يوم الأحد",
    "פגישה ביום ראשון",
    "Launch 🚀🎉👩‍👩‍👧‍👦",
];

const PREVIEWS: [&str; 8] = [
    "Hello, please find the figures attached. They are better than we had thought, see page three.",
    "Hi, would noon suit you? The usual place. I would bring Tom along, if that is fine with you.",
    "Dear colleagues, the lift in the east wing is out of order until Friday. Please use the stairs.",
    "As discussed:\r\n\r\n- first point\r\n- second point\r\n- third point",
    "Vielen Dank für Ihre Nachricht. Wir melden uns schnellstmöglich.",
    "お世話になっております。添付の資料をご確認ください。",
    "السلام عليكم، نرجو تأكيد الحضور قبل نهاية الأسبوع.",
    "👍",
];

/// Text that has broken programs before: nothing, markup, control characters, wrong-way text, very long words.
const NASTY: [&str; 8] = [
    "",
    "]]><script>alert(1)</script>&amp;&#x0;",
    "tab\there, bell\u{7} and vertical\u{b}tab",
    "\u{202e}reversed\u{202c} and zero\u{200b}width",
    "e\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308} many marks on one letter",
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿🏳️‍🌈👨🏿‍🚀🇩🇪",
    "\\\"quotes\\\" and \\u0000 and {braces} and 'ticks'",
    "   only spaces around   ",
];

/// One mail in so many has something nasty in it.
const NASTY_ONE_IN: u32 = 8;

/// Makes up a mail.
pub(super) fn mail(rng: &mut impl Rng) -> MailSpec {
    let pick = |rng: &mut _, from: &[&str]| from.choose(rng).map_or(String::new(), |s| (*s).into());
    let mut sender: String = pick(rng, &SENDERS);
    let mut subject: String = pick(rng, &SUBJECTS);
    let mut preview: String = pick(rng, &PREVIEWS);
    if rng.random_ratio(1, NASTY_ONE_IN) {
        let nasty = match rng.random_range(0..3) {
            0 => long(rng),
            _ => pick(rng, &NASTY),
        };
        match rng.random_range(0..3) {
            0 => sender = nasty.chars().take(200).collect(),
            1 => subject = nasty,
            _ => preview = nasty,
        }
    }
    // Exchange's `item:Preview` has at most 255 characters (MS-OXWSCORE).
    let preview: String = preview.chars().take(255).collect();
    MailSpec::new(sender, subject, preview)
}

/// A text without end, of letters that take one, two, three and four bytes.
fn long(rng: &mut impl Rng) -> String {
    let letter = ["W", "ß", "語", "🙂", "👩‍👩‍👧‍👦"][rng.random_range(0..5)];
    letter.repeat(rng.random_range(100..3_000))
}
