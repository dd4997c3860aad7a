//! `GetItem`: sender, subject and preview of a few mails (MS-OXWSCORE 3.1.4.4).

use postrider_actors::ids::ItemId;
use postrider_actors::ports::mail_source::{ItemFacts, MailContent};

use super::Operation;
use super::answer::{Answer, AnswerError, message_fault};
use super::item_facts::{PROPERTIES, facts};
use crate::ews::response_code::Action;
use crate::exchange::xml::{Element, escape_into};
use crate::telemetry::metrics;

/// How many mails one call asks for; Exchange advises batches of ten.
pub const MAX_ITEMS: usize = 10;

/// Asks for what a push shows of some mails.
#[derive(Debug, Clone, Copy)]
pub struct GetContents<'a> {
    /// At most [`MAX_ITEMS`].
    pub items: &'a [ItemId],
}

impl Operation for GetContents<'_> {
    type Output = Vec<Option<MailContent>>;
    const NAME: &'static str = "GetItem";
    const METRIC: metrics::Operation = metrics::Operation::Item;

    fn write(&self, body: &mut String) {
        body.push_str(concat!(
            "<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>",
            "<t:FieldURI FieldURI=\"item:Subject\"/><t:FieldURI FieldURI=\"message:From\"/>",
            "<t:FieldURI FieldURI=\"message:IsRead\"/><t:FieldURI FieldURI=\"item:Preview\"/>",
            "</t:AdditionalProperties></m:ItemShape><m:ItemIds>",
        ));
        write_ids(body, self.items);
        body.push_str("</m:ItemIds></m:GetItem>");
    }

    fn read(&self, answer: Answer<'_>) -> Result<Self::Output, AnswerError> {
        if answer.messages().count() != self.items.len() {
            return Err(AnswerError::Incomplete("one response message per item"));
        }
        answer.messages().map(content).collect()
    }
}

/// Asks for what a sync tells of some items.
#[derive(Debug, Clone, Copy)]
pub struct GetFacts<'a> {
    /// At most [`MAX_ITEMS`].
    pub items: &'a [ItemId],
}

impl Operation for GetFacts<'_> {
    type Output = Vec<Option<ItemFacts>>;
    const NAME: &'static str = "GetItem";
    const METRIC: metrics::Operation = metrics::Operation::Item;

    fn write(&self, body: &mut String) {
        body.push_str("<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape>");
        body.push_str(PROPERTIES);
        body.push_str("</m:ItemShape><m:ItemIds>");
        write_ids(body, self.items);
        body.push_str("</m:ItemIds></m:GetItem>");
    }

    fn read(&self, answer: Answer<'_>) -> Result<Self::Output, AnswerError> {
        if answer.messages().count() != self.items.len() {
            return Err(AnswerError::Incomplete("one response message per item"));
        }
        let told = |message: Element<'_>| match message_fault(message) {
            None => Ok(message.child("Items").and_then(|items| items.children().next()).and_then(facts)),
            Some(fault) if fault.action == Action::ItemGone => Ok(None),
            Some(fault) => Err(AnswerError::Fault(fault)),
        };
        answer.messages().map(told).collect()
    }
}

fn write_ids(body: &mut String, items: &[ItemId]) {
    for item in items {
        body.push_str("<t:ItemId Id=\"");
        escape_into(body, &item.0);
        body.push_str("\"/>");
    }
}

/// The content in one response message; an item that is gone is `None`, any other fault fails the call.
fn content(message: Element<'_>) -> Result<Option<MailContent>, AnswerError> {
    match message_fault(message) {
        None => {}
        Some(fault) if fault.action == Action::ItemGone => return Ok(None),
        // It has arrived all the same: announced without words.
        Some(fault) if fault.action == Action::ItemUnreadable => return Ok(Some(wordless())),
        Some(fault) => return Err(AnswerError::Fault(fault)),
    }
    let Some(item) = message.child("Items").and_then(|items| items.children().next()) else {
        return Ok(None);
    };
    let text = |path: &[&str]| item.text_at(path).map_or("", str::trim).to_owned();
    Ok(Some(MailContent {
        sender: sender(item),
        subject: text(&["Subject"]),
        preview: text(&["Preview"]),
        read: matches!(item.text_at(&["IsRead"]).map(str::trim), Some("true" | "1")),
    }))
}

/// What is shown of a mail that cannot be read.
#[must_use]
pub fn wordless() -> MailContent {
    MailContent { sender: String::new(), subject: String::new(), preview: String::new(), read: false }
}

/// The sender's display name, or the address if there is none.
fn sender(item: Element<'_>) -> String {
    let part = |name: &str| item.text_at(&["From", "Mailbox", name]).map(str::trim).filter(|text| !text.is_empty());
    part("Name").or_else(|| part("EmailAddress")).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::answer;
    use super::*;

    #[test]
    fn contents_come_in_the_order_asked_and_a_mail_that_is_gone_is_none() {
        let items: Vec<ItemId> = ["A", "B", "C"].into_iter().map(|id| ItemId(id.into())).collect();
        let answer = answer::read(include_bytes!("fixtures/get_item.xml"), "GetItem").unwrap();
        let contents = GetContents { items: &items }.read(answer).unwrap();
        let first = contents[0].as_ref().unwrap();
        assert_eq!((first.sender.as_str(), first.subject.as_str()), ("Ada Lovelace", "Notes & figures\u{FFFD}"));
        assert_eq!((first.preview.as_str(), first.read), ("Dear reader, …", false));
        assert_eq!(contents[1], None);
        let third = contents[2].as_ref().unwrap();
        assert_eq!((third.sender.as_str(), third.subject.as_str(), third.preview.as_str()), ("robot@example.com", "", ""));
    }

    #[test]
    fn a_corrupt_mail_has_arrived_all_the_same() {
        let document =
            b"<E><Body><GetItemResponse><ResponseMessages><M ResponseClass='Error'><ResponseCode>ErrorItemCorrupt</ResponseCode></M>\
            </ResponseMessages></GetItemResponse></Body></E>";
        let items = [ItemId("A".into())];
        let contents = GetContents { items: &items }.read(answer::read(document, "GetItem").unwrap()).unwrap();
        assert!(contents == [Some(wordless())]);
    }

    #[test]
    fn fewer_messages_than_items_are_not_taken_for_an_answer() {
        let items = [ItemId("A".into())];
        let answer = answer::read(include_bytes!("fixtures/get_item.xml"), "GetItem").unwrap();
        assert!(matches!(GetContents { items: &items }.read(answer), Err(AnswerError::Incomplete(_))));
    }
}
