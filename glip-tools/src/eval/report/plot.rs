//! Precision over recall, as a picture.

use std::sync::OnceLock;

use image::RgbImage;
use plotters::prelude::*;

use crate::{
    error::{Error, Result},
    eval::{average_precision::ClassScores, report::table::percent},
};

const WIDTH: u32 = 560;
const HEIGHT: u32 = 420;
/// DejaVu Sans Condensed Bold, cut down as in glip-rs; its licence is beside it.
const FONT: &[u8] = include_bytes!("DejaVuSansCondensed-Bold.ttf");

/// Draws a category's precision over recall, a line for each IoU threshold. A category without objects
/// has empty axes.
///
/// # Errors
/// - [`Error::Plot`]: the plot cannot be drawn, which no data makes happen.
pub fn plot_precision_recall(class: &ClassScores) -> Result<RgbImage> {
    let mut pixels = vec![255; (WIDTH * HEIGHT * 3) as usize];
    draw(class, &mut pixels).map_err(|source| Error::Plot { source })?;
    Ok(RgbImage::from_raw(WIDTH, HEIGHT, pixels).unwrap_or_default())
}

fn draw(
    class: &ClassScores,
    pixels: &mut [u8],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    register_font()?;
    let area = BitMapBackend::with_buffer(pixels, (WIDTH, HEIGHT)).into_drawing_area();
    let ap = percent(class.ap);
    let caption = format!("{}: AP {ap}, {} objects", class.name, class.objects);
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("recall")
        .y_desc("precision")
        .x_labels(6)
        .y_labels(6)
        .draw()?;
    for (curve, color) in class.curves.iter().zip([BLUE, RED]) {
        let last = curve.precision.len().max(2) - 1;
        let points = curve.precision.iter().enumerate();
        let points = points.map(|(place, &precision)| (place as f64 / last as f64, precision));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(format!("IoU {:.2}", curve.iou))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

/// plotters has one table of fonts for the process.
fn register_font() -> Result<(), &'static str> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let register = || plotters::style::register_font("sans-serif", FontStyle::Normal, FONT).is_ok();
    match REGISTERED.get_or_init(register) {
        true => Ok(()),
        false => Err("the font in the crate cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Curve;

    #[test]
    fn a_curve_is_drawn_where_it_lies() {
        let class = |precision: f64| ClassScores {
            category: 1,
            name: "Ärmel".into(),
            objects: 9,
            ap: Some(0.5),
            ap_50: Some(0.5),
            ar: Some(0.5),
            curves: vec![Curve {
                iou: 0.5,
                precision: vec![precision; 101],
            }],
        };
        // The row with the most blue pixels is that of the line.
        let row = |class: &ClassScores| {
            let plot = plot_precision_recall(class).unwrap();
            let blue = |y: &u32| {
                (0..WIDTH)
                    .filter(|&x| plot.get_pixel(x, *y).0 == [0, 0, 255])
                    .count()
            };
            (0..HEIGHT).max_by_key(blue).unwrap()
        };
        assert!(row(&class(0.9)) + 100 < row(&class(0.2)));
        let mut without = class(0.0);
        without.curves.clear();
        without.ap = None;
        assert_eq!(
            plot_precision_recall(&without).unwrap().dimensions(),
            (WIDTH, HEIGHT)
        );
    }
}
