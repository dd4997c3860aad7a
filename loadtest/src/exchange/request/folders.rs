//! How a request names folders, and the request for their properties (MS-OXWSFOLD).

use super::super::names::TYPES;
use super::super::schema::{Sequence, Violation, attribute, text};
use super::super::vocabulary::is_folder_name;
use super::Shape;
use crate::xml::Element;

/// How a request names a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::exchange) enum FolderName {
    /// By its well-known name, in the impersonated mailbox or an explicit one.
    Distinguished {
        /// `inbox` and so on.
        name: String,
        /// `t:Mailbox/t:EmailAddress`, lower case.
        mailbox: Option<String>,
    },
    /// By id.
    Id(String),
}

impl FolderName {
    fn read(folder: &Element) -> Result<Self, Violation> {
        let id = attribute(folder, "Id")?;
        match folder.name.as_str() {
            "DistinguishedFolderId" => {
                let mut inner = Sequence::of(folder);
                let mailbox = match inner.optional(TYPES, "Mailbox") {
                    Some(mailbox) => Some(read_mailbox(mailbox)?),
                    None => None,
                };
                inner.end()?;
                if !is_folder_name(id) {
                    return Err(Violation::new(format!("no folder has the well-known name '{id}'")));
                }
                Ok(Self::Distinguished { name: id.to_owned(), mailbox })
            }
            "FolderId" => Ok(Self::Id(id.to_owned())),
            "AddressListId" => Err(Violation::not_simulated("address lists")),
            other => Err(Violation::new(format!("'{other}' names no folder"))),
        }
    }

    /// A list of at least one folder.
    pub(super) fn read_all(list: &Element) -> Result<Vec<Self>, Violation> {
        let mut parts = Sequence::of(list);
        let mut folders = Vec::with_capacity(list.children.len());
        while let Some(folder) = parts.any_type() {
            folders.push(Self::read(folder)?);
        }
        parts.end()?;
        if folders.is_empty() {
            return Err(Violation::new("a list of folders is empty"));
        }
        Ok(folders)
    }

    /// A list that may be longer, of which this server takes one.
    pub(super) fn read_one(list: &Element) -> Result<Self, Violation> {
        let mut folders = Self::read_all(list)?;
        match folders.pop() {
            Some(folder) if folders.is_empty() => Ok(folder),
            _ => Err(Violation::not_simulated(format!("several folders in {}", list.name))),
        }
    }

    /// The place for exactly one folder.
    pub(super) fn read_only(place: &Element) -> Result<Self, Violation> {
        match place.children.as_slice() {
            [folder] if folder.namespace == TYPES => Self::read(folder),
            _ => Err(Violation::new(format!("'{}' must hold one folder", place.name))),
        }
    }
}

/// EmailAddressType, of which the address counts.
fn read_mailbox(mailbox: &Element) -> Result<String, Violation> {
    let mut parts = Sequence::of(mailbox);
    parts.optional(TYPES, "Name");
    let address = text(parts.of_type("EmailAddress")?)?.to_ascii_lowercase();
    for name in ["RoutingType", "MailboxType", "ItemId", "OriginalDisplayName"] {
        parts.optional(TYPES, name);
    }
    parts.end()?;
    Ok(address)
}

/// Properties of some folders.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct GetFolder {
    pub(in crate::exchange) shape: Shape,
    pub(in crate::exchange) folders: Vec<FolderName>,
}

impl GetFolder {
    pub(super) fn read(request: &Element) -> Result<Self, Violation> {
        let mut parts = Sequence::of(request);
        let shape = Shape::read(parts.message("FolderShape")?)?;
        let folders = FolderName::read_all(parts.message("FolderIds")?)?;
        parts.end()?;
        Ok(Self { shape, folders })
    }
}
