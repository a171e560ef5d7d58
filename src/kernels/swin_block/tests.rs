//! A block of Swin and what it is made of, beside the same in float64. That it is what graphs mean by one is tested where its
//! operator is registered.

use std::f64::consts::{PI, SQRT_2};

use ndarray::{Array1, Array2, Array3, array};

use super::{
    windows::{Token, Windows},
    *,
};
use crate::{
    instructions::Kernel,
    kernels::functions::{Gelu, exp2, gelu},
};

/// `2^x` of each number.
struct Exp2<'a>(&'a mut [f32]);

impl Kernel for Exp2<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        for at in 0..self.0.len() {
            self.0[at] = exp2::<FUSED>(self.0[at]);
        }
    }
}

/// By its power series.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * 2.0 / PI.sqrt()
}

fn exact_gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / SQRT_2))
}

/// Numbers from one to another.
fn range(from: f32, to: f32) -> Vec<f32> {
    let steps = 100_001;
    let step = (to - from) / (steps - 1) as f32;
    (0..steps).map(|at| from + at as f32 * step).collect()
}

#[test]
fn powers_of_two_are_those_of_float64() {
    for instructions in Instructions::all() {
        let exponents = range(-114.9, 127.0);
        let mut powers = exponents.clone();
        instructions.run(Exp2(&mut powers));
        for (power, exponent) in powers.iter().zip(exponents) {
            let error = f64::from(*power) / f64::from(exponent).exp2() - 1.0;
            assert!(
                error.abs() < 2e-7,
                "{instructions:?}: {error} for {exponent}"
            );
        }
        let mut powers = [-116.0, -1e9, -3e38, f32::NEG_INFINITY, f32::NAN];
        instructions.run(Exp2(&mut powers));
        assert_eq!(powers[..4], [0.0; 4], "{instructions:?}");
        assert!(powers[4].is_nan(), "{instructions:?}");
    }
}

#[test]
fn gelu_is_that_of_float64() {
    for instructions in Instructions::all() {
        let numbers = range(-5.0, 5.0);
        let mut given = numbers.clone();
        instructions.run(Gelu(&mut given));
        for (given, number) in given.iter().zip(numbers) {
            let expected = exact_gelu(f64::from(number));
            let error = (f64::from(*given) - expected).abs();
            let allowed = 1e-7 + 6e-8 * expected.abs();
            assert!(error < allowed, "{instructions:?}: {error} for {number}");
        }
    }
    for (number, expected) in [
        (0.0, 0.0),
        (40.0, 40.0),
        (1e6, 1e6),
        (-40.0, 0.0),
        (-1e6, 0.0),
    ] {
        assert_eq!(gelu::<false>(number), expected, "{number}");
    }
    assert!(gelu::<false>(f32::NAN).is_nan());
}

const SIZES: [(Windows, &str); 6] = [
    (windows(1, 6, 6, 3, 0), "whole windows"),
    (windows(1, 6, 9, 3, 1), "rolled"),
    (windows(2, 7, 5, 3, 0), "padded"),
    (windows(2, 7, 5, 3, 1), "padded and rolled"),
    (windows(1, 2, 1, 3, 1), "less than a window"),
    (windows(1, 5, 11, 4, 3), "rolled far"),
];

const fn windows(batch: usize, height: usize, width: usize, side: usize, shift: usize) -> Windows {
    Windows {
        batch,
        height,
        width,
        side,
        shift,
    }
}

#[test]
fn every_token_is_in_one_window() {
    for (windows, described) in SIZES {
        let mut tokens = Vec::new();
        for window in 0..windows.count() {
            let first = tokens.len();
            windows.tokens(window, &mut tokens);
            let places = tokens[first..].iter().map(|token: &Token| token.place);
            assert!(places.is_sorted(), "{described}");
        }
        let mut rows: Vec<_> = tokens.iter().map(|token| token.row).collect();
        rows.sort_unstable();
        let all = windows.batch * windows.height * windows.width;
        assert!(rows.into_iter().eq(0..all), "{described}");
    }
}

/// Numbers from -1 to 1 that look random, others for each seed.
fn random(seed: usize, count: usize) -> Vec<f32> {
    let number = |at: usize| ((at + 31 * seed) * 7919 + 13) % 2011;
    (0..count)
        .map(|at| number(at) as f32 / 1005.0 - 1.0)
        .collect()
}

