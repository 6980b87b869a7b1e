"""Thumbnails as a Python program makes them: Pillow in a ProcessPoolExecutor.

Usage: executor.py WORKERS SIDE BLUR OUTPUT PICTURE..., where BLUR is a radius or -.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image, ImageFilter


def thumbnail(path, side, blur, output):
    picture = Image.open(path)
    if blur is not None:
        picture = picture.filter(ImageFilter.GaussianBlur(blur))
    picture.thumbnail((side, side))
    picture.save(output / path.name)


def main():
    workers, side, blur, output, *pictures = sys.argv[1:]
    make = partial(thumbnail, side=int(side), blur=None if blur == "-" else float(blur), output=Path(output))
    with ProcessPoolExecutor(int(workers)) as pool:
        for _ in pool.map(make, map(Path, pictures)):
            pass


if __name__ == "__main__":
    main()
