//! `SyncFolderItems`: what changed in the inbox since a sync state (MS-OXWSSYNC 3.1.4.2).

use postrider_actors::ids::SyncState;
use postrider_actors::ports::mail_source::{Change, ChangesPage};

use super::Operation;
use super::answer::{Answer, AnswerError};
use super::item_facts::{PROPERTIES, facts, item_id};
use crate::exchange::xml::{Element, escape_into};
use crate::telemetry::metrics;

/// The most changes that a page may hold (MS-OXWSSYNC 3.1.4.2.3.3, `MaxSyncChangesReturnedType`).
pub const MAX_CHANGES: usize = 512;

/// Asks for the next page of changes of the impersonated mailbox's inbox.
#[derive(Debug, Clone, Copy)]
pub struct SyncFolderItems<'a> {
    /// Where to continue from; everything, if there is none.
    pub state: Option<&'a SyncState>,
    /// With ids alone and at most so many changes; with what is told of items, and as many as a page may hold, if none.
    pub bare: Option<usize>,
}

impl Operation for SyncFolderItems<'_> {
    type Output = ChangesPage;
    const NAME: &'static str = "SyncFolderItems";
    const METRIC: metrics::Operation = metrics::Operation::Sync;

    fn write(&self, body: &mut String) {
        body.push_str("<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape>");
        if self.bare.is_none() {
            body.push_str(PROPERTIES);
        }
        body.push_str("</m:ItemShape><m:SyncFolderId><t:DistinguishedFolderId Id=\"inbox\"/></m:SyncFolderId>");
        if let Some(state) = self.state {
            body.push_str("<m:SyncState>");
            escape_into(body, &state.0);
            body.push_str("</m:SyncState>");
        }
        body.push_str(&format!(
            "<m:MaxChangesReturned>{}</m:MaxChangesReturned><m:SyncScope>NormalItems</m:SyncScope></m:SyncFolderItems>",
            self.bare.unwrap_or(MAX_CHANGES)
        ));
    }

    fn read(&self, answer: Answer<'_>) -> Result<Self::Output, AnswerError> {
        let element = answer.single()?;
        let state = element.text_at(&["SyncState"]).map_or("", str::trim);
        if state.is_empty() {
            return Err(AnswerError::Incomplete("SyncState"));
        }
        let complete = match element.text_at(&["IncludesLastItemInRange"]).map(str::trim) {
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            _ => return Err(AnswerError::Incomplete("IncludesLastItemInRange")),
        };
        let changes = element.child("Changes").map(|changes| changes.children().filter_map(change).collect()).unwrap_or_default();
        Ok(ChangesPage { changes, state: SyncState(state.into()), complete })
    }
}

/// One change; `None` for kinds that no schema knows yet.
fn change(element: Element<'_>) -> Option<Change> {
    match element.name() {
        "Create" => element.children().next().and_then(facts).map(Change::Created),
        "Update" => element.children().next().and_then(item_id).map(Change::Updated),
        "Delete" => item_id(element).map(Change::Deleted),
        "ReadFlagChange" => {
            let read = matches!(element.text_at(&["IsRead"]).map(str::trim), Some("true" | "1"));
            item_id(element).map(|item| Change::ReadFlag { item, read })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use postrider_actors::ids::ItemId;
    use postrider_actors::ports::mail_source::ItemFacts;
    use postrider_actors::time::Timestamp;

    use super::super::answer;
    use super::*;

    #[test]
    fn every_kind_of_change_is_read_in_order() {
        let answer = answer::read(include_bytes!("fixtures/sync_folder_items.xml"), "SyncFolderItems").unwrap();
        let page = SyncFolderItems { state: None, bare: None }.read(answer).unwrap();
        let id = |text: &str| ItemId(text.into());
        assert_eq!(
            page.changes,
            vec![
                Change::Created(ItemFacts {
                    item: id("AAMkADzA"),
                    received_at: Timestamp(1_795_327_200_000_000),
                    read: false,
                    draft: false,
                    mail_class: true,
                }),
                Change::Updated(id("AAMkADzB")),
                Change::Deleted(id("AAMkADzC")),
                Change::ReadFlag { item: id("AAMkADzD"), read: true },
            ]
        );
        assert_eq!(&*page.state.0, "H4sIAAAAAAAEAO29");
        assert!(page.complete);
    }
}
