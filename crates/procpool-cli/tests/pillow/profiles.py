"""Colour profiles for the test pictures, made from their definitions."""

import struct
from itertools import product

# White of the profile connection space, and what sRGB, Display P3 and Adobe RGB have as red, green and blue, adapted to it.
D50 = (0.9642, 1.0, 0.8249)
SRGB = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)]
P3 = [(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)]
ADOBE = [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)]


def fixed(*values):
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def xyz(colour):
    return b"XYZ \0\0\0\0" + fixed(*colour)


def gamma(exponent):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256))


def srgb_curve():
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(kind, colours, space, tags):
    """A profile of version 2 with these tags."""
    texts = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78), b"cprt": b"text\0\0\0\0none\0"}
    tags = {**texts, b"wtpt": xyz(D50), **tags}
    table, data = struct.pack(">I", len(tags)), b""
    begin = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", begin + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = bytearray(128)
    header[0:4] = struct.pack(">I", begin + len(data))
    header[8:12] = b"\x02\x40\0\0"
    header[12:24] = kind + colours + space
    header[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    header[36:40] = b"acsp"
    header[68:80] = fixed(*D50)
    return bytes(header) + table + data


def rgb(primaries, curve):
    names = [b"r", b"g", b"b"]
    tags = {name + b"XYZ": xyz(colour) for name, colour in zip(names, primaries, strict=True)}
    tags |= {name + b"TRC": curve for name in names}
    return profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey(exponent):
    return profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": gamma(exponent)})


def lab_of_ink(inks):
    """The colour of four inks on paper: each lets some of red, green and blue through."""
    passes = [(0.05, 0.6, 0.85), (0.85, 0.1, 0.45), (0.97, 0.85, 0.08), (0.04, 0.04, 0.04)]
    light = [0.95, 0.96, 0.93]
    for ink, through in zip(inks, passes, strict=True):
        light = [level * (1 - ink + ink * part) for level, part in zip(light, through, strict=True)]
    connection = [sum(primary[axis] * level for primary, level in zip(ADOBE, light, strict=True)) for axis in range(3)]
    ratios = [value / white for value, white in zip(connection, D50, strict=True)]
    x, y, z = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in ratios)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def cmyk(steps=9):
    table = b"mft2\0\0\0\0" + bytes([4, 3, steps, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 2, 2)
    straight = struct.pack(">HH", 0, 65535)
    table += straight * 4
    for corner in product(range(steps), repeat=4):
        lightness, a, b = lab_of_ink([step / (steps - 1) for step in corner])
        table += struct.pack(">3H", *(round(value * 256) for value in (lightness * 2.55, a + 128, b + 128)))
    table += straight * 3
    return profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})
