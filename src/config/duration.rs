//! Durations as people write them: a whole number and a unit.

use std::time::Duration;

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads `250ms`, `3s`, `20m`, `12h`, `7d`; a bare `0` needs no unit.
///
/// # Errors
/// A sentence that says what would be right.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_| format!("\"{text}\" is not a duration: write a whole number and a unit, such as \"3s\""))?;
    let unit = unit.trim();
    if unit.is_empty() {
        return Err(format!("needs a unit: write \"{number}s\" for {number} seconds"));
    }
    let (_, millis) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| format!("\"{text}\" has no known unit: take ms, s, m (minutes), h or d"))?;
    number.checked_mul(*millis).map(Duration::from_millis).ok_or_else(|| format!("\"{text}\" is too long"))
}

/// Writes a duration in the largest unit that divides it (below a millisecond it is rounded down), but not weeks of hours as days below two days.
#[must_use]
pub fn show(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".into();
    }
    UNITS
        .iter()
        .find(|(name, size)| millis % size == 0 && (*name != "d" || millis / size >= 2))
        .map_or_else(|| format!("{millis}ms"), |(name, size)| format!("{}{name}", millis / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        for text in ["0s", "1ms", "250ms", "3s", "90s", "20m", "12h", "24h", "7d"] {
            assert_eq!(show(parse(text).expect(text)), text);
        }
    }

    #[test]
    fn a_number_without_unit_is_refused_with_the_way_out() {
        assert_eq!(parse("20"), Err("needs a unit: write \"20s\" for 20 seconds".into()));
        for wrong in ["", "s", "-3s", "3.5s", "3 weeks", "99999999999999999999s", "18446744073709551615d"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
