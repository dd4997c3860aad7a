//! The words of a notification: made harmless, set apart by direction, and shortened at grapheme boundaries to fit a provider's limit.
//!
//! Pure. Lengths are bytes of the JSON that the words become, escapes included.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;

/// The limit of both providers on a payload (Apple: "4 KB (4096 bytes)"; FCM: 4096 bytes).
pub const MAX_PAYLOAD_BYTES: usize = 4096;
/// What stands where words were cut.
const ELLIPSIS: char = '…';
/// First strong isolate and its end (Unicode Standard Annex 9, section 2.4): right-to-left words inside cannot turn what stands around them.
const ISOLATE: (char, char) = ('\u{2068}', '\u{2069}');

/// Words that came with a mail, made fit to be shown. Prints nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Words {
    text: String,
    isolated: bool,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Words({} bytes)", self.text.len())
    }
}

impl Words {
    /// Makes words harmless: control characters and line breaks become spaces, runs of spaces one, bidirectional embeddings, overrides and
    /// isolates of the sender's making are left out. Words with right-to-left letters are isolated as a whole.
    #[must_use]
    pub fn new(raw: &str) -> Self {
        // What is beyond the limit is cut in any case; this bounds the work on a subject of megabytes.
        let raw = &raw[..raw.floor_char_boundary(4 * MAX_PAYLOAD_BYTES)];
        if raw.is_ascii() && raw.bytes().all(|byte| byte >= b' ' && byte != 0x7f) && raw.trim_ascii() == raw && !raw.contains("  ") {
            return Self { text: raw.to_owned(), isolated: false };
        }
        let mut text = String::with_capacity(raw.len());
        for c in raw.chars() {
            match c {
                c if is_left_out(c) => {}
                c if c.is_control() || c.is_whitespace() => {
                    if !text.is_empty() && !text.ends_with(' ') {
                        text.push(' ');
                    }
                }
                c => text.push(c),
            }
        }
        text.truncate(text.trim_end().len());
        let isolated = text.chars().any(is_right_to_left);
        Self { text, isolated }
    }

    /// Nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// What is shown.
    #[must_use]
    pub fn shown(&self) -> Cow<'_, str> {
        if self.isolated && !self.text.is_empty() {
            format!("{}{}{}", ISOLATE.0, self.text, ISOLATE.1).into()
        } else {
            Cow::Borrowed(&self.text)
        }
    }

    /// The length of what is shown, in JSON, without its quotes.
    #[must_use]
    pub fn json_len(&self) -> usize {
        if self.text.is_empty() { 0 } else { json_len(&self.text) + self.marks_len() }
    }

    /// Cuts the words so that [`Words::json_len`] is at most `max`: at the border of a grapheme, or inside the first one if that alone is too big.
    pub fn shorten(&mut self, max: usize) {
        if self.json_len() <= max {
            return;
        }
        let room = max.saturating_sub(self.marks_len() + ELLIPSIS.len_utf8());
        let mut kept = longest(self.text.graphemes(true), room);
        if kept == 0 {
            kept = longest(self.text.char_indices().map(|(at, c)| &self.text[at..at + c.len_utf8()]), room);
        }
        self.text.truncate(self.text[..kept].trim_end().len());
        if !self.text.is_empty() {
            self.text.push(ELLIPSIS);
        }
    }

    fn marks_len(&self) -> usize {
        if self.isolated { ISOLATE.0.len_utf8() + ISOLATE.1.len_utf8() } else { 0 }
    }
}

/// Shortens words to `room` bytes of JSON together: the last first, then the one before it, and so on.
pub fn shorten_all(words: &mut [&mut Words], room: usize) {
    let mut total: usize = words.iter().map(|w| w.json_len()).sum();
    for words in words.iter_mut().rev() {
        if total <= room {
            return;
        }
        let before = words.json_len();
        words.shorten(before.saturating_sub(total - room));
        total -= before - words.json_len();
    }
}

/// The length of a text in JSON without its quotes, as `serde_json` writes it (RFC 8259, section 7).
#[must_use]
pub fn json_len(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
            0..0x20 => 6,
            _ => 1,
        })
        .sum()
}

/// Bytes of the leading pieces that fit.
fn longest<'a>(pieces: impl Iterator<Item = &'a str>, room: usize) -> usize {
    let (mut kept, mut used) = (0, 0);
    for piece in pieces {
        used += json_len(piece);
        if used > room {
            break;
        }
        kept += piece.len();
    }
    kept
}

/// Embeddings, overrides and isolates (a sender could turn "exe.txt" around with them), byte order marks and annotation marks.
fn is_left_out(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Letters of right-to-left scripts, Arabic numbers included (blocks whose default bidirectional class is R or AL).
fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{200f}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// What a push says whose details are not to be seen: title and body.
#[must_use]
pub fn mail_only(count: u32) -> (&'static str, String) {
    let body = if count > 1 { format!("You have {count} new mails") } else { "You have new mail".to_owned() };
    (NEW_MAIL, body)
}

/// The title where there is no sender to show.
pub const NEW_MAIL: &str = "New mail";

#[cfg(test)]
mod tests;
