//! The boxes around the coded pictures of an AVIF file: ISO/IEC 14496-12 (boxes), 23008-12 (items and their properties) and
//! the AV1 Image File Format. Read is what a still picture needs; what a file says is checked against its length, so that
//! nothing here allocates more than a small multiple of the file.

use std::collections::BTreeMap;

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It ends too early.
    Truncated,
    /// It contradicts the format.
    Damaged(&'static str),
    /// It is of a kind that is not read.
    Unsupported(&'static str),
}

/// Four letters that name a box, an item's type or a reference.
pub(super) type Name = [u8; 4];

/// A picture or a part of one, or other data.
#[derive(Debug, Default)]
pub(super) struct Item<'a> {
    /// `av01`, `grid` and so on.
    pub(super) kind: Name,
    /// Where its data is.
    extents: Vec<(u64, u64)>,
    /// Whether the extents count from the beginning of `idat` instead of the file.
    in_idat: bool,
    /// Its properties, in order.
    properties: Vec<(Name, &'a [u8])>,
}

impl<'a> Item<'a> {
    /// The first property of this name.
    pub(super) fn property(&self, name: &Name) -> Option<&'a [u8]> {
        self.properties.iter().find(|(found, _)| found == name).map(|(_, content)| *content)
    }

    /// All properties of this name.
    pub(super) fn properties(&self, name: Name) -> impl Iterator<Item = &'a [u8]> {
        self.properties.iter().filter(move |(found, _)| *found == name).map(|(_, content)| *content)
    }

    /// Width and height that the file states for it.
    pub(super) fn size(&self) -> Result<(u32, u32), Flaw> {
        let content = self.property(b"ispe").ok_or(Flaw::Damaged("a picture in it has no size"))?;
        let mut bytes = Bytes(content);
        bytes.take(4)?;
        Ok((bytes.long()?, bytes.long()?))
    }
}

/// The items of a file.
#[derive(Debug)]
pub(super) struct Container<'a> {
    file: &'a [u8],
    idat: &'a [u8],
    primary: u32,
    items: BTreeMap<u32, Item<'a>>,
    /// Name, from which item, to which.
    references: Vec<(Name, u32, Vec<u32>)>,
}

impl<'a> Container<'a> {
    /// Reads the boxes of a file.
    pub(super) fn parse(file: &'a [u8]) -> Result<Self, Flaw> {
        let mut top = Bytes(file);
        while !top.0.is_empty() {
            let (name, content) = top.any_box()?;
            if name == *b"meta" {
                return Self::parse_meta(file, content);
            }
        }
        Err(Flaw::Truncated)
    }

    fn parse_meta(file: &'a [u8], content: &'a [u8]) -> Result<Self, Flaw> {
        let mut container = Self { file, idat: &[], primary: 0, items: BTreeMap::new(), references: Vec::new() };
        let mut bytes = Bytes(content);
        bytes.take(4)?;
        let (mut has_primary, mut properties) = (false, None);
        while !bytes.0.is_empty() {
            let (name, content) = bytes.any_box()?;
            let mut inner = Bytes(content);
            match &name {
                b"pitm" => {
                    let (version, _) = inner.version()?;
                    container.primary = inner.number(version > 0)?;
                    has_primary = true;
                }
                b"iinf" => container.parse_kinds(inner)?,
                b"iloc" => container.parse_places(inner)?,
                b"iref" => container.parse_references(inner)?,
                // The items that have the properties may only be named later.
                b"iprp" => properties = Some(inner),
                b"idat" => container.idat = content,
                _ => {}
            }
        }
        if let Some(properties) = properties {
            container.parse_properties(properties)?;
        }
        if !has_primary {
            return Err(Flaw::Damaged("it does not say which picture is the one to show"));
        }
        Ok(container)
    }

    fn parse_kinds(&mut self, mut bytes: Bytes<'a>) -> Result<(), Flaw> {
        let (version, _) = bytes.version()?;
        let count = bytes.number(version > 0)?;
        for _ in 0..count {
            let (name, content) = bytes.any_box()?;
            let mut entry = Bytes(content);
            let (version, _) = entry.version()?;
            if name != *b"infe" || version < 2 {
                continue;
            }
            let id = entry.number(version > 2)?;
            entry.take(2)?;
            self.items.entry(id).or_default().kind = entry.name()?;
        }
        Ok(())
    }

