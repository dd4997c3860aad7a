//! `Subscribe`: a streaming subscription on the inbox (MS-OXWSNTIF 3.1.4.3).

use super::Operation;
use super::answer::{Answer, AnswerError};
use crate::telemetry::metrics;

/// Asks for a streaming subscription on the inbox of the impersonated mailbox.
#[derive(Debug, Clone, Copy)]
pub struct Subscribe;

/// What a subscription listens to.
const EVENTS: [&str; 6] = ["NewMailEvent", "CreatedEvent", "ModifiedEvent", "DeletedEvent", "MovedEvent", "CopiedEvent"];

/// Ids on the wire are about 150 to 300 characters; what is far longer is not kept.
pub const MAX_ID_BYTES: usize = 1024;

impl Operation for Subscribe {
    type Output = Box<str>;
    const NAME: &'static str = "Subscribe";
    const METRIC: metrics::Operation = metrics::Operation::Subscribe;

    fn write(&self, body: &mut String) {
        body.push_str(
            "<m:Subscribe><m:StreamingSubscriptionRequest><t:FolderIds><t:DistinguishedFolderId Id=\"inbox\"/></t:FolderIds><t:EventTypes>",
        );
        for event in EVENTS {
            body.push_str(&format!("<t:EventType>{event}</t:EventType>"));
        }
        body.push_str("</t:EventTypes></m:StreamingSubscriptionRequest></m:Subscribe>");
    }

    fn read(&self, answer: Answer<'_>) -> Result<Self::Output, AnswerError> {
        let element = answer.single()?;
        let id = element.text_at(&["SubscriptionId"]).map_or("", str::trim);
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(AnswerError::Incomplete("a usable SubscriptionId"));
        }
        Ok(id.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer;
    use super::*;

    #[test]
    fn the_subscription_id_is_read() {
        let answer = answer::read(include_bytes!("fixtures/subscribe.xml"), "Subscribe").unwrap();
        assert_eq!(&*Subscribe.read(answer).unwrap(), "JwBhbTBwcjEwbWIzMjM1LmV1cnByZDEwLnByb2Qub3V0bG9vay5jb20QAAAA");
    }

    #[test]
    fn an_answer_without_id_is_incomplete() {
        let document =
            b"<E><Body><SubscribeResponse><ResponseMessages><M ResponseClass='Success'/></ResponseMessages></SubscribeResponse></Body></E>";
        let answer = answer::read(document, "Subscribe").unwrap();
        assert!(matches!(Subscribe.read(answer), Err(AnswerError::Incomplete(_))));
    }
}
