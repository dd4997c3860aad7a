//! GetItem and FindItem, and how an item is written.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::Call;
use crate::exchange::names::{Failure, MAX_FOUND, MAX_FOUND_RESTRICTED};
use crate::exchange::reply::{failure, response, success};
use crate::exchange::request::{FindItem, GetItem, OperationName, Shape};
use crate::world::{ItemView, Mailbox};
use crate::xml::escape;

pub(super) fn get_item(call: &Call, ask: &GetItem) -> String {
    let name = OperationName::GetItem;
    let limit = call.shared.options.limits.ids_per_get_item;
    if ask.ids.len() > limit {
        call.shared.remark("too-many-item-ids", format!("{} in one GetItem", ask.ids.len()));
    }
    let mut messages = String::new();
    for id in &ask.ids {
        let found = if is_id(id) { Ok(call.mailbox.item(id)) } else { Err(bad_id(id)) };
        match found {
            Ok(Some(item)) => {
                let mut content = "<m:Items>".to_owned();
                write_item(&mut content, &item, &ask.shape, &call.mailbox, call.flavour.forbidden);
                content.push_str("</m:Items>");
                messages.push_str(&success(name, &content));
            }
            Err(refused) => messages.push_str(&failure(name, &refused, "<m:Items/>")),
            Ok(None) => {
                let text = "The specified object was not found in the store.";
                let gone = Failure::message("ErrorItemNotFound", text);
                messages.push_str(&failure(name, &gone, "<m:Items/>"));
            }
        }
    }
    response(name, &messages)
}

/// Whether the text has the form of an id of a folder or an item.
pub(super) fn is_id(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|bytes| bytes.starts_with(&[0, 3, 0x24, 0]))
}

fn bad_id(id: &str) -> Failure {
    if id.is_empty() {
        return Failure::message("ErrorInvalidIdEmpty", "Id must be non-empty.");
    }
    Failure::message("ErrorInvalidIdMalformed", "Id is malformed.")
}

pub(super) fn find_item(call: &Call, ask: &FindItem) -> Result<String, Failure> {
    call.check_inbox(&ask.folder)?;
    let most = if ask.since.is_some() { MAX_FOUND_RESTRICTED } else { MAX_FOUND };
    let end = ask.offset.saturating_add(ask.max.unwrap_or(most).min(most));
    let (mut found, total) = call.mailbox.received_since(ask.since, if ask.ascending { usize::MAX } else { end });
    if ask.ascending {
        found.reverse();
        found.truncate(end);
    }
    let mut items = String::new();
    for item in found.iter().skip(ask.offset) {
        write_item(&mut items, item, &ask.shape, &call.mailbox, call.flavour.forbidden);
    }
    let content = format!(
        r#"<m:RootFolder IndexedPagingOffset="{}" TotalItemsInView="{total}" IncludesLastItemInRange="{}"><t:Items>{items}</t:Items></m:RootFolder>"#,
        found.len(),
        found.len() >= total
    );
    let name = OperationName::FindItem;
    Ok(response(name, &success(name, &content)))
}

/// A time as Exchange writes it: whole seconds, UTC.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The element that items of this class travel in.
fn element_of(class: &str) -> &'static str {
    if class.starts_with("IPM.Schedule.Meeting.Request") {
        "MeetingRequest"
    } else if class.starts_with("IPM.Note") || class.starts_with("REPORT.IPM.Note") {
        "Message"
    } else if class.starts_with("IPM.Post") {
        "PostItem"
    } else {
        "Item"
    }
}

/// Writes an item with the properties that were asked for, in the order of the schema.
pub(super) fn write_item(out: &mut String, item: &ItemView, shape: &Shape, mailbox: &Mailbox, forbidden: bool) {
    let element = element_of(&item.mail.class);
    let mail = &item.mail;
    let _ = write!(out, r#"<t:{element}><t:ItemId Id="{}" ChangeKey="{}"/>"#, item.id, item.change_key);
    let mut field = |uri: &str, tag: &str, text: &dyn Fn() -> String| {
        if shape.wants(uri) {
            let _ = write!(out, "<t:{tag}>{}</t:{tag}>", text());
        }
    };
    field("item:ItemClass", "ItemClass", &|| escape(&mail.class));
    field("item:Subject", "Subject", &|| {
        let subject = escape(&mail.subject);
        // Servers have sent characters that XML 1.0 forbids even as references.
        if forbidden { format!("{subject}&#x0;&#x1F;") } else { subject }
    });
    field("item:DateTimeReceived", "DateTimeReceived", &|| time(item.received_at));
    field("item:Size", "Size", &|| (4_000 + mail.preview.len()).to_string());
    field("item:Importance", "Importance", &|| mail.importance.as_str().to_owned());
    field("item:IsDraft", "IsDraft", &|| mail.is_draft.to_string());
    field("item:HasAttachments", "HasAttachments", &|| mail.has_attachments.to_string());
    field("item:Preview", "Preview", &|| escape(&mail.preview));
    if shape.wants("item:TextBody") {
        let body = escape(&mail.preview);
        let _ = write!(out, r#"<t:TextBody BodyType="Text" IsTruncated="false">{body}</t:TextBody>"#);
    }
    if element == "Message" || element == "MeetingRequest" {
        write_message(out, item, shape, mailbox);
    }
    let _ = write!(out, "</t:{element}>");
}

/// The properties that only messages have.
fn write_message(out: &mut String, item: &ItemView, shape: &Shape, mailbox: &Mailbox) {
    let mail = &item.mail;
    let person = |name: &str, address: &str| {
        format!(
            "<t:Mailbox><t:Name>{}</t:Name><t:EmailAddress>{}</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType></t:Mailbox>",
            escape(name),
            escape(address)
        )
    };
    let sender = person(&mail.sender_name, &mail.sender_address);
    let mut field = |uri: &str, tag: &str, text: &str| {
        if shape.wants(uri) {
            let _ = write!(out, "<t:{tag}>{text}</t:{tag}>");
        }
    };
    field("message:Sender", "Sender", &sender);
    let owner = person(mailbox.smtp(), mailbox.smtp());
    field("message:ToRecipients", "ToRecipients", &owner);
    field("message:From", "From", &sender);
    field("message:InternetMessageId", "InternetMessageId", &escape(&item.internet_message_id));
    field("message:IsRead", "IsRead", if item.is_read { "true" } else { "false" });
}
