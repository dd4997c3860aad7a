//! `FindItem`: items of the inbox received since a time, newest first (MS-OXWSSRCH 3.1.4.2).

use postrider_actors::ports::mail_source::ItemFacts;
use postrider_actors::time::Timestamp;

use super::Operation;
use super::answer::{Answer, AnswerError};
use super::item_facts::{PROPERTIES, date_time, facts};
use crate::exchange::xml::Element;
use crate::telemetry::metrics;

/// Asks for the newest items of the impersonated mailbox's inbox.
#[derive(Debug, Clone, Copy)]
pub struct FindReceivedSince {
    /// Received at this time (rounded down to the second) or later.
    pub since: Timestamp,
    /// At most so many.
    pub limit: usize,
    /// With ids alone.
    pub bare: bool,
}

impl Operation for FindReceivedSince {
    type Output = Vec<ItemFacts>;
    const NAME: &'static str = "FindItem";
    const METRIC: metrics::Operation = metrics::Operation::Find;

    fn write(&self, body: &mut String) {
        body.push_str("<m:FindItem Traversal=\"Shallow\"><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape>");
        if !self.bare {
            body.push_str(PROPERTIES);
        }
        body.push_str(&format!(
            concat!(
                "</m:ItemShape><m:IndexedPageItemView MaxEntriesReturned=\"{}\" Offset=\"0\" BasePoint=\"Beginning\"/>",
                "<m:Restriction><t:IsGreaterThanOrEqualTo><t:FieldURI FieldURI=\"item:DateTimeReceived\"/>",
                "<t:FieldURIOrConstant><t:Constant Value=\"{}\"/></t:FieldURIOrConstant></t:IsGreaterThanOrEqualTo></m:Restriction>",
                "<m:SortOrder><t:FieldOrder Order=\"Descending\"><t:FieldURI FieldURI=\"item:DateTimeReceived\"/></t:FieldOrder></m:SortOrder>",
                "<m:ParentFolderIds><t:DistinguishedFolderId Id=\"inbox\"/></m:ParentFolderIds></m:FindItem>",
            ),
            self.limit.clamp(1, 250),
            date_time(self.since)
        ));
    }

    fn read(&self, answer: Answer<'_>) -> Result<Self::Output, AnswerError> {
        let element = answer.single()?;
        let root = element.child("RootFolder").ok_or(AnswerError::Incomplete("RootFolder"))?;
        let items = root.child("Items").into_iter().flat_map(Element::children);
        let mut found: Vec<ItemFacts> = items.filter_map(facts).filter(|item| self.bare || item.received_at >= self.since).collect();
        found.truncate(self.limit);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer;
    use super::*;

    #[test]
    fn items_older_than_asked_are_left_out() {
        let document = br#"<E><Body><FindItemResponse><ResponseMessages><FindItemResponseMessage ResponseClass="Success"><ResponseCode>NoError</ResponseCode><RootFolder TotalItemsInView="2" IncludesLastItemInRange="true"><Items><Message><ItemId Id="A" ChangeKey="1"/><ItemClass>IPM.Note</ItemClass><DateTimeReceived>2026-11-22T06:00:00.5Z</DateTimeReceived></Message><Message><ItemId Id="B"/><DateTimeReceived>2026-11-22T06:00:00.1Z</DateTimeReceived></Message></Items></RootFolder></FindItemResponseMessage></ResponseMessages></FindItemResponse></Body></E>"#;
        let asked = FindReceivedSince { since: Timestamp(1_795_327_200_300_000), limit: 10, bare: false };
        let found = asked.read(answer::read(document, "FindItem").unwrap()).unwrap();
        assert_eq!(found.iter().map(|item| &*item.item.0).collect::<Vec<_>>(), ["A"]);
        let mut body = String::new();
        asked.write(&mut body);
        assert!(body.contains("Value=\"2026-11-22T06:00:00Z\""), "the second is rounded down");
    }
}
