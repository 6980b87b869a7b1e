"""Makes a blurred thumbnail of every picture of a folder, one process per CPU.

usage: thumbnails.py FOLDER OUTPUT
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor

from PIL import Image, ImageFilter


def thumbnail(path, folder):
    name = os.path.splitext(os.path.basename(path))[0] + ".jpg"
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
        picture.thumbnail((128, 128))
        picture = picture.filter(ImageFilter.GaussianBlur(2))
        picture.save(os.path.join(folder, name), quality=85)
    return name, picture.size


def main():
    source, output = sys.argv[1:]
    os.makedirs(output, exist_ok=True)
    paths = sorted(os.path.join(source, name) for name in os.listdir(source) if name.endswith(".jpg"))
    with ProcessPoolExecutor() as pool:
        for name, (width, height) in pool.map(thumbnail, paths, [output] * len(paths)):
            print(f"{name}: {width} x {height}")


if __name__ == "__main__":
    main()
