//! `GetFolder`: the unread count of the inbox (MS-OXWSFOLD 3.1.4.6).

use super::Operation;
use super::answer::{Answer, AnswerError};
use crate::telemetry::metrics;

/// Asks for the unread count of the impersonated mailbox's inbox.
#[derive(Debug, Clone, Copy)]
pub struct GetInboxUnread;

impl Operation for GetInboxUnread {
    type Output = u32;
    const NAME: &'static str = "GetFolder";
    const METRIC: metrics::Operation = metrics::Operation::Folder;

    fn write(&self, body: &mut String) {
        body.push_str(concat!(
            "<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>",
            "<t:FieldURI FieldURI=\"folder:UnreadCount\"/></t:AdditionalProperties></m:FolderShape>",
            "<m:FolderIds><t:DistinguishedFolderId Id=\"inbox\"/></m:FolderIds></m:GetFolder>",
        ));
    }

    fn read(&self, answer: Answer<'_>) -> Result<Self::Output, AnswerError> {
        let element = answer.single()?;
        let folder = element.child("Folders").and_then(|folders| folders.children().next());
        let count = folder.and_then(|folder| folder.text_at(&["UnreadCount"]));
        count.and_then(|count| count.trim().parse().ok()).ok_or(AnswerError::Incomplete("UnreadCount"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer;
    use super::*;

    #[test]
    fn the_unread_count_is_read() {
        let document = br#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><m:GetFolderResponse xmlns:m="m" xmlns:t="t"><m:ResponseMessages><m:GetFolderResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Folders><t:Folder><t:FolderId Id="AQ=" ChangeKey="B"/><t:UnreadCount>17</t:UnreadCount></t:Folder></m:Folders></m:GetFolderResponseMessage></m:ResponseMessages></m:GetFolderResponse></s:Body></s:Envelope>"#;
        let answer = answer::read(document, "GetFolder").unwrap();
        assert_eq!(GetInboxUnread.read(answer), Ok(17));
    }
}
