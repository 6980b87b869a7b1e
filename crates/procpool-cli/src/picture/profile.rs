//! Colour profiles: the colours that an ICC profile gives a meaning, as those of sRGB, which is what everybody takes
//! pictures without a profile for.
//!
//! Done by moxcms: for profiles of a matrix and curves as the ICC specification has it, for tables by tetrahedral
//! interpolation (straight for CMYK), with the perceptual intent, as Pillow's `ImageCms.profileToProfile` does with littlecms.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use moxcms::{
    BarycentricWeightScale, CmsError, ColorProfile, InterpolationMethod, Layout as Order, RenderingIntent,
    Transform8BitExecutor, TransformOptions,
};

use super::{Layout, Pixels, alpha};

/// So many pixels are converted at a time: few enough to stay in the cache, and to need no second picture.
const RUN: usize = 4096;

/// What a profile means for pixels of one layout.
enum Conversion {
    /// Nothing: it is sRGB already, or nothing that can be understood.
    None,
    /// The grey level for each grey level.
    Levels(Box<[u8; 256]>),
    /// Colours, one by one.
    Colours(Arc<Transform8BitExecutor>),
}

/// A conversion, and what it is for.
struct Latest {
    icc: Vec<u8>,
    layout: Layout,
    conversion: Conversion,
}

thread_local! {
    /// The latest conversion: the pictures of a folder mostly have one profile, and the conversion is dearer to make than to
    /// use on a thumbnail.
    static LATEST: RefCell<Option<Latest>> = const { RefCell::new(None) };
}

/// Whether a colour profile is for pixels of this layout.
pub(super) fn fits(icc: &[u8], layout: Layout) -> bool {
    matches!(
        (icc.get(16..20), layout),
        (Some(b"GRAY"), Layout::Gray | Layout::GrayAlpha)
            | (Some(b"RGB "), Layout::Rgb | Layout::Rgba)
            | (Some(b"CMYK"), Layout::Cmyk)
    )
}

/// Converts pixels with the colour profile `icc` to sRGB. Grey stays grey, with the curve of sRGB; CMYK becomes RGB; alpha
/// stays as it is.
///
/// Nothing about a profile is an error. Pixels whose profile is sRGB already, by what it does and whatever it is called, come
/// back unchanged, and so do those whose profile is for other pixels or broken. CMYK without a profile that can be used is
/// converted as by Pillow's `convert("RGB")`.
pub fn to_srgb(pixels: Pixels, icc: Option<&[u8]>) -> Pixels {
    let Some(icc) = icc.filter(|icc| fits(icc, pixels.layout)) else {
        return alpha::cmyk_to_rgb(pixels);
    };
    LATEST.with_borrow_mut(|latest| {
        if latest.as_ref().is_none_or(|latest| latest.layout != pixels.layout || latest.icc != icc) {
            let conversion = conversion(icc, pixels.layout);
            *latest = Some(Latest { icc: icc.to_vec(), layout: pixels.layout, conversion });
        }
        match latest.as_ref().map(|latest| &latest.conversion) {
            Some(Conversion::Levels(levels)) => with_levels(pixels, levels),
            Some(Conversion::Colours(transform)) => with_colours(pixels, transform.as_ref()),
            Some(Conversion::None) | None => alpha::cmyk_to_rgb(pixels),
        }
    })
}

/// What the profile means. It comes from strangers, like the picture, but a mistake in reading it must not cost the picture:
/// so not even a panic gets out of here.
fn conversion(icc: &[u8], layout: Layout) -> Conversion {
    catch_unwind(AssertUnwindSafe(|| understand(icc, layout))).ok().and_then(Result::ok).unwrap_or(Conversion::None)
}

