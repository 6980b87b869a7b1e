//! Names in pictures, in DejaVu Sans: Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic (one letter after the other, from
//! left to right) and many signs. What the font lacks is shown as a box.

use ab_glyph::{Font, FontRef, GlyphId, InvalidFont, PxScale, ScaleFont, point};

use super::sheet::Canvas;

/// assets/DejaVuSans-LICENSE.txt is its licence.
const FONT: &[u8] = include_bytes!("../../../assets/DejaVuSans.ttf");

/// The font in one size.
pub(super) struct Text {
    font: FontRef<'static>,
    scale: PxScale,
}

impl Text {
    /// `height` is that of a line, in pixels.
    pub(super) fn new(height: f32) -> Result<Self, InvalidFont> {
        Ok(Text { font: FontRef::try_from_slice(FONT)?, scale: PxScale::from(height) })
    }

    /// How wide a text is, in pixels.
    pub(super) fn width(&self, text: &str) -> f32 {
        text.chars().map(|c| self.advance(c)).sum()
    }

    fn advance(&self, c: char) -> f32 {
        let font = self.font.as_scaled(self.scale);
        match self.font.glyph_id(c) {
            GlyphId(0) => self.scale.y * 0.6,
            glyph => font.h_advance(glyph),
        }
    }

    /// The text, or as much of its beginning and end as is `width` pixels wide at most.
    pub(super) fn shortened(&self, text: &str, width: f32) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let room = width - self.advance('…');
        // The end of a name tells more than its length: two thirds of the room are for the beginning.
        let fits = |chars: &mut dyn Iterator<Item = char>, room: f32| {
            let mut used = 0.0;
            let fits = chars.take_while(|&c| {
                used += self.advance(c);
                used <= room
            });
            fits.collect::<String>()
        };
        let begin = fits(&mut text.chars(), room * 0.66);
        let end = fits(&mut text.chars().rev(), room - self.width(&begin));
        begin + "…" + &end.chars().rev().collect::<String>()
    }

    /// The text in lines of at most `width` pixels, broken between words where that is possible; `most` lines, of which the last
    /// is shortened.
    pub(super) fn wrapped(&self, text: &str, width: f32, most: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            if lines.len() + 1 == most {
                lines.push(self.shortened(rest, width));
                break;
            }
            let mut used = 0.0;
            let over = rest.char_indices().find(|&(_, c)| {
                used += self.advance(c);
                used > width
            });
            let end = match over {
                None => rest.len(),
                Some((at, first)) => match rest[..at].rfind(' ') {
                    Some(space) if space > 0 => space,
                    // One letter at least, or there would be no end.
                    _ if at == 0 => first.len_utf8(),
                    _ => at,
                },
            };
            lines.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
        lines
    }

    /// Draws a text whose line begins at (`x`, `y`), its upper left corner.
    pub(super) fn draw(&self, canvas: &mut Canvas, text: &str, (x, y): (f32, f32), colour: [u8; 3]) {
        let font = self.font.as_scaled(self.scale);
        let base = y + font.ascent();
        let mut x = x;
        for c in text.chars() {
            let glyph = self.font.glyph_id(c);
            if glyph == GlyphId(0) {
                let (width, height) = (self.scale.y * 0.45, self.scale.y * 0.6);
                canvas.frame((x + 1.0, base - height), (width, height), colour);
            } else if let Some(outline) =
                self.font.outline_glyph(glyph.with_scale_and_position(self.scale, point(x, base)))
            {
                let corner = outline.px_bounds().min;
                let (left, top) = (corner.x as i64, corner.y as i64);
                outline.draw(|x, y, cover| canvas.blend(left + i64::from(x), top + i64::from(y), colour, cover));
            }
            x += self.advance(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Text {
        Text::new(14.0).expect("the font is whole")
    }

    #[test]
    fn names_that_are_too_long_lose_their_middle() {
        let text = text();
        assert_eq!(text.shortened("otters.jpg", 200.0), "otters.jpg");
        let short = text.shortened("a-very-long-name-of-a-picture-from-a-camera-0001.jpg", 120.0);
        assert!(short.starts_with("a-very") && short.ends_with(".jpg") && short.contains('…'), "{short}");
        assert!(text.width(&short) <= 120.0);
        assert_eq!(text.shortened("日本語の長い名前のファイル", 1.0), "…");
    }

    #[test]
    fn messages_are_wrapped_between_words() {
        let text = text();
        let lines = text.wrapped("the JPEG picture is cut off: the file ends too early", 110.0, 4);
        assert!(lines.iter().all(|line| text.width(line) <= 110.0), "{lines:?}");
        assert_eq!(lines.join(" "), "the JPEG picture is cut off: the file ends too early");
        let lines = text.wrapped(&"x".repeat(500), 50.0, 3);
        assert_eq!((lines.len(), lines[2].contains('…')), (3, true));
        assert_eq!(text.wrapped("ab", 0.0, 9), ["a", "b"]);
    }

    #[test]
    fn every_character_leaves_a_mark() {
        let text = text();
        for c in ["A", "ß", "Ж", "日", "🦦"] {
            let mut canvas = Canvas::new(30, 30);
            text.draw(&mut canvas, c, (5.0, 5.0), [0; 3]);
            assert!(canvas.pixels().data.iter().any(|&sample| sample < 128), "{c}");
        }
        // Beyond the edges there is nothing to draw on, and nothing happens.
        text.draw(&mut Canvas::new(3, 3), "Ag日", (-5.0, -5.0), [0; 3]);
    }
}
