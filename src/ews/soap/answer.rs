//! Reads what is common to all answers: SOAP faults, response messages, codes, the time of silence that a busy server asks for.

use std::time::Duration;

use crate::ews::response_code::{Action, MAILBOX_MOVE_TOKEN, action_with_inner};
use crate::exchange::xml::{Document, Element, XmlError};

/// A server that asks for a longer silence is asked again after this.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(3600);

/// What the server says is wrong, in codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The response code.
    pub code: String,
    /// What follows from it.
    pub action: Action,
    /// How long the server asks to be left alone, if it says so.
    pub back_off: Option<Duration>,
}

/// Why an answer is no good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The server reports an error.
    #[error("the server answered {}", .0.code)]
    Fault(Fault),
    /// It cannot be read.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// It is well-formed but not the answer to what was asked.
    #[error("the answer is not one of the operation that was asked")]
    WrongOperation,
    /// It lacks something that it must have.
    #[error("the answer lacks {0}")]
    Incomplete(&'static str),
}

/// An answer of the operation that was asked.
#[derive(Debug)]
pub struct Answer<'a> {
    document: Document<'a>,
}

impl Answer<'_> {
    /// Its response messages, faults included.
    pub fn messages(&self) -> impl Iterator<Item = Element<'_>> {
        said(&self.document).and_then(|said| said.child("ResponseMessages")).into_iter().flat_map(Element::children)
    }

    /// The only message of an answer that asks for one thing.
    ///
    /// # Errors
    /// The message's fault, or [`AnswerError::Incomplete`] without a message.
    pub fn single(&self) -> Result<Element<'_>, AnswerError> {
        let message = self.messages().next().ok_or(AnswerError::Incomplete("a response message"))?;
        message_fault(message).map_or(Ok(message), |fault| Err(AnswerError::Fault(fault)))
    }
}

/// Reads a whole answer to `operation`.
///
/// # Errors
/// [`AnswerError`].
pub fn read<'a>(document: &'a [u8], operation: &str) -> Result<Answer<'a>, AnswerError> {
    let document = Document::parse(document)?;
    let said = said(&document).ok_or(AnswerError::WrongOperation)?;
    if said.name() == "Fault" {
        return Err(AnswerError::Fault(soap_fault(said)));
    }
    if said.name().strip_suffix("Response") != Some(operation) {
        return Err(AnswerError::WrongOperation);
    }
    said.child("ResponseMessages").ok_or(AnswerError::Incomplete("ResponseMessages"))?;
    Ok(Answer { document })
}

/// What stands in the SOAP body.
fn said<'a>(document: &'a Document<'_>) -> Option<Element<'a>> {
    document.root().child("Body")?.children().next()
}

/// The fault that a response message stands for, if it is an error.
#[must_use]
pub fn message_fault(message: Element<'_>) -> Option<Fault> {
    let class = message.attribute("ResponseClass");
    let code = message.text_at(&["ResponseCode"]).map_or("", str::trim);
    let good = match class.as_deref() {
        Some("Error") => false,
        Some(_) => true,
        None => code.is_empty() || code == "NoError",
    };
    if good {
        return None;
    }
    let moved =
        code == "ErrorInvalidSubscription" && message.text_at(&["MessageText"]).is_some_and(|text| text.contains(MAILBOX_MOVE_TOKEN));
    Some(fault(code, message.child("MessageXml"), moved))
}

/// Reads a SOAP 1.1 fault: the code stands in its detail, or behind the prefix of its fault code.
fn soap_fault(answer: Element<'_>) -> Fault {
    let detail = answer.child("detail").or_else(|| answer.child("Detail"));
    let code = detail
        .and_then(|detail| detail.text_at(&["ResponseCode"]))
        .or_else(|| answer.text_at(&["faultcode"]).map(|code| code.rsplit(':').next().unwrap_or(code)))
        .unwrap_or("")
        .trim();
    fault(code, detail.and_then(|detail| detail.child("MessageXml")), false)
}

fn fault(code: &str, extra: Option<Element<'_>>, moved: bool) -> Fault {
    let value = |name: &str| {
        let mut values = extra.into_iter().flat_map(Element::children);
        values.find(|value| value.name() == "Value" && value.attribute("Name").as_deref() == Some(name)).map(|value| value.text().trim())
    };
    let action = match action_with_inner(code, value("InnerErrorResponseCode")) {
        Action::Resubscribe if moved => Action::ResubscribeElsewhere,
        action => action,
    };
    // A code is an identifier; whatever else stands there is not repeated in logs.
    let code = if !code.is_empty() && code.len() <= 100 && code.bytes().all(|b| b.is_ascii_alphanumeric()) { code } else { "unknown code" };
    Fault {
        code: code.to_owned(),
        action,
        back_off: value("BackOffMilliseconds")
            .and_then(|text| text.parse().ok())
            .map(|told| Duration::from_millis(told).min(LONGEST_BACK_OFF)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture_fault(document: &[u8], operation: &str) -> Fault {
        match read(document, operation) {
            Err(AnswerError::Fault(fault)) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_busy_server_s_fault_tells_how_long_it_wants_silence() {
        let fault = fixture_fault(include_bytes!("fixtures/server_busy.xml"), "GetItem");
        assert_eq!(fault.code, "ErrorServerBusy");
        assert_eq!(fault.action, Action::BackOff);
        assert_eq!(fault.back_off, Some(Duration::from_millis(297_749)));
    }

    #[test]
    fn busy_inside_an_internal_error_is_busy() {
        let answer = read(include_bytes!("fixtures/inner_busy.xml"), "SyncFolderItems").unwrap();
        let fault = message_fault(answer.messages().next().unwrap()).unwrap();
        assert_eq!((fault.code.as_str(), fault.action), ("ErrorInternalServerError", Action::BackOff));
        assert_eq!(fault.back_off, Some(Duration::from_millis(5_000)));
    }

    #[test]
    fn an_answer_to_another_operation_is_not_believed() {
        let document = br#"<Envelope><Body><GetFolderResponse><ResponseMessages/></GetFolderResponse></Body></Envelope>"#;
        assert!(matches!(read(document, "GetItem"), Err(AnswerError::WrongOperation)));
        assert!(read(document, "GetFolder").unwrap().messages().next().is_none());
    }

    #[test]
    fn a_mailbox_that_is_being_moved_is_looked_for_elsewhere() {
        let with = |text: &str| {
            let document = format!(
                "<E><Body><SubscribeResponse><ResponseMessages><M ResponseClass=\"Error\"><MessageText>{text}</MessageText>\
                 <ResponseCode>ErrorInvalidSubscription</ResponseCode></M></ResponseMessages></SubscribeResponse></Body></E>"
            );
            let answer = read(document.as_bytes(), "Subscribe").unwrap();
            message_fault(answer.messages().next().unwrap()).unwrap().action
        };
        assert_eq!(with("Subscription is invalid."), Action::Resubscribe);
        assert_eq!(with("Subscription is invalid. MailboxMoveStarted"), Action::ResubscribeElsewhere);
    }

    #[test]
    fn a_code_that_is_no_identifier_is_not_repeated() {
        let document = b"<E><Body><Fault><faultcode>a:somebody@example.com said no</faultcode></Fault></Body></E>";
        assert_eq!(fixture_fault(document, "GetItem").code, "unknown code");
    }
}
