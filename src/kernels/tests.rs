//! What does not depend on which processor this is. That operators do what ONNX says is tested where they are
//! registered, beside ONNX Runtime's own.

use ndarray::{
    Array, Array1, Array2, Array3, Array4, ArrayD, ArrayView2, Dimension, array as of, s,
};

use super::{
    instructions::Instructions,
    product::{Weights, WeightsShape},
    transpose::Transpose,
    *,
};

/// Numbers from -1 to 1 that look random.
fn numbers(count: usize) -> Vec<f32> {
    let number = |index: usize| (index * 7919 + 13) % 2011;
    (0..count)
        .map(|index| number(index) as f32 / 1005.0 - 1.0)
        .collect()
}

fn array<const N: usize, D: Dimension>(shape: [usize; N]) -> Array<f32, D> {
    let numbers = ArrayD::from_shape_vec(shape.to_vec(), numbers(shape.iter().product()));
    numbers.unwrap().into_dimensionality().unwrap()
}

#[test]
fn products_are_sums_of_products_for_any_instructions() {
    let shapes = [
        (1, 1, 1, 1),
        (2, 3, 7, 2),
        (1, 33, 17, 9),
        (3, 8, 64, 1),
        (2, 9, 33, 4),
    ];
    for (instructions, (groups, inner, outer, taps)) in all(&shapes) {
        let shape = WeightsShape {
            groups,
            outer,
            inner,
            taps,
        };
        let weights = numbers(groups * outer * inner * taps);
        let packed = Weights::pack(&weights, shape, vec![7.0; 5], instructions, &Threads::NONE);
        for (count, group, tap) in [
            (1, 0, 0),
            (13, groups - 1, taps - 1),
            (25, groups / 2, taps / 2),
        ] {
            let rows = numbers(count * inner);
            let mut sums = vec![1.0; count * outer];
            packed.add_product(group, tap, &rows, &mut sums);
            for (place, sum) in sums.iter().enumerate() {
                let (row, column) = (place / outer, group * outer + place % outer);
                let weight = |at: usize| weights[(column * inner + at) * taps + tap];
                let products = (0..inner).map(|at| rows[row * inner + at] * weight(at));
                let expected = 1.0 + products.sum::<f32>();
                assert!(
                    (sum - expected).abs() < 1e-5,
                    "{instructions:?}: {sum} for {expected}"
                );
            }
        }
    }
}

/// Each case with each set of instructions that there is here.
fn all<T: Copy>(cases: &[T]) -> impl Iterator<Item = (Instructions, T)> {
    let all = Instructions::all().into_iter();
    all.flat_map(move |instructions| cases.iter().map(move |case| (instructions, *case)))
}

#[test]
fn axes_change_places_for_any_instructions() {
    for (instructions, (rows, columns)) in all(&[(1, 1), (8, 8), (9, 23), (16, 7), (3, 40)]) {
        let from = numbers(rows * columns);
        let mut to = vec![f32::NAN; rows * columns];
        instructions.run(Transpose {
            rows,
            columns,
            from: &from,
            from_step: columns,
            to: &mut to,
            to_step: rows,
        });
        let expected = |place: usize| from[place % rows * columns + place / rows];
        assert!(
            (0..to.len()).all(|place| to[place] == expected(place)),
            "{rows} {columns}"
        );
    }
}

fn convolved(instructions: Instructions, offsets: &Array4<f32>) -> Result<ArrayD<f32>, String> {
    let spec = DeformConvSpec {
        strides: [1, 1],
        pads: [1, 1],
        dilations: [1, 1],
        groups: 1,
        offset_groups: 1,
    };
    let conv = DeformConv::new(
        spec,
        array([6, 10, 3, 3]).view(),
        instructions,
        Vec::new(),
        &Threads::NONE,
    )?;
    let pixels = array([1, 10, 12, 11]);
    let inputs = DeformConvInputs {
        pixels: pixels.view(),
        offsets: offsets.view(),
        mask: None,
        bias: None,
    };
    let mut out = Array4::zeros(conv.shape(&inputs));
    let workspace = Workspace::default();
    conv.run(&inputs, out.view_mut(), &workspace, &Threads::NONE)?;
    Ok(out.into_dyn())
}

#[test]
fn convolutions_are_the_same_for_any_instructions() {
    let offsets = 3.0 * array([1, 18, 12, 11]);
    let all = Instructions::all().into_iter();
    let all: Vec<_> = all
        .map(|instructions| convolved(instructions, &offsets).unwrap())
        .collect();
    for other in &all[1..] {
        let difference = (other - &all[0]).mapv(f32::abs);
        assert!(
            difference.iter().all(|&difference| difference < 1e-4),
            "{difference}"
        );
    }
}

