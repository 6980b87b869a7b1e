"""Test pictures in every format that procpool reads, made with Pillow."""

import random
import struct
from pathlib import Path

from PIL import Image, ImageCms, TiffImagePlugin

import profiles

ORIENTATION = 274
SIZES = [(1, 1), (1, 500), (500, 1), (7, 3), (16, 16), (17, 33), (127, 131), (257, 101), (640, 481)]


def pattern(size, mode):
    """A picture with smooth parts, edges and noise; the same for the same size and mode."""
    width, height = size
    generator = random.Random(f"{size}{mode}")
    bands = []
    for _ in Image.new(mode, (1, 1)).getbands():
        shift = generator.randrange(256)
        ramp = Image.linear_gradient("L").rotate(generator.randrange(4) * 90).resize(size)
        ramp = ramp.point([(level + shift) % 256 for level in range(256)])
        noise = Image.frombytes("L", size, generator.randbytes(width * height))
        bands.append(Image.blend(ramp, noise, 0.25))
    if len(bands) == 1:
        return bands[0]
    return Image.merge(mode, bands)


def exif_with(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def jpegs(folder):
    for size in SIZES:
        name = f"{size[0]}x{size[1]}"
        for mode in ["L", "RGB", "CMYK"]:
            for progressive in [False, True]:
                kind = "progressive" if progressive else "baseline"
                path = folder / f"{name}-{mode}-{kind}.jpg"
                pattern(size, mode).save(path, quality=90, progressive=progressive)
                yield "JPEG " + kind, path
        for sampling in ["4:4:4", "4:2:2", "4:2:0"]:
            path = folder / f"{name}-{sampling.replace(':', '')}.jpg"
            pattern(size, "RGB").save(path, quality=85, subsampling=sampling)
            yield "JPEG subsampling", path
            path = folder / f"{name}-{sampling.replace(':', '')}-progressive.jpg"
            pattern(size, "RGB").save(path, quality=92, subsampling=sampling, progressive=True)
            yield "JPEG subsampling, progressive", path
        path = folder / f"{name}-restart.jpg"
        pattern(size, "RGB").save(path, quality=60, restart_marker_rows=1)
        yield "JPEG restart markers", path
    for quality in [1, 30, 100]:
        path = folder / f"quality-{quality}.jpg"
        pattern((640, 481), "RGB").save(path, quality=quality)
        yield "JPEG quality", path
    path = folder / "keep-rgb.jpg"
    pattern((640, 481), "RGB").save(path, keep_rgb=True)
    yield "JPEG RGB", path
    for orientation in range(1, 9):
        for size in [(1600, 1201), (37, 23)]:
            path = folder / f"orientation-{orientation}-{size[0]}.jpg"
            pattern(size, "RGB").save(path, exif=exif_with(orientation))
            yield "JPEG orientation", path
    path = folder / "xmp-orientation.jpg"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    pattern((300, 200), "RGB").save(path, xmp=xmp)
    yield "JPEG orientation", path


def pngs(folder):
    for size in SIZES:
        name = f"{size[0]}x{size[1]}"
        for mode in ["L", "LA", "RGB", "RGBA"]:
            path = folder / f"{name}-{mode}.png"
            pattern(size, mode).save(path)
            yield "PNG " + mode, path
        path = folder / f"{name}-1.png"
        pattern(size, "L").convert("1").save(path)
        yield "PNG 1", path
        for colours in [2, 4, 16, 256]:
            path = folder / f"{name}-P{colours}.png"
            palette = pattern(size, "RGB").quantize(colours)
            palette.save(path)
            yield "PNG palette", path
            path = folder / f"{name}-P{colours}-clear.png"
            palette.save(path, transparency=0)
            yield "PNG palette + tRNS", path
        path = folder / f"{name}-P-alphas.png"
        palette = pattern(size, "RGB").quantize(200)
        palette.save(path, transparency=bytes(range(0, 200)))
        yield "PNG palette + tRNS", path
        for mode, clear in [("L", 90), ("RGB", (90, 91, 92))]:
            path = folder / f"{name}-{mode}-clear.png"
            picture = pattern(size, mode)
            picture.putpixel((0, 0), clear)
            picture.save(path, transparency=clear)
            yield "PNG tRNS", path
        path = folder / f"{name}-I16.png"
        deep = bytes(random.Random(name).randbytes(2 * size[0] * size[1]))
        Image.frombytes("I;16", size, deep).save(path)
        yield "PNG 16 bit", path
    for orientation in range(1, 9):
        path = folder / f"orientation-{orientation}.png"
        pattern((300, 201), "RGB").save(path, exif=exif_with(orientation))
        yield "PNG orientation", path


def webps(folder):
    for size in SIZES:
        name = f"{size[0]}x{size[1]}"
        for mode in ["RGB", "RGBA"]:
            for options in [{"quality": 80}, {"quality": 20}, {"lossless": True}]:
                kind = "lossless" if "lossless" in options else "lossy"
                path = folder / f"{name}-{mode}-{kind}{options.get('quality', '')}.webp"
                pattern(size, mode).save(path, **options)
                yield f"WebP {kind} {mode}", path
    frames = [pattern((200, 150), "RGBA"), pattern((200, 150), "RGB").convert("RGBA")]
    path = folder / "animated.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    yield "WebP animation", path
    for orientation in range(1, 9):
        path = folder / f"orientation-{orientation}.webp"
        pattern((300, 201), "RGB").save(path, exif=exif_with(orientation))
        yield "WebP orientation", path


def gifs(folder):
    for size in SIZES:
        name = f"{size[0]}x{size[1]}"
        for interlace in [0, 1]:
            path = folder / f"{name}-{interlace}.gif"
            pattern(size, "RGB").quantize(256).save(path, interlace=interlace)
            yield "GIF", path
        path = folder / f"{name}-grey.gif"
        pattern(size, "L").save(path)
        yield "GIF grey", path
        path = folder / f"{name}-clear.gif"
        pattern(size, "RGB").quantize(64).save(path, transparency=3)
        yield "GIF transparency", path
    frames = [pattern((200, 150), "RGB").quantize(31), pattern((200, 150), "L").convert("P")]
    path = folder / "animated.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    yield "GIF animation", path
    for clear in [False, True]:
        path = folder / f"small-frame-{clear}.gif"
        options = {"transparency": 2} if clear else {}
        pattern((60, 40), "RGB").quantize(16).save(path, **options)
        content = bytearray(path.read_bytes())
        content[6:10] = (90).to_bytes(2, "little") + (70).to_bytes(2, "little")
        descriptor = content.index(b",\0\0\0\0\x3c\0\x28\0")
        content[descriptor + 1 : descriptor + 5] = b"\x0b\0\x07\0"
        path.write_bytes(content)
        yield "GIF frame within canvas", path
        content[descriptor + 1 : descriptor + 5] = b"\x37\0\x28\0"
        path = folder / f"jutting-frame-{clear}.gif"
        path.write_bytes(content)
        yield "GIF frame beyond canvas", path


def tiffs(folder):
    for size in SIZES:
        name = f"{size[0]}x{size[1]}"
        for mode in ["L", "LA", "RGB", "RGBA", "CMYK"]:
            for compression in [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"]:
                path = folder / f"{name}-{mode}-{compression}.tif"
                pattern(size, mode).save(path, compression=compression)
                yield "TIFF " + mode, path
        for compression in [None, "group4"]:
            path = folder / f"{name}-1-{compression}.tif"
            pattern(size, "L").convert("1").save(path, compression=compression)
            yield "TIFF 1", path
        path = folder / f"{name}-P.tif"
        pattern(size, "RGB").quantize(200).save(path)
        yield "TIFF palette", path
        path = folder / f"{name}-I16.tif"
        deep = bytes(random.Random(name).randbytes(2 * size[0] * size[1]))
        Image.frombytes("I;16", size, deep).save(path)
        yield "TIFF 16 bit", path
    for orientation in range(1, 9):
        path = folder / f"orientation-{orientation}.tif"
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[ORIENTATION] = orientation
        pattern((300, 201), "RGB").save(path, tiffinfo=tags)
        yield "TIFF orientation", path


def bmp_file(size, bits, rows, header=40, compression=0, palette=b"", masks=b""):
    """A BMP file of packed rows; a negative height says that they go down."""
    width, height = size
    kinds = "<IHHHH" if header == 12 else "<IiiHHIIiiII"
    rest = () if header == 12 else (compression, len(rows), 2835, 2835, len(palette) // 4, 0)
    head = struct.pack(kinds, header, width, height, 1, bits, *rest)
    head += bytes(header - len(head)) + masks + palette
    return struct.pack("<2sIHHI", b"BM", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows


def run_lengths(rows, bits):
    """Indices in runs, as the format has them; every fifth run of bytes is written as it is."""
    out = bytearray()
    for row in rows:
        x = 0
        while x < len(row):
            if x % 5 == 0 and len(row) - x >= 4:
                part = row[x : x + 4]
                if bits == 4:
                    part = bytes(a << 4 | b for a, b in zip(part[::2], part[1::2], strict=True))
                out += bytes([0, 4]) + part
                x += 4
            else:
                length = next((n for n in range(1, min(255, len(row) - x)) if row[x + n] != row[x]), 1)
                out += bytes([length, row[x] if bits == 8 else row[x] * 17])
                x += length
        out += bytes([0, 0])
    return bytes(out) + bytes([0, 1])


def bmps(folder):
    for size in SIZES:
        width, height = size
        name = f"{width}x{height}"
        for mode in ["1", "L", "P", "RGB", "RGBA"]:
            picture = {
                "1": lambda: pattern(size, "L").convert("1"),
                "P": lambda: pattern(size, "RGB").quantize(200),
            }.get(mode, lambda mode=mode: pattern(size, mode))()
            path = folder / f"{name}-{mode}.bmp"
            picture.save(path)
            yield "BMP " + mode, path
        colours = pattern(size, "RGB")
        stride = (width * 3 + 3) // 4 * 4
        down = b"".join(
            colours.crop((0, y, width, y + 1)).tobytes("raw", "BGR").ljust(stride, b"\0") for y in range(height)
        )
        up = b"".join(down[y * stride : (y + 1) * stride] for y in reversed(range(height)))
        for kind, content in {
            "down": bmp_file((width, -height), 24, down),
            "old": bmp_file(size, 24, up, header=12),
            "os2": bmp_file(size, 24, up, header=64),
        }.items():
            path = folder / f"{name}-{kind}.bmp"
            path.write_bytes(content)
            yield "BMP headers", path
        shorts = random.Random(name)
        stride = (width * 2 + 3) // 4 * 4
        deep = b"".join(shorts.randbytes(width * 2).ljust(stride, b"\0") for _ in range(height))
        masks = struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
        for kind, content in {
            "555": bmp_file(size, 16, deep),
            "565": bmp_file(size, 16, deep, compression=3, masks=masks),
        }.items():
            path = folder / f"{name}-{kind}.bmp"
            path.write_bytes(content)
            yield "BMP 16 bit", path
        for bits in [4, 8]:
            indices = pattern(size, "RGB").quantize(2**bits if bits == 4 else 200)
            data = indices.tobytes()
            rows = [data[y * width : (y + 1) * width] for y in reversed(range(height))]
            palette = bytes(indices.getpalette("RGB")).ljust(3 * 2**bits, b"\0")
            palette = b"".join(palette[at : at + 3][::-1] + b"\0" for at in range(0, len(palette), 3))
            path = folder / f"{name}-runs{bits}.bmp"
            compression = {8: 1, 4: 2}[bits]
            path.write_bytes(bmp_file(size, bits, run_lengths(rows, bits), compression=compression, palette=palette))
            yield "BMP run lengths", path


def avifs(folder):
    for size in SIZES:
        name = f"{size[0]}x{size[1]}"
        for range_ in ["full", "limited"]:
            for sampling in ["4:4:4", "4:2:2", "4:2:0", "4:0:0"]:
                for mode in ["RGB", "RGBA"]:
                    path = folder / f"{name}-{mode}-{sampling.replace(':', '')}-{range_}.avif"
                    pattern(size, mode).save(path, quality=80, speed=10, subsampling=sampling, range=range_)
                    yield f"AVIF {sampling} {mode}", path
        path = folder / f"{name}-premultiplied.avif"
        pattern(size, "RGBA").save(path, quality=80, speed=10, alpha_premultiplied=True)
        yield "AVIF premultiplied", path
        path = folder / f"{name}-lossless.avif"
        pattern(size, "RGB").save(path, quality=100, speed=10, subsampling="4:4:4")
        yield "AVIF quality 100", path
    for orientation in range(1, 9):
        path = folder / f"orientation-{orientation}.avif"
        pattern((300, 201), "RGB").save(path, speed=10, exif=exif_with(orientation))
        yield "AVIF orientation", path
    frames = [pattern((200, 150), "RGB"), pattern((200, 150), "L").convert("RGB")]
    path = folder / "animated.avif"
    frames[0].save(path, save_all=True, append_images=frames[1:], speed=10)
    yield "AVIF animation", path


def with_profiles(folder):
    """Pictures with colour profiles, in each format that has them."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    by_mode = {
        "RGB": {
            "sRGB": srgb,
            "sRGB-curve": profiles.rgb(profiles.SRGB, profiles.srgb_curve()),
            "P3": profiles.rgb(profiles.P3, profiles.srgb_curve()),
            "Adobe": profiles.rgb(profiles.ADOBE, profiles.gamma(563 / 256)),
            "broken": srgb[:200],
            "ink": profiles.cmyk(3),
        },
        "L": {"1.8": profiles.grey(1.8), "2.2": profiles.grey(2.2), "colours": srgb},
        "CMYK": {"inks": profiles.cmyk(), "colours": srgb},
    }
    by_mode["RGBA"], by_mode["LA"] = by_mode["RGB"], by_mode["L"]
    endings = {"RGB": ["jpg", "png", "tif", "webp"], "RGBA": ["png", "webp"], "L": ["jpg", "png", "tif"], "LA": ["png"]}
    endings["CMYK"] = ["jpg", "tif"]
    for mode, some in by_mode.items():
        for name, icc in some.items():
            for ending in endings[mode]:
                path = folder / f"profile-{mode}-{name}.{ending}"
                options = {"lossless": True} if ending == "webp" else {}
                pattern((257, 190), mode).save(path, icc_profile=icc, **options)
                yield f"profile, {mode}", path


def all_pictures(folder: Path):
    """Writes the pictures into a folder; yields their kinds and paths."""
    for make in [jpegs, pngs, webps, gifs, tiffs, bmps, avifs, with_profiles]:
        yield from make(folder)
