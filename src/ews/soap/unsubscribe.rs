//! `Unsubscribe`: ends a subscription (MS-OXWSNTIF 3.1.4.4).

use super::Operation;
use super::answer::{Answer, AnswerError};
use crate::exchange::xml::escape_into;
use crate::telemetry::metrics;

/// Asks to end a subscription.
#[derive(Debug, Clone, Copy)]
pub struct Unsubscribe<'a> {
    /// Which one.
    pub subscription: &'a str,
}

impl Operation for Unsubscribe<'_> {
    type Output = ();
    const NAME: &'static str = "Unsubscribe";
    const METRIC: metrics::Operation = metrics::Operation::Unsubscribe;

    fn write(&self, body: &mut String) {
        body.push_str("<m:Unsubscribe><m:SubscriptionId>");
        escape_into(body, self.subscription);
        body.push_str("</m:SubscriptionId></m:Unsubscribe>");
    }

    fn read(&self, answer: Answer<'_>) -> Result<Self::Output, AnswerError> {
        answer.single().map(|_| ())
    }
}
