//! Statements over rows of bound values, for a few fixed numbers of rows, so that every batch finds its statements prepared.
//!
//! Against one JSON parameter this saves writing and parsing a sync state of some kilobytes per mailbox: more than half of a large batch's time.

/// How many rows a statement takes, largest first; a batch is cut into these.
const SIZES: [usize; 3] = [64, 8, 1];

/// One statement, in the sizes above.
pub(super) struct Statement {
    texts: [String; SIZES.len()],
}

impl Statement {
    /// Puts rows of so many columns where the text says `{rows}`.
    pub(super) fn new(text: &str, columns: usize) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let code: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
        Self { texts: SIZES.map(|size| code.join("\n").replace("{rows}", &vec![row.as_str(); size].join(", "))) }
    }

    /// Cuts a batch into pieces, each with its text.
    pub(super) fn pieces<'a, T>(&'static self, mut batch: &'a [T]) -> impl Iterator<Item = (&'static str, &'a [T])> {
        std::iter::from_fn(move || {
            let at = SIZES.iter().position(|size| *size <= batch.len())?;
            let (piece, rest) = batch.split_at(SIZES[at]);
            batch = rest;
            Some((self.texts[at].as_str(), piece))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    #[test]
    fn a_batch_is_cut_into_prepared_sizes() {
        static STATEMENT: LazyLock<Statement> = LazyLock::new(|| Statement::new("-- {rows}\nVALUES {rows}", 2));
        let batch: Vec<u32> = (0..75).collect();
        let pieces: Vec<_> = STATEMENT.pieces(&batch).collect();
        assert_eq!(pieces.iter().map(|(_, piece)| piece.len()).collect::<Vec<_>>(), [64, 8, 1, 1, 1]);
        assert_eq!(pieces.iter().flat_map(|(_, piece)| *piece).copied().collect::<Vec<_>>(), batch);
        assert_eq!(pieces[4].0, "VALUES (?, ?)");
        assert_eq!(pieces[0].0.matches("(?, ?)").count(), 64);
    }
}
