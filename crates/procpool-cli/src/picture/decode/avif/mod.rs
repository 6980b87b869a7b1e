//! AVIF: the picture to show, decoded by rav1d (a translation of dav1d to Rust, here without its assembler), with alpha, turned
//! pictures and pictures put together of tiles. Of an animation the still picture.

mod colour;
mod container;

use std::panic::{AssertUnwindSafe, catch_unwind};

use moxcms::{CicpColorPrimaries, CicpProfile, ColorProfile, MatrixCoefficients, TransferCharacteristics};
use re_rav1d::dav1d::{Decoder, Error, PixelLayout, PlanarImageComponent, Settings, pixel};

use super::{Decoded, Request, damaged};
use crate::picture::orient::Orientation;
use crate::picture::{Format, Layout, PictureError, Pixels};

use colour::{Coded, Meaning, Plane};
use container::{Bytes, Container, Flaw, Item};

const FORMAT: Format = Format::Avif;

/// How an item says that it is alpha.
const ALPHA: [&[u8]; 2] = [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0"];

pub(super) fn decode(input: &[u8], request: &Request) -> Result<Decoded, PictureError> {
    let container = Container::parse(input).map_err(explain)?;
    let item = container.item(container.primary()).map_err(explain)?;
    let (width, height) = item.size().map_err(explain)?;
    request.check_size(width, height, FORMAT)?;
    let decoder = Reader { container: &container, request };
    let clear = container.sources(*b"auxl", container.primary()).find(|&id| {
        let meaning = container.item(id).ok().and_then(|item| item.property(b"auxC"));
        meaning.and_then(|content| content.get(4..)).is_some_and(|urn| ALPHA.iter().any(|alpha| urn.starts_with(alpha)))
    });
    let part = if clear.is_some() { Part::BesideAlpha } else { Part::Alone };
    let colours = decoder.picture(container.primary(), part)?;
    let mut pixels = Pixels { width, height, layout: colours.layout, data: colours.data };
    if let Some(id) = clear {
        if container.item(id).and_then(Item::size).map_err(explain)? != (width, height) {
            return Err(damaged(FORMAT, "its alpha has another size"));
        }
        pixels = with_alpha(&pixels, &decoder.picture(id, Part::Alpha)?.data);
        if container.targets(b"prem", container.primary()).contains(&id) {
            colour::unpremultiply(pixels.layout, &mut pixels.data);
        }
    }
    let icc = profile(item);
    Ok(Decoded::whole(pixels, turned(item), icc))
}

struct Reader<'a> {
    container: &'a Container<'a>,
    request: &'a Request<'a>,
}

/// Pixels of an item: grey or RGB.
struct Samples {
    layout: Layout,
    data: Vec<u8>,
}

/// What is wanted of a coded picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Its colours, where there is no alpha.
    Alone,
    /// Its colours, where there is alpha.
    BesideAlpha,
    /// Its luma, since it is alpha.
    Alpha,
}

