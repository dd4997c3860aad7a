//! What SQLite's result codes mean for whoever called the store.

use std::fmt;

use postrider_actors::ports::StoreError;

/// Where a call stood when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing can have been written.
    Before,
    /// COMMIT was asked for and not answered.
    Committing,
}

impl Stage {
    /// What a call at that stage ends with that got no answer.
    pub(super) fn unanswered(self, text: String) -> StoreError {
        match self {
            Self::Before => StoreError::Unavailable(text),
            Self::Committing => StoreError::OutcomeUnknown(text),
        }
    }
}

/// Why a call failed inside.
#[derive(Debug)]
pub(super) enum Failure {
    Sql(sqlx::Error),
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

// Primary result codes, <https://www.sqlite.org/rescode.html>; the low byte of an extended code.
const ERROR: i32 = 1;
const PERM: i32 = 3;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const AUTH: i32 = 23;
const NOTADB: i32 = 26;

impl Failure {
    /// The port's error for a failure at that stage.
    pub(super) fn at(self, stage: Stage) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Sql(error) => classify(&error, stage),
            Self::Sqlite(rusqlite::Error::SqliteFailure(code, text)) => {
                let text = text.unwrap_or_else(|| code.to_string());
                by_code(code.extended_code, stage, &text)
            }
            Self::Sqlite(error) => unreadable(&error),
        }
    }
}

fn classify(error: &sqlx::Error, stage: Stage) -> StoreError {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(ERROR);
            by_code(code, stage, error)
        }
        sqlx::Error::Io(io) => match io.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Unusable(FULL_TEXT.into()),
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => StoreError::Unusable(READONLY_TEXT.into()),
            _ => open(stage, error),
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => unreadable(error),
        _ => open(stage, error),
    }
}

fn unreadable(error: &dyn fmt::Display) -> StoreError {
    StoreError::Unusable(format!("a row cannot be read, it may have been written by a newer version of the program ({error})"))
}

const FULL_TEXT: &str = "the disk is full: free some space beside the database file, nothing was lost";
const READONLY_TEXT: &str =
    "the database file or its folder cannot be written: the service's user needs write access to both (SQLite keeps two files beside it)";

fn by_code(code: i32, stage: Stage, error: &dyn fmt::Display) -> StoreError {
    match code & 0xff {
        FULL => StoreError::Unusable(FULL_TEXT.into()),
        READONLY | PERM | AUTH => StoreError::Unusable(READONLY_TEXT.into()),
        CANTOPEN => StoreError::Unusable(
            "the database file cannot be opened or made: does its folder exist, and may the service's user write there?".into(),
        ),
        NOTADB => StoreError::Unusable("the file is not an SQLite database: check the configured path".into()),
        CORRUPT => StoreError::Unusable("the database file is damaged: stop the service and restore the last copy".into()),
        CONSTRAINT | MISMATCH => {
            StoreError::Unusable(format!("a row breaks a rule of the schema, which is a mistake in the program ({error})"))
        }
        ERROR => {
            StoreError::Unusable(format!("the schema is not the one that this program was made for: run its `migrate` command ({error})"))
        }
        IOERR => open(stage, error),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// For failures that leave open what became of a COMMIT.
fn open(stage: Stage, error: &dyn fmt::Display) -> StoreError {
    match stage {
        Stage::Before => StoreError::Unavailable(error.to_string()),
        Stage::Committing => StoreError::OutcomeUnknown(error.to_string()),
    }
}
