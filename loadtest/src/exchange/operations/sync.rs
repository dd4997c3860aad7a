//! SyncFolderItems.

use std::fmt::Write as _;

use super::Call;
use super::items::write_item;
use crate::exchange::faults::EndlessSync;
use crate::exchange::names::Failure;
use crate::exchange::reply::{response, success};
use crate::exchange::request::{OperationName, SyncFolderItems};
use crate::world::SyncChange;
use crate::xml::escape;

pub(super) fn sync_folder_items(call: &Call, ask: &SyncFolderItems) -> Result<String, Failure> {
    call.check_inbox(&ask.folder)?;
    let known = ask.sync_state.as_deref().map(|state| state.split('~').next().unwrap_or_default());
    let page = call.mailbox.sync(known, ask.max).map_err(|_| {
        let text = "Synchronization state data is corrupt or otherwise invalid.";
        Failure::message("ErrorInvalidSyncStateData", text)
    })?;
    let mut changes = String::new();
    for change in &page.changes {
        write_change(&mut changes, call, ask, change);
    }
    let (state, changes, is_last) = match call.shared.options.faults.endless(call.mailbox.smtp()).filter(|_| page.is_last) {
        Some(how) => endless(how, ask, &page.sync_state, changes),
        None => (page.sync_state, changes, page.is_last),
    };
    let content = format!(
        "<m:SyncState>{}</m:SyncState><m:IncludesLastItemInRange>{}</m:IncludesLastItemInRange><m:Changes>{changes}</m:Changes>",
        escape(&state),
        is_last
    );
    let name = OperationName::SyncFolderItems;
    Ok(response(name, &success(name, &content)))
}

/// What a server says that never says that it is at the end.
fn endless(how: EndlessSync, ask: &SyncFolderItems, state: &str, mut changes: String) -> (String, String, bool) {
    if matches!(how, EndlessSync::SameStateAndChange | EndlessSync::NewStateAndChange) {
        changes
            .push_str(r#"<t:ReadFlagChange><t:ItemId Id="AAMkAGEndless=" ChangeKey="AQ=="/><t:IsRead>true</t:IsRead></t:ReadFlagChange>"#);
    }
    let state = match how {
        EndlessSync::SameState | EndlessSync::SameStateAndChange => state.to_owned(),
        // The number behind the sign is not read back.
        EndlessSync::NewState | EndlessSync::NewStateAndChange => {
            let turn = ask.sync_state.as_deref().and_then(|former| former.rsplit_once('~')).and_then(|(_, turn)| turn.parse::<u64>().ok());
            format!("{state}~{}", turn.unwrap_or_default().wrapping_add(1))
        }
    };
    (state, changes, false)
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
