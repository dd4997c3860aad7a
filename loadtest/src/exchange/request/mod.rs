//! A request as the server understands it: who it is for, and what it asks.

mod folders;
mod items;
mod resolve;
mod subscription;

pub(super) use folders::{FolderName, GetFolder};
pub(super) use items::{FindItem, GetItem, Shape, SyncFolderItems};
pub(super) use resolve::ResolveNames;
pub(super) use subscription::{Delivery, GetEvents, GetStreamingEvents, Subscribe};

use super::names::{Failure, MESSAGES, SOAP, TYPES};
use super::schema::{Sequence, Violation, attribute, text};
use super::vocabulary::{Version, is_not_simulated};
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
    GetEvents(GetEvents),
    ResolveNames(ResolveNames),
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
    /// GetEvents.
    GetEvents,
    /// ResolveNames.
    ResolveNames,
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
            Self::GetEvents => "GetEvents",
            Self::ResolveNames => "ResolveNames",
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
            Self::GetEvents(_) => OperationName::GetEvents,
            Self::ResolveNames(_) => OperationName::ResolveNames,
        }
    }

    /// The properties that it names.
    fn fields(&self) -> &[String] {
        match self {
            Self::SyncFolderItems(ask) => ask.shape.fields(),
            Self::GetItem(ask) => ask.shape.fields(),
            Self::GetFolder(ask) => ask.shape.fields(),
            Self::FindItem(ask) => ask.shape.fields(),
            _ => &[],
        }
    }

    /// Checks that the schema of this version has all of it.
    fn check_version(&self, version: Version) -> Result<(), Violation> {
        if let Some(uri) = self.fields().iter().find(|uri| !version.has_field(uri)) {
            return Err(Violation::new(format!("no property of this version is called '{uri}'")));
        }
        let streams = match self {
            Self::GetStreamingEvents(_) => true,
            Self::Subscribe(ask) => ask.delivery == Delivery::Streaming,
            _ => false,
        };
        if streams && version < Version::E2010_SP1 {
            return Err(Violation::new("streaming notifications are not in the schema of this version"));
        }
        Ok(())
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
    let (version, impersonated) = match header {
        Some(header) => read_header(header)?,
        None => (Version::UNSAID, None),
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
        "GetEvents" => Operation::GetEvents(GetEvents::read(request)?),
        "ResolveNames" => Operation::ResolveNames(ResolveNames::read(request)?),
        other if is_not_simulated(other) => return Err(Violation::not_simulated(format!("operation {other}"))),
        other => return Err(Violation::new(format!("no operation is called '{other}'"))),
    };
    operation.check_version(version)?;
    Ok(Request { impersonated, operation })
}

/// Checks the SOAP header and finds the version, and the mailbox that is impersonated.
fn read_header(header: &Element) -> Result<(Version, Option<String>), Violation> {
    let version = match header.children.iter().find(|part| part.name == "RequestServerVersion" && part.namespace == TYPES) {
        Some(said) => {
            let text = "The specified server version is invalid.";
            let unknown = || Violation::Refused(Failure::fault("ErrorInvalidServerVersion", text));
            Version::named(attribute(said, "Version")?).ok_or_else(unknown)?
        }
        None => Version::UNSAID,
    };
    let Some(impersonation) = header.child("ExchangeImpersonation") else {
        return Ok((version, None));
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
    Ok((version, Some(text(who)?.to_ascii_lowercase())))
}
