"""Makes the photographs for the benchmark of thumbnails from those in images/: the same files every time.

Usage: pictures.py IMAGES FOLDER

FOLDER/photos gets 24 photographs of 12 megapixels, 4:2:0, quality 92. FOLDER/mixed gets 60 of 1 to 18 megapixels in
several samplings and qualities, of which 12 are progressive. FOLDER/avif gets 12 AVIF files of 3 megapixels, 4:2:0, quality 75.
"""

import random
import sys
from pathlib import Path

from PIL import Image

MIXED = 60
SAMPLINGS = ["4:2:0", "4:2:0", "4:2:2", "4:4:4"]


def view(photograph, size, generator):
    """A part of a photograph, mirrored or not, enlarged or made smaller to the size."""
    width, height = photograph.size
    share = generator.uniform(0.75, 1.0)
    shape = size[0] / size[1]
    across = min(width * share, height * share * shape)
    left = generator.uniform(0, width - across)
    top = generator.uniform(0, height - across / shape)
    box = (left, top, left + across, top + across / shape)
    made = photograph.resize(size, Image.Resampling.LANCZOS, box=box)
    if generator.random() < 0.5:
        made = made.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return made


def grainy(picture, noise, generator):
    """The picture with grain: enlarging takes away what a camera has, and files without it are smaller than real ones."""
    tile = Image.new("L", picture.size)
    for top in range(0, picture.height, 256):
        for left in range(0, picture.width, 256):
            tile.paste(noise.rotate(generator.randrange(4) * 90), (left, top))
    bands = [Image.blend(band, tile, 0.12) for band in picture.split()]
    return Image.merge("RGB", bands)


def main():
    images, folder = map(Path, sys.argv[1:])
    photographs = [Image.open(path).convert("RGB") for path in sorted(images.glob("*.jpg"))]
    generator = random.Random(12)
    noise = Image.frombytes("L", (256, 256), bytes(int(generator.gauss(128, 26)) & 255 for _ in range(256 * 256)))

    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for number in range(24):
        picture = view(photographs[number % 5], (4000, 3000), generator)
        grainy(picture, noise, generator).save(photos / f"photo-{number:02}.jpg", quality=92, subsampling="4:2:0")

    avif = folder / "avif"
    avif.mkdir(exist_ok=True)
    for path in sorted(photos.iterdir())[:12]:
        Image.open(path).resize((2000, 1500)).save(avif / f"{path.stem}.avif", quality=75, speed=8)

    mixed = folder / "mixed"
    mixed.mkdir(exist_ok=True)
    # From 1 to 18 megapixels in equal steps, in no particular order.
    sizes = [1 + 17 * step / (MIXED - 1) for step in range(MIXED)]
    generator.shuffle(sizes)
    for number, megapixels in enumerate(sizes):
        shape = generator.choice([4 / 3, 3 / 2, 3 / 4, 16 / 9])
        size = (round((megapixels * 1e6 * shape) ** 0.5), round((megapixels * 1e6 / shape) ** 0.5))
        picture = view(photographs[number % 5], size, generator)
        grainy(picture, noise, generator).save(
            mixed / f"mixed-{number:02}.jpg",
            quality=generator.choice([80, 88, 92, 95]),
            subsampling=SAMPLINGS[number % 4],
            progressive=number % 5 == 4,
        )


if __name__ == "__main__":
    main()
