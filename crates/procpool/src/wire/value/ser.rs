//! Writing.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{Error, Output};
use crate::bulk;

/// The most bytes a length takes.
pub(super) const LENGTH_MAX: usize = 10;

/// Writes one value.
pub(super) struct Writer<'o, 'a>(pub(super) &'o mut Output<'a>);

impl Writer<'_, '_> {
    #[inline]
    fn length(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.byte(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.byte(n as u8);
    }
}

macro_rules! write_numbers {
    ($($method:ident $number:ty,)*) => {$(
        #[inline]
        fn $method(self, number: $number) -> Result<(), Error> {
            self.0.put(&number.to_le_bytes());
            Ok(())
        }
    )*};
}

impl<'w, 'a> Serializer for &'w mut Writer<'_, 'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Sequence<'w, 'a>;
    type SerializeTuple = Fields<'w, 'a>;
    type SerializeTupleStruct = Fields<'w, 'a>;
    type SerializeTupleVariant = Fields<'w, 'a>;
    type SerializeMap = Fields<'w, 'a>;
    type SerializeStruct = Fields<'w, 'a>;
    type SerializeStructVariant = Fields<'w, 'a>;

    fn is_human_readable(&self) -> bool {
        false
    }

    write_numbers! {
        serialize_i8 i8,
        serialize_i16 i16,
        serialize_i32 i32,
        serialize_i64 i64,
        serialize_i128 i128,
        serialize_u8 u8,
        serialize_u16 u16,
        serialize_u32 u32,
        serialize_u64 u64,
        serialize_u128 u128,
        serialize_f32 f32,
        serialize_f64 f64,
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.0.byte(u8::from(value));
        Ok(())
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_u32(value.into())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Error> {
        self.length(bytes.len() as u64);
        self.0.pad();
        self.0.run(bytes);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Error> {
        self.0.byte(0);
        Ok(())
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.0.byte(1);
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, variant: u32, _: &'static str) -> Result<(), Error> {
        self.length(variant.into());
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Error> {
        self.0.align_next(name == bulk::IN_PLACE);
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.length(variant.into());
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Sequence<'w, 'a>, Error> {
        let gap = match length {
            Some(length) => {
                self.length(length as u64);
                None
            }
            None => Some(self.0.gap()),
        };
        Ok(Sequence { output: self.0, written: 0, promised: length, gap })
    }

    #[inline]
    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, sequence: I) -> Result<(), Error> {
        if let Some((count, bytes)) = bulk::bytes_of(&sequence) {
            self.length(count as u64);
            self.0.run(bytes);
            return Ok(());
        }
        let mut elements = sequence.into_iter();
        let length = match elements.size_hint() {
            (least, Some(most)) if least == most => Some(least),
            _ => None,
        };
        let mut sequence = self.serialize_seq(length)?;
        elements.try_for_each(|element| sequence.serialize_element(&element))?;
        SerializeSeq::end(sequence)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Fields<'w, 'a>, Error> {
        Ok(Fields(self.0))
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Fields<'w, 'a>, Error> {
        Ok(Fields(self.0))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields<'w, 'a>, Error> {
        self.length(variant.into());
        Ok(Fields(self.0))
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Fields<'w, 'a>, Error> {
        let Some(length) = length else {
            return Err(Error::refused(
                "it has a map of unknown length, as #[serde(flatten)] makes one; that cannot travel",
            ));
        };
        self.length(length as u64);
        Ok(Fields(self.0))
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'w, 'a>, Error> {
        Ok(Fields(self.0))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields<'w, 'a>, Error> {
        self.length(variant.into());
        Ok(Fields(self.0))
    }
}

/// Writes the elements of a sequence.
pub(super) struct Sequence<'w, 'a> {
    output: &'w mut Output<'a>,
    written: usize,
    promised: Option<usize>,
    gap: Option<usize>,
}

impl SerializeSeq for Sequence<'_, '_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<(), Error> {
        self.written += 1;
        element.serialize(&mut Writer(self.output))
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        if let Some(gap) = self.gap {
            self.output.fill_gap(gap, self.written as u64);
        } else if self.promised != Some(self.written) {
            return Err(Error::refused("it has a sequence with more or fewer elements than it said"));
        }
        Ok(())
    }
}

/// Writes what comes, one behind the other.
pub(super) struct Fields<'w, 'a>(&'w mut Output<'a>);

macro_rules! write_fields {
    ($($trait:ident $method:ident,)*) => {$(
        impl $trait for Fields<'_, '_> {
            type Ok = ();
            type Error = Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, field: &T) -> Result<(), Error> {
                field.serialize(&mut Writer(self.0))
            }

            #[inline]
            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

write_fields! {
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

macro_rules! write_named_fields {
    ($($trait:ident,)*) => {$(
        impl $trait for Fields<'_, '_> {
            type Ok = ();
            type Error = Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, field: &T) -> Result<(), Error> {
                field.serialize(&mut Writer(self.0))
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), Error> {
                let sentence = format!("it leaves out its field {name:?} (skip_serializing_if); then it could not be read again");
                Err(Error::refused(&sentence))
            }

            #[inline]
            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

write_named_fields! {
    SerializeStruct,
    SerializeStructVariant,
}

impl SerializeMap for Fields<'_, '_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        key.serialize(&mut Writer(self.0))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut Writer(self.0))
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}
