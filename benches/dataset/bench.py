"""`procpool dataset` beside Pillow and OpenCV in Python's ProcessPoolExecutor, on the same photographs in the same run.

Each makes pictures of 224 pixels of the middle of photographs, as JPEG files of quality 90, with two workers; each lets the
decoder of JPEG shrink by a whole factor, as long as twice the wanted size is left. procpool also hashes every file, looks for
duplicates, writes a manifest, and computes mean and standard deviation; the others do none of that. They take turns, round
after round; the figures are medians. Programs are timed as a whole, and of the others only the work itself, without starting
Python and importing. Wall-clock time is what counts on a quiet machine; CPU time (user and system, all processes) says more on
a busy one.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve()
SIDE, QUALITY, WORKERS = 224, 90, 2


def cpu():
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in usage)


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
    """Runs in a process of its own: does the work and prints wall-clock and CPU time."""
    output = Path(output) / "train" / "photos"
    output.mkdir(parents=True)
    paths = sorted(Path(pictures).iterdir())
    __import__({"Pillow": "PIL.Image", "OpenCV": "cv2"}[tool])
    wall, used = time.perf_counter(), cpu()
    with ProcessPoolExecutor(WORKERS) as pool:
        for _ in pool.map(partial(PEERS[tool], output=output), paths):
            pass
    print(time.perf_counter() - wall, cpu() - used)


def measure(program, tool, pictures, output):
    if tool == "procpool dataset":
        wall, used = time.perf_counter(), cpu()
        options = ["-j", str(WORKERS), "-q", "--size", str(SIDE), "--quality", str(QUALITY)]
        # Given the folder above, so that the folder of the photographs is their class.
        subprocess.run([program, "dataset", pictures.parent, *options, "-o", output], check=True)
        figures = time.perf_counter() - wall, cpu() - used
    else:
        command = [sys.executable, HERE, "--peer", tool, pictures, output]
        figures = tuple(map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()))
    made = len(list((output / "train" / "photos").iterdir()))
    shutil.rmtree(output)
    return figures, made


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--peer":
        return peer(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True, help="where benches/thumbs/pictures.py has put its files")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} before", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        # The photographs alone in a folder, whose name is their class.
        pictures = Path(folder) / "in" / "photos"
        pictures.mkdir(parents=True)
        for path in sorted((arguments.pictures / "photos").iterdir()):
            os.symlink(path.resolve(), pictures / path.name)
        paths = sorted(pictures.iterdir())
        size = sum(path.stat().st_size for path in paths) / 1e6
        figures = {}
        for round in range(arguments.rounds + 1):
            for tool in ["procpool dataset", *PEERS]:
                found, made = measure(arguments.program, tool, pictures, Path(folder) / "out")
                if made != len(paths):
                    sys.exit(f"{tool} made {made} pictures of {len(paths)}")
                # The first round warms the caches.
                if round > 0:
                    figures.setdefault(tool, []).append(found)
    print("| work | tool | wall clock, s | CPU time, s | pictures/s | times procpool's: wall clock, CPU |")
    print("|---|---|---|---|---|---|")
    work, ours = f"{len(paths)} photographs of 12 megapixels, {size:.0f} MB, to {SIDE} pixels", None
    for tool, found in figures.items():
        wall, used = (statistics.median(values) for values in zip(*found))
        ours = ours or (wall, used)
        ratios = f"{wall / ours[0]:.1f}, {used / ours[1]:.1f}"
        print(f"| {work} | {tool} | {wall:.2f} | {used:.2f} | {len(paths) / wall:.0f} | {ratios} |", flush=True)
    print(f"load average {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
