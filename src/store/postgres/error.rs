//! What PostgreSQL's SQLSTATE codes mean for whoever called the store.

use postrider_actors::ports::StoreError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// Where a call stood when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing can have been written.
    Before,
    /// COMMIT, or a statement that commits by itself, was sent and not answered.
    Committing,
}

/// Why a call failed inside.
#[derive(Debug)]
pub(super) enum Failure {
    Sql(sqlx::Error),
    Store(StoreError),
    /// Somebody else changed what was read before it was locked: the transaction begins anew.
    Moved,
}

/// What is to be done about a failure inside of the call that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The next try may fare better: a deadlock, a lock that was not granted, a unique key that somebody else took first.
    Again,
    /// The connection is gone; nothing is known about others that were opened to the same server.
    Reconnect,
    /// None.
    Fail,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    /// What the call itself can do about it.
    pub(super) fn remedy(&self) -> Remedy {
        match self {
            Self::Moved => Remedy::Again,
            Self::Store(_) => Remedy::Fail,
            Self::Sql(sqlx::Error::Database(error)) => match error.code().as_deref().unwrap_or_default() {
                // serialization failure, deadlock, lock not available, unique violation
                "40001" | "40P01" | "55P03" | "23505" => Remedy::Again,
                // shut down, crashed, starting up, database dropped, idle in transaction; read-only: no longer the primary
                "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" | "25006" => Remedy::Reconnect,
                code if code.starts_with("08") => Remedy::Reconnect,
                _ => Remedy::Fail,
            },
            Self::Sql(sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)) => Remedy::Reconnect,
            Self::Sql(_) => Remedy::Fail,
        }
    }

    /// The port's error for a failure at that stage.
    pub(super) fn at(self, stage: Stage) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Moved => StoreError::Unavailable("others change the same rows all the time".into()),
            Self::Sql(error) => classify(&error, stage),
        }
    }
}

fn classify(error: &sqlx::Error, stage: Stage) -> StoreError {
    match error {
        // An answer: whatever was sent was rolled back, unless the server died of it.
        sqlx::Error::Database(database) => match database.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity) {
            Some(PgSeverity::Panic) if stage == Stage::Committing => lost(database.message().to_owned(), stage),
            _ => by_code(database.code().as_deref().unwrap_or_default(), database.message(), stage),
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            StoreError::Unusable(format!("a row cannot be read, it may have been written by a newer version of the program ({error})"))
        }
        sqlx::Error::Tls(_) => no_trust(error),
        sqlx::Error::Io(io) if is_certificate(io) => no_trust(error),
        sqlx::Error::Configuration(_) => StoreError::Unusable(format!("the database URL cannot be used ({error})")),
        _ => lost(error.to_string(), stage),
    }
}

fn no_trust(error: &sqlx::Error) -> StoreError {
    StoreError::Unusable(format!("no trust in the database server: check sslmode and sslrootcert ({error})"))
}

/// Whether the server's certificate was refused: that is told by the connection that was being made, and no network's trouble.
fn is_certificate(error: &std::io::Error) -> bool {
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(refused, Some(rustls::Error::InvalidCertificate(_)))
}

fn by_code(code: &str, text: &str, stage: Stage) -> StoreError {
    let said = format!("{text} (SQLSTATE {code})");
    match code {
        "28P01" | "28000" => StoreError::Unusable(format!("the database server refuses the user: check user and password ({said})")),
        "3D000" => StoreError::Unusable(format!("there is no such database: make it with CREATE DATABASE ({said})")),
        "42501" => StoreError::Unusable(format!("the database user may not do that: let it own the database ({said})")),
        "53100" => StoreError::Unusable(format!("the database server's disk is full: nothing was lost ({said})")),
        "25006" => {
            StoreError::Unavailable(format!("the database server takes no writes any more: another one may have taken over ({said})"))
        }
        "57P01" | "57P02" => lost(said, stage),
        "XX001" | "XX002" => StoreError::Unusable(format!("the database is damaged: stop the service and restore a copy ({said})")),
        _ => match &code[..code.len().min(2)] {
            "08" => lost(said, stage),
            "22" | "23" => StoreError::Unusable(format!("a row breaks a rule of the schema, which is a mistake in the program ({said})")),
            "42" => StoreError::Unusable(format!(
                "the schema is not the one that this program was made for: run its `migrate` command ({said})"
            )),
            _ => StoreError::Unavailable(said),
        },
    }
}

/// For failures that leave open what became of a COMMIT.
fn lost(text: String, stage: Stage) -> StoreError {
    match stage {
        Stage::Before => StoreError::Unavailable(text),
        Stage::Committing => StoreError::OutcomeUnknown(text),
    }
}
