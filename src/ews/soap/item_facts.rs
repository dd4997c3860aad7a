//! Reads what a sync or a search tells of an item: id, received time, read flag, draft flag, class.

use postrider_actors::ids::ItemId;
use postrider_actors::ports::mail_source::ItemFacts;
use postrider_actors::time::Timestamp;

use crate::exchange::xml::Element;

/// The properties that [`facts`] reads, asked for beside the id.
pub const PROPERTIES: &str = concat!(
    "<t:AdditionalProperties><t:FieldURI FieldURI=\"item:DateTimeReceived\"/><t:FieldURI FieldURI=\"message:IsRead\"/>",
    "<t:FieldURI FieldURI=\"item:ItemClass\"/><t:FieldURI FieldURI=\"item:IsDraft\"/></t:AdditionalProperties>",
);

/// The id in an item element, without its change key.
#[must_use]
pub fn item_id(item: Element<'_>) -> Option<ItemId> {
    let id = item.child("ItemId").unwrap_or(item).attribute("Id")?;
    (!id.is_empty()).then(|| ItemId((*id).into()))
}

/// What an item element tells; `None` without an id. An item without a received time (a note, a draft) counts as received at the beginning of time.
#[must_use]
pub fn facts(item: Element<'_>) -> Option<ItemFacts> {
    let flag = |name: &str| item.text_at(&[name]).map(str::trim).is_some_and(|text| text == "true" || text == "1");
    Some(ItemFacts {
        item: item_id(item)?,
        received_at: item.text_at(&["DateTimeReceived"]).and_then(timestamp).unwrap_or(Timestamp(0)),
        read: flag("IsRead"),
        draft: flag("IsDraft"),
        mail_class: item.text_at(&["ItemClass"]).is_some_and(|class| is_mail(class.trim())),
    })
}

/// Whether a message class is one of mail: `IPM.Note` and below, meeting messages. Classes compare without regard to case (MS-OXCMSG 2.2.1.3).
fn is_mail(class: &str) -> bool {
    ["IPM.Note", "IPM.Schedule.Meeting"].iter().any(|root| {
        let start = class.get(..root.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(root)) && matches!(class.as_bytes().get(root.len()), None | Some(b'.'))
    })
}

/// A `xs:dateTime` with zone as servers send it, fractions of any length included; whole microseconds.
fn timestamp(text: &str) -> Option<Timestamp> {
    let moment: jiff::Timestamp = text.trim().parse().ok()?;
    Some(Timestamp(moment.as_microsecond()))
}

/// A point in time for a request.
#[must_use]
pub fn date_time(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_microsecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_mail_are_told_from_others() {
        for class in ["IPM.Note", "ipm.note.SMIME", "IPM.Schedule.Meeting.Request", "IPM.Schedule.Meeting"] {
            assert!(is_mail(class), "{class}");
        }
        for class in ["IPM.Notes", "IPM.Appointment", "IPM.StickyNote", "REPORT.IPM.Note.NDR", "", "IPM.Né"] {
            assert!(!is_mail(class), "{class}");
        }
    }

    #[test]
    fn times_of_any_precision_are_read() {
        assert_eq!(timestamp("2026-11-22T06:00:00Z"), Some(Timestamp(1_795_327_200_000_000)));
        assert_eq!(timestamp("2026-11-22T06:00:00.123456789Z"), Some(Timestamp(1_795_327_200_123_456)));
        assert_eq!(timestamp("2026-11-22T07:00:00+01:00"), Some(Timestamp(1_795_327_200_000_000)));
        assert_eq!(timestamp("yesterday"), None);
        assert_eq!(date_time(Timestamp(1_795_327_200_999_999)), "2026-11-22T06:00:00Z");
    }
}
