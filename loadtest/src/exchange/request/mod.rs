//! A request as the server understands it: who it is for, and what it asks.

mod items;
mod subscription;

pub(super) use items::{FindItem, GetFolder, GetItem, Shape, SyncFolderItems};
pub(super) use subscription::{GetStreamingEvents, Subscribe};

use super::names::{MESSAGES, SOAP, TYPES};
use super::schema::{Sequence, Violation, attribute, text};
use crate::xml::Element;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Subscribe(Subscribe),
    GetStreamingEvents(GetStreamingEvents),
    Unsubscribe(String),
    SyncFolderItems(SyncFolderItems),
    GetItem(GetItem),
    GetFolder(GetFolder),
    FindItem(FindItem),
}

/// The operations by name, for budgets, faults and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationName {
    /// Subscribe.
    Subscribe,
    /// GetStreamingEvents.
    GetStreamingEvents,
    /// Unsubscribe.
    Unsubscribe,
    /// SyncFolderItems.
    SyncFolderItems,
    /// GetItem.
    GetItem,
    /// GetFolder.
    GetFolder,
    /// FindItem.
    FindItem,
}

impl OperationName {
    /// The element name of the request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "Subscribe",
            Self::GetStreamingEvents => "GetStreamingEvents",
            Self::Unsubscribe => "Unsubscribe",
            Self::SyncFolderItems => "SyncFolderItems",
            Self::GetItem => "GetItem",
            Self::GetFolder => "GetFolder",
            Self::FindItem => "FindItem",
        }
    }
}

impl Operation {
    /// Its name.
    pub(super) fn name(&self) -> OperationName {
        match self {
            Self::Subscribe(_) => OperationName::Subscribe,
            Self::GetStreamingEvents(_) => OperationName::GetStreamingEvents,
            Self::Unsubscribe(_) => OperationName::Unsubscribe,
            Self::SyncFolderItems(_) => OperationName::SyncFolderItems,
            Self::GetItem(_) => OperationName::GetItem,
            Self::GetFolder(_) => OperationName::GetFolder,
            Self::FindItem(_) => OperationName::FindItem,
        }
    }
}

/// A request that passed the schema.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The mailbox to act as, lower case; absent when the header has no impersonation.
    pub(super) impersonated: Option<String>,
    pub(super) operation: Operation,
}

/// Reads a request.
pub(super) fn read(envelope: &Element) -> Result<Request, Violation> {
    if envelope.name != "Envelope" || envelope.namespace != SOAP {
        return Err(Violation::new("the document is no SOAP 1.1 envelope"));
    }
    let mut parts = Sequence::of(envelope);
    let header = parts.optional(SOAP, "Header");
    let body = parts.required(SOAP, "Body")?;
    let impersonated = match header {
        Some(header) => read_header(header)?,
        None => None,
    };
    let [request] = body.children.as_slice() else {
        return Err(Violation::new("the body must hold one request"));
    };
    if request.namespace != MESSAGES {
        return Err(Violation::new("the request is in another namespace"));
    }
    let operation = match request.name.as_str() {
        "Subscribe" => Operation::Subscribe(Subscribe::read(request)?),
        "GetStreamingEvents" => Operation::GetStreamingEvents(GetStreamingEvents::read(request)?),
        "Unsubscribe" => {
            let mut parts = Sequence::of(request);
            let id = text(parts.message("SubscriptionId")?)?;
            parts.end()?;
            Operation::Unsubscribe(id)
        }
        "SyncFolderItems" => Operation::SyncFolderItems(SyncFolderItems::read(request)?),
        "GetItem" => Operation::GetItem(GetItem::read(request)?),
        "GetFolder" => Operation::GetFolder(GetFolder::read(request)?),
        "FindItem" => Operation::FindItem(FindItem::read(request)?),
        other => return Err(Violation::new(format!("no operation is called '{other}'"))),
    };
    Ok(Request { impersonated, operation })
}

/// Checks the SOAP header and finds the mailbox that is impersonated.
fn read_header(header: &Element) -> Result<Option<String>, Violation> {
    let Some(version) = header.child("RequestServerVersion") else {
        return Err(Violation::new("RequestServerVersion is missing"));
    };
    let version = attribute(version, "Version")?;
    // Streaming notifications came with Exchange 2010 SP1.
    if !version.starts_with("Exchange20") || version < "Exchange2010_SP1" {
        return Err(Violation::new("RequestServerVersion is too old for streaming"));
    }
    let Some(impersonation) = header.child("ExchangeImpersonation") else {
        return Ok(None);
    };
    if impersonation.namespace != TYPES {
        return Err(Violation::new("ExchangeImpersonation is in another namespace"));
    }
    let mut parts = Sequence::of(impersonation);
    let sid = parts.of_type("ConnectingSID")?;
    parts.end()?;
    let mut kinds = Sequence::of(sid);
    let who = ["PrincipalName", "SID", "PrimarySmtpAddress", "SmtpAddress"]
        .iter()
        .find_map(|kind| kinds.optional(TYPES, kind))
        .ok_or_else(|| Violation::new("ConnectingSID names nobody"))?;
    kinds.end()?;
    Ok(Some(text(who)?.to_ascii_lowercase()))
}

/// Checks that a list of folder ids names the inbox alone, of the impersonated mailbox; `None` when it names another folder.
fn read_folder(list: &Element) -> Result<FolderName, Violation> {
    let mut parts = Sequence::of(list);
    let folder = parts.any_type().ok_or_else(|| Violation::new("a list of folders is empty"))?;
    parts.end()?;
    let id = attribute(folder, "Id")?;
    match folder.name.as_str() {
        "DistinguishedFolderId" => {
            let mut inner = Sequence::of(folder);
            let mailbox = match inner.optional(TYPES, "Mailbox") {
                Some(mailbox) => {
                    let mut parts = Sequence::of(mailbox);
                    parts.optional(TYPES, "Name");
                    Some(text(parts.of_type("EmailAddress")?)?.to_ascii_lowercase())
                }
                None => None,
            };
            inner.end()?;
            Ok(FolderName::Distinguished { name: id.to_owned(), mailbox })
        }
        "FolderId" => Ok(FolderName::Id(id.to_owned())),
        other => Err(Violation::new(format!("'{other}' names no folder"))),
    }
}

/// How a request names a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FolderName {
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
    /// Whether this is the inbox of `mailbox`, whose own folder id is `folder_id`.
    pub(super) fn is_inbox_of(&self, smtp: &str, folder_id: &str) -> bool {
        match self {
            Self::Distinguished { name, mailbox } => name == "inbox" && mailbox.as_deref().is_none_or(|named| named == smtp),
            Self::Id(id) => id == folder_id,
        }
    }
}
