"""Write made-up images in the layout of a published data set, to try and time its ingestion.

    python docs/made_up_sets.py waterbirds ../made_up   # the published number of images
    python docs/made_up_sets.py celeba ../made_up --images 2000

Number, size and format of the files are those of the published set; each image has its own pattern
of blurred colours. bffhq and dogs_and_cats have one percent.
"""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

# Number of images, height and width. The published images of bar and waterbirds have many sizes;
# number and size of dogs_and_cats are not known and these are assumed.
SETS = {
    "waterbirds": (11_788, 375, 500),
    "celeba": (202_599, 218, 178),
    "bar": (2_595, 300, 400),
    "dogs_and_cats": (10_000, 375, 500),
    "bffhq": (21_200, 128, 128),
}
ACTIONS = ("climbing", "diving", "fishing", "pole vaulting", "racing", "throwing")
FOLDERS = {
    "waterbirds": "waterbird_complete95_forest2water2",
    "dogs_and_cats": "dogs_and_cats/1pct",
    "bffhq": "bffhq/0.5pct",
}


def split_of(row: int, images: int) -> int:
    """Return 0 (training) for the first 80 %, 1 (validation) for 10 %, 2 (test) for 10 %."""
    return min(2, max(0, row * 10 // images - 7))


def paths_and_lists(name: str, images: int) -> tuple[list[str], dict[str, str]]:
    """Return the paths of the images, and the other files with their content."""
    label, bias = np.random.default_rng(0).integers(2, size=(2, images)).tolist()
    splits = [split_of(row, images) for row in range(images)]
    if name == "waterbirds":
        paths = [f"{row % 200:03}.Bird/{row}.jpg" for row in range(images)]
        lines = ["img_id,img_filename,y,split,place,place_filename"]
        lines += [
            f"{row},{path},{label[row]},{splits[row]},{bias[row]},x"
            for row, path in enumerate(paths)
        ]
        return paths, {"metadata.csv": "\n".join(lines)}
    if name == "celeba":
        names = [f"{row + 1:06}.jpg" for row in range(images)]
        flags = [f"{2 * one - 1} {2 * other - 1}" for one, other in zip(label, bias, strict=True)]
        attributes = [
            str(images),
            "Blond_Hair Male",
            *map(" ".join, zip(names, flags, strict=True)),
        ]
        partition = [f"{file} {split}" for file, split in zip(names, splits, strict=True)]
        return [f"img_align_celeba/{file}" for file in names], {
            "list_attr_celeba.txt": "\n".join(attributes),
            "list_eval_partition.txt": "\n".join(partition),
        }
    if name == "bar":
        return [
            f"{'test' if split == 2 else 'train'}/{ACTIONS[row % 6]}_{row}.jpg"
            for row, split in enumerate(splits)
        ], {}
    suffix = "png" if name == "bffhq" else "jpg"
    paths = []
    for row, (one, other, split) in enumerate(zip(label, bias, splits, strict=True)):
        file = f"{row}_{one}_{other}.{suffix}"
        folder = f"{'align' if one == other else 'conflict'}/{one}"
        shared = "../valid" if name == "bffhq" else "valid"
        paths.append(f"{(folder, shared, f'../test/{one}')[split]}/{file}")
    return paths, {}


def write_image(path: Path, row: int, height: int, width: int) -> None:
    """Write an image of blurred colours, with some noise, that depends on the row."""
    rng = np.random.default_rng(row)
    colours = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    smooth = np.asarray(colours.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noise = rng.integers(-8, 9, smooth.shape, dtype=np.int16)
    Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8)).save(path, quality=92)


def main() -> None:
    """Read the command line and write the files."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=SETS)
    parser.add_argument("folder", type=Path, help="use it as raw_dir")
    parser.add_argument("--images", type=int, help="default: as published")
    given = parser.parse_args()
    published, height, width = SETS[given.name]
    place = given.folder / FOLDERS.get(given.name, given.name)
    paths, lists = paths_and_lists(given.name, given.images or published)
    for parent in {(place / path).parent for path in paths}:
        parent.mkdir(parents=True, exist_ok=True)
    for file, content in lists.items():
        (place / file).write_text(content)

    def write(row: int) -> None:
        write_image(place / paths[row], row, height, width)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, range(len(paths))))  # raises the error of a thread


if __name__ == "__main__":
    main()
