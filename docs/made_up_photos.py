"""Make folders of photos with a planted shortcut, to try the audit on.

    python docs/made_up_photos.py animals my_photos             # cows on grass, camels on sand
    python docs/made_up_photos.py animals my_photos --shuffled  # without a shortcut
    python docs/made_up_photos.py frames SOURCE framed          # photos of SOURCE, coloured frames

Both write class folders. With `--bias-labels` they also write photos.csv, a table of path, label
and bias, which is then read instead of the folder names. `frames` copies the images of SOURCE,
which has a folder per label, and leaves the images of a folder `test` in it without frames.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageOps

# Animal: length and height of the body, length of legs and neck, humps; in parts of the width.
ANIMALS = {
    "cow": (0.36, 0.20, 0.13, 0.08, 0),
    "camel": (0.26, 0.15, 0.25, 0.20, 2),
    "pig": (0.34, 0.22, 0.06, 0.02, 0),
    "giraffe": (0.20, 0.13, 0.27, 0.34, 0),
    "horse": (0.30, 0.14, 0.22, 0.16, 0),
    "dachshund": (0.46, 0.09, 0.05, 0.04, 0),
    "dromedary": (0.28, 0.15, 0.24, 0.18, 1),
    "elephant": (0.36, 0.30, 0.12, 0.03, 0),
    "sheep": (0.24, 0.22, 0.09, 0.05, 0),
    "tortoise": (0.26, 0.10, 0.03, 0.10, 1),
    "ostrich": (0.16, 0.16, 0.26, 0.30, 0),
    "stegosaurus": (0.40, 0.16, 0.09, 0.12, 4),
}
# Background: colour of the ground and of the sky, width of its texture in pixels.
PLACES = {
    "grass": ((70, 140, 60), (150, 190, 230), 2),
    "sand": ((205, 175, 120), (170, 205, 235), 6),
    "snow": ((225, 230, 235), (190, 200, 210), 12),
    "water": ((50, 100, 160), (140, 180, 220), 4),
    "rock": ((115, 110, 105), (165, 175, 185), 8),
    "autumn": ((165, 90, 40), (200, 190, 170), 3),
    "night": ((35, 40, 55), (20, 22, 40), 5),
    "heath": ((130, 85, 130), (175, 180, 205), 3),
    "mud": ((90, 65, 45), (150, 150, 145), 7),
    "street": ((85, 85, 92), (140, 140, 150), 16),
    "field": ((205, 190, 70), (130, 185, 235), 2),
    "forest": ((25, 75, 45), (60, 110, 80), 4),
}
WIDTH, HEIGHT = 128, 96
FRAME = 3


def draw_animal(animal: str, place: str, random: np.random.Generator) -> Image.Image:
    """Draw one animal of random size, position, direction and colour."""
    ground, sky, grain = PLACES[place]
    horizon = int(HEIGHT * random.uniform(0.25, 0.45))
    base = np.where(np.arange(HEIGHT)[:, None, None] < horizon, sky, ground)
    base = np.broadcast_to(base, (HEIGHT, WIDTH, 3))
    coarse = random.normal(0, 16, (HEIGHT // grain + 1, WIDTH // grain + 1, 1))
    texture = coarse.repeat(grain, 0).repeat(grain, 1)[:HEIGHT, :WIDTH]
    light = random.normal(0, 10) + random.normal(0, 4, (HEIGHT, WIDTH, 3))
    image = Image.fromarray((base + texture + light).clip(0, 255).astype(np.uint8))

    body, height, legs, neck, humps = (
        WIDTH * each * random.uniform(0.85, 1.15) if number < 4 else each
        for number, each in enumerate(ANIMALS[animal])
    )
    scale = random.uniform(0.8, 1.1)
    body, height, legs, neck = (scale * each for each in (body, height, legs, neck))
    left = random.uniform(4, WIDTH - body - neck - 12)
    bottom = HEIGHT - random.uniform(2, 14)
    top = bottom - legs - height
    colour = tuple(int(each) for each in random.uniform(20, 235, 3))
    draw = ImageDraw.Draw(image)
    for share in (0.12, 0.28, 0.68, 0.84):
        x = left + share * body
        draw.rectangle((x, bottom - legs - 4, x + 3 * scale, bottom), fill=colour)
    draw.ellipse((left, top, left + body, top + height), fill=colour)
    for hump in range(int(humps)):
        middle = left + body * (hump + 1) / (humps + 1)
        width = body / (humps + 1) / 2.4
        draw.ellipse((middle - width, top - width, middle + width, top + width), fill=colour)
    x, y = left + 0.9 * body, top + 0.4 * height
    head = (x + 0.5 * neck, y - neck)
    draw.line((x, y, *head), fill=colour, width=max(3, int(6 * scale)))
    draw.ellipse((head[0] - 4, head[1] - 4, head[0] + 9, head[1] + 4), fill=colour)
    return ImageOps.mirror(image) if random.random() < 0.5 else image


def draw_biases(
    labels: np.ndarray, values: int, against: float, random: np.random.Generator, shuffled: bool
) -> np.ndarray:
    """Return the bias of each image: that of its label but for a share of each label's images."""
    biases = labels % values
    for label in np.unique(labels):
        images = np.flatnonzero(labels == label)
        chosen = random.permutation(images)[: round(against * len(images))]
        biases[chosen] = (biases[chosen] + random.integers(1, values, len(chosen))) % values
    return random.permutation(biases) if shuffled else biases


