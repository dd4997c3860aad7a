//! The database: chooses the store by the configured URL.

pub mod sqlite;

use std::path::PathBuf;

use postrider_actors::ports::StoreError;

pub use sqlite::{Options, SqliteStore};

/// Opens the store that the URL names: `sqlite:<path>`, e.g. `sqlite:/var/lib/postrider/postrider.db`.
///
/// # Errors
/// `Unusable` when the URL names no store of this program, or the file cannot be used.
pub async fn open(url: &str, options: Options) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(&path_of(url)?, options).await
}

/// The file that a `sqlite:` URL names.
///
/// # Errors
/// `Unusable` for any other URL.
pub fn path_of(url: &str) -> Result<PathBuf, StoreError> {
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        // The URL may hold a password, so it is not repeated.
        return Err(StoreError::Unusable("PostgreSQL is not supported by this version: configure `sqlite:<path>`".into()));
    }
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or_default();
    if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
        return Err(StoreError::Unusable("the database URL must be `sqlite:<path of a file>`".into()));
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_url_names_a_file() {
        assert_eq!(path_of("sqlite:data/a.db"), Ok(PathBuf::from("data/a.db")));
        assert_eq!(path_of("sqlite:///var/a.db"), Ok(PathBuf::from("/var/a.db")));
    }

    #[test]
    fn other_urls_are_refused_without_being_repeated() {
        for url in ["postgres://u:secret@h/db", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro", "mysql://secret", ""] {
            let Err(StoreError::Unusable(text)) = path_of(url) else { panic!("{url} was taken") };
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
