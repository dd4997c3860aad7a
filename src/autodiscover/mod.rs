//! Finds the Exchange server of a mailbox.
