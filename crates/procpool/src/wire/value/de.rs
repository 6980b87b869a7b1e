//! Reading.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::Error;
use super::output::LARGE;
use crate::bulk::{self, Region, Room};

/// Where a value is read from: a slice, or a region of which a part at a time is copied out.
pub(crate) struct Source<'a> {
    window: Cow<'a, [u8]>,
    at: usize,
    region: Option<&'a dyn Region>,
    /// How far the region was copied out.
    copied: usize,
    /// What elements that have no bytes may still take in memory.
    allowance: usize,
    /// How many more elements may have no bytes.
    empty: u32,
}

/// How much of a region is copied at once, but for what goes to its place directly.
pub(super) const WINDOW: usize = 16 * 1024;

/// Elements without bytes are there for the claim that they are there. So many bytes of memory are given to them ..
const ALLOWANCE: usize = 16 << 20;
/// .. and this many times the bytes of the value.
const ALLOWANCE_PER_BYTE: usize = 64;

impl<'a> Source<'a> {
    /// The bytes of a slice.
    pub(crate) fn slice(bytes: &'a [u8]) -> Self {
        Self::new(Cow::Borrowed(bytes), None, bytes.len())
    }

    /// The bytes of a region.
    pub(crate) fn region(region: &'a dyn Region) -> Self {
        Self::new(Cow::Owned(Vec::new()), Some(region), region.len())
    }

    fn new(window: Cow<'a, [u8]>, region: Option<&'a dyn Region>, len: usize) -> Self {
        let allowance = len.saturating_mul(ALLOWANCE_PER_BYTE).saturating_add(ALLOWANCE);
        Self { window, at: 0, region, copied: 0, allowance, empty: u32::MAX }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        let outside = self.region.map_or(0, |region| region.len().saturating_sub(self.copied));
        self.window.len() - self.at + outside
    }

    /// Whether the next `len` bytes are in the window, once more was copied into it.
    #[cold]
    fn refill(&mut self, len: usize) -> bool {
        if let Some(region) = self.region
            && len <= WINDOW
        {
            let mut window = self.window.get(self.at..).unwrap_or_default().to_vec();
            let more = (WINDOW - window.len()).min(region.len().saturating_sub(self.copied));
            bulk::append(&mut window, more, |room| region.copy(self.copied, room));
            self.copied += more;
            self.window = Cow::Owned(window);
            self.at = 0;
        }
        self.window.len() - self.at >= len
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        if self.window.len() - self.at < N && !self.refill(N) {
            return Err(Error::end());
        }
        let bytes = self.window.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).ok_or_else(Error::end)?;
        self.at += N;
        Ok(*bytes)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Error> {
        self.take::<1>().map(|[byte]| byte)
    }

    #[inline]
    fn length(&mut self) -> Result<u64, Error> {
        let first = self.byte()?;
        if first < 0x80 { Ok(first.into()) } else { self.long_length(first) }
    }

    fn long_length(&mut self, first: u8) -> Result<u64, Error> {
        let mut length = u64::from(first & 0x7f);
        for shift in (7..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            length |= bits << shift;
            if byte < 0x80 {
                return Ok(length);
            }
        }
        Err(Error::not("a length"))
    }

    /// The length of something that has at least a byte for each of what it counts.
    fn length_present(&mut self) -> Result<usize, Error> {
        let length = self.length()?;
        usize::try_from(length).ok().filter(|length| *length <= self.left()).ok_or_else(Error::end)
    }

    /// Fills `room` with the next bytes, as far as there are any.
    fn fill(&mut self, room: &mut Room<'_>) {
        let before = room.left();
        room.put(self.window.get(self.at..).unwrap_or_default());
        self.at += before - room.left();
        if let Some(region) = self.region
            && room.left() > 0
        {
            let before = room.left();
            region.copy(self.copied, room);
            self.copied += before - room.left();
        }
    }

    fn vec(&mut self, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| Error::refused("there is no memory for it"))?;
        bulk::append(&mut bytes, len, |room| self.fill(room));
        if bytes.len() == len { Ok(bytes) } else { Err(Error::end()) }
    }

    /// Passes the next `len` bytes, which are there.
    fn skip(&mut self, len: usize) {
        let inside = len.min(self.window.len() - self.at);
        self.at += inside;
        self.copied += len - inside;
    }

    /// The next `len` bytes where they lie, if they are many and can be looked at there for longer than now.
    fn view(&mut self, len: usize) -> Option<bulk::Lent> {
        let region = self.region.filter(|_| len >= LARGE)?;
        let view = region.view(region.len() - self.left(), len)?;
        self.skip(len);
        Some(view)
    }

    /// The next `len` bytes where they lie, if they can be looked at there.
    fn in_place(&mut self, len: usize) -> Option<&[u8]> {
        if self.window.len() - self.at < len && !self.refill(len) {
            return None;
        }
        let bytes = self.window.get(self.at..self.at + len)?;
        self.at += len;
        Some(bytes)
    }

    /// Notes that an element of `size` bytes was read and `left` bytes were there before.
    #[inline]
    fn note_element(&mut self, size: usize, left: usize) -> Result<(), Error> {
        if self.left() != left {
            return Ok(());
        }
        match (self.allowance.checked_sub(size), self.empty.checked_sub(1)) {
            (Some(allowance), Some(empty)) => {
                (self.allowance, self.empty) = (allowance, empty);
                Ok(())
            }
            _ => Err(Error::refused("it claims more elements than it has bytes")),
        }
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("left", &self.left()).finish_non_exhaustive()
    }
}

