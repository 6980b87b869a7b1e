"""Writes src/jobs/count/classes.rs: which characters end a word for GNU wc in the C.UTF-8 of this machine's glibc, and which do nothing."""

import ctypes
import sys

libc = ctypes.CDLL("libc.so.6")
libc.setlocale.restype = ctypes.c_char_p
libc.gnu_get_libc_version.restype = ctypes.c_char_p
assert libc.setlocale(6, b"C.UTF-8"), "there is no locale C.UTF-8"

# What wc itself adds to iswspace: spaces that do not break lines.
NO_BREAK = {0xA0, 0x2007, 0x202F, 0x2060}


def kind(code):
    if not libc.iswprint(code):
        return "ignored"
    return "space" if libc.iswspace(code) or code in NO_BREAK else None


ranges = {"ignored": [], "space": []}
for code in range(0x80, 0x110000):
    of = ranges.get(kind(code))
    if of is None:
        continue
    if of and of[-1][1] == code - 1:
        of[-1][1] = code
    else:
        of.append([code, code])

out = sys.stdout
out.write(f"""//! Characters beyond ASCII that are no part of a word for GNU `wc` with glibc {libc.gnu_get_libc_version().decode()} in C.UTF-8.
//! Made by `tests/text/characters.py`.

/// Those that end a word: first and last of each run.
#[rustfmt::skip]
pub(super) const SPACES: [(u32, u32); {len(ranges["space"])}] = [
""")


def write(pairs):
    for start in range(0, len(pairs), 7):
        out.write("    " + " ".join(f"({a:#x}, {b:#x})," for a, b in pairs[start : start + 7]) + "\n")
    out.write("];\n")


write(ranges["space"])
out.write(f"""
/// Those that neither begin nor end one, since they cannot be printed.
#[rustfmt::skip]
pub(super) const IGNORED: [(u32, u32); {len(ranges["ignored"])}] = [
""")
write(ranges["ignored"])