    fn parse_places(&mut self, mut bytes: Bytes<'a>) -> Result<(), Flaw> {
        let (version, _) = bytes.version()?;
        if version > 2 {
            return Err(Flaw::Unsupported("an unknown list of places"));
        }
        let [sizes, more] = bytes.array()?;
        let (offset_size, length_size, base_size) = (sizes >> 4, sizes & 15, more >> 4);
        let index_size = if version > 0 { more & 15 } else { 0 };
        let count = bytes.number(version > 1)?;
        for _ in 0..count {
            let id = bytes.number(version > 1)?;
            let method = if version > 0 { bytes.short()? & 15 } else { 0 };
            let elsewhere = bytes.short()? != 0;
            let base = bytes.sized(base_size)?;
            let extents = bytes.short()?;
            if extents > 1 && sizes == 0 {
                return Err(Flaw::Damaged("a picture in it has parts without a place"));
            }
            let item = self.items.entry(id).or_default();
            item.in_idat = method == 1;
            item.extents.clear();
            for _ in 0..extents {
                bytes.sized(index_size)?;
                let offset = base.checked_add(bytes.sized(offset_size)?);
                let offset = offset.ok_or(Flaw::Damaged("a place in it is beyond all files"))?;
                let length = bytes.sized(length_size)?;
                // Data in other files, or in other items, is as good as none; only who needs it notices.
                if method <= 1 && !elsewhere {
                    item.extents.push((offset, length));
                }
            }
        }
        Ok(())
    }

    fn parse_references(&mut self, mut bytes: Bytes<'a>) -> Result<(), Flaw> {
        let (version, _) = bytes.version()?;
        while !bytes.0.is_empty() {
            let (name, content) = bytes.any_box()?;
            let mut entry = Bytes(content);
            let from = entry.number(version > 0)?;
            let count = entry.short()?;
            let to = (0..count).map(|_| entry.number(version > 0)).collect::<Result<_, _>>()?;
            self.references.push((name, from, to));
        }
        Ok(())
    }

    fn parse_properties(&mut self, mut bytes: Bytes<'a>) -> Result<(), Flaw> {
        let mut all = Vec::new();
        while !bytes.0.is_empty() {
            let (name, content) = bytes.any_box()?;
            let mut inner = Bytes(content);
            if name == *b"ipco" {
                while !inner.0.is_empty() {
                    all.push(inner.any_box()?);
                }
            } else if name == *b"ipma" {
                let (version, flags) = inner.version()?;
                for _ in 0..inner.long()? {
                    let id = inner.number(version > 0)?;
                    let [count] = inner.array()?;
                    let item = self.items.entry(id).or_default();
                    for _ in 0..count {
                        let index = match flags & 1 {
                            0 => usize::from(inner.array::<1>()?[0] & 0x7F),
                            _ => usize::from(inner.short()? & 0x7FFF),
                        };
                        item.properties.extend(index.checked_sub(1).and_then(|index| all.get(index)));
                    }
                }
            }
        }
        Ok(())
    }

    /// The number of the picture to show.
    pub(super) fn primary(&self) -> u32 {
        self.primary
    }

    /// An item by its number.
    pub(super) fn item(&self, id: u32) -> Result<&Item<'a>, Flaw> {
        self.items.get(&id).ok_or(Flaw::Damaged("it lacks a picture that it names"))
    }

    /// The items that `from` refers to by `name`, in order.
    pub(super) fn targets(&self, name: &Name, from: u32) -> &[u32] {
        self.references
            .iter()
            .find(|(found, item, _)| found == name && *item == from)
            .map_or(&[], |(_, _, targets)| targets)
    }

    /// The items that refer to `to` by `name`.
    pub(super) fn sources(&self, name: Name, to: u32) -> impl Iterator<Item = u32> {
        self.references
            .iter()
            .filter(move |(found, _, targets)| *found == name && targets.contains(&to))
            .map(|(_, from, _)| *from)
    }

    /// The data of an item.
    pub(super) fn data(&self, item: &Item<'_>) -> Result<Vec<u8>, Flaw> {
        let whole = if item.in_idat { self.idat } else { self.file };
        let mut data = Vec::new();
        for &(offset, length) in &item.extents {
            let from = usize::try_from(offset).ok().and_then(|offset| whole.get(offset..)).ok_or(Flaw::Truncated)?;
            let part = match usize::try_from(length) {
                Ok(0) => from,
                Ok(length) => from.get(..length).ok_or(Flaw::Truncated)?,
                Err(_) => return Err(Flaw::Truncated),
            };
            // The same bytes again and again would be more than the file has.
            if data.len() + part.len() > self.file.len() {
                return Err(Flaw::Damaged("a picture in it has more data than the file"));
            }
            data.extend_from_slice(part);
        }
        if data.is_empty() {
            return Err(Flaw::Damaged("a picture in it has no data"));
        }
        Ok(data)
    }
}

/// Bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Flaw::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Flaw::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn short(&mut self) -> Result<u16, Flaw> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u32, Flaw> {
        self.array().map(u32::from_be_bytes)
    }

    fn name(&mut self) -> Result<Name, Flaw> {
        self.array()
    }

    /// A number of 32 bits if `long`, else of 16.
    pub(super) fn number(&mut self, long: bool) -> Result<u32, Flaw> {
        if long { self.long() } else { self.short().map(u32::from) }
    }

    /// A number of so many bytes.
    fn sized(&mut self, size: u8) -> Result<u64, Flaw> {
        match size {
            0 => Ok(0),
            4 => self.long().map(u64::from),
            8 => self.array().map(u64::from_be_bytes),
            _ => Err(Flaw::Damaged("a number in it has an impossible size")),
        }
    }

    /// The version and the flags of a box that has them.
    fn version(&mut self) -> Result<(u8, u32), Flaw> {
        let word = self.long()?;
        Ok(((word >> 24) as u8, word & 0xFF_FFFF))
    }

    /// The next box: its name and content.
    fn any_box(&mut self) -> Result<(Name, &'a [u8]), Flaw> {
        let size = self.long()?;
        let name = self.name()?;
        let length = match size {
            0 => self.0.len() as u64,
            1 => u64::from_be_bytes(self.array()?).checked_sub(16).ok_or(Flaw::Damaged("a box in it is too short"))?,
            size => u64::from(size).checked_sub(8).ok_or(Flaw::Damaged("a box in it is too short"))?,
        };
        let length = usize::try_from(length).map_err(|_| Flaw::Truncated)?;
        // Pictures may be cut off, and their boxes then end behind the file; whoever wants their data notices.
        if name == *b"mdat" && length > self.0.len() {
            return Ok((name, std::mem::take(&mut self.0)));
        }
        self.take(length).map(|content| (name, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes()[..], name, content].concat()
    }

    /// A file with one item, whose data is in the file.
    fn file() -> Vec<u8> {
        let infe = boxed(b"infe", b"\x02\0\0\0\0\x01\0\0av01\0");
        let iinf = boxed(b"iinf", &[b"\0\0\0\0\0\x01".as_slice(), &infe].concat());
        let ispe = boxed(b"ispe", &[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 5]);
        let ipma = boxed(b"ipma", &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 0x81, 0x7F]);
        let iprp = boxed(b"iprp", &[boxed(b"ipco", &ispe), ipma].concat());
        let iloc = boxed(b"iloc", &[0, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4]);
        let pitm = boxed(b"pitm", &[0, 0, 0, 0, 0, 1]);
        let meta = boxed(b"meta", &[vec![0; 4], pitm, iinf, iloc, iprp].concat());
        [boxed(b"ftyp", b"avif\0\0\0\0"), meta].concat()
    }

    #[test]
    fn items_have_a_kind_a_size_and_data() {
        let file = file();
        let container = Container::parse(&file).expect("a valid file");
        let item = container.item(container.primary()).expect("the picture");
        assert_eq!((item.kind, item.size()), (*b"av01", Ok((9, 5))));
        assert_eq!(container.data(item), Ok(b"ftyp".to_vec()));
        assert_eq!(container.item(2).map(|_| ()), Err(Flaw::Damaged("it lacks a picture that it names")));
    }

    #[test]
    fn every_cut_is_noticed() {
        let file = file();
        for length in 0..file.len() {
            assert_eq!(Container::parse(&file[..length]).map(|_| ()), Err(Flaw::Truncated), "{length}");
        }
    }

    #[test]
    fn data_is_never_more_than_the_file() {
        let file = file();
        let container = Container::parse(&file).expect("a valid file");
        let item = |extents: Vec<(u64, u64)>| Item { extents, ..Item::default() };
        assert_eq!(
            container.data(&item(vec![(0, 0), (0, 1)])).map(|_| ()),
            Err(Flaw::Damaged("a picture in it has more data than the file"))
        );
        assert_eq!(container.data(&item(vec![(u64::MAX, 1)])), Err(Flaw::Truncated));
        assert_eq!(container.data(&item(vec![(4, u64::MAX)])), Err(Flaw::Truncated));
    }
}
