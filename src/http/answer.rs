//! An answer as it comes in: read up to a bound, its failure explained, its wish to be left alone.

use std::io::Read as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use postrider_actors::time::Timestamp;

use super::Cause;

/// Why an answer could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The server sent more than was asked to be read.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The connection broke or fell silent while it was read; the causes as [`explain`] gives them.
    #[error("the answer broke off: {0}")]
    Broken(Cause),
}

/// Reads an answer of at most `max_bytes`, counted after decompression.
///
/// # Errors
/// [`BodyError`]; nothing beyond the bound is kept.
pub async fn body(mut response: reqwest::Response, max_bytes: usize) -> Result<Bytes, BodyError> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| BodyError::Broken(cause_of(&error)))? {
        if whole.len() + chunk.len() > max_bytes {
            return Err(BodyError::TooLong(max_bytes));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Unpacks a gzip body (RFC 1952), which makes at most `max_bytes`.
pub(super) fn unpacked(packed: &[u8], max_bytes: usize) -> Result<Bytes, BodyError> {
    let mut whole = Vec::new();
    // One more shows that there is more.
    let mut unpacking = MultiGzDecoder::new(packed).take(max_bytes as u64 + 1);
    unpacking.read_to_end(&mut whole).map_err(|error| BodyError::Broken(Cause::of("what is packed cannot be read", &error)))?;
    if whole.len() > max_bytes { Err(BodyError::TooLong(max_bytes)) } else { Ok(whole.into()) }
}

/// Says why a call failed, cause by cause, for people: without its address, which may hold a device token or a key.
#[must_use]
pub fn explain(error: &reqwest::Error) -> String {
    cause_of(error).to_string()
}

/// Why a call failed, with its code.
#[must_use]
pub fn cause_of(error: &reqwest::Error) -> Cause {
    let kind = if error.is_connect() {
        "no connection"
    } else if error.is_timeout() {
        "no answer in time"
    } else if error.is_builder() {
        "the request cannot be made"
    } else {
        "the exchange broke"
    };
    let cause = Cause::of(kind, error);
    // The deadline of the call itself has no layer below it.
    if error.is_timeout() && !error.is_connect() { Cause::named("Deadline", cause.to_string()) } else { cause }
}

/// A text and the causes of an error behind it.
pub(super) fn with_causes(mut text: String, error: &dyn std::error::Error) -> String {
    let mut cause = error.source();
    while let Some(this) = cause {
        let this_text = this.to_string();
        // Layers that only repeat their cause say nothing.
        if !text.ends_with(&this_text) {
            text.push_str(": ");
            text.push_str(&this_text);
        }
        cause = this.source();
    }
    text
}

/// How long a server asks to be left alone (`Retry-After`, RFC 9110 section 10.2.3: seconds or a date), at most an hour.
#[must_use]
pub fn retry_after(headers: &http::HeaderMap, now: Timestamp) -> Option<Duration> {
    const MOST: Duration = Duration::from_secs(3600);
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(MOST));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp(date.as_microsecond()).since(now).min(MOST))
}