/// Whatever a network makes of a picture, memory outside of the image is not read.
#[test]
fn offsets_that_are_no_places_see_nothing() {
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e38, -1e9] {
        let out = convolved(
            Instructions::detect(),
            &Array4::from_elem((1, 18, 12, 11), number),
        );
        assert!(out.unwrap().iter().all(|&number| number == 0.0), "{number}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_told() {
    let error = convolved(Instructions::detect(), &array([1, 17, 12, 11])).unwrap_err();
    assert!(error.contains("17"), "{error}");
    for sizes in [
        of![[5, 6], [3, 2]], // fits
        of![[5, 6], [3, 4]], // more cells than rows
        of![[5, 6], [0, 2]],
        of![[5, -6], [3, 2]],
        of![[i64::MAX, i64::MAX], [3, 2]],
        of![[5, 6]],
        of![[5, 6, 1], [3, 2, 1]],
    ] {
        let attention = Attention {
            sizes: sizes.clone(),
            ..Attention::of(8)
        };
        let attended = attention.run(Instructions::detect());
        assert_eq!(attended.is_ok(), sizes == of![[5, 6], [3, 2]], "{sizes}");
        if let Err(error) = attended {
            assert!(error.contains(&format!("of {sizes}")), "{error}");
        }
    }
}

/// Attention of two images with two levels, some rows that are no cells, three points and more queries than a block has.
struct Attention {
    values: Array3<f32>,
    sizes: Array2<i64>,
    /// How far places go, of which 1 is the edge.
    reach: f32,
}

impl Attention {
    const HEADS: usize = 3;
    const QUERIES: usize = 70;

    fn of(depth: usize) -> Self {
        Self {
            values: array([2, 40, Self::HEADS * depth]),
            sizes: of![[5, 6], [3, 2]],
            reach: 1.3,
        }
    }

    fn places<D: Dimension>(&self) -> Array<f32, D> {
        self.reach * array([2, Self::QUERIES, Self::HEADS, 2, 3, 2])
    }

    fn shares<D: Dimension>() -> Array<f32, D> {
        array([2, Self::QUERIES, Self::HEADS, 2, 3])
    }

    fn run(&self, instructions: Instructions) -> Result<Array3<f32>, String> {
        let (places, shares) = (self.places(), Self::shares());
        let inputs = DeformableAttentionInputs {
            values: self.values.view(),
            sizes: self.sizes.view(),
            places: places.view(),
            shares: shares.view(),
        };
        let mut out = Array3::from_elem(inputs.shape(), f32::NAN);
        let (workspace, threads) = (Workspace::default(), Threads::NONE);
        let attention = DeformableAttention::new(instructions);
        attention.run(&inputs, out.view_mut(), &workspace, &threads)?;
        Ok(out)
    }

    /// The same number by number.
    fn expected(&self) -> Array3<f32> {
        let (images, _, width) = self.values.dim();
        let depth = width / Self::HEADS;
        let places = self.places::<ndarray::Ix6>();
        let mut out = Array3::zeros((images, Self::QUERIES, width));
        for ((image, query, head, level, point), share) in
            Self::shares::<ndarray::Ix5>().indexed_iter()
        {
            let first: i64 = self
                .sizes
                .rows()
                .into_iter()
                .take(level)
                .map(|size| size.product())
                .sum();
            let rows = first as usize..;
            let channels = head * depth..(head + 1) * depth;
            let values = self.values.slice(s![image, rows, channels.clone()]);
            let place = places.slice(s![image, query, head, level, point, ..]);
            let size = [self.sizes[[level, 0]], self.sizes[[level, 1]]];
            let seen = *share * between_four(values, size, [place[1], place[0]]);
            let mut sums = out.slice_mut(s![image, query, channels]);
            sums += &seen;
        }
        out
    }
}

/// What is between four cells of `values`, `[height * width, channels]`, at a place from -1 to 1, the outer edges.
fn between_four(values: ArrayView2<'_, f32>, size: [i64; 2], place: [f32; 2]) -> Array1<f32> {
    let [y, x] = [0, 1].map(|axis| ((place[axis] + 1.0) * size[axis] as f32 - 1.0) / 2.0);
    let mut seen = Array1::zeros(values.ncols());
    for (down, right) in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)] {
        let (row, column) = (y.floor() + down, x.floor() + right);
        let is_inside = |cell: f32, count: i64| (0.0..count as f32).contains(&cell);
        if is_inside(row, size[0]) && is_inside(column, size[1]) {
            let share = (1.0 - (y - row).abs()) * (1.0 - (x - column).abs());
            let cell = row as usize * size[1] as usize + column as usize;
            seen.scaled_add(share, &values.row(cell));
        }
    }
    seen
}

#[test]
fn attention_is_a_sum_of_samples_for_any_instructions() {
    // Of a whole number of registers, less than one, and something between.
    for depth in [32, 5, 41] {
        let attention = Attention::of(depth);
        let expected = attention.expected();
        for instructions in Instructions::all() {
            let attended = attention.run(instructions).unwrap();
            for (attended, expected) in attended.iter().zip(&expected) {
                assert!(
                    (attended - expected).abs() < 1e-5,
                    "{instructions:?}, {depth}: {attended} for {expected}"
                );
            }
        }
    }
}

#[test]
fn attention_to_places_that_are_none_sees_nothing() {
    for reach in [f32::NAN, f32::INFINITY, 3e38, -1e9] {
        let attention = Attention {
            reach,
            ..Attention::of(8)
        };
        let attended = attention.run(Instructions::detect()).unwrap();
        assert!(attended.iter().all(|number| number.abs() <= 6.0), "{reach}");
    }
}
