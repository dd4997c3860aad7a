//! Small XML documents as trees with resolved namespaces, and the escaping of what is written.

use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;

/// Elements nested deeper than this are refused: no message of the protocols here comes near.
const MAX_DEPTH: usize = 32;

/// The document is not well-formed XML, or nested beyond reason, or holds a DTD.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document cannot be read: {0}")]
pub struct Malformed(pub String);

/// An element. Text and child elements are kept apart; their order among each other is lost, which no message here needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// The namespace's address, empty when the element has none.
    pub namespace: String,
    /// The local name.
    pub name: String,
    /// Local names and values of its attributes, namespace declarations left out.
    pub attributes: Vec<(String, String)>,
    /// Child elements in document order.
    pub children: Vec<Element>,
    /// The text directly inside, entities resolved.
    pub text: String,
}

impl Element {
    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first child of this local name, in whatever namespace.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The first descendant of this local name, depth first, itself included.
    #[cfg(test)]
    pub fn find(&self, name: &str) -> Option<&Element> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }

    /// All descendants of this local name, in document order, itself included.
    #[cfg(test)]
    pub fn find_all<'a>(&'a self, name: &str, found: &mut Vec<&'a Element>) {
        if self.name == name {
            found.push(self);
        }
        for child in &self.children {
            child.find_all(name, found);
        }
    }

    /// The text without the white space around it.
    pub fn trimmed(&self) -> &str {
        self.text.trim()
    }
}

/// Reads one document.
///
/// # Errors
/// [`Malformed`].
pub fn parse(document: &str) -> Result<Element, Malformed> {
    let mut reader = NsReader::from_str(document);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|e| Malformed(e.to_string()))?;
        let namespace = match namespace {
            ResolveResult::Bound(namespace) => namespace.into_inner().to_owned(),
            ResolveResult::Unbound => String::new(),
            ResolveResult::Unknown(prefix) => {
                return Err(Malformed(format!("the prefix {prefix} is not declared")));
            }
        };
        match event {
            Event::Start(start) => {
                if open.len() >= MAX_DEPTH || root.is_some() {
                    return Err(Malformed("too deep, or a second root".to_owned()));
                }
                open.push(element(namespace, &start)?);
            }
            Event::Empty(start) => close(element(namespace, &start)?, &mut open, &mut root),
            Event::End(_) => {
                let done = open.pop().ok_or_else(|| Malformed("unbalanced".to_owned()))?;
                close(done, &mut open, &mut root);
            }
            Event::Text(text) => append(&mut open, &text.xml10_content()),
            Event::CData(text) => append(&mut open, &text.xml10_content()),
            Event::GeneralRef(reference) => {
                let name = reference.xml10_content();
                let resolved = quick_xml::escape::unescape(&format!("&{name};")).map_err(|e| Malformed(e.to_string()))?.into_owned();
                append(&mut open, &resolved);
            }
            Event::DocType(_) => return Err(Malformed("a DTD".to_owned())),
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
    }
    if !open.is_empty() {
        return Err(Malformed("ends too early".to_owned()));
    }
    root.ok_or_else(|| Malformed("no root element".to_owned()))
}

fn element(namespace: String, start: &BytesStart<'_>) -> Result<Element, Malformed> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| Malformed(e.to_string()))?;
        let key = attribute.key;
        if key.as_namespace_binding().is_some() {
            continue;
        }
        let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).map_err(|e| Malformed(e.to_string()))?;
        attributes.push((key.local_name().as_ref().to_owned(), value.into_owned()));
    }
    Ok(Element { namespace, name: start.local_name().as_ref().to_owned(), attributes, ..Element::default() })
}

fn close(done: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(done),
        None => *root = Some(done),
    }
}

fn append(open: &mut [Element], text: &str) {
    if let Some(inner) = open.last_mut() {
        inner.text.push_str(text);
    }
}

/// Text made fit to stand in an element or an attribute.
pub fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resolved_and_entities_read() {
        let doc = r#"<?xml version="1.0"?><a:x xmlns:a="urn:a" k="1 &amp; 2"><y xmlns="urn:b">R&amp;D &#x41;</y><a:z/></a:x>"#;
        let root = parse(doc).unwrap();
        assert_eq!((root.namespace.as_str(), root.name.as_str()), ("urn:a", "x"));
        assert_eq!(root.attribute("k"), Some("1 & 2"));
        let y = root.find("y").unwrap();
        assert_eq!((y.namespace.as_str(), y.text.as_str()), ("urn:b", "R&D A"));
        assert_eq!(root.children[1].name, "z");
    }

    #[test]
    fn broken_deep_and_dtd_documents_are_refused() {
        let deep = "<a>".repeat(40) + &"</a>".repeat(40);
        for bad in ["<a>", "<a></b>", "", "<a/><b/>x<", "<!DOCTYPE a><a/>", "<p:a/>", "<a>&x;</a>", &deep] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
