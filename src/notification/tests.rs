//! Whatever a mail brings: harmless, within the limit, never torn.

use proptest::prelude::*;

use super::*;

fn shown(raw: &str, max: usize) -> String {
    let mut words = Words::new(raw);
    words.shorten(max);
    words.shown().into_owned()
}

#[test]
fn control_characters_and_line_breaks_become_single_spaces() {
    assert_eq!(shown("  a\u{0}b\r\n\t c\u{85}\u{2028}d\u{7f} ", 100), "a b c d");
}

#[test]
fn directions_of_the_sender_s_making_are_left_out_and_right_to_left_words_are_isolated() {
    assert_eq!(shown("invoice\u{202e}fdp.exe", 100), "invoicefdp.exe");
    assert_eq!(shown("שלום", 100), "\u{2068}שלום\u{2069}");
    assert_eq!(shown("\u{2067}مرحبا", 100), "\u{2068}مرحبا\u{2069}");
    assert_eq!(shown("\u{202e}\u{2066}", 100), "", "nothing is left, and nothing is isolated");
}

#[test]
fn a_cut_right_to_left_text_keeps_both_marks() {
    assert_eq!(shown("שלום עולם", 6 + 3 + 4), "\u{2068}של…\u{2069}");
}

#[test]
fn a_family_is_shown_whole_or_not_at_all() {
    let family = "👨‍👩‍👧‍👦";
    assert_eq!(shown(&format!("ab{family}"), 2 + family.len()), format!("ab{family}"));
    assert_eq!(shown(&format!("ab{family}cde"), 2 + family.len() + 2), "ab…", "no room for the family and the mark");
    assert_eq!(shown(&format!("ab{family}cdef"), 2 + family.len() + 3), format!("ab{family}…"));
}

#[test]
fn one_grapheme_that_alone_is_too_big_is_cut_between_its_characters() {
    let tower = format!("a{}", "\u{301}".repeat(5000));
    let cut = shown(&tower, 100);
    assert!(cut.starts_with("a\u{301}") && cut.ends_with('…') && cut.len() <= 100, "{}", cut.len());
}

#[test]
fn the_last_words_go_first_and_the_first_words_last() {
    let (mut sender, mut subject, mut preview) = (Words::new("sender"), Words::new("subject"), Words::new("preview text"));
    shorten_all(&mut [&mut sender, &mut subject, &mut preview], 22);
    assert_eq!((sender.shown().as_ref(), subject.shown().as_ref(), preview.shown().as_ref()), ("sender", "subject", "previe…"));
    shorten_all(&mut [&mut sender, &mut subject, &mut preview], 10);
    assert_eq!((sender.shown().as_ref(), subject.shown().as_ref(), preview.shown().as_ref()), ("sender", "s…", ""));
    shorten_all(&mut [&mut sender, &mut subject, &mut preview], 5);
    assert_eq!((sender.shown().as_ref(), subject.shown().as_ref(), preview.shown().as_ref()), ("se…", "", ""));
}

proptest! {
    #[test]
    fn lengths_are_those_of_the_json(raw in any::<String>()) {
        prop_assert_eq!(json_len(&raw), serde_json::to_string(&raw).unwrap().len() - 2);
        let words = Words::new(&raw);
        prop_assert_eq!(words.json_len(), serde_json::to_string(&words.shown()).unwrap().len() - 2);
    }

    #[test]
    fn what_is_cut_fits_and_ends_between_graphemes(raw in any::<String>(), max in 0_usize..60) {
        let whole = Words::new(&raw);
        let mut cut = whole.clone();
        cut.shorten(max);
        prop_assert!(cut.json_len() <= max);
        if cut != whole && !cut.is_empty() {
            let kept = cut.text.strip_suffix(ELLIPSIS).unwrap();
            prop_assert!(whole.text.starts_with(kept));
            let first = whole.text.graphemes(true).next().unwrap();
            let border = whole.text.grapheme_indices(true).any(|(at, _)| whole.text[..at].trim_end() == kept);
            prop_assert!(border || first.starts_with(kept), "cut inside a grapheme that was not the first");
        }
    }

    #[test]
    fn no_marks_of_direction_are_left_open(raw in "[a\u{5d0}\u{627}\u{202a}-\u{202e}\u{2066}-\u{2069} ]{0,40}", max in 0_usize..80) {
        let shown = shown(&raw, max);
        let opened = shown.matches('\u{2068}').count();
        prop_assert_eq!(opened, shown.matches('\u{2069}').count());
        prop_assert!(opened <= 1);
        let strange = shown.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}' | '\u{2067}'));
        prop_assert!(!strange);
    }
}
