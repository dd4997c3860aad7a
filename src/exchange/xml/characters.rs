//! Which characters XML allows, what its references stand for, and how text is written so that it is read back.

use std::borrow::Cow;

/// Makes text of bytes: without byte order mark; what is no UTF-8 or forbidden in XML 1.0 (section 2.2) becomes U+FFFD.
pub(super) fn clean(document: &[u8]) -> Cow<'_, str> {
    let document = document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document);
    // The check alone is many times faster than making text that may be lossy.
    let text = std::str::from_utf8(document).map_or_else(|_| String::from_utf8_lossy(document), Cow::Borrowed);
    if any(&text, begins_forbidden) && text.chars().any(|c| !allowed(c)) {
        return Cow::Owned(text.chars().map(|c| if allowed(c) { c } else { char::REPLACEMENT_CHARACTER }).collect());
    }
    text
}

/// Whether XML 1.0 allows a character.
fn allowed(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => true,
        '\u{FFFE}' | '\u{FFFF}' => false,
        other => other >= ' ',
    }
}

/// Whether a byte may be the first one of a character that XML 1.0 forbids.
fn begins_forbidden(byte: u8) -> bool {
    (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte == 0xEF
}

/// Whether any byte of a text is of a kind; without a way out in the middle, which lets the compiler look at many bytes at a time.
fn any(text: &str, kind: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(false, |found, byte| found | kind(byte))
}

/// The character that `&name;` stands for; U+FFFD for whatever XML does not know or forbids.
pub(super) fn resolve(name: &str) -> char {
    let number = match name.as_bytes() {
        [b'#', b'x' | b'X', ..] => u32::from_str_radix(&name[2..], 16).ok(),
        [b'#', ..] => name[1..].parse().ok(),
        _ => {
            return match name {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                "apos" => '\'',
                _ => char::REPLACEMENT_CHARACTER,
            };
        }
    };
    number.and_then(char::from_u32).filter(|c| allowed(*c)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Letters of a reference between `&` and `;`: as many as the longest number of a character has.
const LONGEST_REFERENCE: usize = 10;

/// An attribute's value with its references resolved.
pub(super) fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        // No reference is longer; to look for its end any further would cost the square of a long row of ampersands.
        match rest.bytes().take(LONGEST_REFERENCE + 1).position(|byte| byte == b';') {
            Some(end) => {
                out.push(resolve(&rest[..end]));
                rest = &rest[end + 1..];
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    out
}

/// Text made fit to stand in an element or attribute that we write.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape_into(&mut out, text);
    out
}

/// Appends text made fit to stand in an element or attribute.
pub fn escape_into(out: &mut String, text: &str) {
    if !any(text, |byte| matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'') || begins_forbidden(byte)) {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if allowed(c) => out.push(c),
            _ => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_wherever_it_needs_it() {
        assert_eq!(escape("H4sIAAAA+/=\t\r\n äß 😀"), "H4sIAAAA+/=\t\r\n äß 😀");
        assert_eq!(escape("<a b='\"&\">"), "&lt;a b=&apos;&quot;&amp;&quot;&gt;");
        assert_eq!(escape("a\0b\u{FFFE}c\u{FF21}"), "a\u{FFFD}b\u{FFFD}c\u{FF21}");
        let mut out = "before ".to_owned();
        escape_into(&mut out, "o'neil");
        assert_eq!(out, "before o&apos;neil");
    }

    #[test]
    fn a_document_is_copied_only_if_it_must_be() {
        assert!(matches!(clean("\u{FEFF}<a>ä\u{FF21}</a>".as_bytes()), Cow::Borrowed("<a>ä\u{FF21}</a>")));
        assert_eq!(clean(b"a\x01b\xFFc\xEF\xBF\xBF"), "a\u{FFFD}b\u{FFFD}c\u{FFFD}");
    }
}
