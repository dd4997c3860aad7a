//! GetFolder, and which folders a mailbox has: its root, the top of what its owner sees, and the inbox.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Call;
use super::items::is_id;
use crate::exchange::names::Failure;
use crate::exchange::reply::{failure, response, success};
use crate::exchange::request::{FolderName, GetFolder, OperationName, Shape};
use crate::world::Mailbox;

/// A folder that every mailbox has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    Root,
    Top,
    Inbox,
}

impl Folder {
    /// The folder of `mailbox` that is meant.
    pub(super) fn find(mailbox: &Mailbox, name: &FolderName) -> Result<Self, Failure> {
        let all = [Self::Root, Self::Top, Self::Inbox];
        let found = match name {
            FolderName::Id(id) if id.is_empty() => return Err(Failure::message("ErrorInvalidIdEmpty", "Id must be non-empty.")),
            FolderName::Id(id) if !is_id(id) => return Err(Failure::message("ErrorInvalidIdMalformed", "Id is malformed.")),
            FolderName::Id(id) => all.into_iter().find(|folder| folder.id(mailbox) == *id),
            FolderName::Distinguished { mailbox: Some(other), .. } if other != mailbox.smtp() => None,
            FolderName::Distinguished { name, .. } => all.into_iter().find(|folder| folder.well_known() == name),
        };
        found.ok_or_else(|| Failure::message("ErrorFolderNotFound", "The specified folder could not be found in the store."))
    }

    fn well_known(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Top => "msgfolderroot",
            Self::Inbox => "inbox",
        }
    }

    /// Its id: the inbox's own, or that with another last byte.
    fn id(self, mailbox: &Mailbox) -> String {
        let inbox = mailbox.folder_id();
        let number = match self {
            Self::Inbox => return inbox.to_owned(),
            Self::Root => 1,
            Self::Top => 2,
        };
        let mut bytes = STANDARD.decode(inbox).unwrap_or_default();
        if let Some(last) = bytes.last_mut() {
            *last = number;
        }
        STANDARD.encode(bytes)
    }

    fn parent(self) -> Self {
        match self {
            Self::Inbox => Self::Top,
            Self::Root | Self::Top => Self::Root,
        }
    }

    /// Its properties, in the order of the schema.
    fn describe(self, mailbox: &Mailbox, shape: &Shape) -> String {
        let mut folder = format!(r#"<t:FolderId Id="{}" ChangeKey="AQAAAA=="/>"#, self.id(mailbox));
        if shape.wants("folder:ParentFolderId") {
            let _ = write!(folder, r#"<t:ParentFolderId Id="{}" ChangeKey="AQAAAA=="/>"#, self.parent().id(mailbox));
        }
        let mut field = |uri: &str, tag: &str, text: &str| {
            if shape.wants(uri) {
                let _ = write!(folder, "<t:{tag}>{text}</t:{tag}>");
            }
        };
        // Localised on purpose: nobody may find the inbox by this name.
        let (class, name, children, total, unread) = match self {
            Self::Root => ("", "", "1", 0, 0),
            Self::Top => ("IPF.Note", "Oberste Ebene des Informationsspeichers", "1", 0, 0),
            Self::Inbox => ("IPF.Note", "Posteingang", "0", mailbox.total(), mailbox.unread()),
        };
        if !class.is_empty() {
            field("folder:FolderClass", "FolderClass", class);
        }
        field("folder:DisplayName", "DisplayName", name);
        field("folder:TotalCount", "TotalCount", &total.to_string());
        field("folder:ChildFolderCount", "ChildFolderCount", children);
        field("folder:DistinguishedFolderId", "DistinguishedFolderId", self.well_known());
        field("folder:UnreadCount", "UnreadCount", &unread.to_string());
        folder
    }
}

pub(super) fn get_folder(call: &Call, ask: &GetFolder) -> String {
    let name = OperationName::GetFolder;
    let mut messages = String::new();
    for wanted in &ask.folders {
        messages.push_str(&match Folder::find(&call.mailbox, wanted) {
            Ok(folder) => {
                let folder = folder.describe(&call.mailbox, &ask.shape);
                success(name, &format!("<m:Folders><t:Folder>{folder}</t:Folder></m:Folders>"))
            }
            Err(refused) => failure(name, &refused, "<m:Folders/>"),
        });
    }
    response(name, &messages)
}
