//! What travels: values, the items of frames, and the messages of the control socket. Encoding and decoding only.

pub(crate) mod control;
pub(crate) mod items;
pub(crate) mod value;