fn vector(seed: usize, count: usize) -> Array1<f32> {
    random(seed, count).into()
}

/// Of a layer, so that numbers stay as large as they are.
fn matrix(seed: usize, inner: usize, outer: usize) -> Array2<f32> {
    let numbers = Array2::from_shape_vec((inner, outer), random(seed, inner * outer)).unwrap();
    numbers * (2.0 / (inner as f32).sqrt())
}

/// What a block has learned, in floats and in 8 bits.
struct Learned {
    norms: [Array1<f32>; 4],
    biases: [Array1<f32>; 4],
    position_bias: Array3<f32>,
    /// Of query, key, value, output, and both layers of the MLP.
    matrices: [Array2<f32>; 6],
    bytes: [(Array2<i8>, Array1<f32>); 6],
    channels: usize,
    heads: usize,
}

impl Learned {
    fn of(heads: usize, depth: usize, hidden: usize, side: usize) -> Self {
        let (channels, area) = (heads * depth, side * side);
        let matrices = [0, 1, 2, 3].map(|seed| matrix(seed, channels, channels));
        let [query, key, value, output] = matrices;
        let mlp = [matrix(4, channels, hidden), matrix(5, hidden, channels)];
        let [into, out] = mlp;
        let exact = [query, key, value, output, into, out];
        let scale =
            |matrix: &Array2<f32>| vector(6, matrix.ncols()).mapv(|number| 0.01 + 0.002 * number);
        let bytes = exact.map(|matrix| {
            let scales = scale(&matrix);
            let levels = (matrix / &scales).mapv(|level| level.round().clamp(-127.0, 127.0) as i8);
            (levels, scales)
        });
        let position_bias = random(7, heads * area * area);
        Self {
            norms: [8, 9, 10, 11].map(|seed| vector(seed, channels)),
            biases: [
                vector(12, channels),
                vector(13, channels),
                vector(14, hidden),
                vector(15, channels),
            ],
            position_bias: Array3::from_shape_vec((heads, area, area), position_bias).unwrap(),
            // What the levels mean: so both are the same but for rounding of what they are multiplied with.
            matrices: bytes
                .each_ref()
                .map(|(levels, scales)| levels.mapv(f32::from) * scales),
            bytes,
            channels,
            heads,
        }
    }

