//! GIF: the first frame, on its canvas.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, DisposalMethod, MemoryLimit, Repeat};

use super::{Decoded, EachFrame, Request, damaged, io_error};
use crate::picture::orient::Orientation;
use crate::picture::{Format, Layout, PictureError, Pixels};

const FORMAT: Format = Format::Gif;

fn options(request: &Request) -> DecodeOptions {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Bytes(NonZeroU64::new(request.max_pixels).unwrap_or(NonZeroU64::MIN)));
    options
}

fn open<'a>(input: &'a [u8], request: &Request) -> Result<Decoder<&'a [u8]>, PictureError> {
    options(request).read_info(input).map_err(explain)
}

/// Whether there is one frame and nothing else, which can be told without decoding it.
fn is_still(input: &[u8], request: &Request) -> bool {
    let mut options = options(request);
    options.skip_frame_decoding(true);
    options.read_info(input).is_ok_and(|mut decoder| {
        matches!(decoder.next_frame_info(), Ok(Some(_))) && matches!(decoder.next_frame_info(), Ok(None))
    })
}

pub(super) fn decode(input: &[u8], request: &Request) -> Result<Decoded, PictureError> {
    let mut decoder = open(input, request)?;
    let screen = (u32::from(decoder.width()), u32::from(decoder.height()));
    let frame = decoder.next_frame_info().map_err(explain)?.ok_or(PictureError::Truncated { format: FORMAT })?;
    let (left, top) = (u32::from(frame.left), u32::from(frame.top));
    let (frame_width, frame_height) = (u32::from(frame.width), u32::from(frame.height));
    let transparent = frame.transparent;
    let local = frame.palette.clone();
    if frame_width == 0 || frame_height == 0 {
        return Err(damaged(FORMAT, "its first frame is empty"));
    }

    // A frame that sticks out of the canvas extends it.
    let width = screen.0.max(left + frame_width);
    let height = screen.1.max(top + frame_height);
    let count = request.check_size(width, height, FORMAT)?;
    let mut frame = vec![0; frame_width as usize * frame_height as usize];
    request.complain(decoder.read_into_buffer(&mut frame).map_err(explain))?;

    let palette = local.as_deref().or(decoder.global_palette()).unwrap_or(&[]);
    let (layout, data) = match transparent {
        None => {
            let colours = colours(palette, |red, green, blue| [red, green, blue]);
            let mut canvas = vec![colours[0]; count];
            place(&frame, frame_width, &colours, &mut canvas, width, (left, top));
            (Layout::Rgb, canvas.into_flattened())
        }
        Some(clear) => {
            let mut colours = colours(palette, |red, green, blue| [red, green, blue, 255]);
            colours[usize::from(clear)][3] = 0;
            let mut canvas = vec![colours[usize::from(clear)]; count];
            place(&frame, frame_width, &colours, &mut canvas, width, (left, top));
            (Layout::Rgba, canvas.into_flattened())
        }
    };
    let pixels = Pixels { width, height, layout, data };
    let icc = decoder.icc_profile().map(<[u8]>::to_vec);
    Ok(Decoded::whole(pixels, Orientation::UPRIGHT, icc))
}

/// Decodes all frames of an animation, each laid over what is left of those before it; `None`, and nothing decoded, if there is
/// but one.
pub(super) fn frames(input: &[u8], request: &Request, each: EachFrame<'_>) -> Result<Option<u16>, PictureError> {
    const CLEAR: [u8; 4] = [0; 4];
    if is_still(input, request) {
        return Ok(None);
    }
    let mut decoder = open(input, request)?;
    let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let count = request.check_size(width, height, FORMAT)?;
    let mut canvas = vec![CLEAR; count];
    while let Some(frame) = decoder.next_frame_info().map_err(explain)? {
        let frame = frame.clone();
        let corner = (u32::from(frame.left), u32::from(frame.top));
        request.check_size(corner.0 + u32::from(frame.width), corner.1 + u32::from(frame.height), FORMAT)?;
        let mut indices = vec![0; usize::from(frame.width) * usize::from(frame.height)];
        decoder.read_into_buffer(&mut indices).map_err(explain)?;
        let palette = frame.palette.as_deref().or(decoder.global_palette()).unwrap_or(&[]);
        let mut colours: Vec<_> =
            colours(palette, |red, green, blue| [red, green, blue, 255]).into_iter().map(Some).collect();
        if let Some(clear) = frame.transparent {
            colours[usize::from(clear)] = None;
        }
        let before = (frame.dispose == DisposalMethod::Previous).then(|| canvas.clone());
        let stride = usize::from(frame.width);
        draw(&mut canvas, width, corner, stride, indices.iter().map(|&index| colours[usize::from(index)]));
        let pixels = Pixels { width, height, layout: Layout::Rgba, data: canvas.as_flattened().to_vec() };
        let icc = decoder.icc_profile().map(<[u8]>::to_vec);
        each(Decoded::whole(pixels, Orientation::UPRIGHT, icc), u32::from(frame.delay) * 10)?;
        match (frame.dispose, before) {
            (_, Some(before)) => canvas = before,
            (DisposalMethod::Background, _) => {
                draw(&mut canvas, width, corner, stride, indices.iter().map(|_| Some(CLEAR)));
            }
            _ => {}
        }
    }
    Ok(Some(match decoder.repeat() {
        Repeat::Infinite => 0,
        Repeat::Finite(more) => more.saturating_add(1),
    }))
}

/// Draws what lies on the canvas of a frame's pixels, row by row; those that are `None` leave what is there.
fn draw(
    canvas: &mut [[u8; 4]],
    width: u32,
    (left, top): (u32, u32),
    stride: usize,
    mut pixels: impl Iterator<Item = Option<[u8; 4]>>,
) {
    for row in canvas.chunks_exact_mut(width as usize).skip(top as usize) {
        let mut to = row.iter_mut().skip(left as usize);
        for pixel in pixels.by_ref().take(stride) {
            if let (Some(to), Some(colour)) = (to.next(), pixel) {
                *to = colour;
            }
        }
    }
}

/// All 256 colours; those the palette leaves out are black.
fn colours<const C: usize>(palette: &[u8], make: impl Fn(u8, u8, u8) -> [u8; C]) -> Vec<[u8; C]> {
    let (palette, _) = palette.as_chunks::<3>();
    let rest = std::iter::repeat(&[0, 0, 0]);
    let all = palette.iter().chain(rest).take(256);
    all.map(|&[red, green, blue]| make(red, green, blue)).collect()
}

/// Draws the frame's colours on the canvas.
fn place<const C: usize>(
    frame: &[u8],
    frame_width: u32,
    colours: &[[u8; C]],
    canvas: &mut [[u8; C]],
    width: u32,
    (left, top): (u32, u32),
) {
    let rows = canvas.chunks_exact_mut(width as usize).skip(top as usize);
    for (row, indices) in rows.zip(frame.chunks_exact(frame_width as usize)) {
        for (pixel, &index) in row[left as usize..].iter_mut().zip(indices) {
            *pixel = colours[usize::from(index)];
        }
    }
}

fn explain(error: DecodingError) -> PictureError {
    match error {
        DecodingError::UnexpectedEof => PictureError::Truncated { format: FORMAT },
        DecodingError::Io(error) => io_error(FORMAT, &error),
        other => damaged(FORMAT, other),
    }
}
