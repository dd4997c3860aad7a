//! The messages of a stream, as Exchange writes them: `m:` for notifications, `t:` inside.

use std::fmt::Write as _;

use crate::exchange::names::Failure;
use crate::exchange::operations::items::time;
use crate::exchange::reply::{failure, stream_envelope};
use crate::exchange::request::OperationName;
use crate::exchange::subscriptions::Subscription;
use crate::world::{Event, EventKind, ItemName};
use crate::xml::escape;

/// A sign of life that speaks of the connection.
pub(super) fn status(status: &str, is_wordy: bool) -> String {
    // Servers in other languages say so in success, too; and a character of several bytes can be cut in two.
    let text = if is_wordy { "<m:MessageText>Verbindung geöffnet – ✓</m:MessageText>" } else { "" };
    success(&format!("{text}<m:ResponseCode>NoError</m:ResponseCode><m:ConnectionStatus>{status}</m:ConnectionStatus>"))
}

/// A sign of life that looks like a notification.
pub(super) fn status_event(subscription: &Subscription) -> String {
    notifications(&format!(
        "<m:Notification><t:SubscriptionId>{}</t:SubscriptionId><t:StatusEvent/></m:Notification>",
        escape(&subscription.id)
    ))
}

/// A document of notifications.
pub(super) fn notifications(list: &str) -> String {
    success(&format!("<m:ResponseCode>NoError</m:ResponseCode><m:Notifications>{list}</m:Notifications>"))
}

/// A document that reports a failure.
pub(super) fn error(failed: &Failure, ids: Option<&[&str]>, connection: Option<&str>) -> String {
    let rest = error_rest(ids, connection);
    stream_envelope(&failure(OperationName::GetStreamingEvents, failed, &rest))
}

/// What follows the usual elements of a failure: real servers write the ids as `m:`, against their own schema.
pub(super) fn error_rest(ids: Option<&[&str]>, connection: Option<&str>) -> String {
    let mut rest = String::new();
    if let Some(ids) = ids {
        rest.push_str("<m:ErrorSubscriptionIds>");
        for id in ids {
            let _ = write!(rest, "<m:SubscriptionId>{}</m:SubscriptionId>", escape(id));
        }
        rest.push_str("</m:ErrorSubscriptionIds>");
    }
    if let Some(status) = connection {
        let _ = write!(rest, "<m:ConnectionStatus>{status}</m:ConnectionStatus>");
    }
    rest
}

fn success(content: &str) -> String {
    stream_envelope(&format!(
        r#"<m:GetStreamingEventsResponseMessage ResponseClass="Success">{content}</m:GetStreamingEventsResponseMessage>"#
    ))
}

/// The notification of one subscription.
pub(super) fn notification(out: &mut String, subscription: &Subscription, events: &[Event], more: bool) {
    let _ =
        write!(out, "<m:Notification><t:SubscriptionId>{}</t:SubscriptionId><t:MoreEvents>{more}</t:MoreEvents>", escape(&subscription.id));
    for event in events {
        write_event(out, event, subscription.mailbox.folder_id(), None);
    }
    out.push_str("</m:Notification>");
}

/// One event; those that are pulled carry a watermark, those of streams do not.
pub(in crate::exchange::operations) fn write_event(out: &mut String, event: &Event, folder: &str, watermark: Option<&str>) {
    let element = event.kind.element();
    let watermark = watermark.map(|mark| format!("<t:Watermark>{}</t:Watermark>", escape(mark))).unwrap_or_default();
    let _ = write!(out, "<t:{element}>{watermark}<t:TimeStamp>{}</t:TimeStamp>", time(event.at));
    match &event.item {
        Some(item) => write_name(out, "ItemId", item),
        None => write_folder(out, "FolderId", folder),
    }
    write_folder(out, "ParentFolderId", folder);
    if let Some(old) = &event.old_item {
        write_name(out, "OldItemId", old);
        write_folder(out, "OldParentFolderId", folder);
    }
    if let (EventKind::Modified, Some(unread)) = (event.kind, event.unread) {
        let _ = write!(out, "<t:UnreadCount>{unread}</t:UnreadCount>");
    }
    let _ = write!(out, "</t:{element}>");
}

fn write_name(out: &mut String, tag: &str, name: &ItemName) {
    let ItemName { id, change_key } = name;
    let _ = write!(out, r#"<t:{tag} Id="{id}" ChangeKey="{change_key}"/>"#);
}

fn write_folder(out: &mut String, tag: &str, id: &str) {
    let _ = write!(out, r#"<t:{tag} Id="{id}" ChangeKey="AQAAAA=="/>"#);
}
