"""`procpool dataset` beside Pillow and OpenCV in Python's ProcessPoolExecutor, on the same photographs in the same run.

Each makes pictures of 224 pixels of the middle of photographs, as JPEG files of quality 90, with two workers; each lets the
decoder of JPEG shrink by a whole factor, as long as twice the wanted size is left. procpool also hashes every file, looks for
duplicates, writes a manifest, and computes mean and standard deviation; the others do none of that. procpool is timed as a
whole command; of the others only the work itself, without starting Python and importing.
"""

import os
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))
import turns  # noqa: E402

SIDE, QUALITY, WORKERS = 224, 90, 2


def with_pillow(path, output):
    from PIL import Image, ImageOps

    with Image.open(path) as picture:
        picture.draft("RGB", (2 * SIDE, 2 * SIDE))
        picture = ImageOps.exif_transpose(picture).convert("RGB")
        ImageOps.fit(picture, (SIDE, SIDE), Image.Resampling.BICUBIC).save(output / path.name, quality=QUALITY)


def with_opencv(path, output):
    import cv2

    cv2.setNumThreads(1)
    # A quarter of photographs of 4000 x 3000 leaves more than twice the size, an eighth does not.
    picture = cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_4)
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    small = cv2.resize(picture[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(output / path.name), small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


PEERS = {"Pillow": with_pillow, "OpenCV": with_opencv}


def peer(tool, pictures, output):
    """Runs in a process of its own: does the work and tells how long it took."""
    output = Path(output) / "train" / "photos"
    output.mkdir(parents=True)
    paths = sorted(Path(pictures).iterdir())
    __import__({"Pillow": "PIL.Image", "OpenCV": "cv2"}[tool])

    def work():
        with ProcessPoolExecutor(WORKERS) as pool:
            for _ in pool.map(partial(PEERS[tool], output=output), paths):
                pass

    turns.tell(work)


def program(procpool, tool, pictures, output):
    def once():
        if tool == "procpool dataset":
            options = ["-j", str(WORKERS), "-q", "--size", str(SIDE), "--quality", str(QUALITY)]
            # Given the folder above, so that the folder of the photographs is their class.
            taken = turns.command([procpool, "dataset", pictures.parent, *options, "-o", output])()
        else:
            taken = turns.told([sys.executable, HERE, "--peer", tool, pictures, output])
        made, wanted = (len(list(folder.iterdir())) for folder in (output / "train" / "photos", pictures))
        if made != wanted:
            sys.exit(f"{tool} made {made} pictures of {wanted}")
        shutil.rmtree(output)
        return taken

    return once


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--peer":
        return peer(*sys.argv[2:])
    parser = turns.arguments(__doc__)
    parser.add_argument("--program", type=os.path.abspath, required=True)
    parser.add_argument("--pictures", type=Path, required=True, help="where benches/thumbs/pictures.py has put its files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # The photographs alone in a folder, whose name is their class.
        pictures = Path(folder) / "in" / "photos"
        pictures.mkdir(parents=True)
        for path in sorted((arguments.pictures / "photos").iterdir()):
            os.symlink(path.resolve(), pictures / path.name)
        paths = list(pictures.iterdir())
        size = sum(path.stat().st_size for path in paths) / 1e6
        work = f"{len(paths)} photographs of 12 megapixels, {size:.0f} MB, to {SIDE} pixels"
        tools = ["procpool dataset", *PEERS]
        programs = {tool: program(arguments.program, tool, pictures, Path(folder) / "out") for tool in tools}
        table = turns.table([turns.Row(work, len(paths), programs)], arguments.rounds, "pictures")
    turns.publish(table, "bench-dataset", arguments.document)


if __name__ == "__main__":
    main()
