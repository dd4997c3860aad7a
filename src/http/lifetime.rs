//! How long a token lives, as its giver told it: as a number or as a text, and never believed beyond reason.

use std::time::Duration;

use serde_json::Value;

/// A token that lives shorter would be fetched again and again.
const SHORTEST: Duration = Duration::from_secs(60);
/// Nobody's tokens live longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Reads `expires_in` (RFC 6749, section 5.1): a number of seconds, which some givers write as a text. `None` if it tells nothing.
#[must_use]
pub fn lifetime(told: &Value) -> Option<Duration> {
    let seconds = match told {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    if seconds.is_nan() {
        return None;
    }
    Some(Duration::from_secs_f64(seconds.clamp(SHORTEST.as_secs_f64(), LONGEST.as_secs_f64())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_texts_are_read_and_nothing_is_believed_beyond_reason() {
        let seconds = |told: Value| lifetime(&told).map(|life| life.as_secs());
        for hour in [json!(3600), json!(3600.0), json!("3600"), json!(" 3600 "), json!("3600.5")] {
            assert_eq!(seconds(hour), Some(3600));
        }
        for much in [json!(u64::MAX), json!(1e300), json!("18446744073709551616"), json!("inf"), json!(i64::MAX)] {
            assert_eq!(seconds(much), Some(86_400));
        }
        for little in [json!(0), json!(-1), json!(i64::MIN), json!("-inf"), json!("0"), json!(0.001)] {
            assert_eq!(seconds(little), Some(60));
        }
        for nothing in [json!(null), json!("NaN"), json!("soon"), json!(""), json!([3600]), json!({}), json!(true)] {
            assert_eq!(seconds(nothing), None);
        }
    }
}
