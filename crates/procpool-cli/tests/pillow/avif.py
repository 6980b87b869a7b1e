"""Opens with Pillow what procpool writes as AVIF: its size, how close its pixels are to those of the thumbnail, and whether procpool
itself reads it as Pillow does. Unlike what Pillow writes, it has 10 bits per sample.

Prints a table and exits with 1 if a picture is not as it should be.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from PIL import Image, ImageChops, ImageStat

from compare import difference, expected
from pictures import SIZES, pattern

BOXES = [(2000, 2000), (128, 128), (50, 31)]
# What is allowed at quality 90, in levels: as the mean of a channel of a picture with noise and of a photograph, and for single pixels.
MEANS, LARGEST = {"photographs": 4.0}, 40
MEAN_OF_NOISE = 8.0


def seen(picture):
    """The picture as it is seen on black: what is clear may have any colour."""
    picture = picture.convert("RGBA")
    made = Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
    made.putalpha(picture.getchannel("A"))
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    arguments = parser.parse_args()

    def run(folder, lines):
        (folder / "jobs").write_text("\n".join("\t".join(map(str, line)) for line in lines))
        subprocess.run([arguments.program, folder / "jobs"], check=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = []
        for size in SIZES:
            for mode in ["L", "LA", "RGB", "RGBA"]:
                path = folder / f"{size[0]}x{size[1]}-{mode}.png"
                pattern(size, mode).save(path)
                inputs.append((mode, path))
        inputs += [("photographs", path) for path in sorted(arguments.images.glob("*.jpg"))]
        jobs = [(kind, path, box) for kind, path in inputs for box in BOXES]
        # A photograph in its own size takes seconds.
        jobs = [job for job in jobs if job[0] != "photographs" or job[2] != BOXES[0]]
        written = [folder / f"{number}.avif" for number in range(len(jobs))]
        run(folder, [(path, output, *box, "-") for (_, path, box), output in zip(jobs, written, strict=True)])
        run(folder, [(path, path.with_suffix(".out"), *BOXES[0], "-") for path in written])

        means, largest, readings, failures = defaultdict(float), defaultdict(int), defaultdict(int), []
        for (kind, path, box), output in zip(jobs, written, strict=True):
            wanted, found = expected(path, box, None), Image.open(output)
            if found.size != wanted.size:
                failures.append(f"{path.name}, box {box}: the size is {found.size}, not {wanted.size}")
                continue
            off = ImageChops.difference(seen(wanted), seen(found))
            mean, most = max(ImageStat.Stat(off).mean), max(high for _, high in off.getextrema())
            means[kind], largest[kind] = max(means[kind], mean), max(largest[kind], most)
            if mean > MEANS.get(kind, MEAN_OF_NOISE) or most > LARGEST:
                failures.append(f"{path.name}, box {box}: it is too far from the thumbnail: {mean:.2f}, {most}")
            read = difference(found, output.with_suffix(".out"))
            readings[kind] = max(readings[kind], read) if isinstance(read, int) else readings[kind]
            if read != 0:
                failures.append(f"{path.name}, box {box}: read back it differs from what Pillow reads: {read}")

    print(f"{'written as AVIF':16} {'largest mean':>12} {'largest':>8} {'read back':>10}")
    for kind in sorted(means):
        print(f"{kind:16} {means[kind]:12.2f} {largest[kind]:8} {readings[kind]:10}")
    for failure in failures:
        print("DIFFERS:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
