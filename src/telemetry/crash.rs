//! What a crash leaves behind: a line in the log, and no picture of memory, where mail and secrets are.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Switches core dumps off and makes panics leave a line without content. First thing in `main`.
pub fn keep_memory_private() {
    // A system that refuses this has already set a limit of its own.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    std::panic::set_hook(Box::new(|panic| {
        // The message of a panic may hold what a value looked like; only its place is told.
        let place = panic.location().map_or_else(|| "unknown".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!(place, thread, "a part of the program panicked; it is restarted if it is supervised");
        } else {
            eprintln!("postrider: panicked at {place} (thread {thread})");
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_leaves_no_core_dump() {
        keep_memory_private();
        let limit = rustix::process::getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        let _ = std::panic::take_hook();
    }
}
