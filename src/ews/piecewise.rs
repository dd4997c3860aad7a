//! A page that fails as a whole because of one item, read piece by piece: with less first, then item by item.
//!
//! Rule: the good items are told of as ever. One that cannot be read has arrived all the same: it is announced without words. None of them keeps
//! the mailbox from going on.

use postrider_actors::ids::{ItemId, SyncState};
use postrider_actors::ports::mail_source::{Change, ChangesPage, ItemFacts, MailContent, MailboxRef};
use postrider_actors::time::Timestamp;

use super::budget::Purpose;
use super::error::EwsError;
use super::response_code::Action;
use super::soap::AnswerError;
use super::soap::find_item::FindReceivedSince;
use super::soap::get_item::{GetContents, GetFacts, MAX_ITEMS, wordless};
use super::soap::sync_folder_items::SyncFolderItems;
use super::watching::Watching;

/// How many changes are asked for with ids alone, one after the other until the server answers.
const FEWER: [usize; 3] = [64, 8, 1];

/// Whether an item of the page may be what the call failed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Something else was wrong.
    Other,
    /// Perhaps: a server in trouble fails so too.
    Perhaps,
    /// The answer is about items, or cannot be read.
    Item,
}

/// Whom to blame for an error.
#[must_use]
pub fn blame(error: &EwsError) -> Blame {
    match error {
        EwsError::Fault(fault) => match fault.action {
            Action::ItemGone | Action::ItemUnreadable => Blame::Item,
            Action::RetryLater => Blame::Perhaps,
            _ => Blame::Other,
        },
        EwsError::TooLong(_) | EwsError::Answer(AnswerError::Xml(_) | AnswerError::Incomplete(_)) => Blame::Item,
        EwsError::Status(500) => Blame::Perhaps,
        _ => Blame::Other,
    }
}

/// What the mails show, in the order asked.
///
/// # Errors
/// [`EwsError`] when none can be told of, and it is not known that the mails are why.
pub async fn contents(watching: &Watching, mailbox: &MailboxRef, items: &[ItemId]) -> Result<Vec<Option<MailContent>>, EwsError> {
    let error = match watching.ask(mailbox, Purpose::Data, &GetContents { items }).await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    if blame(&error) == Blame::Other {
        return Err(error);
    }
    let (mut found, mut told) = (Vec::with_capacity(items.len()), false);
    for item in items.chunks(1) {
        // One alone was just asked for.
        let answer =
            if items.len() == 1 { Err(error.clone()) } else { watching.ask(mailbox, Purpose::Data, &GetContents { items: item }).await };
        match answer {
            Ok(mut one) => {
                told = true;
                found.push(one.pop().flatten());
            }
            Err(EwsError::Fault(fault)) if fault.action == Action::ItemGone => {
                told = true;
                found.push(None);
            }
            Err(error) => {
                match blame(&error) {
                    Blame::Other => return Err(error),
                    Blame::Perhaps => {}
                    Blame::Item => told = true,
                }
                found.push(Some(wordless()));
            }
        }
    }
    if told { Ok(found) } else { Err(error) }
}

/// The next page of changes. With `again`, the last call for this mailbox failed in a way that one item may be to blame for.
///
/// # Errors
/// [`EwsError`].
pub async fn changes(
    watching: &Watching,
    mailbox: &MailboxRef,
    purpose: Purpose,
    state: Option<&SyncState>,
    again: bool,
) -> Result<ChangesPage, EwsError> {
    let error = match watching.ask(mailbox, purpose, &SyncFolderItems { state, bare: None }).await {
        Ok(page) => return Ok(page),
        Err(error) => error,
    };
    match blame(&error) {
        Blame::Other => return Err(error),
        Blame::Perhaps if !again => return Err(error),
        Blame::Perhaps | Blame::Item => {}
    }
    for most in FEWER {
        match watching.ask(mailbox, purpose, &SyncFolderItems { state, bare: Some(most) }).await {
            Ok(mut page) => {
                let created = page
                    .changes
                    .iter()
                    .filter_map(|change| if let Change::Created(facts) = change { Some(facts.item.clone()) } else { None });
                let items: Vec<ItemId> = created.collect();
                // What cannot be read counts as new, but not while old mail is drained.
                let unread = matches!(purpose, Purpose::Sync(_)).then(|| watching.clock.now());
                let mut known = facts(watching, mailbox, &items, unread).await?.into_iter();
                page.changes.retain_mut(|change| match change {
                    Change::Created(facts) => known.next().flatten().map(|told| *facts = told).is_some(),
                    _ => true,
                });
                return Ok(page);
            }
            Err(error) if blame(&error) == Blame::Other => return Err(error),
            Err(_) => {}
        }
    }
    Err(error)
}

/// Items received at `since` or later, newest first.
///
/// # Errors
/// [`EwsError`].
pub async fn received_since(watching: &Watching, mailbox: &MailboxRef, since: Timestamp, limit: usize) -> Result<Vec<ItemFacts>, EwsError> {
    let error = match watching.ask(mailbox, Purpose::Data, &FindReceivedSince { since, limit, bare: false }).await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    if blame(&error) != Blame::Item {
        return Err(error);
    }
    let found = watching.ask(mailbox, Purpose::Data, &FindReceivedSince { since, limit, bare: true }).await?;
    let items: Vec<ItemId> = found.into_iter().map(|facts| facts.item).collect();
    let told = facts(watching, mailbox, &items, Some(watching.clock.now())).await?;
    Ok(told.into_iter().flatten().filter(|facts| facts.received_at >= since).collect())
}

/// What is told of the items, in the order given; `None` for one that is gone. One that cannot be read counts as an unread mail received at that time, or
/// as gone without one.
async fn facts(
    watching: &Watching,
    mailbox: &MailboxRef,
    items: &[ItemId],
    unreadable: Option<Timestamp>,
) -> Result<Vec<Option<ItemFacts>>, EwsError> {
    let mut told = Vec::with_capacity(items.len());
    for some in items.chunks(MAX_ITEMS) {
        match watching.ask(mailbox, Purpose::Data, &GetFacts { items: some }).await {
            Ok(answer) => {
                told.extend(answer);
                continue;
            }
            Err(error) if blame(&error) == Blame::Other => return Err(error),
            Err(_) => {}
        }
        for item in some.chunks(1) {
            match watching.ask(mailbox, Purpose::Data, &GetFacts { items: item }).await {
                Ok(mut answer) => told.push(answer.pop().flatten()),
                Err(EwsError::Fault(fault)) if fault.action == Action::ItemGone => told.push(None),
                Err(error) if blame(&error) == Blame::Other => return Err(error),
                Err(_) => told.push(unreadable.map(|received_at| ItemFacts {
                    item: item[0].clone(),
                    received_at,
                    read: false,
                    draft: false,
                    mail_class: true,
                })),
            }
        }
    }
    Ok(told)
}
