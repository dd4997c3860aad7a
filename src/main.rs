//! The `postrider` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    postrider::http::install_tls_provider();
    postrider::telemetry::crash::keep_memory_private();
    postrider::cli::run()
}
