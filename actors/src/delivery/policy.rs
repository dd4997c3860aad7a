//! What a device may see at the moment of sending, and until when its provider may show it.

use crate::ports::device_store::DeviceNow;
use crate::ports::mail_source::MailContent;
use crate::ports::push_sender::Content;
use crate::time::Timestamp;

/// Whether details may be shown: the device was unlocked and used less than its cut-off ago.
#[must_use]
pub fn details_allowed(now: Timestamp, device: &DeviceNow) -> bool {
    now.since(device.last_activity) < device.cutoff
}

/// What a mail push shows on this device, and when the provider must forget it.
///
/// Details come only within the cut-off, and a detailed push expires no later than `last_activity + cutoff`, so that it cannot appear on a lock
/// screen past it.
#[must_use]
pub fn mail(now: Timestamp, device: &DeviceNow, newest: Option<&MailContent>, expires_at: Timestamp) -> (Content, Timestamp) {
    let until = device.last_activity.min(now) + device.cutoff;
    match newest {
        Some(mail) if details_allowed(now, device) => {
            let content = Content::Details { sender: mail.sender.clone(), subject: mail.subject.clone(), preview: mail.preview.clone() };
            (content, until.min(expires_at))
        }
        _ => (Content::MailOnly, expires_at),
    }
}
