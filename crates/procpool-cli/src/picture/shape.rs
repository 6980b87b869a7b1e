//! How large a thumbnail is, and which part of the picture it shows.

use super::size;

/// How a picture is made to fit the wanted width and height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Fit {
    /// The whole picture, as large as fits, in its own proportions; never enlarged. Pillow's `Image.thumbnail`, CSS's
    /// `scale-down`.
    #[default]
    Inside,
    /// Exactly the wanted size: the picture fills it, and what juts out at two sides is cut off. Pillow's `ImageOps.fit`,
    /// CSS's `cover`.
    Cover,
    /// Exactly the wanted size: the whole picture in its own proportions, with bars at two sides. Pillow's `ImageOps.pad`,
    /// CSS's `contain`.
    Contain,
    /// Exactly the wanted size, whatever that does to the proportions. Pillow's `Image.resize`, CSS's `fill`.
    Fill,
    /// The shorter side gets the wanted length (the smaller one, if two are given) and the longer one follows, rounded down, as
    /// `Resize` of torchvision does it.
    Shorter,
}

/// The wanted width and height in pixels. One of the two may be free: then the picture's proportions decide about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Bounds {
    /// The width, 1 or more.
    pub width: Option<u32>,
    /// The height, 1 or more.
    pub height: Option<u32>,
}

impl Bounds {
    /// Both.
    pub const fn both(width: u32, height: u32) -> Self {
        Self { width: Some(width), height: Some(height) }
    }

    /// Both, each as long as `side`.
    pub const fn square(side: u32) -> Self {
        Self::both(side, side)
    }
}

/// A part of a picture, in pixels, which need not be whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Where it begins, from the left edge of the picture.
    pub left: f64,
    /// Where it begins, from the top.
    pub top: f64,
    /// Where it ends, from the left edge of the picture.
    pub right: f64,
    /// Where it ends, from the top.
    pub bottom: f64,
}

impl Region {
    /// All of a picture.
    pub fn whole((width, height): (u32, u32)) -> Self {
        Self { left: 0.0, top: 0.0, right: f64::from(width), bottom: f64::from(height) }
    }

    /// Its width.
    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    /// Its height.
    pub fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// The same part of the picture when that is made larger, or smaller, by these factors.
    pub(super) fn scaled(&self, (x, y): (f64, f64)) -> Self {
        Self { left: self.left * x, top: self.top * y, right: self.right * x, bottom: self.bottom * y }
    }
}

/// What is to be done to a picture of a certain size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shape {
    /// The part that is shown, in pixels of the original.
    pub(super) region: Region,
    /// What that part is resampled to; nothing if the picture is to stay as it is.
    pub(super) size: Option<(u32, u32)>,
    /// The size with bars, where there are any.
    pub(super) frame: Option<(u32, u32)>,
}

impl Shape {
    /// What is to be done to a picture of `full` size. Of a picture that is to be cut, `place` says where: 0 keeps the left or
    /// the top end, 0.5 the middle, 1 the right or the bottom end.
    pub(super) fn new(fit: Fit, bounds: Bounds, full: (u32, u32), place: f64) -> Self {
        let region = Region::whole(full);
        let resized = |size| Self { region, size: Some(size), frame: None };
        match (fit, bounds.width, bounds.height) {
            (Fit::Inside, ..) => Self { region, size: size::inside(full, bounds), frame: None },
            (Fit::Shorter, Some(length), None) | (Fit::Shorter, None, Some(length)) => {
                resized(size::shorter(full, length))
            }
            (Fit::Shorter, Some(width), Some(height)) => resized(size::shorter(full, width.min(height))),
            (Fit::Cover, Some(width), Some(height)) => {
                Self { region: covering(full, (width, height), place), ..resized((width, height)) }
            }
            (Fit::Contain, Some(width), Some(height)) => {
                let size = size::contained(full, (width, height));
                let frame = Some((width, height)).filter(|frame| *frame != size);
                Self { frame, ..resized(size) }
            }
            (Fit::Fill, Some(width), Some(height)) => resized((width, height)),
            // Nothing is cut, padded or squeezed if the other side is free.
            (_, width, height) => resized(size::following(full, (width, height))),
        }
    }

