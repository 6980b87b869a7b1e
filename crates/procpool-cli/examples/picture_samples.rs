//! Writes small pictures of every format and many kinds, or the colour profiles of some, for a fuzzer to begin with.
//!
//! Usage: `picture_samples picture|profile FOLDER`
//!
//! Each picture is written several times, with two bytes behind it that say what the fuzz target is to make of it.

#[path = "../tests/common/samples.rs"]
mod samples;

use std::error::Error;
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use libjpeg_turbo_rs::{ColorSpace, PixelFormat, Subsampling};
use moxcms::ColorProfile;
use procpool_cli::picture::{Bounds, Options, OutFormat, thumbnail};
use samples::gradient;
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, colortype};

type Files = Vec<(String, Vec<u8>)>;

const WIDTH: usize = 40;
const HEIGHT: usize = 30;

/// What is to be made of the pictures: nothing special; all that is there of it; the other ways to fit and to read.
const WAYS: [[u8; 2]; 4] = [[0, 0], [0, 0b11], [0b0100_1101, 0b1101_0000], [0b1011_0110, 0b0010_0100]];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, folder] = arguments.as_slice() else {
        return Err("usage: picture_samples picture|profile FOLDER".into());
    };
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder)?;
    if kind == "profile" {
        for (name, profile) in [
            ("p3", ColorProfile::new_display_p3()),
            ("adobe", ColorProfile::new_adobe_rgb()),
            ("srgb", ColorProfile::new_srgb()),
            ("grey", ColorProfile::new_gray_with_gamma(2.2)),
        ] {
            fs::write(folder.join(name), profile.encode()?)?;
        }
        fs::write(folder.join("ink"), samples::ink_profile())?;
        return Ok(());
    }
    for (name, content) in
        [plain(), jpeg()?, png()?, webp()?, tiff()?, vec![("run-lengths.bmp".to_owned(), bmp())], avif()?].concat()
    {
        for (index, way) in WAYS.iter().enumerate() {
            fs::write(folder.join(format!("{index}-{name}")), [&content, &way[..]].concat())?;
        }
    }
    Ok(())
}

fn plain() -> Files {
    let all = samples::small_pictures().map(|(format, content)| (format!("plain.{}", format.extension()), content));
    all.into_iter().chain([("moving.gif".to_owned(), samples::moving())]).collect()
}

/// EXIF with nothing but the orientation.
const EXIF: &[u8] = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";

fn jpeg() -> Result<Files, Box<dyn Error>> {
    let colours = gradient(WIDTH, HEIGHT, 3);
    let encoder = || libjpeg_turbo_rs::Encoder::new(&colours, WIDTH, HEIGHT, PixelFormat::Rgb).exif_data(EXIF);
    let grey = gradient(WIDTH, HEIGHT, 1);
    let ink = gradient(WIDTH, HEIGHT, 4);
    let ink = || libjpeg_turbo_rs::Encoder::new(&ink, WIDTH, HEIGHT, PixelFormat::Cmyk);
    Ok(vec![
        ("progressive.jpg".into(), encoder().progressive(true).subsampling(Subsampling::S420).encode()?),
        ("restarts.jpg".into(), encoder().restart_blocks(2).subsampling(Subsampling::S422).encode()?),
        ("arithmetic.jpg".into(), encoder().arithmetic(true).encode()?),
        ("grey.jpg".into(), libjpeg_turbo_rs::Encoder::new(&grey, WIDTH, HEIGHT, PixelFormat::Grayscale).encode()?),
        ("cmyk.jpg".into(), ink().encode()?),
        ("ycck.jpg".into(), ink().colorspace(ColorSpace::Ycck).subsampling(Subsampling::S420).encode()?),
    ])
}

