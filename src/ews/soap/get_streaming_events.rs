//! `GetStreamingEvents`: opens a stream for up to 200 subscriptions, and reads the envelopes that it strings together (MS-OXWSNTIF 3.1.4.2).

use super::answer::{self, AnswerError, Fault, message_fault};
use crate::exchange::xml::{Element, escape_into};

/// The operation's name.
pub const NAME: &str = "GetStreamingEvents";

/// The most subscriptions that may share a stream.
pub const MAX_SUBSCRIPTIONS: usize = 200;

/// Writes the inside of the SOAP body; `minutes` (1 to 30) is how long the server keeps the connection.
pub fn write(body: &mut String, subscriptions: &[impl AsRef<str>], minutes: u32) {
    body.push_str("<m:GetStreamingEvents><m:SubscriptionIds>");
    for id in subscriptions {
        body.push_str("<t:SubscriptionId>");
        escape_into(body, id.as_ref());
        body.push_str("</t:SubscriptionId>");
    }
    body.push_str(&format!("</m:SubscriptionIds><m:ConnectionTimeout>{minutes}</m:ConnectionTimeout></m:GetStreamingEvents>"));
}

/// What the events of one subscription in one envelope come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Whose.
    pub subscription: Box<str>,
    /// NewMail or Created is among the events.
    pub mail: bool,
    /// The unread count of the last folder event that carried one.
    pub unread: Option<u32>,
    /// Something else than a heartbeat is among the events.
    pub changed: bool,
}

/// What one envelope of a stream says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamEnvelope {
    /// Events, folded: one notification per subscription.
    pub notifications: Vec<Notification>,
    /// The server's fault, if the envelope is one or carries one.
    pub fault: Option<Fault>,
    /// The subscriptions that the fault is about; may be empty although some are.
    pub error_ids: Vec<Box<str>>,
    /// The server is about to close the connection.
    pub closed: bool,
}

/// Reads one envelope of a stream.
///
/// # Errors
/// [`AnswerError`] when it is not one of a stream's; a SOAP fault is no error but stands in the result.
pub fn read(envelope: &[u8]) -> Result<StreamEnvelope, AnswerError> {
    let answer = match answer::read(envelope, NAME) {
        Ok(answer) => answer,
        Err(AnswerError::Fault(fault)) => return Ok(StreamEnvelope { fault: Some(fault), closed: true, ..StreamEnvelope::default() }),
        Err(error) => return Err(error),
    };
    let mut out = StreamEnvelope::default();
    for message in answer.messages() {
        read_message(message, &mut out);
    }
    Ok(out)
}

fn read_message(message: Element<'_>, out: &mut StreamEnvelope) {
    if let Some(fault) = message_fault(message) {
        out.fault = Some(fault);
    }
    for part in message.children() {
        match part.name() {
            "Notifications" => part.children().filter(|child| child.name() == "Notification").for_each(|one| notification(one, out)),
            "ErrorSubscriptionIds" => {
                out.error_ids.extend(part.children().map(|id| id.text().trim()).filter(|id| !id.is_empty()).map(Box::from));
            }
            "ConnectionStatus" if part.text().trim() == "Closed" => out.closed = true,
            _ => {}
        }
    }
}

/// Folds one notification into what the envelope says about its subscription.
fn notification(element: Element<'_>, out: &mut StreamEnvelope) {
    let Some(id) = element.text_at(&["SubscriptionId"]).map(str::trim) else { return };
    let at = out.notifications.iter().position(|known| &*known.subscription == id).unwrap_or_else(|| {
        out.notifications.push(Notification { subscription: id.into(), mail: false, unread: None, changed: false });
        out.notifications.len() - 1
    });
    let folded = &mut out.notifications[at];
    for event in element.children() {
        match event.name() {
            "NewMailEvent" | "CreatedEvent" => (folded.mail, folded.changed) = (true, true),
            "ModifiedEvent" => {
                folded.changed = true;
                folded.unread = event.text_at(&["UnreadCount"]).and_then(|count| count.trim().parse().ok()).or(folded.unread);
            }
            // A heartbeat, and what is no event.
            "StatusEvent" | "SubscriptionId" | "PreviousWatermark" | "MoreEvents" => {}
            _ => folded.changed = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::splitter::Splitter;
    use super::*;
    use crate::ews::response_code::Action;

    /// A stream as servers of several makes send it: first answer, heartbeat, mail, heartbeat by StatusEvent, bad ids, end.
    const STREAM: &[u8] = include_bytes!("fixtures/stream.xml");

    fn read_all(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<StreamEnvelope> {
        let mut splitter = Splitter::new(1 << 20);
        let mut out = Vec::new();
        for piece in pieces {
            splitter.push(&piece);
            while let Some(envelope) = splitter.next_envelope().unwrap() {
                out.push(read(&envelope).unwrap());
            }
        }
        assert!(!splitter.unfinished());
        out
    }

    fn expected() -> Vec<StreamEnvelope> {
        let quiet = StreamEnvelope::default();
        let fold = |id: &str, mail, unread, changed| Notification { subscription: id.into(), mail, unread, changed };
        vec![
            quiet.clone(),
            StreamEnvelope {
                notifications: vec![fold("sub-1", true, Some(1), true), fold("sub-2", false, Some(0), true)],
                ..StreamEnvelope::default()
            },
            StreamEnvelope { notifications: vec![fold("sub-1", false, None, false)], ..StreamEnvelope::default() },
            StreamEnvelope {
                fault: Some(Fault { code: "ErrorInvalidSubscription".into(), action: Action::Resubscribe, back_off: None }),
                error_ids: vec!["sub-2".into()],
                closed: true,
                ..StreamEnvelope::default()
            },
            StreamEnvelope { closed: true, ..StreamEnvelope::default() },
        ]
    }

    #[test]
    fn a_stream_is_read_whole_and_one_byte_at_a_time() {
        assert_eq!(read_all(std::iter::once(STREAM.to_vec())), expected());
        assert_eq!(read_all(STREAM.iter().map(|byte| vec![*byte])), expected());
    }

    #[test]
    fn a_soap_fault_in_a_stream_ends_it() {
        let fault = read(include_bytes!("fixtures/server_busy.xml")).unwrap();
        assert!(fault.closed);
        assert_eq!(fault.fault.unwrap().action, Action::BackOff);
    }

    #[test]
    fn the_request_names_the_subscriptions_in_the_types_namespace() {
        let mut body = String::new();
        write(&mut body, &["a&b", "c"], 29);
        assert!(body.contains("<t:SubscriptionId>a&amp;b</t:SubscriptionId><t:SubscriptionId>c</t:SubscriptionId>"));
        assert!(body.contains("<m:ConnectionTimeout>29</m:ConnectionTimeout>"));
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_says_the_same(cuts in proptest::collection::vec(1..400_usize, 1..40)) {
            let mut rest = STREAM;
            let mut pieces = Vec::new();
            for size in cuts.into_iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, more) = rest.split_at(size.min(rest.len()));
                pieces.push(piece.to_vec());
                rest = more;
            }
            prop_assert_eq!(read_all(pieces.into_iter()), expected());
        }

        #[test]
        fn a_damaged_stream_never_panics(at in 0..STREAM.len(), byte: u8, cut in 0..STREAM.len()) {
            let mut damaged = STREAM[..cut.max(1)].to_vec();
            let at = at % damaged.len();
            damaged[at] = byte;
            let mut splitter = Splitter::new(1 << 20);
            splitter.push(&damaged);
            while let Ok(Some(envelope)) = splitter.next_envelope() {
                let _ = read(&envelope);
            }
        }
    }
}