impl Reader<'_> {
    /// The pixels of a picture, put together if it is a grid.
    fn picture(&self, id: u32, part: Part) -> Result<Samples, PictureError> {
        let item = self.container.item(id).map_err(explain)?;
        match &item.kind {
            b"av01" => self.coded(item, item, part),
            b"grid" => self.grid(id, item, part),
            _ => Err(unsupported("a picture that is neither AV1 nor a grid")),
        }
    }

    /// One coded picture. What its samples mean may be said by `whole`, which it is a tile of.
    fn coded(&self, item: &Item<'_>, whole: &Item<'_>, part: Part) -> Result<Samples, PictureError> {
        let size = item.size().map_err(explain)?;
        self.request.check_size(size.0, size.1, FORMAT)?;
        let data = self.container.data(item).map_err(explain)?;
        let coded = decode_av1(data, size)?;
        let meaning = nclx(item).or_else(|| nclx(whole)).or(coded.meaning);
        let meaning = meaning.ok_or_else(|| unsupported("colours of a rare kind"))?;
        let grey = match part {
            Part::Alpha => Some(coded.alpha(meaning.full)),
            _ if coded.chroma.is_some() => None,
            Part::BesideAlpha => Some(coded.grey_beside_alpha(meaning)),
            Part::Alone => Some(coded.grey(meaning.full)),
        };
        if let Some(data) = grey {
            return Ok(Samples { layout: Layout::Gray, data });
        }
        coded
            .colours(meaning, part == Part::BesideAlpha)
            .map(|data| Samples { layout: Layout::Rgb, data })
            .map_err(explain)
    }

    /// A picture of tiles, which all have one size, but for what sticks out at the right and below.
    fn grid(&self, id: u32, item: &Item<'_>, part: Part) -> Result<Samples, PictureError> {
        let (width, height) = item.size().map_err(explain)?;
        let content = self.container.data(item).map_err(explain)?;
        let (rows, columns) = grid_shape(&content, (width, height)).map_err(explain)?;
        let tiles = self.container.targets(b"dimg", id);
        if tiles.len() != rows * columns {
            return Err(damaged(FORMAT, format!("it has {} tiles, not {rows} x {columns}", tiles.len())));
        }
        let mut canvas =
            Samples { layout: if part == Part::Alpha { Layout::Gray } else { Layout::Rgb }, data: Vec::new() };
        let mut tile_size = (0, 0);
        for (index, &tile) in tiles.iter().enumerate() {
            let tile_item = self.container.item(tile).map_err(explain)?;
            let size = tile_item.size().map_err(explain)?;
            if index == 0 {
                let covers = |tile: u32, count: usize, whole: u32| {
                    let (tile, count, whole) = (u64::from(tile), count as u64, u64::from(whole));
                    tile * count >= whole && tile * (count - 1) < whole
                };
                if !covers(size.0, columns, width) || !covers(size.1, rows, height) {
                    return Err(damaged(FORMAT, "its tiles do not fill it"));
                }
                tile_size = size;
                canvas.data = vec![0; width as usize * height as usize * canvas.layout.channels()];
            }
            if tile_item.kind != *b"av01" || size != tile_size {
                return Err(damaged(FORMAT, "its tiles are not alike"));
            }
            let mut samples = self.coded(tile_item, item, part)?;
            if samples.layout != canvas.layout {
                samples.data = samples.data.iter().flat_map(|&grey| [grey; 3]).collect();
            }
            let at = (index % columns * size.0 as usize, index / columns * size.1 as usize);
            place(&samples.data, size.0 as usize, &mut canvas, width as usize, at);
        }
        Ok(canvas)
    }
}

/// Rows and columns of a grid whose item has this size.
fn grid_shape(content: &[u8], size: (u32, u32)) -> Result<(usize, usize), Flaw> {
    let mut bytes = Bytes(content);
    let [_, flags, rows, columns] = bytes.array()?;
    let stated = (bytes.number(flags & 1 == 1)?, bytes.number(flags & 1 == 1)?);
    if stated != size {
        return Err(Flaw::Damaged("it states two sizes"));
    }
    Ok((usize::from(rows) + 1, usize::from(columns) + 1))
}

/// Draws a tile on the canvas.
fn place(tile: &[u8], tile_width: usize, canvas: &mut Samples, width: usize, (left, top): (usize, usize)) {
    let channels = canvas.layout.channels();
    let rows = canvas.data.chunks_exact_mut(width * channels).skip(top);
    for (row, source) in rows.zip(tile.chunks_exact(tile_width * channels)) {
        for (to, from) in row[left * channels..].iter_mut().zip(source) {
            *to = *from;
        }
    }
}

