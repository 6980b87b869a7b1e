//! Runs of numbers as the bytes they are: what a sequence of numbers costs when nobody looks at each of them.
//!
//! Serde hands a `Vec<u8>` over element by element. What it hands over has a type, though, and of a `Vec` or slice of numbers
//! the elements lie in memory as our format writes them. So the format asks here whether it was given just that, going
//! out ([`bytes_of`]) and coming in ([`read_vec`]); everything else takes the ordinary way.

use std::any::TypeId;
use std::cell::Cell;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

pub(crate) use crate::os::copy::{Region, Room, append};
pub(crate) use crate::os::lent::Lent;

/// The name of a newtype around bytes that may be looked at where they lie, once they are in shared memory: the format puts
/// them at a multiple of [`ALIGNMENT`] there, and whoever reads them gets either bytes of his own or a unit, and then
/// [`take_view`].
pub(crate) const IN_PLACE: &str = "procpool::in_place";
/// Any number can be read at such an address, and a line of the cache begins there.
pub(crate) const ALIGNMENT: usize = 64;

thread_local! {
    static VIEW: Cell<Option<Lent>> = const { Cell::new(None) };
}

/// Hands a view to whoever is reading a value on this thread.
pub(crate) fn give_view(view: Lent) {
    VIEW.set(Some(view));
}

/// What was given last.
pub(crate) fn take_view() -> Option<Lent> {
    VIEW.take()
}

/// Whether numbers lie in memory as the format writes them: fixed width, little endian, `usize` as `u64`.
const AS_WRITTEN: bool = cfg!(all(target_endian = "little", target_pointer_width = "64"));

macro_rules! for_each_number {
    ($body:ident) => {
        $body!(u8);
        $body!(u16);
        $body!(u32);
        $body!(u64);
        $body!(i8);
        $body!(i16);
        $body!(i32);
        $body!(i64);
        $body!(f32);
        $body!(f64);
        $body!(usize);
        $body!(isize);
    };
}

/// If `sequence` is a `&Vec<T>` or `&[T]` of numbers: how many they are, and their bytes.
#[inline]
pub(crate) fn bytes_of<I>(sequence: &I) -> Option<(usize, &[u8])> {
    if !AS_WRITTEN {
        return None;
    }
    macro_rules! try_number {
        ($number:ty) => {
            if typeid::of::<I>() == TypeId::of::<&'static Vec<$number>>() {
                // SAFETY: `I` is `&Vec` of these numbers, with some lifetime that is still running: `sequence` is one.
                let numbers: &&Vec<$number> = unsafe { &*std::ptr::from_ref(sequence).cast() };
                return Some((numbers.len(), plain_bytes(numbers)));
            }
            if typeid::of::<I>() == TypeId::of::<&'static [$number]>() {
                // SAFETY: as above, `I` is a slice of these numbers.
                let numbers: &&[$number] = unsafe { &*std::ptr::from_ref(sequence).cast() };
                return Some((numbers.len(), plain_bytes(numbers)));
            }
        };
    }
    for_each_number!(try_number);
    None
}

fn plain_bytes<T: bytemuck::NoUninit>(numbers: &[T]) -> &[u8] {
    bytemuck::must_cast_slice(numbers)
}

/// If `V` is what serde makes a `Vec` of numbers with: how many bytes one of them has.
#[inline]
pub(crate) fn width<'de, V: Visitor<'de>>() -> Option<usize> {
    if !AS_WRITTEN {
        return None;
    }
    macro_rules! try_number {
        ($number:ty) => {
            if typeid::of::<V::Value>() == TypeId::of::<Vec<$number>>() {
                static VISITOR: OnceLock<Option<TypeId>> = OnceLock::new();
                let own = *VISITOR.get_or_init(visitor_of::<$number>);
                return (own == Some(typeid::of::<V>())).then_some(size_of::<$number>());
            }
        };
    }
    for_each_number!(try_number);
    None
}

