//! Reads XML as servers really send it: names without prefixes, forbidden characters replaced, no DTD, bounded depth.

mod characters;
mod reading;

use std::borrow::Cow;

pub use characters::{escape, escape_into};

/// How deep elements may nest; Exchange's own answers stay below 20.
pub const MAX_DEPTH: usize = 64;

/// How many elements a document may have. A page of 512 changes has some 4,000, an envelope about 200 mailboxes with 50 events each 60,000; the list of
/// this many takes 6 MB.
pub const MAX_ELEMENTS: usize = 100_000;

/// Why a document cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// It is not well-formed, or ends in the middle.
    #[error("the XML is malformed or truncated")]
    Malformed,
    /// Elements nest deeper than [`MAX_DEPTH`].
    #[error("the XML nests too deep")]
    TooDeep,
    /// There are more elements than [`MAX_ELEMENTS`].
    #[error("the XML has too many elements")]
    TooMany,
    /// It brings a DTD: never read, because entities would come with it.
    #[error("the XML brings a document type definition")]
    Dtd,
}

/// A document that was read: all its elements in one list, each with places in the text instead of texts of its own.
pub struct Document<'a> {
    source: Cow<'a, str>,
    /// Texts that stand nowhere in the source in one piece, one behind the other.
    joined: String,
    /// In the order of their start tags; never empty.
    nodes: Vec<Node>,
}

/// What the list holds of one element.
#[derive(Clone, Copy)]
struct Node {
    /// Local name.
    name: Span,
    /// What follows the name in its start tag.
    attributes: Span,
    text: Span,
    /// Where the text stands.
    text_is_joined: bool,
    /// The place in the list behind the last element below this one.
    end: usize,
}

/// A place in a text, in bytes.
#[derive(Clone, Copy, Default)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    fn of(self, text: &str) -> &str {
        &text[self.start..self.end]
    }

    fn is_empty(self) -> bool {
        self.start == self.end
    }
}

impl<'a> Document<'a> {
    /// Reads a document.
    ///
    /// # Errors
    /// [`XmlError`].
    pub fn parse(document: &'a [u8]) -> Result<Self, XmlError> {
        let source = characters::clean(document);
        let (nodes, joined) = reading::read(&source)?;
        Ok(Self { source, joined, nodes })
    }

    /// The outermost element.
    #[must_use]
    pub fn root(&self) -> Element<'_> {
        Element { document: self, at: 0 }
    }
}

impl std::fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What a document holds may be mail.
        write!(f, "Document({} elements)", self.nodes.len())
    }
}

/// An element of a document; names are local names.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    document: &'a Document<'a>,
    at: usize,
}

impl std::fmt::Debug for Element<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What an element holds may be mail.
        write!(f, "Element({}, {} children)", self.name(), self.children().count())
    }
}