/// Decodes one AV1 picture of a known size.
fn decode_av1(data: Vec<u8>, size: (u32, u32)) -> Result<Coded, PictureError> {
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    // A larger one is refused before memory is set aside for it, whatever size the file states.
    settings.set_frame_size_limit(u32::try_from(u64::from(size.0) * u64::from(size.1)).unwrap_or(u32::MAX));
    let mut decoder = Decoder::with_settings(&settings).map_err(|error| damaged(FORMAT, error))?;
    let sent = decoder.send_data(data, None, None, None);
    if let Err(error) = sent
        && !error.is_again()
    {
        return Err(refused(error));
    }
    let picture = decoder.get_picture().map_err(refused)?;
    if (picture.width(), picture.height()) != size {
        return Err(damaged(FORMAT, "its picture has another size than the file states"));
    }
    let bits = match picture.bits_per_component() {
        Some(bits) if matches!(bits.0, 8 | 10 | 12) => bits.0 as u8,
        _ => return Err(unsupported("an unusual number of bits per sample")),
    };
    let (width, height) = (size.0 as usize, size.1 as usize);
    let colour_size = match picture.pixel_layout() {
        PixelLayout::I400 => None,
        PixelLayout::I420 => Some((width.div_ceil(2), height.div_ceil(2))),
        PixelLayout::I422 => Some((width.div_ceil(2), height)),
        PixelLayout::I444 => Some((width, height)),
    };
    let plane = |component: PlanarImageComponent, (width, height): (usize, usize)| {
        let stride = picture.stride(component) as usize;
        let bytes = picture.plane(component);
        let mut samples = Vec::with_capacity(width * height);
        for row in bytes.chunks(stride).take(height) {
            if bits == 8 {
                samples.extend(row.iter().take(width).map(|&sample| u16::from(sample)));
            } else {
                samples.extend(row.as_chunks::<2>().0.iter().take(width).map(|&sample| u16::from_ne_bytes(sample)));
            }
        }
        if samples.len() == width * height {
            Ok(Plane { width, height, samples })
        } else {
            Err(damaged(FORMAT, "its picture is not whole"))
        }
    };
    let luma = plane(PlanarImageComponent::Y, (width, height))?;
    let chroma = match colour_size {
        Some(size) => Some([plane(PlanarImageComponent::U, size)?, plane(PlanarImageComponent::V, size)?]),
        None => None,
    };
    // The library panics at numbers that H.273 keeps for later.
    let matrix = catch_unwind(AssertUnwindSafe(|| picture.matrix_coefficients() as u16)).ok();
    let full = picture.color_range() == pixel::YUVRange::Full;
    let meaning = matrix.map(|matrix| Meaning { matrix, full });
    Ok(Coded { luma, chroma, bits, meaning })
}

/// What samples mean, if the item says so: the property `colr` of kind `nclx`.
fn nclx(item: &Item<'_>) -> Option<Meaning> {
    let content = item.properties(*b"colr").find_map(|content| content.strip_prefix(b"nclx"))?;
    let mut bytes = Bytes(content);
    bytes.take(4).ok()?;
    let matrix = bytes.short().ok()?;
    let [flags] = bytes.array().ok()?;
    Some(Meaning { matrix, full: flags & 0x80 != 0 })
}

/// The colour profile: as such, or made of the numbers that say which colours and which curve it has.
fn profile(item: &Item<'_>) -> Option<Vec<u8>> {
    let mut all = item.properties(*b"colr");
    if let Some(icc) = all.find_map(|content| content.strip_prefix(b"prof").or(content.strip_prefix(b"rICC"))) {
        return Some(icc.to_vec());
    }
    let content = item.properties(*b"colr").find_map(|content| content.strip_prefix(b"nclx"))?;
    let mut bytes = Bytes(content);
    let color_primaries = CicpColorPrimaries::try_from(u8::try_from(bytes.short().ok()?).ok()?).ok()?;
    let transfer_characteristics = TransferCharacteristics::try_from(u8::try_from(bytes.short().ok()?).ok()?).ok()?;
    // Video's colours are close to sRGB's and mostly meant as such; high dynamic range would need more than a curve.
    let known = matches!(color_primaries, CicpColorPrimaries::Smpte431 | CicpColorPrimaries::Smpte432)
        && transfer_characteristics == TransferCharacteristics::Srgb;
    let cicp = CicpProfile {
        color_primaries,
        transfer_characteristics,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    };
    known.then(|| ColorProfile::new_from_cicp(cicp)).and_then(|profile| profile.encode().ok())
}

/// How the picture is still to be turned: first `irot`, quarters of a turn to the left; then `imir`, a mirror. What EXIF
/// says does not count in AVIF.
fn turned(item: &Item<'_>) -> Orientation {
    let first = |name| item.property(name).and_then(|content| content.first().copied());
    let quarters = first(b"irot").unwrap_or(0) & 3;
    let mirror = first(b"imir").map(|axis| axis & 1);
    Orientation::from_tag(match (quarters, mirror) {
        (0, None) => 1,
        (1, None) => 8,
        (2, None) => 3,
        (_, None) => 6,
        // Top and bottom change places, or left and right.
        (0, Some(0)) | (2, Some(1)) => 4,
        (0 | 2, Some(_)) => 2,
        (1, Some(0)) | (3, Some(1)) => 5,
        (_, Some(_)) => 7,
    })
}

