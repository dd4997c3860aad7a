//! The wire of Exchange Web Services: how requests are written and answers read, one file an operation.

pub mod answer;
pub mod envelope;
pub mod find_item;
pub mod get_folder;
pub mod get_item;
pub mod get_streaming_events;
pub mod item_facts;
pub mod splitter;
pub mod subscribe;
pub mod sync_folder_items;
pub mod unsubscribe;

pub use answer::{Answer, AnswerError, Fault};
pub use envelope::Header;

use crate::telemetry::metrics;

/// One operation: what is asked and how its answer is read.
pub trait Operation: Sync {
    /// What a good answer says.
    type Output: Send;

    /// The operation's name; its answer is `<NAME>Response`.
    const NAME: &'static str;

    /// What it is called in metrics.
    const METRIC: metrics::Operation;

    /// Writes the inside of the SOAP body.
    fn write(&self, body: &mut String);

    /// Reads an answer, which has one response message per item asked.
    ///
    /// # Errors
    /// [`AnswerError`]: the server's fault, or an answer that cannot be understood.
    fn read(&self, answer: Answer<'_>) -> Result<Self::Output, AnswerError>;
}
