//! Declares a metric once: its name, kind, labels with their values and a sentence for the operator; out comes the typed function that records it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A label: a closed set of values, so that the number of series is known. A mailbox or a device is never one.
pub trait Label: Copy {
    /// Every value it can have.
    const VALUES: &'static [&'static str];
    /// Any of them: what tests of exporters record.
    const ANY: Self;

    /// This value.
    fn value(self) -> &'static str;

    /// Its place among the values.
    fn place(self) -> usize {
        Self::VALUES.iter().position(|value| *value == self.value()).expect("a value stands among the values")
    }
}

/// Whether the process's recorder is the final one.
static FINAL: AtomicBool = AtomicBool::new(false);

/// Says that whoever records metrics now records them for the rest of the process: series are looked up once, and not at each observation.
pub fn recorder_is_final() {
    FINAL.store(true, Ordering::Release);
}

/// A metric's series, one for each combination of its labels.
pub struct Series<T, const N: usize>([OnceLock<T>; N]);

impl<T, const N: usize> Series<T, N> {
    /// None was looked up yet.
    #[must_use]
    pub const fn empty() -> Self {
        Self([const { OnceLock::new() }; N])
    }

    /// Takes the series at this place, looked up if need be.
    pub fn with<R>(&self, place: usize, look_up: impl FnOnce() -> T, take: impl FnOnce(&T) -> R) -> R {
        if FINAL.load(Ordering::Acquire) { take(self.0[place].get_or_init(look_up)) } else { take(&look_up()) }
    }
}

/// What is counted or measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram {
        /// The upper bounds of the buckets.
        buckets: Buckets,
    },
}

/// Families of buckets, so that graphs of like things have like axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    /// Seconds of something that takes milliseconds: a request, a commit.
    Quick,
    /// Seconds of something that people notice: from a mail's arrival to its push.
    Patient,
    /// How many were taken at once.
    Count,
}

impl Buckets {
    /// The upper bounds.
    #[must_use]
    pub fn bounds(self) -> &'static [f64] {
        match self {
            Self::Quick => &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0],
            Self::Patient => &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 21_600.0],
            Self::Count => &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0],
        }
    }
}

/// One metric as the catalogue shows it.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Kind,
    /// Its labels and their values.
    pub labels: &'static [(&'static str, &'static [&'static str])],
    /// What it says to an operator.
    pub sentence: &'static str,
}

/// One of what a gauge counts: it counts while this lives.
pub struct Level(metrics::Gauge);

impl Level {
    /// Counts one more.
    #[must_use]
    pub fn raise(gauge: metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl std::fmt::Debug for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Level")
    }
}