fn with_alpha(pixels: &Pixels, alpha: &[u8]) -> Pixels {
    let (layout, data) = match pixels.layout {
        Layout::Gray => {
            (Layout::GrayAlpha, pixels.data.iter().zip(alpha).flat_map(|(&grey, &alpha)| [grey, alpha]).collect())
        }
        _ => {
            let colours = pixels.data.as_chunks::<3>().0.iter().zip(alpha);
            (Layout::Rgba, colours.flat_map(|(&[red, green, blue], &alpha)| [red, green, blue, alpha]).collect())
        }
    };
    Pixels { layout, data, ..*pixels }
}

fn unsupported(what: &str) -> PictureError {
    PictureError::Unsupported { format: FORMAT, what: what.to_owned() }
}

fn refused(error: Error) -> PictureError {
    match error {
        // It waits for more data than there is.
        Error::Again => PictureError::Truncated { format: FORMAT },
        Error::UnsupportedBitstream => unsupported("a kind of AV1 that the decoder does not know"),
        // Among them a picture that is larger than the limit, which is the size that the file states.
        _ => damaged(FORMAT, "its AV1 data contradicts itself"),
    }
}

fn explain(flaw: Flaw) -> PictureError {
    match flaw {
        Flaw::Truncated => PictureError::Truncated { format: FORMAT },
        Flaw::Damaged(detail) => damaged(FORMAT, detail),
        Flaw::Unsupported(what) => unsupported(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request<'static> = Request::up_to(1 << 20);

    fn boxed(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes()[..], name, content].concat()
    }

    /// A file of one colour, 64 pixels a side.
    fn plain(colour: [u8; 3]) -> Vec<u8> {
        let pixels = vec![ravif::RGB8::from(colour); 64 * 64];
        let encoder = ravif::Encoder::new().with_speed(10).with_num_threads(Some(1)).with_quality(95.0);
        encoder.encode_rgb(ravif::Img::new(&pixels, 64, 64)).expect("the encoder takes one colour").avif_file
    }

    /// What a file's picture is coded as.
    fn payload(file: &[u8]) -> Vec<u8> {
        let container = Container::parse(file).expect("a valid file");
        container.data(container.item(container.primary()).expect("the picture")).expect("its data")
    }

    /// A grid of tiles of 64 pixels a side in one row, turned a quarter to the left.
    fn grid(size: (u32, u32), tiles: &[Vec<u8>]) -> Vec<u8> {
        let count = tiles.len() as u16;
        let mut kinds = vec![0, 0, 0, 0];
        kinds.extend((count + 1).to_be_bytes());
        let mut references = 1u16.to_be_bytes().to_vec();
        references.extend(count.to_be_bytes());
        let mut places = vec![1, 0, 0, 0, 0x44, 0];
        places.extend((count + 1).to_be_bytes());
        let mut uses = vec![0; 4];
        uses.extend(u32::from(count + 1).to_be_bytes());
        let ftyp = boxed(b"ftyp", b"avif\0\0\0\0");
        let mut offset = ftyp.len() as u32 + 8;
        for id in 1..=count + 1 {
            let kind = if id == 1 { b"grid" } else { b"av01" };
            kinds.extend(boxed(b"infe", &[&[2, 0, 0, 0][..], &id.to_be_bytes(), &[0, 0], kind, &[0]].concat()));
            let (method, at, length) = match tiles.get(usize::from(id).wrapping_sub(2)) {
                None => (1u16, 0, 8),
                Some(tile) => (0, offset, tile.len() as u32),
            };
            offset += if method == 0 { length } else { 0 };
            let part =
                [&id.to_be_bytes()[..], &method.to_be_bytes(), &[0, 0, 0, 1], &at.to_be_bytes(), &length.to_be_bytes()];
            places.extend(part.concat());
            let properties: &[u8] = if id == 1 { &[2, 1, 3] } else { &[1, 2] };
            uses.extend([&id.to_be_bytes()[..], properties].concat());
            if id > 1 {
                references.extend(id.to_be_bytes());
            }
        }
        let ispe = |(width, height): (u32, u32)| {
            boxed(b"ispe", &[&[0; 4][..], &width.to_be_bytes(), &height.to_be_bytes()].concat())
        };
        let properties = boxed(b"ipco", &[ispe(size), ispe((64, 64)), boxed(b"irot", &[1])].concat());
        let shape = [&[0, 0, 0, count as u8 - 1][..], &(size.0 as u16).to_be_bytes(), &(size.1 as u16).to_be_bytes()];
        let meta = [
            vec![0; 4],
            boxed(b"pitm", &[0, 0, 0, 0, 0, 1]),
            boxed(b"iinf", &kinds),
            boxed(b"iref", &[vec![0; 4], boxed(b"dimg", &references)].concat()),
            boxed(b"iloc", &places),
            boxed(b"iprp", &[properties, boxed(b"ipma", &uses)].concat()),
            boxed(b"idat", &shape.concat()),
        ];
        [ftyp, boxed(b"mdat", &tiles.concat()), boxed(b"meta", &meta.concat())].concat()
    }

    #[test]
    fn tiles_are_put_together() {
        let tiles = [payload(&plain([250, 10, 10])), payload(&plain([10, 10, 250]))];
        let decoded = decode(&grid((100, 60), &tiles), &REQUEST).expect("a valid file");
        assert_eq!(decoded.full_size, (100, 60));
        assert_eq!(decoded.orientation, Orientation::from_tag(8));
        let at = |x: usize, y: usize| &decoded.pixels.data[(y * 100 + x) * 3..][..3];
        let close = |found: &[u8], wanted: [u8; 3]| found.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= 6);
        for y in [0, 59] {
            assert!(close(at(0, y), [250, 10, 10]) && close(at(63, y), [250, 10, 10]), "{:?}", at(63, y));
            assert!(close(at(64, y), [10, 10, 250]) && close(at(99, y), [10, 10, 250]), "{:?}", at(64, y));
        }
    }

    #[test]
    fn grids_that_do_not_fit_are_refused() {
        let tile = payload(&plain([9, 9, 9]));
        let refusal = |size, count| decode(&grid(size, &vec![tile.clone(); count]), &REQUEST).map(|_| ());
        assert_eq!(refusal((200, 60), 2), Err(damaged(FORMAT, "its tiles do not fill it")));
        assert_eq!(refusal((60, 60), 2), Err(damaged(FORMAT, "its tiles do not fill it")));
        assert_eq!(
            refusal((60_000, 60_000), 2),
            Err(PictureError::TooLarge { width: 60_000, height: 60_000, limit: 1 << 20 })
        );
    }

    #[test]
    fn a_stated_size_that_is_not_the_pictures_is_damage() {
        for (height, detail) in [
            // It is not even begun with.
            (63, "its AV1 data contradicts itself"),
            (65, "its picture has another size than the file states"),
        ] {
            let mut file = plain([1, 2, 3]);
            let at = file.windows(4).position(|window| window == b"ispe").expect("the size");
            file[at + 15] = height;
            assert_eq!(decode(&file, &REQUEST).map(|_| ()), Err(damaged(FORMAT, detail)));
        }
    }

    #[test]
    fn colours_of_no_known_kind_are_refused() {
        let mut file = plain([200, 90, 30]);
        assert!(!file.windows(4).any(|window| window == b"colr"), "what the file says of them would count more");
        // The picture says it with three numbers of 8 bits that begin at any bit: BT.709, sRGB, BT.601.
        let data = file.windows(4).position(|window| window == b"mdat").expect("the picture");
        let bits = |file: &[u8], at: usize| {
            (at..at + 24).fold(0u32, |sum, bit| sum << 1 | u32::from(file[bit / 8] >> (7 - bit % 8) & 1))
        };
        let from = (data * 8..file.len() * 8 - 24).find(|&at| bits(&file, at) == 0x01_0D_06).expect("the numbers");
        // 3 in place of 6.
        for bit in [from + 21, from + 23] {
            file[bit / 8] ^= 1 << (7 - bit % 8);
        }
        assert_eq!(decode(&file, &REQUEST).map(|_| ()), Err(unsupported("colours of a rare kind")));
    }
}
