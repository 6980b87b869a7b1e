"""Compares the pixels of procpool's thumbnails with Pillow's, for pictures of every kind.

Prints a table and exits with 1 if any pixel differs by more than its kind allows.
"""

import argparse
import io
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from PIL import Image, ImageChops, ImageCms, ImageFilter, ImageOps

from pictures import ORIENTATION, all_pictures

BOXES = [(128, 128), (50, 31), (3, 3)]
# With these, JPEG files are decoded at 1/8, 1/4 and 1/2.
SHRUNK_BOXES = [(3, 3), (5, 5), (12, 12)]
PHOTO_BOXES = [(128, 128), (256, 256), (512, 384), (1000, 1500)]
BLURS = [None, 2.0]
MORE_BLURS = [0.3, 1.0, 5.0, 20.0]
# With these, blur and reduction are one step if the thumbnail is small enough.
FUSED_BLURS = [1.5, 2.5, 3.0]


def ready(picture):
    """The picture in a mode that Pillow resamples, as its users would convert it."""
    if picture.format == "BMP":
        return picture if picture.mode == "RGBA" else picture.convert("RGB")
    if picture.format == "AVIF" and picture.mode in ("RGB", "RGBA") and is_grey(picture):
        return picture.convert({"RGB": "L", "RGBA": "LA"}[picture.mode])
    if picture.mode == "I;16":
        return Image.frombytes("L", picture.size, picture.tobytes()[1::2])
    if picture.mode == "1":
        return picture.convert("L")
    clear = "transparency" in picture.info
    if picture.mode == "P" or picture.format == "GIF":
        return picture.convert("RGBA" if clear else "RGB")
    if clear and picture.mode in ("L", "RGB"):
        return picture.convert({"L": "LA", "RGB": "RGBA"}[picture.mode])
    return picture


def is_grey(picture):
    """Whether a picture has no colours. Pillow reads all AVIF as RGB."""
    red, green, blue = picture.split()[:3]
    return ImageChops.difference(red, green).getbbox() is None and ImageChops.difference(red, blue).getbbox() is None


def allowed(kind, blur):
    """The largest difference that is no failure. Blur and reduction in one step round less often than Pillow does, and
    two programs that convert by a profile do not round alike."""
    return max(1 if blur is not None and 1.5 <= blur <= 3 else 0, CONVERTED.get(kind, 0))


SRGB = ImageCms.createProfile("sRGB")
CONVERTED = {"profile, RGB": 1, "profile, RGBA": 1, "profile, L": 2, "profile, LA": 2, "profile, CMYK": 5}


def to_srgb(picture, icc):
    """What a careful user of Pillow would do with a profile, if it is one for the picture."""
    colours = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except OSError:
        found = None
    bare = picture.convert(picture.mode.removesuffix("A")) if picture.mode in ("LA", "RGBA") else picture
    if found is None or colours.get(found.profile.xcolor_space) != bare.mode:
        return picture.convert("RGB") if picture.mode == "CMYK" else picture
    if "sRGB" in (found.profile.profile_description or ""):
        return picture
    made = ImageCms.profileToProfile(bare, found, SRGB, outputMode="RGB")
    if bare.mode == "L":
        made = made.getchannel("G")
    if bare is not picture:
        made.putalpha(picture.getchannel("A"))
    return made


def expected(path, box, blur):
    picture = Image.open(path)
    icc = picture.info.get("icc_profile")
    # Pillow turns TIFF pictures when it loads them, others only when asked, so for the thumbnail
    # to fit the box it must be turned as well.
    orientation = picture.getexif().get(ORIENTATION, 1) if picture.format != "TIFF" else 1
    picture = ready(picture)
    if blur is not None:
        picture = picture.filter(ImageFilter.GaussianBlur(blur))
    picture.thumbnail(box if orientation < 5 else box[::-1])
    if icc:
        picture = to_srgb(picture, icc)
    if picture.mode == "CMYK":
        picture = picture.convert("RGB")
    return ImageOps.exif_transpose(picture)


def difference(picture, path):
    """The largest difference of a sample, or a sentence on why there is none."""
    header, pixels = path.read_bytes().split(b"\n", 1)
    if header.startswith(b"error"):
        return header.decode()
    width, height, channels = map(int, header.split())
    found = (width, height, channels)
    wanted = (*picture.size, len(picture.getbands()))
    if found != wanted:
        return f"size and channels are {found}, not {wanted}"
    ours = Image.frombytes(picture.mode, picture.size, pixels)
    bands = zip(picture.split(), ours.split(), strict=True)
    return max(ImageChops.difference(a, b).getextrema()[1] for a, b in bands)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help="writes JPEG files that Pillow cannot write")
    parser.add_argument("--images", type=Path, required=True)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = []
        for kind, path in all_pictures(folder):
            jobs += [(kind, path, box, blur) for box in BOXES for blur in BLURS]
        samples = folder / "samples"
        samples.mkdir()
        subprocess.run([arguments.samples, samples], check=True)
        for path in sorted(samples.iterdir()):
            kind = "JPEG of all samplings, " + path.name.partition("-")[0]
            jobs += [(kind, path, box, None) for box in SHRUNK_BOXES]
        for path in sorted(arguments.images.glob("*.jpg")):
            jobs += [("photographs", path, box, blur) for box in PHOTO_BOXES for blur in BLURS]
            jobs += [("photographs", path, (256, 256), blur) for blur in MORE_BLURS]
            jobs += [("photographs", path, (80, 60), blur) for blur in FUSED_BLURS]

        lines = []
        for number, (_, path, box, blur) in enumerate(jobs):
            fields = [path, folder / f"{number}.out", *box, "-" if blur is None else blur]
            lines.append("\t".join(map(str, fields)))
        list_path = folder / "jobs"
        list_path.write_text("\n".join(lines))
        subprocess.run([arguments.program, list_path], check=True)

        worst = defaultdict(int)
        pictures = defaultdict(set)
        count = defaultdict(int)
        failures = []
        for number, (kind, path, box, blur) in enumerate(jobs):
            found = difference(expected(path, box, blur), folder / f"{number}.out")
            pictures[kind].add(path)
            count[kind] += 1
            if isinstance(found, int):
                worst[kind] = max(worst[kind], found)
            if not isinstance(found, int) or found > allowed(kind, blur):
                failures.append(f"{path.name}, box {box}, blur {blur}: {found}")

    print(f"{'kind':28} {'pictures':>8} {'thumbnails':>10} {'max difference':>14}")
    for kind in sorted(pictures):
        print(f"{kind:28} {len(pictures[kind]):8} {count[kind]:10} {worst[kind]:14}")
    for failure in failures:
        print("DIFFERS:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
