//! A project's quota: so many messages a minute, counted in one-minute buckets.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const BUCKET: Duration = Duration::from_secs(60);

/// The bucket of the current minute.
#[derive(Debug)]
pub(super) struct Quota {
    per_minute: u64,
    bucket: Mutex<(Instant, u64)>,
}

impl Quota {
    pub(super) fn new(per_minute: u64) -> Self {
        Self { per_minute, bucket: Mutex::new((Instant::now(), 0)) }
    }

    /// Takes one message out of the bucket, or says after how many seconds it is full again.
    pub(super) fn take(&self, now: Instant) -> Result<(), u64> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_duration_since(bucket.0);
        if age >= BUCKET {
            *bucket = (now, 0);
        }
        if bucket.1 >= self.per_minute {
            let left = BUCKET.saturating_sub(now.saturating_duration_since(bucket.0));
            return Err(left.as_secs().max(1));
        }
        bucket.1 += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_full_again_after_a_minute() {
        let quota = Quota::new(2);
        let begin = Instant::now();
        assert_eq!(quota.take(begin), Ok(()));
        assert_eq!(quota.take(begin), Ok(()));
        let Err(wait) = quota.take(begin + Duration::from_secs(20)) else {
            panic!("the bucket is empty");
        };
        assert!((39..=41).contains(&wait), "{wait}");
        assert_eq!(quota.take(begin + Duration::from_secs(61)), Ok(()));
    }
}
