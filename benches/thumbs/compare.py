"""Times `procpool thumbs` beside other programs on the same pictures, and prints one table.

In each round every program makes all thumbnails once, one program after the other; what is shown are medians of the
rounds. Each has two workers, or runs twice at a time on half of the pictures. Memory is measured in a run of its own: the
largest sum over the processes of a program, shared pages counted in parts (PSS).
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
WORKERS = 2


def procpool(program):
    def commands(pictures, side, blur, output):
        options = ["--jobs", str(WORKERS), "--size", f"{side}x{side}", "--quiet", "--output", output]
        options += [] if blur is None else ["--blur", str(blur)]
        return [[program, "thumbs", *options, *pictures]]

    return commands


def pillow(pictures, side, blur, output):
    blur = "-" if blur is None else str(blur)
    return [[sys.executable, HERE / "executor.py", str(WORKERS), str(side), blur, output, *pictures]]


def halves(pictures):
    return [pictures[start::WORKERS] for start in range(WORKERS)]


def has_avif(pictures):
    """Whether there are AVIF files, which the others read only if they were built with a library for them."""
    return any(picture.endswith(".avif") for picture in pictures)


def vipsthumbnail(pictures, side, blur, output):
    if blur is not None or has_avif(pictures):
        return None  # it cannot blur
    options = ["--size", f"{side}x{side}", "--output", f"{output}/%s.jpg"]
    return [["vipsthumbnail", *options, *half] for half in halves(pictures)]


def imagemagick(program):
    def commands(pictures, side, blur, output):
        if blur is not None or has_avif(pictures):
            return None  # it can blur, but took 27 times as long as procpool
        # Like the others, it may decode at a fraction of the size.
        options = ["-define", f"jpeg:size={2 * side}x{2 * side}", "-thumbnail", f"{side}x{side}", "-path", output]
        return [[*program, *options, *half] for half in halves(pictures)]

    return commands


def mogrify():
    """The command that runs ImageMagick on many files, if it is installed."""
    for command in (["magick", "mogrify"], ["mogrify"]):
        if shutil.which(command[0]):
            version = subprocess.run([*command, "-version"], capture_output=True, text=True)
            if "ImageMagick" in version.stdout:
                return command
    return None


def version_of(command):
    said = subprocess.run(command, capture_output=True, text=True)
    return (said.stdout or said.stderr).splitlines()[0]


def descendants(pid):
    """The processes below a process, and itself."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                found += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
        except OSError:
            pass
    return found


def memory(pid):
    """Bytes in memory of a process."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def run(commands, watch=False):
    """Runs all commands at once. Returns seconds, and the most memory in use if it was to be watched."""
    environment = {**os.environ, "VIPS_CONCURRENCY": "1", "MAGICK_THREAD_LIMIT": "1", "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for command in commands]
    most, done = 0, threading.Event()

    def look():
        nonlocal most
        while not done.is_set():
            most = max(most, sum(memory(pid) for process in processes for pid in descendants(process.pid)))
            done.wait(0.01)

    watcher = threading.Thread(target=look)
    if watch:
        watcher.start()
    codes = [process.wait() for process in processes]
    elapsed = time.perf_counter() - start
    done.set()
    if watch:
        watcher.join()
    if any(codes):
        sys.exit(f"a program failed with {codes}: {commands[0][:8]} ...")
    return elapsed, most


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    programs = {"procpool thumbs": procpool(arguments.program), "Pillow in ProcessPoolExecutor": pillow}
    versions = [version_of([arguments.program, "--version"])]
    versions.append(version_of([sys.executable, "-c", "import PIL; print('Pillow', PIL.__version__)"]))
    if shutil.which("vipsthumbnail"):
        programs["vipsthumbnail, two at a time"] = vipsthumbnail
        versions.append(version_of(["vipsthumbnail", "--vips-version"]))
    else:
        print("vipsthumbnail is not installed (Debian: libvips-tools) and is left out")
    if magick := mogrify():
        programs["ImageMagick, two at a time"] = imagemagick(magick)
        versions.append(version_of([*magick, "-version"]).removeprefix("Version: ").split(" Q")[0])
    else:
        print("ImageMagick is not installed and is left out")
    print("; ".join(versions))

    photos = sorted((arguments.pictures / "photos").iterdir())
    avif = sorted((arguments.pictures / "avif").glob("*.avif"))
    mixed = sorted((arguments.pictures / "mixed").iterdir())
    kinds = [
        (f"{len(photos)} photographs of 12 megapixels, 128 pixels", photos, 128, None),
        ("the same, blur 2, 50 pixels", photos, 50, 2),
        (f"{len(mixed)} mixed photographs, 128 pixels", mixed, 128, None),
        (f"{len(avif)} AVIF photographs of 3 megapixels, 128 pixels", avif, 128, None),
    ]
    head = ["work", "program", "seconds", "pictures/s", "MB/s", "times procpool's", "peak memory"]
    print("| " + " | ".join(head) + " |\n|" + "---|---|" + "---:|" * 5)
    for kind, pictures, side, blur in kinds:
        size = sum(path.stat().st_size for path in pictures)
        times = {name: [] for name in programs}
        peaks = {}
        for round in range(arguments.rounds + 1):
            for name, commands in programs.items():
                with tempfile.TemporaryDirectory() as output:
                    made = commands(list(map(str, pictures)), side, blur, output)
                    if made is None:
                        continue
                    # The first round only looks at memory, and warms the caches.
                    elapsed, peak = run(made, watch=round == 0)
                    if len(os.listdir(output)) != len(pictures):
                        sys.exit(f"{name} made {len(os.listdir(output))} thumbnails of {len(pictures)}")
                if round == 0:
                    peaks[name] = peak
                else:
                    times[name].append(elapsed)
        ours = statistics.median(times["procpool thumbs"])
        for name in programs:
            if times[name]:
                seconds = statistics.median(times[name])
                row = [kind, name, f"{seconds:.2f}", f"{len(pictures) / seconds:.0f}", f"{size / seconds / 1e6:.0f}"]
                row += [f"{seconds / ours:.1f}", f"{peaks[name] / 2**20:.0f} MiB"]
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
