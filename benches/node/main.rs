//! The node as a process, beside a bare client that makes the same exchanges: latency, throughput, memory per mailbox; and healthy mailboxes beside troubled ones.

mod bare;
mod child;
mod latency;
mod memory;
mod neighbours;
mod report;
mod throughput;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use postrider_loadtest::simulators::{Options, Simulators};
use report::Report;

/// As in the node, so that no contestant has the better one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// First mail after quiet: hint on the wire to push on the wire.
    Latency,
    /// Mails a second through the whole pipeline.
    Throughput,
    /// Resident memory per watched mailbox.
    Memory,
    /// Healthy mailboxes beside troubled ones.
    Neighbours,
}

/// Measures the node beside a bare client.
#[derive(Debug, Parser)]
struct Args {
    /// What to measure; all of it if nothing is named.
    parts: Vec<Part>,
    /// Smaller and shorter: says whether it works, not how well.
    #[arg(long)]
    quick: bool,
    /// Print the figures as JSON, and nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    postrider_loadtest::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(measure(&args))?;
    report.print(args.json)?;
    Ok(if args.quick || report.meets_all() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(args: &Args) -> anyhow::Result<Report> {
    let wanted = |part: Part| args.parts.is_empty() || args.parts.contains(&part);
    let mut report = Report::default();
    if wanted(Part::Latency) {
        latency::measure(&mut report, args.quick).await?;
    }
    if wanted(Part::Throughput) {
        throughput::measure(&mut report, args.quick).await?;
    }
    if wanted(Part::Memory) {
        memory::measure(&mut report, args.quick).await?;
    }
    if wanted(Part::Neighbours) {
        neighbours::measure(&mut report, args.quick).await?;
    }
    Ok(report)
}

/// A world of its own, in which nothing goes wrong.
async fn world(window: Duration) -> anyhow::Result<Arc<Simulators>> {
    Ok(Arc::new(Simulators::start(Options { window, ..Options::default() }).await?))
}
