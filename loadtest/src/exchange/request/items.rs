//! Requests about folders and items (MS-OXWSSYNC, MS-OXWSCORE, MS-OXWSFOLD, MS-OXWSSRCH).

use jiff::Timestamp;

use super::super::names::{MAX_CHANGES, MESSAGES, TYPES};
use super::super::schema::{Sequence, Violation, attribute, number, word};
use super::{FolderName, read_folder};
use crate::xml::Element;

/// Which properties an answer shows.
#[derive(Clone, Debug, Default)]
pub(in crate::exchange) struct Shape {
    /// FieldURIs of AdditionalProperties.
    fields: Vec<String>,
    /// Default or AllProperties: everything.
    everything: bool,
}

impl Shape {
    /// Whether this property was asked for.
    pub(in crate::exchange) fn wants(&self, field: &str) -> bool {
        self.everything || self.fields.iter().any(|known| known == field)
    }

    fn read(shape: &Element) -> Result<Self, Violation> {
        let mut parts = Sequence::of(shape);
        let base = word(parts.of_type("BaseShape")?, &["IdOnly", "Default", "AllProperties", "PcxPeopleSearch"])?;
        let before = [
            "IncludeMimeContent",
            "BodyType",
            "UniqueBodyType",
            "NormalizedBodyType",
            "FilterHtmlContent",
            "ConvertHtmlCodePageToUTF8",
            "InlineImageUrlTemplate",
            "BlockExternalImages",
            "AddBlankTargetToLinks",
            "MaximumBodySize",
        ];
        for name in before {
            parts.optional(TYPES, name);
        }
        let mut fields = Vec::new();
        if let Some(list) = parts.optional(TYPES, "AdditionalProperties") {
            let mut inner = Sequence::of(list);
            while let Some(path) = inner.optional(TYPES, "FieldURI") {
                fields.push(field_uri(path)?);
            }
            inner.end()?;
            if list.children.is_empty() {
                return Err(Violation::new("AdditionalProperties is empty"));
            }
        }
        parts.end()?;
        Ok(Self { fields, everything: base != "IdOnly" })
    }
}

fn field_uri(path: &Element) -> Result<String, Violation> {
    let uri = attribute(path, "FieldURI")?;
    let known = ["item:", "message:", "folder:"];
    if known.iter().any(|family| uri.starts_with(family)) {
        return Ok(uri.to_owned());
    }
    Err(Violation::new(format!("no property is called '{uri}'")))
}

/// What changed since a sync state.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct SyncFolderItems {
    pub(in crate::exchange) shape: Shape,
    pub(in crate::exchange) folder: FolderName,
    pub(in crate::exchange) sync_state: Option<String>,
    pub(in crate::exchange) ignored: Vec<String>,
    pub(in crate::exchange) max: usize,
}

impl SyncFolderItems {
    pub(super) fn read(request: &Element) -> Result<Self, Violation> {
        let mut parts = Sequence::of(request);
        let shape = Shape::read(parts.message("ItemShape")?)?;
        let folder = read_folder(parts.message("SyncFolderId")?)?;
        let state = parts.optional(MESSAGES, "SyncState");
        let sync_state = state.map(|s| s.trimmed().to_owned());
        let ignored = match parts.optional(MESSAGES, "Ignore") {
            Some(list) => item_ids(list)?,
            None => Vec::new(),
        };
        let max = number(parts.message("MaxChangesReturned")?, 1, MAX_CHANGES as u64)?;
        if let Some(scope) = parts.optional(MESSAGES, "SyncScope") {
            word(scope, &["NormalItems", "NormalAndAssociatedItems"])?;
        }
        parts.end()?;
        Ok(Self {
            shape,
            folder,
            sync_state: sync_state.filter(|state| !state.is_empty()),
            ignored,
            max: usize::try_from(max).unwrap_or(MAX_CHANGES),
        })
    }
}

/// Properties of some items.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct GetItem {
    pub(in crate::exchange) shape: Shape,
    pub(in crate::exchange) ids: Vec<String>,
}

impl GetItem {
    pub(super) fn read(request: &Element) -> Result<Self, Violation> {
        let mut parts = Sequence::of(request);
        let shape = Shape::read(parts.message("ItemShape")?)?;
        let ids = item_ids(parts.message("ItemIds")?)?;
        parts.end()?;
        Ok(Self { shape, ids })
    }
}

