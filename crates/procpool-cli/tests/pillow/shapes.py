"""Compares what procpool makes of pictures in all its ways to fit and with all its filters with what Pillow makes of them.

Prints a table and exits with 1 if any pixel differs by more than it may: by 1 level for some blurs, by 6 with --fast, else not
at all.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from PIL import Image, ImageFilter, ImageOps, TiffImagePlugin

from compare import difference, ready
from pictures import ORIENTATION, exif_with, pattern

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
FITS = ["inside", "cover", "contain", "fill", "shorter"]
SIZES = [(1, 1), (1, 5000), (5000, 1), (7, 3), (127, 131), (640, 481)]
BOXES = [(128, 128), (50, 31), (3, 7), (1, 1), (199, 61), (61, None), (None, 61)]
PHOTO_BOXES = [(128, 128), (1000, 1500), (256, None)]
# What --fast is allowed to differ by.
FAST_BOXES = [(128, 128), (200, 300), (320, 101), (512, 512)]
FAST_BLURS = [None, 1.0, 2.0, 5.0]
FAST_LEVELS = 6
# Larger ones are not made, as a picture of 1 x 5000 pixels 199 wide would be.
MOST_PIXELS = 4_000_000


def inputs(folder, images):
    """Pictures whose own pixels are known to be read as Pillow does, with their boxes and filters."""
    every = [(box, name) for box in BOXES for name in FILTERS]
    some = [(box, name) for box, name in every if name in ("bicubic", "lanczos")]
    for size in SIZES:
        name = f"{size[0]}x{size[1]}"
        for mode in ["L", "LA", "RGB", "RGBA"]:
            path = folder / f"{name}-{mode}.png"
            pattern(size, mode).save(path)
            yield mode, path, every if mode.startswith("RGB") else some
        path = folder / f"{name}-CMYK.tif"
        pattern(size, "CMYK").save(path)
        yield "CMYK", path, some
        path = folder / f"{name}.jpg"
        pattern(size, "RGB").save(path, quality=90)
        yield "JPEG", path, some
    for orientation in range(1, 9):
        for suffix in ["jpg", "png"]:
            path = folder / f"orientation-{orientation}.{suffix}"
            pattern((601, 403), "RGB").save(path, exif=exif_with(orientation))
            yield "turned", path, [(box, "bicubic") for box in BOXES]
        path = folder / f"orientation-{orientation}.tif"
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[ORIENTATION] = orientation
        pattern((601, 403), "RGB").save(path, tiffinfo=tags)
        yield "turned", path, [(box, "bicubic") for box in BOXES]
    for path in sorted(images.glob("*.jpg")):
        yield "photographs", path, [(box, "bicubic") for box in PHOTO_BOXES] + [((320, 101), name) for name in FILTERS]


def contained(size, box):
    """The size that ImageOps.contain makes, but for sides of 0."""
    have, want = size[0] / size[1], box[0] / box[1]
    if have > want:
        return box[0], max(round(size[1] / size[0] * box[0]), 1)
    if have < want:
        return max(round(size[0] / size[1] * box[1]), 1), box[1]
    return box


def following(size, box):
    """The box with its free side filled in."""
    if box[0] is None:
        return max(round(size[0] / size[1] * box[1]), 1), box[1]
    if box[1] is None:
        return box[0], max(round(size[1] / size[0] * box[0]), 1)
    return box


def shorter(size, box):
    """As in torchvision.transforms.functional._compute_resized_output_size."""
    length = min(side for side in box if side is not None)
    if size[0] <= size[1]:
        return length, length * size[1] // size[0]
    return length * size[0] // size[1], length


def inside_one_side(picture, box, method):
    """A thumbnail with a free side. Image.thumbnail always wants two, and decodes JPEG files by them."""
    size = Image.new("1", picture.size)
    size.thumbnail([10**9 if side is None else side for side in box], reducing_gap=None)
    if size.size == picture.size:
        return picture
    wanted = [2 * (side or made) for side, made in zip(box, size.size, strict=True)]
    drafted = picture.draft(None, wanted)
    return picture.resize(size.size, method, box=drafted and drafted[1], reducing_gap=2.0)


def white(mode):
    return {"L": 255, "LA": (0, 0), "RGB": (255,) * 3, "RGBA": (0,) * 4, "CMYK": (0,) * 4}[mode]


def padded(picture, box, method, orientation):
    """Half a pixel more goes to one side, so it matters that the picture is upright when it gets its bars."""
    if orientation == 1 and 0 not in ImageOps.contain(Image.new("1", picture.size), box).size:
        made = ImageOps.pad(picture, box, method, white(picture.mode))
    else:
        resized = picture.resize(contained(picture.size, box), method)
        resized.getexif()[ORIENTATION] = orientation
        resized = ImageOps.exif_transpose(resized)
        made = Image.new(picture.mode, box if orientation < 5 else box[::-1], white(picture.mode))
        made.paste(resized, [round((a - b) / 2) for a, b in zip(made.size, resized.size, strict=True)])
    return made.convert("RGB") if made.mode == "CMYK" else made


def expected(path, box, fit, method, blur):
    picture = Image.open(path)
    orientation = picture.getexif().get(ORIENTATION, 1) if picture.format != "TIFF" else 1
    picture = ready(picture)
    if blur is not None:
        picture = picture.filter(ImageFilter.GaussianBlur(blur))
    box = box if orientation < 5 else box[::-1]
    both = None not in box
    if fit == "inside" and both:
        picture.thumbnail(box, method)
        made = picture
    elif fit == "inside":
        made = inside_one_side(picture, box, method)
    elif fit == "shorter":
        made = picture.resize(shorter(picture.size, box), method)
    elif not both or fit == "fill":
        made = picture.resize(following(picture.size, box), method)
    elif fit == "cover":
        made = ImageOps.fit(picture, box, method)
    else:
        return padded(picture, box, method, orientation)
    if made.mode == "CMYK":
        made = made.convert("RGB")
    return ImageOps.exif_transpose(made)


def jobs(folder, images):
    for kind, path, boxes in inputs(folder, images):
        size = Image.open(path).size
        upright = ImageOps.exif_transpose(Image.open(path)).size
        for box, name in boxes:
            for fit in FITS:
                made = {"shorter": shorter, "inside": lambda size, box: (0, 0)}.get(fit, following)(upright, box)
                if made[0] * made[1] <= MOST_PIXELS:
                    yield kind, path, box, fit, name, None
        if kind == "photographs" or size == (127, 131):
            for fit in FITS:
                yield kind + ", blurred", path, (50, 31), fit, "bicubic", 2.0
        if kind == "photographs":
            for box in FAST_BOXES:
                for fit in ["inside", "cover", "contain", "fill"]:
                    for blur in FAST_BLURS:
                        yield "photographs, fast", path, box, fit, "bicubic", blur


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        todo = list(jobs(folder, arguments.images))
        lines = []
        for number, (kind, path, box, fit, filter_name, blur) in enumerate(todo):
            numbers = ["-" if value is None else value for value in (*box, blur)]
            fields = [path, folder / f"{number}.out", *numbers, fit, filter_name]
            lines.append("\t".join(map(str, fields + ["fast"] * kind.endswith("fast"))))
        list_path = folder / "jobs"
        list_path.write_text("\n".join(lines))
        subprocess.run([arguments.program, list_path], check=True)

        worst, count, failures = defaultdict(int), defaultdict(int), []
        for number, (kind, path, box, fit, filter_name, blur) in enumerate(todo):
            found = difference(expected(path, box, fit, FILTERS[filter_name], blur), folder / f"{number}.out")
            count[kind, fit] += 1
            if isinstance(found, int):
                worst[kind, fit] = max(worst[kind, fit], found)
            # Blur and reduction in one step round less often than Pillow does.
            allowed = FAST_LEVELS if kind.endswith("fast") else 1 if blur is not None and fit == "inside" else 0
            if not isinstance(found, int) or found > allowed:
                failures.append(f"{path.name}, box {box}, {fit}, {filter_name}, blur {blur}: {found}")

    print(f"{'kind':24} {'fit':8} {'thumbnails':>10} {'max difference':>14}")
    for kind, fit in sorted(count):
        print(f"{kind:24} {fit:8} {count[kind, fit]:10} {worst[kind, fit]:14}")
    for failure in failures[:50]:
        print("DIFFERS:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