    fn weights(&self, in_bytes: bool) -> SwinBlockWeights<'_> {
        let linear = |at: usize| match in_bytes {
            true => LinearWeights::Bytes(self.bytes[at].0.view(), self.bytes[at].1.view()),
            false => LinearWeights::Floats(self.matrices[at].view()),
        };
        let norm = |at: usize| NormWeights {
            weight: self.norms[at].view(),
            bias: self.norms[at + 1].view(),
        };
        SwinBlockWeights {
            norm1: norm(0),
            query: linear(0),
            query_bias: self.biases[0].view(),
            key: linear(1),
            value: linear(2),
            position_bias: self.position_bias.view(),
            output: linear(3),
            output_bias: self.biases[1].view(),
            norm2: norm(2),
            hidden: linear(4),
            hidden_bias: self.biases[2].view(),
            last: linear(5),
            last_bias: self.biases[3].view(),
        }
    }

    fn run(
        &self,
        windows: &Windows,
        instructions: Instructions,
        bytes: Option<ByteInstructions>,
        in_bytes: bool,
    ) -> Result<Array2<f32>, String> {
        let spec = SwinBlockSpec {
            shift: windows.shift,
            epsilon: EPSILON,
        };
        let block = SwinBlock::new(spec, &self.weights(in_bytes), instructions, bytes)?;
        let tokens = self.tokens(windows);
        let size = [windows.batch, windows.height, windows.width].map(|side| side as i64);
        let size = Array1::from(size.to_vec());
        let inputs = SwinBlockInputs {
            tokens: tokens.view(),
            size: size.view(),
        };
        let mut out = Array2::from_elem(tokens.dim(), f32::NAN);
        let workspace = Workspace::default();
        // Twice, as memory goes from one run to the next.
        for _ in 0..2 {
            block.run(&inputs, out.view_mut(), &workspace, &Threads::NONE)?;
        }
        Ok(out)
    }

    fn tokens(&self, windows: &Windows) -> Array2<f32> {
        let rows = windows.batch * windows.height * windows.width;
        let numbers = random(16, rows * self.channels);
        Array2::from_shape_vec((rows, self.channels), numbers).unwrap()
    }

    /// The same as the paper has it, in float64: on a map that is padded and rolled as a whole.
    fn expected(&self, windows: &Windows) -> Array2<f64> {
        let wide = |at: usize| self.matrices[at].mapv(f64::from);
        let bias = |at: usize| self.biases[at].mapv(f64::from);
        let mut tokens = self.tokens(windows).mapv(f64::from);
        let normed = self.normed(&tokens, 0);
        let Windows {
            batch,
            height,
            width,
            side,
            shift,
        } = *windows;
        let padded = [height, width].map(|length| length.div_ceil(side) * side);
        // For each place of the padded, rolled map its token, if it has one.
        let row_of = |image: usize, y: usize, x: usize| {
            let (y, x) = ((y + shift) % padded[0], (x + shift) % padded[1]);
            (y < height && x < width).then_some((image * height + y) * width + x)
        };
        // Where the paper's mask has tokens from one part of the map.
        let region = |y: usize, x: usize| {
            let part = |place: usize, length: usize| {
                usize::from(place >= length - side) + usize::from(place >= length - shift)
            };
            3 * part(y, padded[0]) + part(x, padded[1])
        };
        let mut attended = Array2::zeros(tokens.dim());
        let corners = (0..padded[0]).step_by(side).flat_map(|y| {
            let columns = (0..padded[1]).step_by(side);
            columns.map(move |x| (y, x))
        });
        for (image, (top, left)) in
            (0..batch).flat_map(|image| corners.clone().map(move |corner| (image, corner)))
        {
            let places: Vec<_> = (0..side * side)
                .map(|at| (top + at / side, left + at % side))
                .collect();
            let mut window = Array2::zeros((side * side, self.channels));
            for (mut place, &(y, x)) in window.outer_iter_mut().zip(&places) {
                if let Some(row) = row_of(image, y, x) {
                    place.assign(&normed.row(row));
                }
            }
            let queries = window.dot(&wide(0)) + bias(0);
            let (keys, values) = (window.dot(&wide(1)), window.dot(&wide(2)));
            let mut seen = Array2::zeros(window.dim());
            let depth = self.channels / self.heads;
            for head in 0..self.heads {
                let columns = ndarray::s![.., head * depth..(head + 1) * depth];
                let mut scores = queries.slice(columns).dot(&keys.slice(columns).t());
                for ((one, other), score) in scores.indexed_iter_mut() {
                    *score += f64::from(self.position_bias[[head, one, other]]);
                    let [one, other] = [one, other].map(|at| region(places[at].0, places[at].1));
                    *score -= if one == other { 0.0 } else { 70.0 };
                }
                scores.mapv_inplace(f64::exp);
                for mut row in scores.outer_iter_mut() {
                    let sum = row.sum();
                    row /= sum;
                }
                seen.slice_mut(columns)
                    .assign(&scores.dot(&values.slice(columns)));
            }
            let seen = seen.dot(&wide(3)) + bias(1);
            for (seen, &(y, x)) in seen.outer_iter().zip(&places) {
                if let Some(row) = row_of(image, y, x) {
                    attended.row_mut(row).assign(&seen);
                }
            }
        }
        tokens += &attended;
        let hidden = (self.normed(&tokens, 2).dot(&wide(4)) + bias(2)).mapv(exact_gelu);
        tokens + hidden.dot(&wide(5)) + bias(3)
    }

    fn normed(&self, tokens: &Array2<f64>, norm: usize) -> Array2<f64> {
        let [weight, bias] = [norm, norm + 1].map(|at| self.norms[at].mapv(f64::from));
        let mut normed = tokens.clone();
        for mut row in normed.outer_iter_mut() {
            let mean = row.mean().unwrap();
            row -= mean;
            let variance = row.mapv(|number| number * number).mean().unwrap();
            row /= (variance + f64::from(EPSILON)).sqrt();
        }
        normed * weight + bias
    }
}

const EPSILON: f32 = 1e-5;

/// How far the first is from the second, in parts of the second's largest number.
fn distance(out: &Array2<f32>, expected: &Array2<f64>) -> f64 {
    let largest = expected.fold(0.0, |largest: f64, number| largest.max(number.abs()));
    let differences = (out.mapv(f64::from) - expected).mapv(f64::abs);
    let worst = differences.fold(0.0, |worst: f64, &number| {
        if number > worst || number.is_nan() {
            number
        } else {
            worst
        }
    });
    worst / largest
}