fn understand(icc: &[u8], layout: Layout) -> Result<Conversion, CmsError> {
    let source = ColorProfile::new_from_slice(icc)?;
    let target = ColorProfile::new_srgb();
    let options = TransformOptions {
        rendering_intent: RenderingIntent::Perceptual,
        // The profile's own curves count, as for littlecms.
        allow_use_cicp_transfer: false,
        prefer_fixed_point: false,
        // For four dimensions littlecms interpolates by tetrahedra in three and straight in the fourth, which is not to be had
        // here; straight in all of them was nearest to it.
        interpolation_method: match layout {
            Layout::Cmyk => InterpolationMethod::Linear,
            _ => InterpolationMethod::Tetrahedral,
        },
        barycentric_weight_scale: BarycentricWeightScale::High,
    };
    let transform = |from: Order, to: Order| source.create_transform_8bit(from, &target, to, options);
    match layout {
        Layout::Gray | Layout::GrayAlpha => {
            let all: Vec<u8> = (0..=255).collect();
            let mut colours = vec![0; 3 * 256];
            transform(Order::Gray, Order::Rgb)?.transform(&all, &mut colours)?;
            let mut levels = Box::new([0; 256]);
            for (level, colour) in levels.iter_mut().zip(colours.as_chunks::<3>().0) {
                *level = colour[1];
            }
            let same = levels.iter().zip(&all).all(|(&level, &before)| level.abs_diff(before) <= 1);
            Ok(if same { Conversion::None } else { Conversion::Levels(levels) })
        }
        Layout::Rgb | Layout::Rgba => {
            let colours = transform(Order::Rgb, Order::Rgb)?;
            if changes_nothing(colours.as_ref())? {
                Ok(Conversion::None)
            } else if layout == Layout::Rgb {
                Ok(Conversion::Colours(colours))
            } else {
                transform(Order::Rgba, Order::Rgba).map(Conversion::Colours)
            }
        }
        Layout::Cmyk => transform(Order::Rgba, Order::Rgb).map(Conversion::Colours),
    }
}

/// Whether no colour of a lattice and no grey level changes by more than a level: the many profiles of sRGB differ by as much.
fn changes_nothing(transform: &Transform8BitExecutor) -> Result<bool, CmsError> {
    let steps = || (0..=255u8).step_by(17);
    let lattice = steps().flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| [red, green, blue])));
    let before: Vec<u8> = lattice.chain((0..=255).map(|grey| [grey; 3])).flatten().collect();
    let mut after = vec![0; before.len()];
    transform.transform(&before, &mut after)?;
    Ok(before.iter().zip(&after).all(|(before, after)| before.abs_diff(*after) <= 1))
}

fn with_levels(mut pixels: Pixels, levels: &[u8; 256]) -> Pixels {
    for grey in pixels.data.iter_mut().step_by(pixels.layout.channels()) {
        *grey = levels[usize::from(*grey)];
    }
    pixels
}

fn with_colours(mut pixels: Pixels, transform: &Transform8BitExecutor) -> Pixels {
    if pixels.layout == Layout::Cmyk {
        let mut data = vec![0; pixels.data.len() / 4 * 3];
        let runs = pixels.data.chunks(4 * RUN).zip(data.chunks_mut(3 * RUN));
        return if converted(runs, transform) {
            Pixels { layout: Layout::Rgb, data, ..pixels }
        } else {
            alpha::cmyk_to_rgb(pixels)
        };
    }
    let mut before = Vec::new();
    for run in pixels.data.chunks_mut(pixels.layout.channels() * RUN) {
        before.clear();
        before.extend_from_slice(run);
        // Of whole pixels nothing is refused; should it be, they stay as they are.
        let _ = transform.transform(&before, run);
    }
    pixels
}

