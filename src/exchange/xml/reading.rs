//! One pass through a document that notes where its elements, their tags and their texts stand.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::attributes::Attributes;
use quick_xml::events::{BytesStart, Event};

use super::characters::{resolve, unescape};
use super::{MAX_DEPTH, MAX_ELEMENTS, Node, Span, XmlError};

/// How long an element of Exchange's answers is at least, as a rule: a guess that spares the list from growing.
const USUAL_BYTES: usize = 40;

/// What one pass collects.
struct Notes<'a> {
    source: &'a str,
    nodes: Vec<Node>,
    joined: String,
    /// The places of the elements that have begun and not ended.
    open: Vec<usize>,
}

/// Reads a clean document: its elements, at least one, and the texts that were joined.
pub(super) fn read(source: &str) -> Result<(Vec<Node>, String), XmlError> {
    let nodes = Vec::with_capacity((source.len() / USUAL_BYTES + 1).min(MAX_ELEMENTS));
    let mut notes = Notes { source, nodes, joined: String::new(), open: Vec::with_capacity(MAX_DEPTH) };
    let mut reader = Reader::from_str(source);
    reader.config_mut().allow_dangling_amp = true;
    loop {
        // Taken apart where it comes: an event is large to move.
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                notes.start(&start)?;
                if notes.open.len() > MAX_DEPTH {
                    return Err(XmlError::TooDeep);
                }
            }
            Ok(Event::Empty(start)) => {
                notes.start(&start)?;
                notes.end();
            }
            Ok(Event::End(_)) => notes.end(),
            Ok(Event::Text(text)) => notes.text(&text),
            Ok(Event::CData(text)) => notes.text(&text),
            Ok(Event::GeneralRef(reference)) => notes.join(resolve(&reference).encode_utf8(&mut [0; 4])),
            Ok(Event::DocType(_)) => return Err(XmlError::Dtd),
            Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_)) => {}
            Ok(Event::Eof) if notes.open.is_empty() && !notes.nodes.is_empty() => return Ok((notes.nodes, notes.joined)),
            Ok(Event::Eof) | Err(_) => return Err(XmlError::Malformed),
        }
    }
}

impl Notes<'_> {
    /// An element begins.
    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), XmlError> {
        if self.open.is_empty() && !self.nodes.is_empty() {
            // A second root.
            return Err(XmlError::Malformed);
        }
        if self.nodes.len() >= MAX_ELEMENTS {
            return Err(XmlError::TooMany);
        }
        let (name, attributes) = (self.place(start.local_name().into_inner()), self.place(start.attributes_raw()));
        self.open.push(self.nodes.len());
        self.nodes.push(Node { name, attributes, text: Span::default(), text_is_joined: false, end: 0 });
        Ok(())
    }

    /// An element ends.
    fn end(&mut self) {
        if let Some(at) = self.open.pop() {
            self.nodes[at].end = self.nodes.len();
        }
    }

    /// A piece of the source is text.
    fn text(&mut self, piece: &str) {
        let place = self.place(piece);
        match leaf(&self.open, &mut self.nodes) {
            Some(node) if node.text.is_empty() => node.text = place,
            _ => self.join(piece),
        }
    }

    /// A piece of text follows another one, or stands for a reference.
    fn join(&mut self, piece: &str) {
        let Some(node) = leaf(&self.open, &mut self.nodes) else { return };
        if !node.text_is_joined {
            node.text_is_joined = true;
            let start = self.joined.len();
            self.joined.push_str(node.text.of(self.source));
            node.text.start = start;
        }
        // Nothing was joined since for any other element.
        self.joined.push_str(piece);
        node.text.end = self.joined.len();
    }

    /// Where a piece stands in the source, which the reader borrows all its pieces from.
    fn place(&self, piece: &str) -> Span {
        let start = piece.as_ptr().addr() - self.source.as_ptr().addr();
        Span { start, end: start + piece.len() }
    }
}

/// The element that text belongs to: the open one, if it has no child yet.
fn leaf<'n>(open: &[usize], nodes: &'n mut [Node]) -> Option<&'n mut Node> {
    (open.last()? + 1 == nodes.len()).then(|| nodes.last_mut())?
}

/// The value of the attribute with this local name in what follows the name in a start tag.
pub(super) fn attribute<'a>(attributes: &'a str, local: &str) -> Option<Cow<'a, str>> {
    let mut attributes = Attributes::new(attributes, 0);
    let found = attributes.with_checks(false).flatten().find(|attribute| attribute.key.local_name().into_inner() == local)?;
    Some(match found.value {
        Cow::Borrowed(value) if !value.contains('&') => Cow::Borrowed(value),
        value => Cow::Owned(unescape(&value)),
    })
}