/// Declares metrics. Each entry becomes a function of the same name that records it, and a line of the constant `CATALOG`.
///
/// ```text
/// catalog! {
///     /// Pushes that a provider answered.
///     counter push_answered(provider: Provider, verdict: VerdictClass) = "postrider_push_answered_total";   // fn push_answered(provider, verdict, by: u64)
///     /// Mailboxes by phase.
///     gauge mailboxes(phase: Phase) = "postrider_mailboxes";                                                // fn mailboxes(phase, value: f64)
///     /// Time of one commit.
///     histogram commit_seconds() = "postrider_commit_seconds", Quick;                                       // fn commit_seconds(value: f64)
///     /// Streaming connections.
///     level stream_open() = "postrider_streaming_connections";                                              // fn stream_open() -> Level: counted while it lives
/// }
/// ```
///
/// The names end as Prometheus wants: counters in `_total`, times in `_seconds`, sizes in `_bytes`.
#[macro_export]
macro_rules! catalog {
    ($( $(#[doc = $doc:expr])* $kind:ident $name:ident ( $($label:ident : $type:ty),* ) = $metric:literal $(, $buckets:ident)? ; )*) => {
        /// Every metric declared here.
        pub const CATALOG: &[$crate::telemetry::catalog::Metric] = &[$(
            $crate::telemetry::catalog::Metric {
                name: $metric,
                kind: $crate::catalog!(@kind $kind $($buckets)?),
                labels: &[$((stringify!($label), <$type as $crate::telemetry::catalog::Label>::VALUES)),*],
                sentence: concat!($($doc),*),
            }
        ),*];
        $( $crate::catalog!(@record $kind $name [$($label : $type),*] $metric [$($doc)*]); )*

        /// Records each metric declared here once: for tests that look for all of them in what is exported.
        pub fn record_each() {
            $( $crate::catalog!(@once $kind $name [$($type),*]); )*
        }
    };
    (@once counter $name:ident [$($type:ty),*]) => { $name($(<$type as $crate::telemetry::catalog::Label>::ANY,)* 1) };
    (@once gauge $name:ident [$($type:ty),*]) => { $name($(<$type as $crate::telemetry::catalog::Label>::ANY,)* 1.0) };
    (@once histogram $name:ident [$($type:ty),*]) => { $name($(<$type as $crate::telemetry::catalog::Label>::ANY,)* 1.0) };
    (@once level $name:ident [$($type:ty),*]) => { drop($name($(<$type as $crate::telemetry::catalog::Label>::ANY),*)) };
    (@kind counter) => { $crate::telemetry::catalog::Kind::Counter };
    (@kind gauge) => { $crate::telemetry::catalog::Kind::Gauge };
    (@kind level) => { $crate::telemetry::catalog::Kind::Gauge };
    (@kind histogram $buckets:ident) => {
        $crate::telemetry::catalog::Kind::Histogram { buckets: $crate::telemetry::catalog::Buckets::$buckets }
    };
    (@series $kind:ident $handle:ident [$($label:ident : $type:ty),*] $metric:literal, $take:expr) => {{
        const ALL: usize = 1 $(* <$type as $crate::telemetry::catalog::Label>::VALUES.len())*;
        static SERIES: $crate::telemetry::catalog::Series<::metrics::$handle, ALL> = $crate::telemetry::catalog::Series::empty();
        let place = 0_usize;
        $(let place = place * <$type as $crate::telemetry::catalog::Label>::VALUES.len() + $crate::telemetry::catalog::Label::place($label);)*
        let look_up = || ::metrics::$kind!($metric $(, stringify!($label) => <$type as $crate::telemetry::catalog::Label>::value($label))*);
        SERIES.with(place, look_up, $take)
    }};
    (@record counter $name:ident [$($label:ident : $type:ty),*] $metric:literal [$($doc:expr)*]) => {
        $(#[doc = $doc])*
        pub fn $name($($label: $type,)* by: u64) {
            $crate::catalog!(@series counter Counter [$($label : $type),*] $metric, |series| series.increment(by));
        }
    };
    (@record gauge $name:ident [$($label:ident : $type:ty),*] $metric:literal [$($doc:expr)*]) => {
        $(#[doc = $doc])*
        pub fn $name($($label: $type,)* value: f64) {
            $crate::catalog!(@series gauge Gauge [$($label : $type),*] $metric, |series| series.set(value));
        }
    };
    (@record level $name:ident [$($label:ident : $type:ty),*] $metric:literal [$($doc:expr)*]) => {
        $(#[doc = $doc])*
        #[must_use = "counted only while it lives"]
        pub fn $name($($label: $type),*) -> $crate::telemetry::catalog::Level {
            $crate::catalog!(@series gauge Gauge [$($label : $type),*] $metric, |series| $crate::telemetry::catalog::Level::raise(series.clone()))
        }
    };
    (@record histogram $name:ident [$($label:ident : $type:ty),*] $metric:literal [$($doc:expr)*]) => {
        $(#[doc = $doc])*
        pub fn $name($($label: $type,)* value: f64) {
            $crate::catalog!(@series histogram Histogram [$($label : $type),*] $metric, |series| series.record(value));
        }
    };
}

/// Declares an enum that is a label: `label! { /// … pub enum Outcome { /// … Done = "done", Failed = "failed" } }`.
#[macro_export]
macro_rules! label {
    (@first $first:ident $($others:ident)*) => { Self::$first };
    ($(#[doc = $doc:expr])* pub enum $name:ident { $( $(#[doc = $variant_doc:expr])* $variant:ident = $word:literal ),* $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[doc = $variant_doc])* $variant ),* }

        impl $crate::telemetry::catalog::Label for $name {
            const VALUES: &'static [&'static str] = &[$($word),*];
            const ANY: Self = $crate::label!(@first $($variant)*);

            fn value(self) -> &'static str {
                match self { $( Self::$variant => $word ),* }
            }

            fn place(self) -> usize {
                self as usize
            }
        }
    };
}
