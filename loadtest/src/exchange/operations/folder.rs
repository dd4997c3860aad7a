//! GetFolder.

use std::fmt::Write as _;

use super::Call;
use crate::exchange::names::Failure;
use crate::exchange::reply::{response, success};
use crate::exchange::request::{GetFolder, OperationName};

pub(super) fn get_folder(call: &Call, ask: &GetFolder) -> Result<String, Failure> {
    call.check_inbox(&ask.folder)?;
    let mut folder = format!(r#"<t:FolderId Id="{}" ChangeKey="AQAAAA=="/>"#, call.mailbox.folder_id());
    let mut field = |uri: &str, tag: &str, text: &str| {
        if ask.shape.wants(uri) {
            let _ = write!(folder, "<t:{tag}>{text}</t:{tag}>");
        }
    };
    field("folder:FolderClass", "FolderClass", "IPF.Note");
    // Localised on purpose: nobody may find the inbox by this name.
    field("folder:DisplayName", "DisplayName", "Posteingang");
    field("folder:TotalCount", "TotalCount", &call.mailbox.total().to_string());
    field("folder:ChildFolderCount", "ChildFolderCount", "0");
    field("folder:UnreadCount", "UnreadCount", &call.mailbox.unread().to_string());
    let content = format!("<m:Folders><t:Folder>{folder}</t:Folder></m:Folders>");
    let name = OperationName::GetFolder;
    Ok(response(name, &success(name, &content)))
}
