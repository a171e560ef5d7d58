//! What does not depend on which processor this is. That operators do what ONNX says is tested where they are
//! registered, beside ONNX Runtime's own.

use ndarray::{
    Array, Array1, Array2, Array3, Array4, ArrayD, ArrayView2, Dimension, array as of, s,
};

use super::{
    byte_product::ByteWeights,
    pixels::{Grid, Sample},
    product::{Weights, WeightsShape},
    transpose::Transpose,
    *,
};
use crate::instructions::Instructions;

/// Numbers from -1 to 1 that look random.
fn numbers(count: usize) -> Vec<f32> {
    let number = |index: usize| (index * 7919 + 13) % 2011;
    (0..count)
        .map(|index| number(index) as f32 / 1005.0 - 1.0)
        .collect()
}

pub(super) fn array<const N: usize, D: Dimension>(shape: [usize; N]) -> Array<f32, D> {
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

/// What tells the right sums: whole numbers, which are the same for any instructions.
#[test]
fn products_of_bytes_are_sums_of_products_for_any_instructions() {
    for (inner, taps, outer) in [(1, 1, 1), (3, 2, 7), (33, 9, 17), (64, 1, 48), (8, 4, 65)] {
        let column = inner * taps;
        let byte = |index: usize| (index * 7919 + 13) % 256;
        let weights: Vec<_> = (0..column * outer).map(|at| byte(at) as u8 as i8).collect();
        let scales: Vec<_> = (0..outer).map(|column| 0.5 + column as f32).collect();
        for instructions in ByteInstructions::all() {
            let packed = ByteWeights::pack(&weights, taps, &scales, instructions);
            let length = packed.length();
            assert!((column..column + 4).contains(&length), "{length}");
            for count in [1, 13, 25] {
                // The largest and the smallest bytes, too.
                let rows: Vec<_> = (0..count * length).map(|at| byte(3 * at) as u8).collect();
                let of_rows: Vec<_> = (0..count).map(|row| 1.0 / (1 + row) as f32).collect();
                let mut sums = vec![1.0; count * outer];
                packed.add_product(&rows, &of_rows, &mut sums);
                for (place, sum) in sums.iter().enumerate() {
                    let (row, to) = (place / outer, place % outer);
                    let product = |at: usize| {
                        let weight = weights[(at % inner * taps + at / inner) * outer + to];
                        (i32::from(rows[row * length + at]) - 128) * i32::from(weight)
                    };
                    let whole: i32 = (0..column).map(product).sum();
                    let expected = 1.0 + whole as f32 * (of_rows[row] * scales[to]);
                    assert!(*sum == expected, "{instructions:?}: {sum} for {expected}");
                }
            }
        }
    }
}

/// A convolution of seven channels in 8 bits, beside the same in floats.
struct InBytes {
    pixels: Array4<f32>,
    offsets: Array4<f32>,
    mask: Option<Array4<f32>>,
    strides: [usize; 2],
}

impl InBytes {
    fn of(size: [usize; 2], out: [usize; 2]) -> Self {
        Self {
            pixels: array([2, 7, size[0], size[1]]),
            offsets: 3.0 * array::<4, ndarray::Ix4>([2, 18, out[0], out[1]]),
            mask: Some(array([2, 9, out[0], out[1]])),
            strides: [1, 1],
        }
    }

    /// In floats without instructions for bytes.
    fn run(&self, instructions: Instructions, bytes: Option<ByteInstructions>) -> Array4<f32> {
        let spec = DeformConvSpec {
            strides: self.strides,
            pads: [1, 1],
            dilations: [1, 1],
            groups: 1,
            offset_groups: 1,
        };
        let (inner, outer) = (7, 21);
        let weights = (127.0 * array::<2, ndarray::Ix2>([inner * 9, outer])).mapv(f32::round);
        let bias: Array1<f32> = array([outer]);
        let scales = 0.01 * (2.0 + &bias);
        let conv = match bytes {
            Some(bytes) => {
                let weights = weights.mapv(|weight| weight as i8);
                let (weights, scales) = (weights.view(), scales.view());
                DeformConv::in_bytes(spec, [3, 3], weights, scales, instructions, bytes)
            }
            None => {
                let weights = (weights * scales).reversed_axes();
                let weights = weights.to_shape((outer, inner, 3, 3)).unwrap();
                let (memory, threads) = (Vec::new(), &Threads::NONE);
                DeformConv::new(spec, weights.view(), instructions, memory, threads)
            }
        };
        let inputs = DeformConvInputs {
            pixels: self.pixels.view(),
            offsets: self.offsets.view(),
            mask: self.mask.as_ref().map(|mask| mask.view()),
            bias: Some(bias.view()),
        };
        let conv = conv.unwrap();
        let mut out = Array4::from_elem(conv.shape(&inputs), f32::NAN);
        let (workspace, threads) = (Workspace::default(), Threads::NONE);
        conv.run(&inputs, out.view_mut(), &workspace, &threads)
            .unwrap();
        out
    }

    /// What a place that sees nothing gives.
    fn is_bias(out: &Array4<f32>) -> bool {
        let bias: Array1<f32> = array([out.dim().1]);
        out.indexed_iter()
            .all(|((_, channel, ..), &number)| number == bias[channel])
    }
}

#[test]
fn convolutions_in_bytes_are_those_in_floats() {
    let plain = || InBytes::of([13, 17], [13, 17]); // more places than a block has
    let strided = InBytes {
        strides: [2, 2],
        ..InBytes::of([13, 17], [7, 9])
    };
    let without_mask = InBytes {
        mask: None,
        ..plain()
    };
    let small = InBytes {
        pixels: 1e-4 * plain().pixels,
        ..plain()
    };
    for case in [
        plain(),
        strided,
        without_mask,
        small,
        InBytes::of([1, 1], [1, 1]),
    ] {
        for instructions in Instructions::all() {
            let floats = case.run(instructions, None);
            let bias: Array4<f32> = array([1, 21, 1, 1]);
            let seen = &floats - &bias;
            let largest = seen.fold(0.0, |largest: f32, number| largest.max(number.abs()));
            assert!(largest > 0.0);
            for bytes in ByteInstructions::all() {
                let out = case.run(instructions, Some(bytes));
                let difference = (out - &floats).mapv(f32::abs);
                let worst = difference.fold(0.0, |worst: f32, &number| worst.max(number));
                assert!(worst < 0.01 * largest, "{bytes:?}: {worst} of {largest}");
            }
        }
    }
}

#[test]
fn convolutions_in_bytes_that_see_nothing_are_the_bias() {
    let plain = || InBytes::of([12, 11], [12, 11]);
    let bytes = ByteInstructions::detect().unwrap_or(ByteInstructions::Any);
    let run = |case: InBytes| case.run(Instructions::detect(), Some(bytes));
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e38, -1e9] {
        let offsets = Array4::from_elem((2, 18, 12, 11), number);
        let out = run(InBytes { offsets, ..plain() });
        assert!(InBytes::is_bias(&out), "{number}");
    }
    let mask = Some(Array4::zeros((2, 9, 12, 11)));
    assert!(InBytes::is_bias(&run(InBytes { mask, ..plain() })));
    // Too little for a scale, and nothing at all.
    for number in [0.0, 1e-40] {
        let pixels = Array4::from_elem((2, 7, 12, 11), number);
        assert!(
            InBytes::is_bias(&run(InBytes { pixels, ..plain() })),
            "{number}"
        );
    }
}

