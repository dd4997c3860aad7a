//! A node that must not start.

use crate::node::process::Process;

/// Its exit code, and what it must say.
pub async fn refused(mut node: Process, exit: i32, says: &[&str]) {
    let (code, log) = node.ended().await;
    assert_eq!(code, Some(exit), "{log}");
    for text in says {
        assert!(log.contains(text), "it does not say \"{text}\":\n{log}");
    }
    assert!(!log.contains("panicked"), "{log}");
}
