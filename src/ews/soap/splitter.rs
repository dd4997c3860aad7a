//! Cuts a stream of bytes, however they arrive, into the complete envelopes that a streaming answer strings together.

use bytes::{Buf, Bytes, BytesMut};

use crate::exchange::xml::MAX_DEPTH;

/// Why a stream cannot be cut any further; the connection is to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// An envelope is longer than the bound.
    #[error("an envelope is longer than {0} bytes")]
    TooLarge(usize),
    /// Elements nest too deep.
    #[error("an envelope nests too deep")]
    TooDeep,
    /// Something else than envelopes is in the stream: text between them (a proxy's page), another root element, a stray end.
    #[error("the stream holds something else than envelopes")]
    NotAnEnvelope,
    /// A document type definition.
    #[error("the stream brings a document type definition")]
    Dtd,
}

/// What the scan is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Between tags.
    Text,
    /// In a tag, after `<`; the quote that is open in it.
    Tag { start: usize, quote: Option<u8> },
    /// In `<!-- -->`, `<![CDATA[ ]]>` or `<? ?>`, waiting for what ends it.
    Until(&'static [u8]),
}

/// The cutter. Holds at most one unfinished envelope.
#[derive(Debug)]
pub struct Splitter {
    buffer: BytesMut,
    /// Everything before this was looked at.
    scanned: usize,
    within: Within,
    depth: usize,
    max_bytes: usize,
}

