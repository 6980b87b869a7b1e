//! The little of EXIF, XMP and TIFF that matters here: the orientation.

use super::orient::Orientation;

const ORIENTATION: u16 = 274;

/// One entry of the first directory of a TIFF structure (which EXIF is, too).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where the entry's value field begins, in bytes from the start of the structure.
    pub(super) value_at: usize,
    /// The first value, if it is a short or long integer.
    pub(super) value: u32,
}

/// Finds a tag in the first directory. `None` if there is no such tag or the structure is broken.
pub(super) fn find_tag(tiff: &[u8], tag: u16) -> Option<Entry> {
    let big_endian = match tiff.get(..4)? {
        [b'I', b'I', 42, 0] => false,
        [b'M', b'M', 0, 42] => true,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk()?;
        Some(if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk()?;
        Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let directory = long(4)? as usize;
    let count = usize::from(short(directory)?);
    (0..count).find_map(|index| {
        let at = directory + 2 + 12 * index;
        if short(at)? != tag {
            return None;
        }
        let value_at = at + 8;
        let value = match short(at + 2)? {
            3 => u32::from(short(value_at)?),
            4 => long(value_at)?,
            _ => return None,
        };
        Some(Entry { value_at, value })
    })
}

/// The orientation that EXIF notes or, if it says nothing, XMP.
pub(super) fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    let noted = exif.and_then(|exif| {
        // WebP and some PNG writers keep the header that EXIF has in JPEG files.
        let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        find_tag(tiff, ORIENTATION).map(|entry| entry.value)
    });
    noted.or_else(|| xmp.and_then(xmp_orientation)).map_or(Orientation::UPRIGHT, Orientation::from_tag)
}

/// The orientation of a TIFF file.
pub(super) fn tiff_orientation(tiff: &[u8]) -> Orientation {
    find_tag(tiff, ORIENTATION).map_or(Orientation::UPRIGHT, |entry| Orientation::from_tag(entry.value))
}

/// Finds `tiff:Orientation="6"` or `<tiff:Orientation>6<`.
fn xmp_orientation(xmp: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    xmp.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).find_map(|(at, _)| {
        match xmp.get(at + NAME.len()..)? {
            [b'=', b'"', digit @ b'0'..=b'9', ..] | [b'>', digit @ b'0'..=b'9', ..] => Some(u32::from(digit - b'0')),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TIFF structure with one short-integer tag.
    fn one_tag(tag: u16, value: u16) -> Vec<u8> {
        let mut tiff = b"II\x2a\0\x08\0\0\0\x01\0".to_vec();
        tiff.extend(tag.to_le_bytes());
        tiff.extend([3, 0, 1, 0, 0, 0]);
        tiff.extend(value.to_le_bytes());
        tiff.extend([0; 6]);
        tiff
    }

    #[test]
    fn exif_is_preferred_to_xmp() {
        let exif = one_tag(ORIENTATION, 6);
        let xmp = br#"<rdf tiff:Orientation="3"/>"#;
        assert_eq!(orientation(Some(&exif), Some(xmp)), Orientation::from_tag(6));
        assert_eq!(orientation(Some(&one_tag(271, 1)), Some(xmp)), Orientation::from_tag(3));
        let with_header = [b"Exif\0\0".as_slice(), &exif].concat();
        assert_eq!(orientation(Some(&with_header), None), Orientation::from_tag(6));
        assert_eq!(orientation(None, Some(b"<tiff:Orientation>8</tiff:Orientation>")), Orientation::from_tag(8));
        assert_eq!(orientation(None, None), Orientation::UPRIGHT);
    }

    #[test]
    fn broken_structures_are_upright() {
        let whole = one_tag(ORIENTATION, 6);
        for length in 0..20 {
            assert_eq!(orientation(Some(&whole[..length]), None), Orientation::UPRIGHT);
        }
        let far = b"II\x2a\0\xff\xff\xff\xff";
        assert_eq!(orientation(Some(far), None), Orientation::UPRIGHT);
        assert_eq!(orientation(None, Some(b"tiff:Orientation")), Orientation::UPRIGHT);
    }
}
