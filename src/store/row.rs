//! Rows of queries with many columns, read by the names of their fields; sqlx's own derive would have the databases compiled a second time, for the compiler.

/// Declares a struct that is read from a row: a column of the same name for each field.
macro_rules! row {
    ($(#[$attribute:meta])* struct $name:ident from $row:ty { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$attribute])*
        struct $name {
            $($field: $type,)*
        }

        impl<'r> sqlx::FromRow<'r, $row> for $name {
            fn from_row(row: &'r $row) -> Result<Self, sqlx::Error> {
                use sqlx::Row as _;
                Ok(Self { $($field: row.try_get(stringify!($field))?,)* })
            }
        }
    };
}

pub(crate) use row;