fn item_ids(list: &Element) -> Result<Vec<String>, Violation> {
    let mut inner = Sequence::of(list);
    let mut ids = Vec::with_capacity(list.children.len());
    while let Some(id) = inner.optional(TYPES, "ItemId") {
        ids.push(attribute(id, "Id")?.to_owned());
    }
    inner.end()?;
    if ids.is_empty() {
        return Err(Violation::new("a list of items is empty"));
    }
    Ok(ids)
}

/// Properties of the inbox.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct GetFolder {
    pub(in crate::exchange) shape: Shape,
    pub(in crate::exchange) folder: FolderName,
}

impl GetFolder {
    pub(super) fn read(request: &Element) -> Result<Self, Violation> {
        let mut parts = Sequence::of(request);
        let shape = Shape::read(parts.message("FolderShape")?)?;
        let folder = read_folder(parts.message("FolderIds")?)?;
        parts.end()?;
        Ok(Self { shape, folder })
    }
}

/// Items of the inbox received since a time, newest first.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct FindItem {
    pub(in crate::exchange) shape: Shape,
    pub(in crate::exchange) folder: FolderName,
    pub(in crate::exchange) offset: usize,
    pub(in crate::exchange) max: Option<usize>,
    pub(in crate::exchange) since: Option<Timestamp>,
}

impl FindItem {
    pub(super) fn read(request: &Element) -> Result<Self, Violation> {
        let traversal = attribute(request, "Traversal")?;
        if !["Shallow", "SoftDeleted", "Associated"].contains(&traversal) {
            return Err(Violation::new("no traversal of that name"));
        }
        let mut parts = Sequence::of(request);
        let shape = Shape::read(parts.message("ItemShape")?)?;
        let (mut offset, mut max) = (0, None);
        if let Some(view) = parts.optional(MESSAGES, "IndexedPageItemView") {
            let count = |name| attribute(view, name)?.parse::<usize>().map_err(bad_number);
            offset = count("Offset")?;
            max = view.attribute("MaxEntriesReturned").map(|n| n.parse::<usize>().map_err(bad_number)).transpose()?;
            let base = attribute(view, "BasePoint")?;
            if base != "Beginning" && base != "End" {
                return Err(Violation::new("no base point of that name"));
            }
        }
        let since = match parts.optional(MESSAGES, "Restriction") {
            Some(restriction) => Some(received_since(restriction)?),
            None => None,
        };
        if let Some(order) = parts.optional(MESSAGES, "SortOrder") {
            descending_by_time(order)?;
        }
        let folder = read_folder(parts.message("ParentFolderIds")?)?;
        parts.end()?;
        Ok(Self { shape, folder, offset, max, since })
    }
}

fn bad_number(_: std::num::ParseIntError) -> Violation {
    Violation::new("not a number")
}

/// The one restriction that is understood here: DateTimeReceived at or after a time.
fn received_since(restriction: &Element) -> Result<Timestamp, Violation> {
    let mut parts = Sequence::of(restriction);
    let test = parts.of_type("IsGreaterThanOrEqualTo")?;
    parts.end()?;
    let mut parts = Sequence::of(test);
    received_field(parts.of_type("FieldURI")?)?;
    let value = parts.of_type("FieldURIOrConstant")?;
    parts.end()?;
    let mut parts = Sequence::of(value);
    let constant = attribute(parts.of_type("Constant")?, "Value")?;
    parts.end()?;
    constant.parse().map_err(|_| Violation::new("the constant is no time"))
}

fn descending_by_time(order: &Element) -> Result<(), Violation> {
    let mut parts = Sequence::of(order);
    let by = parts.of_type("FieldOrder")?;
    parts.end()?;
    if attribute(by, "Order")? != "Descending" {
        return Err(Violation::new("only the descending order is known here"));
    }
    let mut parts = Sequence::of(by);
    received_field(parts.of_type("FieldURI")?)?;
    parts.end()
}

fn received_field(field: &Element) -> Result<(), Violation> {
    if field_uri(field)? == "item:DateTimeReceived" {
        return Ok(());
    }
    Err(Violation::new("only item:DateTimeReceived is known here"))
}