/// Reads one value.
pub(super) struct Reader<'s, 'a>(&'s mut Source<'a>);

impl<'s, 'a> Reader<'s, 'a> {
    pub(super) fn new(source: &'s mut Source<'a>) -> Self {
        Self(source)
    }
}

macro_rules! read_numbers {
    ($($method:ident $visit:ident $number:ty,)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(<$number>::from_le_bytes(self.0.take()?))
        }
    )*};
}

macro_rules! refuse_to_tell {
    ($($method:ident)*) => {$(
        #[cold]
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(Error::refused(
                "its type wants to be told what comes, as with #[serde(flatten)], untagged and internally tagged enums and \
                 serde_json::Value; what travels does not say",
            ))
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'_, '_> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    refuse_to_tell! { deserialize_any deserialize_ignored_any deserialize_identifier }

    read_numbers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(Error::not("a bool")),
        }
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let number = u32::from_le_bytes(self.0.take()?);
        visitor.visit_char(char::from_u32(number).ok_or_else(|| Error::not("a char"))?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let len = self.0.length_present()?;
        let no_text = || Error::not("text in UTF-8");
        if let Some(bytes) = self.0.in_place(len) {
            return visitor.visit_str(std::str::from_utf8(bytes).map_err(|_| no_text())?);
        }
        visitor.visit_string(String::from_utf8(self.0.vec(len)?).map_err(|_| no_text())?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let len = self.0.length_present()?;
        if let Some(bytes) = self.0.in_place(len) {
            return visitor.visit_bytes(bytes);
        }
        visitor.visit_byte_buf(self.0.vec(len)?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let len = self.0.length_present()?;
        visitor.visit_byte_buf(self.0.vec(len)?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            _ => Err(Error::not("an option")),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name != bulk::IN_PLACE {
            return visitor.visit_newtype_struct(self);
        }
        let len = self.0.length_present()?;
        let padding = usize::from(self.0.byte()?);
        if padding >= bulk::ALIGNMENT || self.0.left() < padding + len {
            return Err(Error::not("bytes in their place"));
        }
        self.0.skip(padding);
        match self.0.view(len) {
            Some(view) => {
                bulk::give_view(view);
                visitor.visit_unit()
            }
            None => visitor.visit_byte_buf(self.0.vec(len)?),
        }
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let length = self.0.length()?;
        if let Some(width) = bulk::width::<V>() {
            let fits = length.checked_mul(width as u64).is_some_and(|bytes| bytes <= self.0.left() as u64);
            return (fits.then(|| bulk::read_vec::<V>(length as usize, |room| self.0.fill(room))).flatten())
                .ok_or_else(Error::end);
        }
        visitor.visit_seq(Elements { source: self.0, left: length })
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Elements { source: self.0, left: length as u64 })
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.0.length()?;
        visitor.visit_map(Elements { source: self.0, left })
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }
}

/// The elements of a sequence, or the entries of a map.
struct Elements<'s, 'a> {
    source: &'s mut Source<'a>,
    left: u64,
}

impl Elements<'_, '_> {
    /// How many there can be, each with a byte at least.
    fn likely(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX).min(self.source.left())
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let before = self.source.left();
        let element = seed.deserialize(&mut Reader(self.source))?;
        self.source.note_element(size_of::<T::Value>(), before)?;
        Ok(Some(element))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.likely())
    }
}

impl<'de> MapAccess<'de> for Elements<'_, '_> {
    type Error = Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let before = self.source.left();
        let key = seed.deserialize(&mut Reader(self.source))?;
        self.source.note_element(size_of::<K::Value>(), before)?;
        Ok(Some(key))
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(&mut Reader(self.source))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.likely())
    }
}

impl<'de, 's, 'a> EnumAccess<'de> for &'s mut Reader<'_, 'a> {
    type Error = Error;
    type Variant = Self;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        let variant = u32::try_from(self.0.length()?).map_err(|_| Error::not("an enum"))?;
        let variant = seed.deserialize(IntoDeserializer::<Error>::into_deserializer(variant))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Reader<'_, '_> {
    type Error = Error;

    #[inline]
    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}
