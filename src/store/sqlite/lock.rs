//! The operating system's lock beside the database file: held for the life of the process that owns the shards.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use postrider_actors::ports::StoreError;

/// The lock, held; given back when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct FileLock(#[allow(dead_code, reason = "held for its Drop")] File);

/// Where the lock of a database is: `<file>.lock`.
pub(super) fn path_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    PathBuf::from(path)
}

/// Takes the lock if nobody has it.
pub(super) fn try_lock(path: &Path) -> Result<Option<FileLock>, StoreError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(|error| {
        StoreError::Unusable(format!(
            "the lock file beside the database cannot be made ({}): may the service's user write there?",
            error.kind()
        ))
    })?;
    match file.try_lock() {
        Ok(()) => Ok(Some(FileLock(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(StoreError::Unusable(format!("the file system gives no locks ({}): keep the database on a local disk", error.kind())))
        }
    }
}
