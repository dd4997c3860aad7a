//! The `postrider` program.

use std::process::ExitCode;

/// Actors, pushes and exchanges are thousands of small allocations a second on all threads, of which the C library's allocator makes too much.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    postrider::http::install_tls_provider();
    postrider::telemetry::crash::keep_memory_private();
    postrider::cli::run()
}
