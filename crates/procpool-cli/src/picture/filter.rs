//! The kernels of resampling.

/// How the pixels of a picture are weighed when its size changes. All are antialiased: where the picture becomes smaller, the
/// kernel becomes wider by as much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Filter {
    /// Keys' cubic convolution with a = -0.5: sharp, with faint halos. Pillow's own choice.
    #[default]
    Bicubic,
    /// A triangle: softer, without halos.
    Bilinear,
    /// A windowed sinc of three lobes: sharpest, with more halos.
    Lanczos,
    /// The mean over the area that a pixel covers. Where the picture becomes larger, the nearest pixel.
    Box,
}

impl Filter {
    /// Half the width of the kernel, in pixels of the smaller picture.
    pub(super) fn support(self) -> f64 {
        match self {
            Self::Bicubic => 2.0,
            Self::Bilinear => 1.0,
            Self::Lanczos => 3.0,
            Self::Box => 0.5,
        }
    }

    /// The weight at a distance from the centre.
    pub(super) fn weight(self, x: f64) -> f64 {
        match self {
            Self::Bicubic => bicubic(x.abs()),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Box if x > -0.5 && x <= 0.5 => 1.0,
            Self::Lanczos | Self::Box => 0.0,
        }
    }
}

fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    let x = x * std::f64::consts::PI;
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Filter; 4] = [Filter::Bicubic, Filter::Bilinear, Filter::Lanczos, Filter::Box];

    #[test]
    fn all_interpolate() {
        for filter in ALL {
            assert_eq!(filter.weight(0.0), 1.0, "{filter:?}");
            for x in [-3.0, -2.0, -1.0, 1.0, 2.0, 2.99, 3.0, 4.5] {
                let bound = if x == 2.99 { 1e-4 } else { 1e-15 };
                assert!(filter.weight(x).abs() < bound, "{filter:?} {x}");
            }
        }
    }

    #[test]
    fn each_has_its_shape() {
        assert_eq!([0.5, -1.5].map(|x| Filter::Bicubic.weight(x)), [0.5625, -0.0625]);
        assert_eq!([0.25, -0.75].map(|x| Filter::Bilinear.weight(x)), [0.75, 0.25]);
        assert_eq!([-0.5, -0.49, 0.5, 0.51].map(|x| Filter::Box.weight(x)), [0.0, 1.0, 1.0, 0.0]);
        let half = 2.0 / std::f64::consts::PI * 3.0 / std::f64::consts::PI;
        assert!((Filter::Lanczos.weight(0.5) - half).abs() < 1e-15);
    }
}