/// The `Vec` of `count` numbers that `V`, of which [`width`] said that it makes one, would make of the bytes that `fill`
/// gives. `None` if those are too few, or memory is short.
pub(crate) fn read_vec<'de, V: Visitor<'de>>(count: usize, fill: impl FnOnce(&mut Room<'_>)) -> Option<V::Value> {
    macro_rules! try_number {
        ($number:ty) => {
            if typeid::of::<V::Value>() == TypeId::of::<Vec<$number>>() {
                let numbers = numbers::<$number>(count, fill)?;
                // SAFETY: `V::Value` is this very type: they have the same id, and it has no lifetimes, which an id does not
                // tell. The original is not dropped.
                return Some(unsafe { std::mem::transmute_copy(&std::mem::ManuallyDrop::new(numbers)) });
            }
        };
    }
    for_each_number!(try_number);
    None
}

fn numbers<T: bytemuck::Pod>(count: usize, fill: impl FnOnce(&mut Room<'_>)) -> Option<Vec<T>> {
    let mut numbers: Vec<T> = Vec::new();
    numbers.try_reserve_exact(count).ok()?;
    let len = count.checked_mul(size_of::<T>())?;
    // SAFETY: the capacity is `count` elements or more, so `len` bytes, and writing bytes needs no alignment.
    let bytes = unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast::<MaybeUninit<u8>>(), len) };
    let mut room = Room::new(bytes);
    fill(&mut room);
    if room.left() > 0 {
        return None;
    }
    // SAFETY: all `len` bytes were written, and any bytes are numbers.
    unsafe { numbers.set_len(count) };
    Some(numbers)
}

/// The type with which serde makes a `Vec<T>`. It is private; but whoever is asked for a `Vec<T>` is shown it.
fn visitor_of<T: for<'de> Deserialize<'de>>() -> Option<TypeId> {
    match Vec::<T>::deserialize(Look) {
        Err(Seen(id)) => id,
        Ok(_) => None,
    }
}

/// A deserializer that looks at the type of the visitor it is given.
struct Look;

#[derive(Debug)]
struct Seen(Option<TypeId>);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only looked at")
    }
}

impl std::error::Error for Seen {}

impl serde::de::Error for Seen {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(None)
    }
}

impl<'de> Deserializer<'de> for Look {
    type Error = Seen;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
        Err(Seen(None))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
        Err(Seen(Some(typeid::of::<V>())))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_and_slices_of_numbers_are_recognised_and_nothing_else() {
        let numbers = vec![1u16, 2, 0x304];
        assert_eq!(bytes_of(&&numbers), Some((3, &[1, 0, 2, 0, 4, 3][..])));
        assert_eq!(bytes_of(&&numbers[1..]), Some((2, &[2, 0, 4, 3][..])));
        assert_eq!(bytes_of(&&Vec::<f64>::new()), Some((0, &[][..])));
        assert!(bytes_of(&&vec![true]).is_none());
        assert!(bytes_of(&&vec!['a']).is_none());
        assert!(bytes_of(&numbers).is_none(), "by value");
        assert!(bytes_of(&&std::collections::VecDeque::from([1u8])).is_none());
        assert!(bytes_of(&numbers.iter()).is_none());
    }

    /// Asks for a `Vec<u8>` as serde does, but means something else by it.
    struct Backwards;

    impl<'de> Visitor<'de> for Backwards {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }
    }

    #[test]
    fn only_serdes_own_visitor_is_known() {
        assert!(visitor_of::<u8>().is_some());
        assert_ne!(visitor_of::<u8>(), visitor_of::<i8>());
        assert_eq!(width::<Backwards>(), None);
        assert_eq!(width::<serde::de::IgnoredAny>(), None);
    }

    #[test]
    fn numbers_are_only_made_of_enough_bytes() {
        assert_eq!(numbers::<u16>(2, |room| room.put(&[1, 0, 2])), None);
        assert_eq!(numbers::<u16>(2, |room| room.put(&[1, 0, 2, 0])), Some(vec![1, 2]));
        assert_eq!(numbers::<u64>(usize::MAX / 2, |_| ()), None);
    }
}
