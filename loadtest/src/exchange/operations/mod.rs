//! What the server does for each operation.

mod folder;
mod items;
mod pull;
pub(super) mod resolve;
mod stream;
mod subscription;
mod sync;

use std::sync::Arc;

use super::affinity::{BackEnd, Wish};
use super::faults::Flavour;
use super::names::Failure;
use super::request::{FolderName, Operation, OperationName, Request};
use super::server::Shared;
use crate::https::Body;
use crate::socket::Cut;
use crate::world::Mailbox;
use folder::Folder;

/// A request that passed every check at the door.
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    /// Who logged on.
    pub(super) account: String,
    /// Who is impersonated.
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) wish: Wish,
    pub(super) back_end: BackEnd,
    /// The back end was chosen by a fault, not by the client.
    pub(super) is_astray: bool,
    pub(super) flavour: Flavour,
    pub(super) cut: Cut,
}

/// What goes back.
pub(super) enum Answer {
    /// A document, and the override cookie's value when it is to be set.
    Document(String, Option<String>),
    /// A stream of documents.
    Stream(Body),
}

impl Call {
    /// Carries the request out.
    pub(super) fn carry_out(self, request: Request) -> Result<Answer, Failure> {
        let document = |xml| Ok(Answer::Document(xml, None));
        match request.operation {
            Operation::Subscribe(ask) => subscription::subscribe(&self, &ask),
            Operation::Unsubscribe(id) => document(subscription::unsubscribe(&self, &id)?),
            Operation::GetStreamingEvents(ask) => stream::open(self, ask),
            Operation::SyncFolderItems(ask) => document(sync::sync_folder_items(&self, &ask)?),
            Operation::GetItem(ask) => document(items::get_item(&self, &ask)),
            Operation::FindItem(ask) => document(items::find_item(&self, &ask)?),
            Operation::GetFolder(ask) => document(folder::get_folder(&self, &ask)),
            Operation::GetEvents(ask) => document(pull::get_events(&self, &ask)?),
            Operation::ResolveNames(ask) => document(resolve::resolve_names(&self.shared.options.world, &ask)),
        }
    }

    /// Refuses any folder but the inbox of the impersonated mailbox.
    fn check_inbox(&self, folder: &FolderName) -> Result<(), Failure> {
        match Folder::find(&self.mailbox, folder)? {
            Folder::Inbox => Ok(()),
            other => Err(self.shared.not_simulated(&format!("what is in the folder {other:?}"))),
        }
    }

    fn misuse(&self, rule: &'static str, detail: impl Into<String>) {
        self.shared.misuse(rule, detail);
    }
}

/// Puts a response that reports one failure together.
pub(super) fn refused(operation: OperationName, failure: &Failure) -> String {
    super::reply::response(operation, &super::reply::failure(operation, failure, ""))
}