    /// The width and height of the thumbnail of a picture of `full` size.
    pub(super) fn outer_size(&self, full: (u32, u32)) -> (u32, u32) {
        self.frame.or(self.size).unwrap_or(full)
    }
}

/// The middle (or another place) of a picture in the proportions of `size`, as large as there is.
fn covering(full: (u32, u32), size: (u32, u32), place: f64) -> Region {
    let (width, height) = (f64::from(full.0), f64::from(full.1));
    let (have, want) = (width / height, f64::from(size.0) / f64::from(size.1));
    let (across, down) = if have == want {
        (width, height)
    } else if have > want {
        (want * height, height)
    } else {
        (width, width / want)
    };
    let (left, top) = ((width - across) * place, (height - down) * place);
    // Rounding must not lead out of the picture.
    Region { left, top, right: (left + across).min(width), bottom: (top + down).min(height) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(fit: Fit, bounds: Bounds, full: (u32, u32)) -> Shape {
        Shape::new(fit, bounds, full, 0.5)
    }

    #[test]
    fn cover_cuts_the_longer_side() {
        let made = shape(Fit::Cover, Bounds::square(100), (400, 200));
        assert_eq!(made.region, Region { left: 100.0, top: 0.0, right: 300.0, bottom: 200.0 });
        assert_eq!((made.size, made.frame), (Some((100, 100)), None));
        let made = shape(Fit::Cover, Bounds::both(300, 100), (400, 200));
        assert_eq!((made.region.left, made.region.right), (0.0, 400.0));
        assert!((made.region.top - 33.333_333).abs() < 1e-5);
        let made = Shape::new(Fit::Cover, Bounds::square(100), (400, 200), 1.0);
        assert_eq!(made.region, Region { left: 200.0, top: 0.0, right: 400.0, bottom: 200.0 });
        let whole = shape(Fit::Cover, Bounds::both(50, 25), (400, 200));
        assert_eq!(whole.region, Region::whole((400, 200)));
    }

    #[test]
    fn cover_never_leaves_the_picture() {
        for width in 1..60 {
            for height in 1..60 {
                for (x, y) in [(1, 1), (3, 7), (7, 3), (13, 11), (1, 65_535)] {
                    for place in [0.0, 0.3, 0.5, 1.0] {
                        let region = covering((width, height), (x, y), place);
                        let (left, top) = (region.left, region.top);
                        assert!(left >= 0.0 && top >= 0.0 && region.width() > 0.0 && region.height() > 0.0);
                        assert!(region.right <= f64::from(width) && region.bottom <= f64::from(height));
                    }
                }
            }
        }
    }

    #[test]
    fn contain_has_bars_only_where_needed() {
        let made = shape(Fit::Contain, Bounds::square(100), (400, 200));
        assert_eq!((made.size, made.frame), (Some((100, 50)), Some((100, 100))));
        let made = shape(Fit::Contain, Bounds::square(100), (20, 20));
        assert_eq!((made.size, made.frame), (Some((100, 100)), None));
        let made = shape(Fit::Contain, Bounds::square(100), (1, 5000));
        assert_eq!((made.size, made.frame), (Some((1, 100)), Some((100, 100))));
    }

    #[test]
    fn a_free_side_follows_the_picture() {
        let (wide, high) = (Bounds { width: Some(200), height: None }, Bounds { width: None, height: Some(200) });
        for fit in [Fit::Cover, Fit::Contain, Fit::Fill] {
            let made = shape(fit, wide, (100, 51));
            assert_eq!((made.size, made.frame, made.region), (Some((200, 102)), None, Region::whole((100, 51))));
            assert_eq!(shape(fit, high, (100, 51)).size, Some((392, 200)));
            assert_eq!(shape(fit, wide, (5000, 1)).size, Some((200, 1)));
        }
        assert_eq!(shape(Fit::Inside, wide, (100, 51)).size, None);
        assert_eq!(shape(Fit::Inside, wide, (400, 51)).size, Some((200, 26)));
        assert_eq!(shape(Fit::Inside, high, (400, 3000)).size, Some((27, 200)));
        assert_eq!(shape(Fit::Shorter, wide, (401, 300)).size, Some((267, 200)));
        assert_eq!(shape(Fit::Shorter, Bounds::both(224, 256), (300, 401)).size, Some((224, 299)));
    }
}