#[test]
fn blocks_are_those_of_float64_for_any_instructions() {
    // Heads as in Swin, of less than a register, and more hidden channels than are worked on at a time.
    for (heads, depth, hidden) in [(1, 32, 128), (2, 5, 37), (1, 40, 300)] {
        for (windows, described) in SIZES {
            let learned = Learned::of(heads, depth, hidden, windows.side);
            let expected = learned.expected(&windows);
            for instructions in Instructions::all() {
                let out = learned.run(&windows, instructions, None, false).unwrap();
                let distance = distance(&out, &expected);
                assert!(distance < 2e-6, "{described}, {instructions:?}: {distance}");
            }
        }
    }
}

#[test]
fn blocks_of_many_windows_are_those_of_float64() {
    let windows = windows(2, 30, 29, 7, 3);
    let learned = Learned::of(2, 32, 128, windows.side);
    let expected = learned.expected(&windows);
    let out = learned.run(&windows, Instructions::detect(), None, false);
    let distance = distance(&out.unwrap(), &expected);
    assert!(distance < 2e-6, "{distance}");
}

#[test]
fn blocks_in_bytes_are_those_in_floats() {
    for (heads, depth, hidden) in [(1, 32, 128), (2, 5, 37)] {
        for (windows, described) in SIZES {
            let learned = Learned::of(heads, depth, hidden, windows.side);
            let expected = learned.expected(&windows);
            let instructions = Instructions::detect();
            for bytes in ByteInstructions::all() {
                let out = learned.run(&windows, instructions, Some(bytes), true);
                let distance = distance(&out.unwrap(), &expected);
                assert!(distance < 0.02, "{described}, {bytes:?}: {distance}");
                assert!(distance > 1e-5, "{described}, {bytes:?}: not rounded");
            }
            let out = learned.run(&windows, instructions, None, true).unwrap();
            let distance = distance(&out, &expected);
            assert!(distance < 2e-6, "{described}, floats of bytes: {distance}");
        }
    }
}

#[test]
fn blocks_that_do_not_fit_are_told() {
    let spec = |shift| SwinBlockSpec {
        shift,
        epsilon: EPSILON,
    };
    let learned = Learned::of(2, 5, 37, 3);
    let new = |shift, weights: &SwinBlockWeights<'_>| {
        SwinBlock::new(spec(shift), weights, Instructions::Any, None)
    };
    let block = new(1, &learned.weights(false)).unwrap();
    let (short, uneven) = (vector(0, 9), Array3::zeros((3, 9, 9)));
    let scales = (learned.bytes[0].0.view(), short.view());
    for (weights, shift, told) in [
        (learned.weights(false), 3, "shift: 3"),
        (
            SwinBlockWeights {
                query_bias: short.view(),
                ..learned.weights(false)
            },
            1,
            "of 10 channels",
        ),
        (
            SwinBlockWeights {
                position_bias: uneven.view(),
                ..learned.weights(false)
            },
            1,
            "[3, 9, 9]",
        ),
        (
            SwinBlockWeights {
                query: LinearWeights::Bytes(scales.0, scales.1),
                ..learned.weights(true)
            },
            1,
            "of 10 channels",
        ),
        (
            SwinBlockWeights {
                last: LinearWeights::Floats(learned.matrices[4].view()),
                ..learned.weights(false)
            },
            1,
            "[10, 37]",
        ),
    ] {
        let error = new(shift, &weights).err().unwrap();
        assert!(error.contains(told), "{error}");
    }
    let tokens = Array2::zeros((12, 10));
    for (size, fits) in [
        (array![1, 3, 4], true),
        (array![1, 3, 5], false),
        (array![3, 4], false),
        (array![1, -3, -4], false),
        (array![0, 3, 4], false),
        (array![i64::MAX, 3, 4], false),
    ] {
        let inputs = SwinBlockInputs {
            tokens: tokens.view(),
            size: size.view(),
        };
        let mut out = Array2::zeros((12, 10));
        let run = block.run(
            &inputs,
            out.view_mut(),
            &Workspace::default(),
            &Threads::NONE,
        );
        assert_eq!(run.is_ok(), fits, "{size}");
        if let Err(error) = run {
            assert!(error.contains(&format!("of {size} and 10")), "{error}");
        }
    }
}
