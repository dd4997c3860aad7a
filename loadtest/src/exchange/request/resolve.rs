//! The request to find people by a part of their name (MS-OXWSRSLNM).

use super::super::names::MESSAGES;
use super::super::schema::{Sequence, Violation, attribute, text};
use crate::xml::Element;

/// Whom a text may mean.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct ResolveNames {
    pub(in crate::exchange) entry: String,
    /// With the person's data, not the address alone.
    pub(in crate::exchange) is_full: bool,
}

impl ResolveNames {
    pub(super) fn read(request: &Element) -> Result<Self, Violation> {
        let is_full = match attribute(request, "ReturnFullContactData")? {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return Err(Violation::new("ReturnFullContactData is neither true nor false")),
        };
        let scopes = ["ActiveDirectory", "ActiveDirectoryContacts", "Contacts", "ContactsActiveDirectory"];
        if request.attribute("SearchScope").is_some_and(|scope| !scopes.contains(&scope)) {
            return Err(Violation::new("no search scope of that name"));
        }
        let shapes = ["IdOnly", "Default", "AllProperties"];
        if request.attribute("ContactDataShape").is_some_and(|shape| !shapes.contains(&shape)) {
            return Err(Violation::new("no shape of that name"));
        }
        let mut parts = Sequence::of(request);
        parts.optional(MESSAGES, "ParentFolderIds");
        let entry = text(parts.message("UnresolvedEntry")?)?;
        parts.end()?;
        Ok(Self { entry, is_full })
    }
}
