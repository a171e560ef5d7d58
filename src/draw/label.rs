//! The labels beside drawn boxes.

use ab_glyph::{FontRef, PxScale};
use image::{Rgb, RgbImage};
use imageproc::{
    drawing::{draw_filled_rect_mut, draw_text_mut, text_size},
    rect::Rect,
};

use crate::detection::Detection;

/// DejaVu Sans Condensed Bold, cut down; `DejaVu-LICENSE.txt` beside it says how.
const FONT: &[u8] = include_bytes!("DejaVuSansCondensed-Bold.ttf");

/// The labels of one image: their size, and where there is one already.
pub(super) struct Labels {
    font: Option<FontRef<'static>>,
    image_width: u32,
    image_height: u32,
    letter_height: f32,
    placed: Vec<Rect>,
}

impl Labels {
    pub(super) fn new(image_width: u32, image_height: u32) -> Self {
        let short_side = image_width.min(image_height) as f32;
        Self {
            // That the font in the crate can be read is tested, so it is there.
            font: FontRef::try_from_slice(FONT).ok(),
            image_width,
            image_height,
            letter_height: (short_side / 28.0).clamp(14.0, 48.0),
            placed: Vec::new(),
        }
    }

    /// Draws the label of a detection whose box is at `outline`, if the image has room for one.
    pub(super) fn draw(
        &mut self,
        image: &mut RgbImage,
        detection: &Detection,
        outline: Rect,
        color: Rgb<u8>,
    ) {
        let Some((text, width, height)) = self.fit_text(detection) else {
            return;
        };
        let (Some(place), Some(font)) = (self.place(outline, width, height), &self.font) else {
            return;
        };
        draw_filled_rect_mut(image, place, color);
        let (x, y) = (place.left() + self.padding() as i32, place.top());
        let scale = PxScale::from(self.letter_height);
        draw_text_mut(image, readable_on(color), x, y, scale, font, &text);
        self.placed.push(place);
    }

    /// The label's text and its width and height with padding; the phrase is shortened until it fits
    /// the image.
    fn fit_text(&self, detection: &Detection) -> Option<(String, u32, u32)> {
        let font = self.font.as_ref()?;
        let mut phrase: String = detection
            .phrase
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let mut ellipsis = "";
        loop {
            let text = format!("{phrase}{ellipsis} {:.2}", detection.score);
            let (width, height) = text_size(PxScale::from(self.letter_height), font, &text);
            let width = width + 2 * self.padding();
            if width <= self.image_width {
                return (height <= self.image_height).then_some((text, width, height));
            }
            phrase.pop()?;
            ellipsis = "…";
        }
    }

    /// Room to the left and right of the text.
    fn padding(&self) -> u32 {
        (self.letter_height / 5.0) as u32
    }

    /// Where the label goes: above the box, below it, or inside its top or bottom; the first of these
    /// that is on the image, and clear of other labels if one is.
    fn place(&self, outline: Rect, width: u32, height: u32) -> Option<Rect> {
        let left = outline
            .left()
            .min(self.image_width.checked_sub(width)? as i32);
        let lowest = self.image_height.checked_sub(height)? as i32;
        let (top, below, tall) = (outline.top(), outline.bottom() + 1, height as i32);
        let on_image: Vec<Rect> = [top - tall, below, top, below - tall]
            .into_iter()
            .filter(|top| (0..=lowest).contains(top))
            .map(|top| Rect::at(left, top).of_size(width, height))
            .collect();
        let is_clear = |place: &&Rect| {
            self.placed
                .iter()
                .all(|other| other.intersect(**place).is_none())
        };
        on_image.iter().find(is_clear).or(on_image.first()).copied()
    }
}

/// Black or white, whichever stands out more.
fn readable_on(Rgb([red, green, blue]): Rgb<u8>) -> Rgb<u8> {
    // Rec. 601 luma, in thousandths.
    let luma = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
    if luma > 140_000 {
        Rgb([0; 3])
    } else {
        Rgb([255; 3])
    }
}

#[cfg(test)]
mod tests {
    use ab_glyph::Font;

    use super::*;
    use crate::geometry::BBox;

    fn detection(phrase: &str) -> Detection {
        let bbox = BBox::new(0.0, 0.0, 1.0, 1.0).unwrap();
        Detection {
            phrase: phrase.to_owned(),
            phrase_index: 0,
            score: 0.876,
            phrase_score: 0.9,
            bbox,
        }
    }

    #[test]
    fn the_font_has_the_letters_it_promises() {
        let font = FontRef::try_from_slice(FONT).unwrap();
        for letter in ('!'..='~').chain("äßéñŁžαΩжЯ…".chars()) {
            assert_ne!(font.glyph_id(letter).0, 0, "{letter}");
        }
    }

    #[test]
    fn long_phrases_are_shortened_and_keep_their_score() {
        let labels = Labels::new(200, 100);
        let (text, width, _) = labels
            .fit_text(&detection(&"a very long phrase ".repeat(9)))
            .unwrap();
        assert!(
            text.starts_with("a very") && text.ends_with("… 0.88"),
            "{text}"
        );
        assert!(width <= 200);
        assert_eq!(
            labels.fit_text(&detection("a\ncat")).unwrap().0,
            "a cat 0.88"
        );
        assert!(Labels::new(20, 100).fit_text(&detection("a cat")).is_none());
    }

    #[test]
    fn labels_stay_on_the_image() {
        let labels = Labels::new(200, 100);
        for (outline, expected) in [
            (
                Rect::at(20, 50).of_size(50, 30),
                Rect::at(20, 30).of_size(80, 20),
            ),
            (
                Rect::at(20, 5).of_size(50, 30),
                Rect::at(20, 35).of_size(80, 20),
            ),
            (
                Rect::at(180, 50).of_size(20, 30),
                Rect::at(120, 30).of_size(80, 20),
            ),
            (
                Rect::at(0, 0).of_size(200, 100),
                Rect::at(0, 0).of_size(80, 20),
            ),
        ] {
            assert_eq!(labels.place(outline, 80, 20), Some(expected));
        }
    }

    #[test]
    fn labels_keep_clear_of_one_another() {
        let mut labels = Labels::new(200, 100);
        let outline = Rect::at(20, 30).of_size(100, 40);
        let mut tops = Vec::new();
        for _ in 0..5 {
            let place = labels.place(outline, 80, 20).unwrap();
            tops.push(place.top());
            labels.placed.push(place);
        }
        assert_eq!(tops, [10, 70, 30, 50, 10]);
    }

    #[test]
    fn letters_stand_out() {
        assert_eq!(readable_on(Rgb([255, 225, 25])), Rgb([0; 3]));
        assert_eq!(readable_on(Rgb([0, 0, 150])), Rgb([255; 3]));
    }
}
