//! SyncFolderItems.

use std::fmt::Write as _;

use super::Call;
use super::items::write_item;
use crate::exchange::names::Failure;
use crate::exchange::reply::{response, success};
use crate::exchange::request::{OperationName, SyncFolderItems};
use crate::world::SyncChange;
use crate::xml::escape;

pub(super) fn sync_folder_items(call: &Call, ask: &SyncFolderItems) -> Result<String, Failure> {
    call.check_inbox(&ask.folder)?;
    let page = call.mailbox.sync(ask.sync_state.as_deref(), ask.max).map_err(|_| {
        let text = "Synchronization state data is corrupt or otherwise invalid.";
        Failure::message("ErrorInvalidSyncStateData", text)
    })?;
    let mut changes = String::new();
    for change in &page.changes {
        write_change(&mut changes, call, ask, change);
    }
    let content = format!(
        "<m:SyncState>{}</m:SyncState><m:IncludesLastItemInRange>{}</m:IncludesLastItemInRange><m:Changes>{changes}</m:Changes>",
        escape(&page.sync_state),
        page.is_last
    );
    let name = OperationName::SyncFolderItems;
    Ok(response(name, &success(name, &content)))
}

fn write_change(out: &mut String, call: &Call, ask: &SyncFolderItems, change: &SyncChange) {
    let id = match change {
        SyncChange::Create(item) | SyncChange::Update(item) => &item.id,
        SyncChange::Delete(name) | SyncChange::ReadFlag(name, _) => &name.id,
    };
    if ask.ignored.contains(id) {
        return;
    }
    let forbidden = call.flavour.forbidden;
    // Writing to a String cannot fail.
    let _ = match change {
        SyncChange::Create(item) => {
            out.push_str("<t:Create>");
            write_item(out, item, &ask.shape, &call.mailbox, forbidden);
            out.write_str("</t:Create>")
        }
        SyncChange::Update(item) => {
            out.push_str("<t:Update>");
            write_item(out, item, &ask.shape, &call.mailbox, forbidden);
            out.write_str("</t:Update>")
        }
        SyncChange::Delete(name) => write!(out, r#"<t:Delete><t:ItemId Id="{}" ChangeKey="{}"/></t:Delete>"#, name.id, name.change_key),
        SyncChange::ReadFlag(name, is_read) => write!(
            out,
            r#"<t:ReadFlagChange><t:ItemId Id="{}" ChangeKey="{}"/><t:IsRead>{is_read}</t:IsRead></t:ReadFlagChange>"#,
            name.id, name.change_key
        ),
    };
}
