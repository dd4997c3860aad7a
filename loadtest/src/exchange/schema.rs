//! Checks of order, namespace and range, as the server's schema validation makes them before it looks at anything else.

use super::names::{Failure, MESSAGES, TYPES};
use crate::xml::Element;

/// Why a request is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// It breaks the schema: `ErrorSchemaValidation`, and the client is to blame.
    Broken(String),
    /// The real server would carry it out, this one does not.
    NotSimulated(String),
    /// It keeps to the schema, and is refused with this error all the same.
    Refused(Failure),
}

impl Violation {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self::Broken(what.into())
    }

    pub(super) fn not_simulated(what: impl Into<String>) -> Self {
        Self::NotSimulated(what.into())
    }
}

/// The children of an element, taken in the order in which the schema wants them.
pub(super) struct Sequence<'a> {
    parent: &'a Element,
    at: usize,
}

impl<'a> Sequence<'a> {
    pub(super) fn of(parent: &'a Element) -> Self {
        Self { parent, at: 0 }
    }

    /// The next child if it has this name.
    pub(super) fn optional(&mut self, namespace: &str, name: &str) -> Option<&'a Element> {
        let next = self.parent.children.get(self.at)?;
        if next.name == name && next.namespace == namespace {
            self.at += 1;
            return Some(next);
        }
        None
    }

    /// The next child, which must have this name.
    pub(super) fn required(&mut self, namespace: &str, name: &str) -> Result<&'a Element, Violation> {
        self.optional(namespace, name).ok_or_else(|| {
            let found = self.parent.children.get(self.at);
            let found = found.map_or("its end".to_owned(), |child| format!("'{}' in namespace '{}'", child.name, child.namespace));
            Violation::new(format!("the element '{}' has {found} where '{name}' in namespace '{namespace}' is expected", self.parent.name))
        })
    }

    /// Shorthand for a required child among the messages.
    pub(super) fn message(&mut self, name: &str) -> Result<&'a Element, Violation> {
        self.required(MESSAGES, name)
    }

    /// Shorthand for a required child among the types.
    pub(super) fn of_type(&mut self, name: &str) -> Result<&'a Element, Violation> {
        self.required(TYPES, name)
    }

    /// Whatever child comes next, among the types.
    pub(super) fn any_type(&mut self) -> Option<&'a Element> {
        let next = self.parent.children.get(self.at)?;
        if next.namespace != TYPES {
            return None;
        }
        self.at += 1;
        Some(next)
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Violation> {
        match self.parent.children.get(self.at) {
            None => Ok(()),
            Some(extra) => Err(Violation::new(format!(
                "the element '{}' has an invalid child element '{}' in namespace '{}'",
                self.parent.name, extra.name, extra.namespace
            ))),
        }
    }
}

/// A whole number between `low` and `high`, both included.
pub(super) fn number(element: &Element, low: u64, high: u64) -> Result<u64, Violation> {
    let value = element.trimmed().parse::<u64>().ok();
    value
        .filter(|value| (low..=high).contains(value))
        .ok_or_else(|| Violation::new(format!("the value of '{}' must lie between {low} and {high}", element.name)))
}

/// One of the words that an enumeration allows.
pub(super) fn word<'a>(element: &'a Element, allowed: &[&str]) -> Result<&'a str, Violation> {
    let value = element.trimmed();
    if allowed.contains(&value) {
        return Ok(value);
    }
    Err(Violation::new(format!("the value of '{}' is not one of its enumeration", element.name)))
}

/// An attribute that must be there.
pub(super) fn attribute<'a>(element: &'a Element, name: &str) -> Result<&'a str, Violation> {
    element.attribute(name).ok_or_else(|| Violation::new(format!("the required attribute '{name}' of '{}' is missing", element.name)))
}

/// Text that must not be empty.
pub(super) fn text(element: &Element) -> Result<String, Violation> {
    let value = element.trimmed();
    if value.is_empty() {
        return Err(Violation::new(format!("'{}' is empty", element.name)));
    }
    Ok(value.to_owned())
}
