//! Keeps the metrics and writes them as Prometheus reads them.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use postrider_actors::telemetry::catalog::{Kind, Metric, recorder_is_final};

use super::catalog;

/// How often observations are moved from their queue into buckets; without it the queue grows while nobody asks.
const UPKEEP: Duration = Duration::from_secs(5);
/// A counter with at most this many series shows them all from the start, so that a rate sees the first increment.
const SHOWN_FROM_THE_START: usize = 32;

/// Why metrics cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The buckets of a catalogue are refused.
    #[error("the buckets of a metric are refused: {0}")]
    Buckets(#[from] BuildError),
    /// Somebody else records the metrics of this process.
    #[error("metrics are recorded already in this process")]
    Recorded,
}

/// The metrics of this process.
#[derive(Clone)]
pub struct Exporter {
    prometheus: PrometheusHandle,
    process: Arc<metrics_process::Collector>,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

impl Exporter {
    /// Begins to record. Once a process, before anything is measured.
    ///
    /// # Errors
    /// See [`ExporterError`].
    pub fn install() -> Result<Self, ExporterError> {
        let recorder = recorder()?;
        let prometheus = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| ExporterError::Recorded)?;
        recorder_is_final();
        let process = metrics_process::Collector::default();
        process.describe();
        Ok(Self { prometheus, process: Arc::new(process) })
    }

    /// Everything, in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        self.process.collect();
        self.prometheus.render()
    }

    /// Keeps the memory of observations small; runs until it is dropped.
    pub async fn upkeep(self) {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tick.tick().await;
            self.prometheus.run_upkeep();
        }
    }
}

/// A recorder that knows every metric of the catalogues.
pub(crate) fn recorder() -> Result<metrics_exporter_prometheus::PrometheusRecorder, ExporterError> {
    let mut builder = PrometheusBuilder::new();
    for metric in catalog::all() {
        if let Kind::Histogram { buckets } = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets.bounds())?;
        }
    }
    let recorder = builder.build_recorder();
    for metric in catalog::all() {
        let (name, sentence) = (metric.name.into(), metric.sentence.trim().into());
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, None, sentence),
            Kind::Gauge => recorder.describe_gauge(name, None, sentence),
            Kind::Histogram { .. } => recorder.describe_histogram(name, None, sentence),
        }
        if metric.kind == Kind::Counter {
            for labels in series(metric) {
                recorder
                    .register_counter(&Key::from_parts(metric.name, labels), &Metadata::new("postrider", Level::INFO, None))
                    .increment(0);
            }
        }
    }
    Ok(recorder)
}

/// All series of a metric, or none if there are too many.
fn series(metric: &Metric) -> Vec<Vec<Label>> {
    let count: usize = metric.labels.iter().map(|(_, values)| values.len()).product();
    if count > SHOWN_FROM_THE_START {
        return Vec::new();
    }
    metric.labels.iter().fold(vec![Vec::new()], |all, (name, values)| {
        all.iter()
            .flat_map(|labels| {
                values.iter().map(move |value| labels.iter().cloned().chain([Label::from_static_parts(name, value)]).collect())
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use postrider_actors::ports::push_sender::Provider;

    use super::*;
    use crate::telemetry::metrics::{LimitedBy, api_limited, push_seconds, stream_open};

    #[test]
    fn every_metric_of_the_catalogues_comes_out_when_its_function_is_called() {
        let recorder = recorder().expect("the catalogues have buckets");
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            postrider_actors::telemetry::metrics::record_each();
            crate::telemetry::metrics::record_each();
        });
        let text = handle.render();
        for metric in catalog::all() {
            let value = |line: &str| {
                let rest = line.strip_prefix(metric.name)?;
                let rest = if let Kind::Histogram { .. } = metric.kind { rest.strip_prefix("_count")? } else { rest };
                if rest.starts_with(['{', ' ']) { rest.rsplit(' ').next()?.parse::<f64>().ok() } else { None }
            };
            let values: Vec<f64> = text.lines().filter_map(value).collect();
            assert!(!values.is_empty(), "{} is not in\n{text}", metric.name);
            // What counts while something lives is back at zero.
            let is_level = metric.kind == Kind::Gauge && values.iter().sum::<f64>() == 0.0;
            assert!(is_level || values.iter().sum::<f64>() == 1.0, "{}: {values:?}", metric.name);
        }
    }

    #[test]
    fn what_is_recorded_is_shown_with_its_sentence_and_its_buckets() {
        let recorder = recorder().expect("the catalogues have buckets");
        let handle = recorder.handle();
        let open = metrics::with_local_recorder(&recorder, || {
            api_limited(LimitedBy::Subject, 2);
            push_seconds(Provider::Fcm, 0.003);
            stream_open()
        });
        let text = handle.render();
        for line in [
            "postrider_api_limited_total{by=\"subject\"} 2",
            "postrider_api_limited_total{by=\"address\"} 0",
            "postrider_push_seconds_bucket{provider=\"fcm\",le=\"0.005\"} 1",
            "postrider_streaming_connections 1",
            "# HELP postrider_streaming_connections Streaming connections to Exchange that are open",
        ] {
            assert!(text.contains(line), "{line} is missing from\n{text}");
        }
        drop(open);
        assert!(handle.render().contains("postrider_streaming_connections 0"));
    }
}