fn converted<'a>(mut runs: impl Iterator<Item = (&'a [u8], &'a mut [u8])>, transform: &Transform8BitExecutor) -> bool {
    runs.all(|(before, after)| transform.transform(before, after).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(layout: Layout, data: &[u8]) -> Pixels {
        Pixels { width: (data.len() / layout.channels()) as u32, height: 1, layout, data: data.to_vec() }
    }

    fn encoded(profile: ColorProfile) -> Vec<u8> {
        profile.encode().expect("a profile of the library's own")
    }

    fn linear(level: u8) -> f64 {
        let level = f64::from(level) / 255.0;
        if level <= 0.04045 { level / 12.92 } else { ((level + 0.055) / 1.055).powf(2.4) }
    }

    fn level(linear: f64) -> u8 {
        let linear = linear.clamp(0.0, 1.0);
        let level = if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
        (255.0 * level).round() as u8
    }

    /// Display P3 to sRGB: both have the same white and the same curve, so one matrix does.
    fn p3_to_srgb(colour: [u8; 3]) -> [u8; 3] {
        const MATRIX: [[f64; 3]; 3] =
            [[1.224_940, -0.224_940, 0.0], [-0.042_057, 1.042_057, 0.0], [-0.019_638, -0.078_636, 1.098_274]];
        let light = colour.map(linear);
        MATRIX.map(|row| level(row.iter().zip(light).map(|(factor, light)| factor * light).sum()))
    }

    fn close(found: &[u8], wanted: &[u8]) -> bool {
        found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| a.abs_diff(*b) <= 1)
    }

    /// A profile for CMYK with a table of two steps a side, in which black alone counts: no ink is white, black is black.
    fn black_counts() -> Vec<u8> {
        let mut table = b"mft1\0\0\0\0\x04\x03\x02\0".to_vec();
        for value in [1u32, 0, 0, 0, 1, 0, 0, 0, 1] {
            table.extend((value << 16).to_be_bytes());
        }
        (0..4).for_each(|_| table.extend(0..=255u8));
        for corner in 0..16 {
            table.extend([if corner % 2 == 0 { 255 } else { 0 }, 128, 128]);
        }
        (0..3).for_each(|_| table.extend(0..=255u8));
        let mut profile = vec![0; 128];
        profile[8] = 2;
        profile[12..24].copy_from_slice(b"prtrCMYKLab ");
        profile[36..40].copy_from_slice(b"acsp");
        for (at, value) in [(68, 0x0000_F6D6u32), (72, 0x0001_0000), (76, 0x0000_D32D)] {
            profile[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        profile.extend(1u32.to_be_bytes());
        profile.extend(b"A2B0");
        profile.extend(144u32.to_be_bytes());
        profile.extend((table.len() as u32).to_be_bytes());
        profile.extend(table);
        let length = profile.len() as u32;
        profile[..4].copy_from_slice(&length.to_be_bytes());
        profile
    }

    #[test]
    fn colours_become_those_of_srgb_and_alpha_stays() {
        let icc = encoded(ColorProfile::new_display_p3());
        for colour in [[200, 100, 50], [10, 200, 30], [128, 128, 128], [255, 255, 255], [0, 0, 0], [255, 0, 0]] {
            let wanted = p3_to_srgb(colour);
            let found = to_srgb(picture(Layout::Rgb, &colour), Some(&icc));
            assert!(close(&found.data, &wanted), "{colour:?}: {:?}, not {wanted:?}", found.data);
            let [red, green, blue] = colour;
            let found = to_srgb(picture(Layout::Rgba, &[red, green, blue, 77]), Some(&icc));
            assert!(close(&found.data[..3], &wanted), "{colour:?}: {:?}, not {wanted:?}", found.data);
            assert_eq!(found.data[3], 77);
        }
    }

    #[test]
    fn grey_stays_grey_with_another_curve() {
        let icc = encoded(ColorProfile::new_gray_with_gamma(1.8));
        let all: Vec<u8> = (0..=255).collect();
        let wanted: Vec<u8> = all.iter().map(|&grey| level((f64::from(grey) / 255.0).powf(1.8))).collect();
        let found = to_srgb(picture(Layout::Gray, &all), Some(&icc));
        assert_eq!(found.layout, Layout::Gray);
        assert!(close(&found.data, &wanted), "{:?}", found.data);
        let pairs: Vec<u8> = all.iter().flat_map(|&grey| [grey, 255 - grey]).collect();
        let found = to_srgb(picture(Layout::GrayAlpha, &pairs), Some(&icc));
        assert!(found.data.as_chunks::<2>().0.iter().zip(&all).all(|(pair, grey)| pair[1] == 255 - grey));
    }

    #[test]
    fn ink_becomes_light_by_its_profile() {
        let icc = black_counts();
        let inks = [0, 0, 0, 0, 255, 255, 255, 0, 0, 0, 0, 255];
        let found = to_srgb(picture(Layout::Cmyk, &inks), Some(&icc));
        assert_eq!(found.layout, Layout::Rgb);
        // Within two levels: the table is small, and the library goes through another one.
        let wanted = [255, 255, 255, 255, 255, 255, 0, 0, 0];
        assert!(found.data.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= 2), "{:?}", found.data);
    }

    #[test]
    fn what_is_srgb_already_is_left_alone() {
        let icc = encoded(ColorProfile::new_srgb());
        let colours: Vec<u8> = (0..=255).flat_map(|level: u8| [level, level.wrapping_mul(7), 255 - level]).collect();
        let before = picture(Layout::Rgb, &colours);
        assert_eq!(to_srgb(before.clone(), Some(&icc)), before);
    }

    #[test]
    fn a_profile_that_is_missing_broken_or_for_other_pixels_changes_nothing() {
        let icc = encoded(ColorProfile::new_display_p3());
        let rgb = picture(Layout::Rgb, &[200, 100, 50]);
        let grey = picture(Layout::Gray, &[200]);
        assert_eq!(to_srgb(rgb.clone(), None), rgb);
        assert_eq!(to_srgb(grey.clone(), Some(&icc)), grey);
        assert_eq!(to_srgb(rgb.clone(), Some(&icc[..100])), rgb);
        let mut other = vec![7; 321];
        other[16..20].copy_from_slice(b"RGB ");
        assert_eq!(to_srgb(rgb.clone(), Some(&other)), rgb);
        let ink = to_srgb(picture(Layout::Cmyk, &[0, 0, 0, 255]), Some(&icc));
        assert_eq!((ink.layout, ink.data), (Layout::Rgb, vec![0, 0, 0]));
    }

    #[test]
    fn damaged_profiles_never_cost_the_picture() {
        let mut state = 1u32;
        let mut random = |bound: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % bound
        };
        let profiles = [
            (Layout::Rgb, encoded(ColorProfile::new_display_p3())),
            (Layout::Gray, encoded(ColorProfile::new_gray_with_gamma(2.2))),
            (Layout::Cmyk, black_counts()),
        ];
        let cases = std::env::var("FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1);
        for (layout, profile) in &profiles {
            let before = picture(*layout, &[90; 12]);
            for _ in 0..60 * cases {
                let mut damaged = profile[..profile.len() - random(2) * random(profile.len() - 20)].to_vec();
                for _ in 0..=random(6) {
                    let at = random(damaged.len());
                    damaged[at] = random(256) as u8;
                }
                let after = to_srgb(before.clone(), Some(&damaged));
                assert_eq!((after.width, after.height), (before.width, before.height));
                assert_eq!(after.data.len(), before.width as usize * after.layout.channels());
            }
        }
    }

    #[test]
    fn a_profile_is_for_its_own_colours() {
        let profile = |space: &[u8]| [&[0; 16], space, &[0; 108]].concat();
        assert!(fits(&profile(b"RGB "), Layout::Rgba));
        assert!(fits(&profile(b"GRAY"), Layout::Gray));
        assert!(!fits(&profile(b"GRAY"), Layout::Rgb));
        assert!(fits(&profile(b"CMYK"), Layout::Cmyk));
        assert!(!fits(&profile(b"CMYK"), Layout::Rgba));
        assert!(!fits(b"RGB ", Layout::Rgb));
    }
}
