//! Maps of tokens cut into windows, as Swin does (Liu et al., "Swin Transformer", 2021).

/// How the maps of a batch are cut. They are padded at the bottom and on the right to whole windows, and the padded
/// maps rolled towards the top left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    pub(super) batch: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Of a window, in tokens.
    pub(super) side: usize,
    /// By how many tokens maps are rolled, along both axes; less than a side.
    pub(super) shift: usize,
}

/// A token in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    /// Among the rows of all tokens.
    pub(super) row: usize,
    /// In the window, row by row.
    pub(super) place: usize,
    /// Tokens of different regions were brought together by rolling, and do not see each other.
    pub(super) region: usize,
}

impl Windows {
    /// Ends of a map that meet in a window, along both axes.
    pub(super) const REGIONS: usize = 4;

    pub(super) fn count(&self) -> usize {
        self.batch * self.rows() * self.columns()
    }

    fn rows(&self) -> usize {
        self.height.div_ceil(self.side)
    }

    fn columns(&self) -> usize {
        self.width.div_ceil(self.side)
    }

    /// Adds the tokens of a window, in the order of their places, without its padding.
    pub(super) fn tokens(&self, window: usize, tokens: &mut Vec<Token>) {
        let [image, row, column] = self.position(window);
        let padded = [self.rows() * self.side, self.columns() * self.side];
        for place in 0..self.side * self.side {
            let y = (row * self.side + place / self.side + self.shift) % padded[0];
            let x = (column * self.side + place % self.side + self.shift) % padded[1];
            if y < self.height && x < self.width {
                tokens.push(Token {
                    row: (image * self.height + y) * self.width + x,
                    place,
                    region: self.region(window, place),
                });
            }
        }
    }

    /// The region of a place in a window, which may be one of padding.
    pub(super) fn region(&self, window: usize, place: usize) -> usize {
        let [_, row, column] = self.position(window);
        // The last window begins with the map's end, and has its beginning behind it.
        let is_beyond = |window: usize, count: usize, place: usize| {
            usize::from(window + 1 == count && place + self.shift >= self.side)
        };
        2 * is_beyond(row, self.rows(), place / self.side)
            + is_beyond(column, self.columns(), place % self.side)
    }

    /// Image, row and column of windows.
    fn position(&self, window: usize) -> [usize; 3] {
        let (rows, columns) = (self.rows(), self.columns());
        let (map, column) = (window / columns, window % columns);
        [map / rows, map % rows, column]
    }
}