#[test]
fn what_is_no_number_stays_none_in_bytes() {
    let bytes = ByteInstructions::detect().unwrap_or(ByteInstructions::Any);
    for number in [f32::NAN, f32::INFINITY] {
        let case = InBytes {
            pixels: Array4::from_elem((2, 7, 12, 11), number),
            offsets: Array4::zeros((2, 18, 12, 11)),
            mask: None,
            strides: [1, 1],
        };
        let out = case.run(Instructions::detect(), Some(bytes));
        assert!(out.iter().all(|number| !number.is_finite()), "{number}");
    }
}

#[test]
fn weights_in_bytes_that_do_not_fit_are_told() {
    let spec = |groups| DeformConvSpec {
        strides: [1, 1],
        pads: [1, 1],
        dilations: [1, 1],
        groups,
        offset_groups: 1,
    };
    for (rows, scales, groups) in [(18, 4, 1), (17, 4, 1), (0, 4, 1), (18, 3, 1), (18, 4, 2)] {
        let weights = Array2::zeros((rows, 4));
        let conv = DeformConv::in_bytes(
            spec(groups),
            [3, 3],
            weights.view(),
            Array1::zeros(scales).view(),
            Instructions::Any,
            ByteInstructions::Any,
        );
        let fits = (rows, scales, groups) == (18, 4, 1);
        assert_eq!(conv.is_ok(), fits, "{rows} {scales} {groups}");
        if let Err(error) = conv {
            assert!(
                error.contains(&format!("[{rows}, 4] with {scales} scales")),
                "{error}"
            );
        }
    }
}

#[test]
fn grids_are_enlarged_by_their_corners() {
    for (smaller, larger) in [
        ([3, 4], [7, 9]),
        ([1, 4], [2, 8]),
        ([1, 1], [1, 5]),
        ([2, 3], [2, 3]),
    ] {
        let [smaller, larger] = [smaller, larger].map(|[height, width]| Grid::new(height, width));
        let mut times = vec![0.0; smaller.count()];
        for pixel in 0..larger.count() {
            let Sample { pixels, shares } = smaller.of_enlarged(pixel, larger);
            assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            (0..4).for_each(|corner| times[pixels[corner]] += shares[corner]);
        }
        for (pixel, times) in times.iter().enumerate() {
            let told = smaller.times_seen(pixel, larger);
            assert!(
                (told - times).abs() < 1e-5,
                "{smaller:?} {larger:?}: {told} for {times}"
            );
        }
        let corners = [(0, 0), (larger.count() - 1, smaller.count() - 1)];
        for (of_larger, of_smaller) in corners {
            let Sample { pixels, shares } = smaller.of_enlarged(of_larger, larger);
            let seen = (0..4)
                .filter(|&corner| shares[corner] > 1e-6)
                .map(|corner| pixels[corner]);
            assert!(seen.into_iter().all(|pixel| pixel == of_smaller));
        }
    }
}