impl Splitter {
    /// Makes a cutter for envelopes of at most `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, within: Within::Text, depth: 0, max_bytes }
    }

    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether an envelope has begun and is not complete.
    #[must_use]
    pub fn unfinished(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next complete envelope, `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`SplitError`]; nothing can be read after it.
    pub fn next_envelope(&mut self) -> Result<Option<Bytes>, SplitError> {
        while self.scanned < self.buffer.len() {
            let more = match self.within {
                Within::Text => self.text()?,
                Within::Tag { start, quote } => match self.tag(start, quote)? {
                    Step::Envelope(end) => {
                        self.scanned = 0;
                        self.within = Within::Text;
                        return Ok(Some(self.buffer.split_to(end).freeze()));
                    }
                    Step::On(on) => on,
                },
                Within::Until(end) => self.until(end),
            };
            if !more {
                break;
            }
        }
        if self.buffer.len() > self.max_bytes {
            return Err(SplitError::TooLarge(self.max_bytes));
        }
        Ok(None)
    }

    /// Looks for the next `<`; says whether to go on.
    fn text(&mut self) -> Result<bool, SplitError> {
        let rest = &self.buffer[self.scanned..];
        let to = rest.iter().position(|byte| *byte == b'<');
        let text = &rest[..to.unwrap_or(rest.len())];
        if self.depth == 0 {
            if text.iter().any(|byte| !byte.is_ascii_whitespace() && !matches!(byte, 0xEF | 0xBB | 0xBF)) {
                return Err(SplitError::NotAnEnvelope);
            }
            // Nothing between envelopes is kept.
            let skip = self.scanned + text.len();
            self.buffer.advance(skip);
            self.scanned = 0;
            if to.is_none() {
                return Ok(false);
            }
        } else {
            let Some(to) = to else {
                self.scanned = self.buffer.len();
                return Ok(false);
            };
            self.scanned += to;
        }
        self.open()
    }

    /// At a `<`: decides what it begins; waits if that cannot be told yet.
    fn open(&mut self) -> Result<bool, SplitError> {
        const CDATA: &[u8] = b"<![CDATA[";
        const COMMENT: &[u8] = b"<!--";
        let rest = &self.buffer[self.scanned..];
        let (within, skip) = match rest.get(1) {
            None => return Ok(false),
            Some(b'?') => (Within::Until(b"?>"), 2),
            Some(b'!') if rest.starts_with(COMMENT) => (Within::Until(b"-->"), COMMENT.len()),
            Some(b'!') if rest.starts_with(CDATA) => (Within::Until(b"]]>"), CDATA.len()),
            Some(b'!') if rest.len() < CDATA.len() && (CDATA.starts_with(rest) || COMMENT.starts_with(rest)) => return Ok(false),
            Some(b'!') => return Err(SplitError::Dtd),
            Some(_) => (Within::Tag { start: self.scanned, quote: None }, 1),
        };
        self.within = within;
        self.scanned += skip;
        Ok(true)
    }

    fn until(&mut self, end: &'static [u8]) -> bool {
        let rest = &self.buffer[self.scanned..];
        match rest.windows(end.len()).position(|window| window == end) {
            Some(at) => {
                self.scanned += at + end.len();
                self.within = Within::Text;
                true
            }
            None => {
                // The end may have begun.
                self.scanned += rest.len().saturating_sub(end.len() - 1);
                false
            }
        }
    }

    /// Looks for the `>` of a tag that is in no quotes.
    fn tag(&mut self, start: usize, mut quote: Option<u8>) -> Result<Step, SplitError> {
        for at in self.scanned..self.buffer.len() {
            let byte = self.buffer[at];
            match quote {
                Some(open) if byte == open => quote = None,
                Some(_) => {}
                None if matches!(byte, b'"' | b'\'') => quote = Some(byte),
                None if byte == b'>' => {
                    self.scanned = at + 1;
                    self.within = Within::Text;
                    return self.close(start, at);
                }
                None => {}
            }
        }
        self.scanned = self.buffer.len();
        self.within = Within::Tag { start, quote };
        Ok(Step::On(false))
    }

    /// A tag is complete: counts the depth and tells whether an envelope ended.
    fn close(&mut self, start: usize, end: usize) -> Result<Step, SplitError> {
        let tag = &self.buffer[start + 1..end];
        let ends = tag.first() == Some(&b'/');
        let empty = tag.last() == Some(&b'/');
        if self.depth == 0 && (ends || local_name(tag) != b"Envelope") {
            return Err(SplitError::NotAnEnvelope);
        }
        if ends {
            self.depth -= 1;
        } else if !empty {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(SplitError::TooDeep);
            }
        }
        if self.depth > 0 {
            return Ok(Step::On(true));
        }
        if end + 1 > self.max_bytes {
            return Err(SplitError::TooLarge(self.max_bytes));
        }
        Ok(Step::Envelope(end + 1))
    }
}

enum Step {
    /// An envelope ends before this byte.
    Envelope(usize),
    /// Go on, or (false) wait for bytes.
    On(bool),
}

/// The local name in the inside of a tag.
fn local_name(tag: &[u8]) -> &[u8] {
    let end = tag.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'/').unwrap_or(tag.len());
    let name = &tag[..end];
    name.iter().rposition(|byte| *byte == b':').map_or(name, |colon| &name[colon + 1..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PREFIXES: [(&str, &str); 4] = [("", ""), ("s:", ":s"), ("soap:", ":soap"), ("SOAP:", ":SOAP")];

    fn envelope(prefix: usize, inside: &str) -> String {
        let (prefix, declared) = PREFIXES[prefix];
        format!("<{prefix}Envelope xmlns{declared}=\"http://schemas.xmlsoap.org/soap/envelope/\"><b a='>'>{inside}</b></{prefix}Envelope>")
    }

    fn cut(pieces: impl Iterator<Item = Vec<u8>>) -> Result<Vec<String>, SplitError> {
        let mut splitter = Splitter::new(64 * 1024);
        let mut out = Vec::new();
        for piece in pieces {
            splitter.push(&piece);
            while let Some(envelope) = splitter.next_envelope()? {
                out.push(String::from_utf8_lossy(&envelope).into_owned());
            }
        }
        Ok(out)
    }

    #[test]
    fn envelopes_of_every_prefix_are_cut_one_byte_at_a_time() {
        let insides = ["x", "<!-- </Envelope> -->", "<![CDATA[</s:Envelope>]]>", "<i/>ä😀"];
        let expected: Vec<String> = (0..4).map(|n| envelope(n, insides[n])).collect();
        let stream = format!("\u{FEFF}<?xml version=\"1.0\"?>{}\r\n{}{} \n{}", expected[0], expected[1], expected[2], expected[3]);
        let bytes = stream.bytes().map(|byte| vec![byte]);
        let mut got = cut(bytes).unwrap();
        got[0] = got[0].replace("<?xml version=\"1.0\"?>", "");
        assert_eq!(got, expected);
    }

    #[test]
    fn what_is_no_envelope_ends_the_stream() {
        let cases = [
            ("<html><body>busy</body></html>", SplitError::NotAnEnvelope),
            ("proxy says no", SplitError::NotAnEnvelope),
            ("</Envelope>", SplitError::NotAnEnvelope),
            ("<!DOCTYPE a>", SplitError::Dtd),
            ("<Envelope><!DOCTYPE a>", SplitError::Dtd),
        ];
        for (stream, error) in cases {
            assert_eq!(cut(std::iter::once(stream.as_bytes().to_vec())), Err(error), "{stream}");
        }
        let deep = format!("<Envelope>{}", "<a>".repeat(MAX_DEPTH));
        assert_eq!(cut(std::iter::once(deep.into_bytes())), Err(SplitError::TooDeep));
        let large = format!("<Envelope>{}", "a".repeat(64 * 1024));
        assert_eq!(cut(std::iter::once(large.into_bytes())), Err(SplitError::TooLarge(64 * 1024)));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_envelopes(
            insides in proptest::collection::vec((0..4_usize, "[a-zäß😀 ]{0,40}"), 1..8),
            cuts in proptest::collection::vec(1..60_usize, 1..80),
        ) {
            let expected: Vec<String> = insides.iter().map(|(prefix, inside)| envelope(*prefix, inside)).collect();
            let stream = expected.concat().into_bytes();
            let mut rest = &stream[..];
            let mut cuts = cuts.into_iter().cycle();
            let pieces = std::iter::from_fn(move || {
                let size = cuts.next()?.min(rest.len());
                if size == 0 { return None; }
                let (piece, more) = rest.split_at(size);
                rest = more;
                Some(piece.to_vec())
            });
            let pieces: Vec<_> = pieces.collect();
            prop_assert_eq!(cut(pieces.into_iter()), Ok(expected));
        }

        #[test]
        fn garbage_neither_panics_nor_grows(pieces in proptest::collection::vec("(<|/|>|!|-|\\[|CDATA|Envelope|\\?|\"|'| |a){0,40}", 0..40)) {
            let mut splitter = Splitter::new(256);
            for piece in pieces {
                splitter.push(piece.as_bytes());
                loop {
                    match splitter.next_envelope() {
                        Ok(Some(envelope)) => prop_assert!(envelope.len() <= 256),
                        Ok(None) => break,
                        Err(_) => return Ok(()),
                    }
                }
                prop_assert!(splitter.buffer.len() <= 256);
            }
        }
    }
}
