//! Which of some goes with which of others.

use pathfinding::{kuhn_munkres::kuhn_munkres, matrix::Matrix};

/// The pairs of a row and a column, each in one pair at most, whose gains are the most in all. What gains nothing is
/// no pair.
pub(super) fn pair(
    rows: usize,
    columns: usize,
    gain: impl Fn(usize, usize) -> f32,
) -> Vec<(usize, usize)> {
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    // Whole numbers have an order, and a billionth of an overlap is nothing.
    let whole = |(row, column)| (1e9 * f64::from(gain(row, column).max(0.0))) as i64;
    let gains = Matrix::from_fn(rows, columns, whole);
    // Every row gets a column, and so there must be enough of these.
    let mut pairs: Vec<_> = if rows <= columns {
        kuhn_munkres(&gains).1.into_iter().enumerate().collect()
    } else {
        let (_, row_of) = kuhn_munkres(&gains.transposed());
        let pairs = row_of.into_iter().enumerate();
        pairs.map(|(column, row)| (row, column)).collect()
    };
    pairs.retain(|&pair| gains[pair] > 0);
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_best_of_all_is_not_the_best_first() {
        let gains = [[0.9, 0.8], [0.8, 0.0], [0.1, 0.1]];
        assert_eq!(
            pair(3, 2, |row, column| gains[row][column]),
            [(1, 0), (0, 1)]
        );
        assert_eq!(pair(0, 2, |_, _| 1.0), []);
        assert_eq!(pair(1, 1, |_, _| f32::NAN), []);
    }

    /// The most that rows from this one on can gain.
    fn most(gains: &[Vec<f32>], row: usize, taken: &mut Vec<usize>) -> f32 {
        let Some(of_row) = gains.get(row) else {
            return 0.0;
        };
        let mut best = most(gains, row + 1, taken);
        for (column, gain) in of_row.iter().enumerate() {
            if !taken.contains(&column) {
                taken.push(column);
                best = best.max(gain + most(gains, row + 1, taken));
                taken.pop();
            }
        }
        best
    }

    proptest! {
        #[test]
        fn no_other_pairs_gain_more(
            gains in (1usize..5, 1usize..5).prop_flat_map(|(rows, columns)| {
                prop::collection::vec(prop::collection::vec(-0.5f32..0.8, columns), rows)
            }),
        ) {
            let pairs = pair(gains.len(), gains[0].len(), |row, column| gains[row][column]);
            let sum: f32 = pairs.iter().map(|&(row, column)| gains[row][column]).sum();
            prop_assert!((sum - most(&gains, 0, &mut vec![])).abs() < 1e-5);
            for (at, &(row, column)) in pairs.iter().enumerate() {
                prop_assert!(gains[row][column] > 0.0);
                prop_assert!(pairs[..at].iter().all(|other| other.0 != row && other.1 != column));
            }
        }
    }
}