fn png() -> Result<Files, Box<dyn Error>> {
    let mut files = Files::new();
    for (name, colour, depth) in [
        ("grey-1", png::ColorType::Grayscale, png::BitDepth::One),
        ("palette", png::ColorType::Indexed, png::BitDepth::Four),
        ("alpha", png::ColorType::Rgba, png::BitDepth::Eight),
        ("deep", png::ColorType::GrayscaleAlpha, png::BitDepth::Sixteen),
    ] {
        let mut info = png::Info::with_size(WIDTH as u32, HEIGHT as u32);
        info.exif_metadata = Some(EXIF.into());
        let mut out = Vec::new();
        let mut encoder = png::Encoder::with_info(&mut out, info)?;
        encoder.set_color(colour);
        encoder.set_depth(depth);
        if colour == png::ColorType::Indexed {
            encoder.set_palette(gradient(16, 1, 3));
            encoder.set_trns(gradient(16, 1, 1));
        }
        encoder.add_itxt_chunk("XML:com.adobe.xmp".into(), "<x tiff:Orientation=\"3\"/>".into())?;
        let mut writer = encoder.write_header()?;
        let bits = usize::from(depth as u8) * colour.samples();
        writer.write_image_data(&gradient((WIDTH * bits).div_ceil(8), HEIGHT, 1))?;
        writer.finish()?;
        files.push((format!("{name}.png"), out));
    }
    Ok(files)
}

fn webp() -> Result<Files, Box<dyn Error>> {
    let pixels = gradient(WIDTH, HEIGHT, 4);
    let encoder = webp::Encoder::from_rgba(&pixels, WIDTH as u32, HEIGHT as u32);
    let options = Options { animated: true, format: OutFormat::WebP, bounds: Bounds::square(30), ..Options::default() };
    Ok(vec![
        ("lossless.webp".into(), encoder.encode_lossless().to_vec()),
        ("alpha.webp".into(), webp::Encoder::from_rgba(&pixels, 40, 30).encode(30.0).to_vec()),
        ("moving.webp".into(), thumbnail(&samples::moving(), &options)?.bytes),
    ])
}

fn tiff() -> Result<Files, Box<dyn Error>> {
    let (width, height) = (WIDTH as u32, HEIGHT as u32);
    let mut files = Files::new();
    for (name, compression) in [
        ("lzw", Compression::Lzw),
        ("deflate", Compression::Deflate(DeflateLevel::Fast)),
        ("packbits", Compression::Packbits),
    ] {
        let mut out = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut out)?.with_compression(compression);
        encoder.write_image::<colortype::RGBA8>(width, height, &gradient(WIDTH, HEIGHT, 4))?;
        files.push((format!("{name}.tif"), out.into_inner()));
    }
    let mut out = Cursor::new(Vec::new());
    TiffEncoder::new_big(&mut out)?.write_image::<colortype::Gray16>(width, height, &[700; WIDTH * HEIGHT])?;
    files.push(("big.tif".into(), out.into_inner()));
    let mut out = Cursor::new(Vec::new());
    TiffEncoder::new(&mut out)?.write_image::<colortype::CMYK8>(width, height, &gradient(WIDTH, HEIGHT, 4))?;
    files.push(("cmyk.tif".into(), out.into_inner()));
    Ok(files)
}

/// 8 x 2 pixels of 8 bits in run lengths, with a palette of two colours.
fn bmp() -> Vec<u8> {
    let mut out = b"BM\0\0\0\0\0\0\0\0\x3e\0\0\0\x28\0\0\0\x08\0\0\0\x02\0\0\0\x01\0\x08\0\x01\0\0\0".to_vec();
    out.resize(46, 0);
    out.extend([2, 0, 0, 0, 0, 0, 0, 0]);
    out.extend([0, 0, 0, 0, 255, 255, 255, 0]);
    out.extend([5, 1, 3, 0, 0, 0, 0, 3, 1, 0, 1, 0, 0, 2, 2, 0, 3, 1, 0, 1]);
    out
}

fn avif() -> Result<Files, Box<dyn Error>> {
    let colours = gradient(WIDTH, HEIGHT, 4);
    let clear: Vec<_> = colours.chunks(4).map(|p| ravif::RGBA8::new(p[0], p[1], p[2], p[3])).collect();
    let opaque: Vec<_> = colours.chunks(4).map(|p| ravif::RGB8::new(p[0], p[1], p[2])).collect();
    let encoder = || ravif::Encoder::new().with_speed(10).with_num_threads(Some(1));
    let eight = encoder().with_bit_depth(ravif::BitDepth::Eight);
    Ok(vec![
        ("alpha.avif".into(), encoder().encode_rgba(ravif::Img::new(&clear, WIDTH, HEIGHT))?.avif_file),
        ("eight.avif".into(), eight.encode_rgb(ravif::Img::new(&opaque, WIDTH, HEIGHT))?.avif_file),
    ])
}