def make_animals(arguments: argparse.Namespace) -> None:
    """Write drawn photos of animals."""
    random = np.random.default_rng(arguments.seed)
    animals = list(ANIMALS)[: arguments.labels]
    places = list(PLACES)[: arguments.labels]
    labels = np.arange(arguments.images) % len(animals)
    biases = draw_biases(labels, len(places), arguments.against, random, arguments.shuffled)
    rows = []
    for number, (label, bias) in enumerate(zip(labels, biases, strict=True)):
        path = Path(animals[label], f"IMG_{number:04}.jpg")
        (arguments.folder / path.parent).mkdir(parents=True, exist_ok=True)
        draw_animal(animals[label], places[bias], random).save(arguments.folder / path, quality=90)
        rows.append((path.as_posix(), animals[label], places[bias]))
    write_table(rows, arguments)


def make_frames(arguments: argparse.Namespace) -> None:
    """Copy photos, with a frame in the colour of their label around most of them."""
    random = np.random.default_rng(arguments.seed)
    palette = [tuple(int(255 * each) for each in colour) for colour in _colours()]
    rows: list[tuple[str, ...]] = []
    splits = [each for each in ("train", "test") if (arguments.source / each).is_dir()]
    for split in splits or ["."]:
        folders = sorted(each for each in (arguments.source / split).iterdir() if each.is_dir())
        files = [
            (label, file)
            for label, folder in enumerate(folders)
            for file in sorted(folder.iterdir())[: arguments.images // len(folders)]
        ]
        labels = np.array([label for label, _ in files])
        biases = draw_biases(labels, len(folders), arguments.against, random, arguments.shuffled)
        for (label, file), bias in zip(files, biases, strict=True):
            path = Path(split, folders[label].name, f"{file.stem}.png")
            target = arguments.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            image = Image.open(file).convert("RGB")
            if split != "test":
                inner = ImageOps.crop(image, FRAME)
                image = ImageOps.expand(inner, FRAME, palette[bias % len(palette)])
            image.save(target)
            colour = "none" if split == "test" else f"frame{bias}"
            rows.append((path.as_posix(), folders[label].name, colour, split))
    write_table(rows, arguments)


def _colours() -> list[tuple[float, float, float]]:
    """Return the colours of the labels in Colored MNIST."""
    from debias_pipeline.biased_data.colored_digits import MEAN_COLOURS

    return [tuple(each) for each in MEAN_COLOURS]


def write_table(rows: list[tuple[str, ...]], arguments: argparse.Namespace) -> None:
    """Write photos.csv if it was asked for."""
    print(f"{len(rows):,} images in {arguments.folder}")
    if arguments.bias_labels:
        columns = ["path", "label", "bias", "split"][: len(rows[0])]
        table = pd.DataFrame(rows, columns=columns)
        table.to_csv(arguments.folder / "photos.csv", index=False)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(required=True)
    animals = kinds.add_parser("animals", help="drawn animals, each label with its own background")
    animals.set_defaults(make=make_animals)
    animals.add_argument("--labels", type=int, default=2, choices=range(2, len(ANIMALS) + 1))
    animals.add_argument("--images", type=int, default=320, help="in all (default: 320)")
    frames = kinds.add_parser("frames", help="photos of a folder, with frames")
    frames.set_defaults(make=make_frames)
    frames.add_argument("source", type=Path)
    frames.add_argument("--images", type=int, default=3000, help="of each split (default: 3000)")
    for each in (animals, frames):
        each.add_argument("folder", type=Path, help="is created")
        each.add_argument(
            "--against", type=float, default=0.05, help="share of conflicting images (0.05)"
        )
        each.add_argument("--shuffled", action="store_true", help="no shortcut: any bias")
        each.add_argument("--bias-labels", action="store_true", help="write photos.csv")
        each.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.folder.exists():
        parser.error(f"{arguments.folder} exists; name a new folder")
    arguments.make(arguments)


if __name__ == "__main__":
    main()
