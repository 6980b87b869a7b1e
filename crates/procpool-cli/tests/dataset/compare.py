"""Compares sets of `procpool dataset` with what Pillow computes, and reads them with `webdataset` and `datasets`.

Prints what was compared and exits with 1 if anything differs: a pixel by more than one level, anything else at all.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_TELEMETRY="1")

from PIL import Image, ImageChops, ImageOps, ImageStat

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}
FITS = ["cover", "contain", "shorter-side", "fill"]
ORIENTATION = 274


def make_inputs(folder, images):
    """Photographs, and pictures of every kind, in two classes."""
    for number, path in enumerate(sorted(images.glob("*.jpg"))):
        target = folder / "photos" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        if number == 0:
            exif = Image.Exif()
            exif[ORIENTATION] = 6
            picture = Image.open(path).resize((900, 700))
            picture.save(folder / "photos" / "turned.jpg", exif=exif, quality=95)
    kinds = folder / "kinds"
    kinds.mkdir()
    photo = Image.open(next(iter(sorted(images.glob("*.jpg"))))).resize((301, 233))
    photo.convert("L").save(kinds / "grey.png")
    clear = photo.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    clear.save(kinds / "clear.png")
    photo.convert("P", palette=Image.Palette.ADAPTIVE).save(kinds / "palette.gif")
    photo.resize((31, 402)).save(kinds / "tall.png")
    photo.resize((40, 30)).save(kinds / "small.webp", lossless=True)


def run(program, folder, *options, code=0):
    command = [str(program), "dataset", "in", "--quiet", *map(str, options)]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if ended.returncode != code:
        sys.exit(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr}")


def manifest(set_folder):
    return [json.loads(line) for line in (set_folder / "manifest.jsonl").read_text().splitlines()]


def made_of(path, size, fit, method):
    """What Pillow makes of a picture: the decoder of JPEG may shrink, whole factors come first, and the rest is resampled."""
    picture = Image.open(path)
    full = picture.size
    orientation = picture.getexif().get(ORIENTATION, 1)
    wanted = size if orientation < 5 else size[::-1]
    region, target = (0, 0, *full), wanted
    if fit == "cover":
        across = min(full[0], full[1] * wanted[0] / wanted[1])
        down = min(full[1], full[0] * wanted[1] / wanted[0])
        left, top = (full[0] - across) / 2, (full[1] - down) / 2
        region = (left, top, left + across, top + down)
    elif fit == "contain":
        target = ImageOps.contain(Image.new("1", full), wanted).size
    elif fit == "shorter-side":
        length = min(wanted)
        target = (length, length * full[1] // full[0]) if full[0] <= full[1] else (length * full[0] // full[1], length)
    if picture.format == "JPEG":
        picture.draft(None, (2 * target[0], 2 * target[1]) if fit != "cover" else (2 * wanted[0], 2 * wanted[1]))
    picture.load()
    shrink = next(s for s in (1, 2, 4, 8) if picture.size == (-(-full[0] // s), -(-full[1] // s)))
    if picture.mode == "P":
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    region = tuple(side / shrink for side in region)
    made = picture.resize(target, method, box=region, reducing_gap=2.0)
    if orientation != 1:
        made.getexif()[ORIENTATION] = orientation
        made = ImageOps.exif_transpose(made)
    if made.mode in ("RGBA", "LA"):
        white = Image.new("RGBA", made.size, "white")
        made = Image.alpha_composite(white, made.convert("RGBA"))
    made = made.convert("RGB")
    if fit == "contain" and made.size != size:
        padded = Image.new("RGB", size, "white")
        padded.paste(made, [round((a - b) / 2) for a, b in zip(size, made.size)])
        made = padded
    return made


def pixels(program, folder):
    """The worst difference of a sample, for each way to fit and filter."""
    wrong = []
    print(f"{'fit':13} {'filter':9} {'pictures':>8} {'max difference':>14}")
    for fit in FITS:
        for name, method in FILTERS.items():
            set_folder = folder / f"{fit}-{name}"
            options = ["--encoding", "png", "--dedup", "none", "--fit", fit, "--filter", name, "--size", "96x64"]
            run(program, folder, *options, "-o", set_folder)
            worst, lines = 0, manifest(set_folder)
            for line in lines:
                found = Image.open(set_folder / line["output"])
                expected = made_of(folder / line["source"], (96, 64), fit, method)
                if found.size != expected.size or found.mode != "RGB":
                    wrong.append(f"{line['source']}, {fit}, {name}: {found.size} {found.mode}, not {expected.size}")
                    continue
                bands = ImageChops.difference(found, expected).getextrema()
                difference = max(high for _, high in bands)
                worst = max(worst, difference)
                if difference > 1:
                    wrong.append(f"{line['source']}, {fit}, {name}: differs by {difference}")
            print(f"{fit:13} {name:9} {len(lines):8} {worst:14}")
    return wrong


def figures(set_folder, folder):
    """Hashes, sizes and statistics, computed anew."""
    wrong = []
    count, sums, squares = 0, [0] * 3, [0] * 3
    for line in manifest(set_folder):
        source = folder / line["source"]
        if hashlib.sha256(source.read_bytes()).hexdigest() != line["sha256"]:
            wrong.append(f"{source}: another SHA-256")
        if ImageOps.exif_transpose(Image.open(source)).size != (line["width"], line["height"]):
            wrong.append(f"{source}: another size")
        if line.get("dropped") == "similar":
            continue
        picture = Image.open(set_folder / line["output"])
        small = picture.convert("L").resize((9, 8), Image.Resampling.BICUBIC).tobytes()
        bits = (small[row * 9 + at] < small[row * 9 + at + 1] for row in range(8) for at in range(8))
        looks = sum(bit << (63 - number) for number, bit in enumerate(bits))
        if f"{looks:016x}" != line["dhash"]:
            wrong.append(f"{source}: the perceptual hash is {line['dhash']}, not {looks:016x}")
        if line["split"] == "train":
            found = ImageStat.Stat(picture)
            count += found.count[0]
            sums = [a + round(b) for a, b in zip(sums, found.sum)]
            squares = [a + round(b) for a, b in zip(squares, found.sum2)]
    about = json.loads((set_folder / "dataset.json").read_text())
    for channel in range(3):
        mean = sums[channel] / count
        deviation = (squares[channel] / count - mean**2) ** 0.5
        for name, expected in [("mean", mean / 255), ("std", deviation / 255)]:
            if abs(about[name][channel] - expected) > 1e-9:
                wrong.append(f"channel {channel}: the {name} is {about[name][channel]}, not {expected}")
    return wrong


def expected_samples(set_folder, split):
    """The bytes of each file of a split, and the number of its class, by the set in folders."""
    classes = json.loads((set_folder / "dataset.json").read_text())["classes"]
    lines = [line for line in manifest(set_folder) if line.get("split") == split]
    return [((set_folder / line["output"]).read_bytes(), classes.index(line["class"])) for line in lines]


def with_webdataset(archives, folders):
    import webdataset

    wrong = []
    for split in ["train", "val"]:
        paths = sorted(map(str, archives.glob(f"{split}-*.tar")))
        samples = webdataset.WebDataset(paths, shardshuffle=False, empty_check=False)
        found = [(sample["jpg"], int(sample["cls"])) for sample in samples]
        if found != expected_samples(folders, split):
            wrong.append(f"webdataset finds other samples in {split}")
        decoded = webdataset.WebDataset(paths, shardshuffle=False).decode("pil").to_tuple("jpg", "cls")
        for picture, label in decoded:
            if picture.size != (64, 64) or label not in (0, 1):
                wrong.append(f"webdataset decodes {picture.size}, {label}")
        print(f"webdataset: {len(found)} samples of {len(paths)} archives in {split}")
    return wrong


def with_datasets(tables, folders, cache):
    import datasets

    wrong = []
    loaded = datasets.load_dataset(str(tables), cache_dir=str(cache))
    # It calls the split `val` so.
    for split, name in [("train", "train"), ("val", "validation")]:
        rows = loaded[name]
        if not isinstance(rows.features["label"], datasets.ClassLabel) or rows.features["label"].names != ["kinds", "photos"]:
            wrong.append(f"datasets takes the labels for {rows.features['label']}")
        if not isinstance(rows.features["image"], datasets.Image):
            wrong.append(f"datasets takes the pictures for {rows.features['image']}")
        if any(row["image"].size != (64, 64) for row in rows):
            wrong.append("datasets decodes pictures of another size")
        raw = rows.cast_column("image", datasets.Image(decode=False))
        if [(row["image"]["bytes"], row["label"]) for row in raw] != expected_samples(folders, split):
            wrong.append(f"datasets finds other samples in {split}")
        print(f"datasets: {len(rows)} rows in {name}")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folders), cache_dir=str(cache))
    sizes = {name: len(rows) for name, rows in loaded.items()}
    expected = {"train": len(expected_samples(folders, "train")), "validation": len(expected_samples(folders, "val"))}
    if sizes != expected:
        wrong.append(f"datasets finds {sizes} in the folders, not {expected}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder / "in", arguments.images)
        wrong = pixels(arguments.program, folder)
        run(arguments.program, folder, "--encoding", "png", "--dedup", "similar", "--distance", 0, "-o", "looks")
        wrong += figures(folder / "looks", folder)
        # More pictures, so that there are several shards and all splits have some.
        for number in range(60):
            Image.linear_gradient("L").rotate(number * 6).resize((80, 70)).save(folder / "in" / "kinds" / f"{number}.png")
        options = ["--size", 64, "--split", "train=0.7,val=0.3", "--shard-size", "20KiB"]
        for set_format in ["folder", "webdataset", "parquet"]:
            run(arguments.program, folder, *options, "--format", set_format, "-o", set_format)
        wrong += with_webdataset(folder / "webdataset", folder / "folder")
        wrong += with_datasets(folder / "parquet", folder / "folder", folder / "cache")
    for line in wrong[:50]:
        print("DIFFERS:", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
