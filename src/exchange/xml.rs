//! Reads XML as servers really send it: names without prefixes, forbidden characters replaced, no DTD, bounded depth.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// How deep elements may nest; Exchange's own answers stay below 20.
pub const MAX_DEPTH: usize = 64;

/// Why a document cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// It is not well-formed, or ends in the middle.
    #[error("the XML is malformed or truncated")]
    Malformed,
    /// Elements nest deeper than [`MAX_DEPTH`].
    #[error("the XML nests too deep")]
    TooDeep,
    /// It brings a DTD: never read, because entities would come with it.
    #[error("the XML brings a document type definition")]
    Dtd,
}

/// The attributes of one element.
#[derive(Debug)]
pub struct Attributes<'a>(&'a BytesStart<'a>);

impl Attributes<'_> {
    /// The value of the attribute with this local name.
    #[must_use]
    pub fn get(&self, local: &str) -> Option<String> {
        let mut attributes = self.0.attributes();
        attributes.with_checks(false);
        attributes.flatten().find(|a| a.key.local_name().into_inner() == local).map(|a| unescape(&a.value))
    }

    /// Those of these local names, each once, in one walk through them.
    fn of(&self, known: &[&'static str]) -> Vec<(&'static str, String)> {
        let mut found: Vec<(&'static str, String)> = Vec::new();
        let mut attributes = self.0.attributes();
        for attribute in attributes.with_checks(false).flatten() {
            let local = attribute.key.local_name().into_inner();
            if let Some(name) = known.iter().find(|name| **name == local)
                && found.iter().all(|(other, _)| other != name)
            {
                found.push((name, unescape(&attribute.value)));
            }
        }
        found
    }
}

/// Takes the parts of a document in order.
pub trait Visitor {
    /// An element begins; its local name and attributes.
    fn start(&mut self, name: &str, attributes: &Attributes<'_>);
    /// Character data; one text may come in several pieces.
    fn text(&mut self, text: &str);
    /// An element ends; its local name.
    fn end(&mut self, name: &str);
}

/// Walks through a whole document.
///
/// # Errors
/// [`XmlError`]; what was visited until then is to be forgotten.
pub fn walk(document: &[u8], visitor: &mut impl Visitor) -> Result<(), XmlError> {
    let clean = clean(document);
    let mut reader = Reader::from_str(&clean);
    reader.config_mut().allow_dangling_amp = true;
    let mut depth = 0_usize;
    let mut seen_root = false;
    loop {
        match reader.read_event().map_err(|_| XmlError::Malformed)? {
            Event::Start(start) => {
                depth += 1;
                seen_root = true;
                if depth > MAX_DEPTH {
                    return Err(XmlError::TooDeep);
                }
                visitor.start(start.local_name().into_inner(), &Attributes(&start));
            }
            Event::Empty(start) => {
                seen_root = true;
                let name = start.local_name();
                visitor.start(name.into_inner(), &Attributes(&start));
                visitor.end(name.into_inner());
            }
            Event::End(end) => {
                depth -= 1;
                visitor.end(end.local_name().into_inner());
            }
            Event::Text(text) => visitor.text(&text),
            Event::CData(text) => visitor.text(&text),
            Event::GeneralRef(reference) => visitor.text(resolve(&reference).encode_utf8(&mut [0; 4])),
            Event::DocType(_) => return Err(XmlError::Dtd),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof if depth == 0 && seen_root => return Ok(()),
            Event::Eof => return Err(XmlError::Malformed),
        }
    }
}

/// Makes text of bytes: without byte order mark; what is no UTF-8 or forbidden in XML 1.0 (section 2.2) becomes U+FFFD.
fn clean(document: &[u8]) -> Cow<'_, str> {
    let document = document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document);
    let text = String::from_utf8_lossy(document);
    let suspicious = |byte: u8| (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte == 0xEF;
    // Without a way out in the middle, which lets the compiler look at many bytes at a time.
    if text.bytes().fold(false, |found, byte| found | suspicious(byte)) && text.chars().any(|c| !allowed(c)) {
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

/// The character that `&name;` stands for; U+FFFD for whatever XML does not know or forbids.
fn resolve(name: &str) -> char {
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

/// An attribute's value with its references resolved.
fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.find(';').filter(|end| *end <= 10) {
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
    out
}

/// An element with everything below it; names are local names.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Element {
    /// Local name.
    pub name: String,
    /// Attributes that somebody asks for: `Id`, `Name`, `ResponseClass`, `type`.
    attributes: Vec<(&'static str, String)>,
    /// Its own character data.
    pub text: String,
    /// Its child elements in order.
    pub children: Vec<Element>,
}

impl std::fmt::Debug for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What an element holds may be mail.
        write!(f, "Element({}, {} children)", self.name, self.children.len())
    }
}

/// The attributes that are kept.
const KEPT: [&str; 5] = ["Id", "Name", "ResponseClass", "type", "IncludesLastItemInRange"];

impl Element {
    /// Reads a document into its root element.
    ///
    /// # Errors
    /// [`XmlError`].
    pub fn parse(document: &[u8]) -> Result<Self, XmlError> {
        let mut tree = Tree { open: vec![Self::default()] };
        walk(document, &mut tree)?;
        let mut top = tree.open.pop().ok_or(XmlError::Malformed)?;
        top.children.pop().ok_or(XmlError::Malformed)
    }

    /// The first child of this name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The element at the end of a path of first children.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    /// The text at the end of a path.
    #[must_use]
    pub fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path).map(|element| element.text.as_str())
    }

    /// An attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

struct Tree {
    open: Vec<Element>,
}

impl Visitor for Tree {
    fn start(&mut self, name: &str, attributes: &Attributes<'_>) {
        self.open.push(Element { name: name.to_owned(), attributes: attributes.of(&KEPT), ..Element::default() });
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.open.last_mut() {
            element.text.push_str(text);
        }
    }

    fn end(&mut self, _name: &str) {
        if let (Some(done), Some(parent)) = (self.open.pop(), self.open.last_mut()) {
            parent.children.push(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_character_spoils_a_character_and_not_the_document() {
        let document = b"<a x=\"1&#x0;2\">one&#x0;two\x01three &amp; four&nbsp;\xFF<b>&#128512;</b></a>";
        let root = Element::parse(document).unwrap();
        assert_eq!(root.text, "one\u{FFFD}two\u{FFFD}three & four\u{FFFD}\u{FFFD}");
        assert_eq!(root.text_at(&["b"]), Some("😀"));
    }

    #[test]
    fn a_document_type_definition_is_refused() {
        let document = b"<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><a>&e;</a>";
        assert_eq!(Element::parse(document), Err(XmlError::Dtd));
    }

    #[test]
    fn depth_is_bounded_and_truncation_is_noticed() {
        let deep = "<a>".repeat(MAX_DEPTH + 1);
        assert_eq!(Element::parse(deep.as_bytes()), Err(XmlError::TooDeep));
        assert_eq!(Element::parse(b"<a><b>"), Err(XmlError::Malformed));
        assert_eq!(Element::parse(b"<a><b></a></b>"), Err(XmlError::Malformed));
        assert_eq!(Element::parse(b""), Err(XmlError::Malformed));
    }

    #[test]
    fn what_is_escaped_is_read_back() {
        let text = "a<b>&\"c'\u{1F600}";
        let document = format!("<a Name=\"{0}\">{0}</a>", escape(text));
        let root = Element::parse(document.as_bytes()).unwrap();
        assert_eq!((root.text.as_str(), root.attribute("Name")), (text, Some(text)));
    }
}
