//! Requests about items (MS-OXWSSYNC, MS-OXWSCORE, MS-OXWSSRCH).

use jiff::Timestamp;

use super::super::names::{MAX_CHANGES, MESSAGES, TYPES};
use super::super::schema::{Sequence, Violation, attribute, number, word};
use super::super::vocabulary::Version;
use super::FolderName;
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

    /// The properties that were named.
    pub(super) fn fields(&self) -> &[String] {
        &self.fields
    }

    pub(super) fn read(shape: &Element) -> Result<Self, Violation> {
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
            while let Some(path) = inner.any_type() {
                match path.name.as_str() {
                    "FieldURI" => fields.push(attribute(path, "FieldURI")?.to_owned()),
                    // No item here has any of them, and an answer leaves out what an item does not have.
                    "IndexedFieldURI" | "ExtendedFieldURI" => {}
                    other => return Err(Violation::new(format!("'{other}' names no property"))),
                }
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
        let folder = FolderName::read_only(parts.message("SyncFolderId")?)?;
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
    while let Some(id) = inner.any_type() {
        match id.name.as_str() {
            "ItemId" => ids.push(attribute(id, "Id")?.to_owned()),
            "OccurrenceItemId" | "RecurringMasterItemId" | "RecurringMasterItemIdRanges" => {
                return Err(Violation::not_simulated("items of a series"));
            }
            other => return Err(Violation::new(format!("'{other}' names no item"))),
        }
    }
    inner.end()?;
    if ids.is_empty() {
        return Err(Violation::new("a list of items is empty"));
    }
    Ok(ids)
}

/// Items of the inbox received since a time, by age.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct FindItem {
    pub(in crate::exchange) shape: Shape,
    pub(in crate::exchange) folder: FolderName,
    pub(in crate::exchange) offset: usize,
    pub(in crate::exchange) max: Option<usize>,
    pub(in crate::exchange) since: Option<Timestamp>,
    /// The oldest first.
    pub(in crate::exchange) ascending: bool,
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
        for view in ["FractionalPageItemView", "CalendarView", "ContactsView", "SeekToConditionPageItemView"] {
            if parts.optional(MESSAGES, view).is_some() {
                return Err(Violation::not_simulated(format!("{view} of FindItem")));
            }
        }
        for group in ["GroupBy", "DistinguishedGroupBy"] {
            if parts.optional(MESSAGES, group).is_some() {
                return Err(Violation::not_simulated("groups of FindItem"));
            }
        }
        let since = match parts.optional(MESSAGES, "Restriction") {
            Some(restriction) => Some(received_since(restriction)?),
            None => None,
        };
        let ascending = match parts.optional(MESSAGES, "SortOrder") {
            Some(order) => ascending_by_time(order)?,
            None => false,
        };
        let folder = FolderName::read_one(parts.message("ParentFolderIds")?)?;
        if parts.optional(MESSAGES, "QueryString").is_some() {
            return Err(Violation::not_simulated("searches by words"));
        }
        parts.end()?;
        if traversal != "Shallow" {
            return Err(Violation::not_simulated(format!("traversal {traversal}")));
        }
        Ok(Self { shape, folder, offset, max, since, ascending })
    }
}

fn bad_number(_: std::num::ParseIntError) -> Violation {
    Violation::new("not a number")
}

/// The one restriction that is understood here: DateTimeReceived at or after a time.
fn received_since(restriction: &Element) -> Result<Timestamp, Violation> {
    let mut parts = Sequence::of(restriction);
    let test = parts.any_type().ok_or_else(|| Violation::new("an empty restriction"))?;
    parts.end()?;
    if test.name != "IsGreaterThanOrEqualTo" {
        return Err(Violation::not_simulated(format!("restriction {}", test.name)));
    }
    let mut parts = Sequence::of(test);
    received_field(&mut parts)?;
    let value = parts.of_type("FieldURIOrConstant")?;
    parts.end()?;
    let mut parts = Sequence::of(value);
    let constant = attribute(parts.of_type("Constant")?, "Value")?;
    parts.end()?;
    constant.parse().map_err(|_| Violation::new("the constant is no time"))
}

fn ascending_by_time(order: &Element) -> Result<bool, Violation> {
    let mut parts = Sequence::of(order);
    let by = parts.of_type("FieldOrder")?;
    if parts.optional(TYPES, "FieldOrder").is_some() {
        return Err(Violation::not_simulated("orders by several properties"));
    }
    parts.end()?;
    let ascending = match attribute(by, "Order")? {
        "Ascending" => true,
        "Descending" => false,
        _ => return Err(Violation::new("no order of that name")),
    };
    let mut parts = Sequence::of(by);
    received_field(&mut parts)?;
    parts.end()?;
    Ok(ascending)
}

fn received_field(parts: &mut Sequence<'_>) -> Result<(), Violation> {
    let path = parts.any_type().ok_or_else(|| Violation::new("a property is missing"))?;
    if path.name == "FieldURI" {
        match attribute(path, "FieldURI")? {
            "item:DateTimeReceived" => return Ok(()),
            uri if !Version::LATEST.has_field(uri) => return Err(Violation::new(format!("no property is called '{uri}'"))),
            _ => {}
        }
    }
    Err(Violation::not_simulated("orders and restrictions by anything but item:DateTimeReceived"))
}