impl<'a> Element<'a> {
    fn node(self) -> &'a Node {
        &self.document.nodes[self.at]
    }

    /// Local name.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.node().name.of(&self.document.source)
    }

    /// Its character data up to its first child; no element of the protocols that are read here has both.
    #[must_use]
    pub fn text(self) -> &'a str {
        let node = self.node();
        node.text.of(if node.text_is_joined { &self.document.joined } else { &self.document.source })
    }

    /// The value of the attribute with this local name.
    #[must_use]
    pub fn attribute(self, name: &str) -> Option<Cow<'a, str>> {
        reading::attribute(self.node().attributes.of(&self.document.source), name)
    }

    /// Its child elements in order.
    pub fn children(self) -> impl Iterator<Item = Element<'a>> {
        let end = self.node().end;
        let mut next = self.at + 1;
        std::iter::from_fn(move || {
            let child = (next < end).then_some(Element { at: next, ..self })?;
            next = child.node().end;
            Some(child)
        })
    }

    /// The first child of this name.
    #[must_use]
    pub fn child(self, name: &str) -> Option<Element<'a>> {
        self.children().find(|child| child.name() == name)
    }

    /// The element at the end of a path of first children.
    #[must_use]
    pub fn at(self, path: &[&str]) -> Option<Element<'a>> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    /// The text at the end of a path.
    #[must_use]
    pub fn text_at(self, path: &[&str]) -> Option<&'a str> {
        self.at(path).map(Element::text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(document: &[u8]) -> Option<XmlError> {
        Document::parse(document).err()
    }

    #[test]
    fn a_document_of_nothing_but_elements_is_given_up_before_it_takes_much_room() {
        let with = |count: usize| format!("<r>{}</r>", "<a/>".repeat(count - 1));
        assert_eq!(error(with(MAX_ELEMENTS).as_bytes()), None);
        assert_eq!(error(with(MAX_ELEMENTS + 1).as_bytes()), Some(XmlError::TooMany));
        assert_eq!(error(with(1 << 20).as_bytes()), Some(XmlError::TooMany), "four megabytes of them");
        assert!(size_of::<Node>() * MAX_ELEMENTS < 8 << 20);
    }

    #[test]
    fn a_forbidden_character_spoils_a_character_and_not_the_document() {
        let document = b"<a x=\"1&#x0;2\">one&#x0;two\x01three &amp; four&nbsp;\xFF<b>&#128512;</b></a>";
        let document = Document::parse(document).unwrap();
        let root = document.root();
        assert_eq!(root.text(), "one\u{FFFD}two\u{FFFD}three & four\u{FFFD}\u{FFFD}");
        assert_eq!(root.text_at(&["b"]), Some("😀"));
        assert_eq!(root.attribute("x").as_deref(), Some("1\u{FFFD}2"));
    }

    #[test]
    fn a_document_type_definition_is_refused() {
        let document = b"<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><a>&e;</a>";
        assert_eq!(error(document), Some(XmlError::Dtd));
    }

    #[test]
    fn depth_is_bounded_and_truncation_is_noticed() {
        let deep = "<a>".repeat(MAX_DEPTH + 1);
        assert_eq!(error(deep.as_bytes()), Some(XmlError::TooDeep));
        for malformed in ["<a><b>", "<a><b></a></b>", "", "text", "<a/><b/>", "<a></a></a>"] {
            assert_eq!(error(malformed.as_bytes()), Some(XmlError::Malformed), "{malformed}");
        }
    }

    #[test]
    fn what_is_escaped_is_read_back() {
        let text = "a<b>&\"c'\u{1F600}";
        let document = format!("<a Name=\"{0}\">{0}</a>", escape(text));
        let document = Document::parse(document.as_bytes()).unwrap();
        assert_eq!((document.root().text(), document.root().attribute("Name").as_deref()), (text, Some(text)));
    }

    #[test]
    fn children_are_told_from_what_is_below_them() {
        let document = Document::parse(b"<p:a><a><a>1</a><b/></a><q:b>2</q:b><a>3</a><b/></p:a>").unwrap();
        let root = document.root();
        assert_eq!(root.children().map(Element::name).collect::<Vec<_>>(), ["a", "b", "a", "b"]);
        assert_eq!((root.text_at(&["a", "a"]), root.text_at(&["b"])), (Some("1"), Some("2")));
        assert_eq!(root.children().last().map(|b| b.children().count()), Some(0));
        assert_eq!(format!("{root:?}"), "Element(a, 4 children)");
        assert!(root.at(&["a", "c"]).is_none());
    }

    #[test]
    fn pieces_of_a_text_are_joined_wherever_they_are_cut() {
        let text = |inside: &str| {
            let document = format!("<r><a> {inside} </a><b>&lt;&gt;</b></r>");
            let document = Document::parse(document.as_bytes()).unwrap();
            assert_eq!(document.root().text_at(&["b"]), Some("<>"));
            document.root().text_at(&["a"]).unwrap().to_owned()
        };
        assert_eq!(text("one"), " one ");
        assert_eq!(text("one<!-- no -->two<?no no?>"), " onetwo ");
        assert_eq!(text("&#x41;&amp; &amp;B"), " A& &B ");
        assert_eq!(text("a & b &c"), " a & b &c ");
        assert_eq!(text("a<![CDATA[<&amp;]]>b"), " a<&amp;b ");
        assert_eq!(text(""), "  ");
    }

    #[test]
    fn text_between_elements_is_nobody_s() {
        let document = Document::parse(b"\xEF\xBB\xBF<?xml version='1.0'?>\n<a>\r\n <b>1 &amp; 2</b>x &amp; y<c>\t</c>\n</a>\n").unwrap();
        let root = document.root();
        assert_eq!((root.text(), root.text_at(&["b"]), root.text_at(&["c"])), ("\r\n ", Some("1 & 2"), Some("\t")));
    }

    #[test]
    fn attributes_are_found_by_their_local_names() {
        let document = Document::parse(b"<a i:type='x' Id = \"a&#x42;&c;d&\" Id='second' Empty=''/>").unwrap();
        let attribute = |name| document.root().attribute(name);
        assert_eq!(attribute("type").as_deref(), Some("x"));
        assert_eq!(attribute("Id").as_deref(), Some("aB\u{FFFD}d&"));
        assert_eq!(attribute("Empty").as_deref(), Some(""));
        assert_eq!(attribute("a"), None);
    }
}
