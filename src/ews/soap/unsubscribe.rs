//! `Unsubscribe`: ends a subscription (MS-OXWSNTIF 3.1.4.4).

use super::Operation;
use super::answer::{AnswerError, ResponseMessage, single};
use crate::exchange::xml::escape;
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
        body.push_str(&format!("<m:Unsubscribe><m:SubscriptionId>{}</m:SubscriptionId></m:Unsubscribe>", escape(self.subscription)));
    }

    fn read(&self, messages: Vec<ResponseMessage>) -> Result<Self::Output, AnswerError> {
        single(messages).map(|_| ())
    }
}
