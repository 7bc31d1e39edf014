"""DisEnt on Colored MNIST the way published research code trains it, to measure against.

Written for this benchmark alone, and as such code is: a PNG file is opened and decoded per image
and step, by the worker processes of a DataLoader; one seed at a time; two networks with an Adam
each; every step looks through the labels of the whole training split for the largest moving
average of each class; features are swapped. Every evaluation reads its 15,000 files again.

What is lighter here than there: 2,000 files stand for 55,000, so that they stay in the system's
cache; nothing is logged or saved.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_tensor

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.methods.disent import DisentRecipe

TRAIN_IMAGES = 55_000
FILES = 2_000
# As many as the targets' processor has cores; PyTorch warns of more.
WORKERS = 2


class PngFiles(Dataset[tuple[int, Tensor, int]]):
    """Images in files of their own; there seem to be more than there are."""

    def __init__(self, folder: Path, length: int) -> None:
        """Set up.

        Args:
            folder: as `write_png_files` left it.
            length: how many images to feign: image i is read from file i modulo their number.
        """
        self._paths = sorted(folder.glob("*.png"))
        self._length = length
        self.labels = np.array([self._label(index) for index in range(length)])

    def _path(self, index: int) -> Path:
        return self._paths[index % len(self._paths)]

    def _label(self, index: int) -> int:
        return int(self._path(index).stem.split("_")[1])

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[int, Tensor, int]:
        image = Image.open(self._path(index)).convert("RGB")
        return index, to_tensor(image), self._label(index)


def write_png_files(folder: Path, count: int = FILES) -> None:
    """Write coloured digits, named `<number>_<label>_<bias>.png` as published sets are."""
    data = get_dataset("cmnist_mini").build("2pct", Path(), 0)
    rows = data.manifest.head(count)
    for image, label, bias in zip(data.images, rows["label"], rows["bias"], strict=False):
        number = len(list(folder.iterdir()))
        Image.fromarray(image).save(folder / f"{number}_{label}_{bias}.png")


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.feature = nn.Sequential(
            nn.Linear(2352, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(),
            nn.Linear(100, 16), nn.ReLU(),
        )  # fmt: skip
        self.fc = nn.Linear(32, 10)

    def extract(self, images: Tensor) -> Tensor:
        return self.feature(images.flatten(1) / 255)


class _MovingAverage:
    """Moving averages of the losses of all training images."""

    def __init__(self, labels: np.ndarray, alpha: float) -> None:
        self._labels, self._alpha = labels, alpha
        self._values, self._visited = torch.zeros(len(labels)), torch.zeros(len(labels))

    def update(self, losses: Tensor, index: Tensor) -> Tensor:
        kept = self._alpha * self._visited[index]
        self._values[index] = kept * self._values[index] + (1 - kept) * losses
        self._visited[index] = 1
        return self._values[index].clone()

    def largest(self, label: int) -> Tensor:
        return self._values[np.where(self._labels == label)[0]].max()


class NaiveDisent:
    """Trains one seed."""

    def __init__(self, files: PngFiles, recipe: DisentRecipe, workers: int = WORKERS) -> None:
        """Set up.

        Args:
            files: the training split.
            recipe: hyper-parameters; features are swapped from the start.
            workers: processes that read images.
        """
        self._files, self._recipe, self._workers = files, recipe, workers
        self._intrinsic, self._bias = _Network(), _Network()
        self._adams = [
            torch.optim.Adam(each.parameters(), lr=recipe.lr)
            for each in (self._intrinsic, self._bias)
        ]
        self._average_intrinsic = _MovingAverage(files.labels, recipe.alpha)
        self._average_bias = _MovingAverage(files.labels, recipe.alpha)
        self._cross_entropy = nn.CrossEntropyLoss(reduction="none")

    def steps(self) -> Iterator[float]:
        """Train for one pass over the files, giving the loss of each step."""
        loader = DataLoader(
            self._files,
            self._recipe.batch_size,
            shuffle=True,
            num_workers=self._workers,
            drop_last=True,
        )
        for index, images, labels in loader:
            yield self._step(index, images, labels)

    def accuracy(self, files: PngFiles) -> float:
        """Share of the images that are classified as they are labelled."""
        loader = DataLoader(files, self._recipe.batch_size, num_workers=self._workers)
        correct = 0
        with torch.no_grad():
            for _, images, labels in loader:
                both = [self._intrinsic.extract(images), self._bias.extract(images)]
                predicted = self._intrinsic.fc(torch.cat(both, 1)).argmax(1)
                correct += (predicted == labels).sum().item()
        return correct / len(files)

    def _step(self, index: Tensor, images: Tensor, labels: Tensor) -> float:
        z_i, z_b = self._intrinsic.extract(images), self._bias.extract(images)
        for_intrinsic = torch.cat([z_i, z_b.detach()], 1)
        for_bias = torch.cat([z_i.detach(), z_b], 1)
        loss_intrinsic = self._cross_entropy(self._intrinsic.fc(for_intrinsic), labels)
        logits_bias = self._bias.fc(for_bias)
        loss_bias = self._cross_entropy(logits_bias, labels)
        weights = self._weights(index, labels, loss_intrinsic.detach(), loss_bias.detach())
        loss = (weights * loss_intrinsic).mean()
        loss = loss + self._recipe.lambda_dis * self._generalised(logits_bias, labels).mean()
        loss = loss + self._recipe.lambda_swap * self._swapped(z_i, z_b, labels, weights)
        for adam in self._adams:
            adam.zero_grad()
        loss.backward()
        for adam in self._adams:
            adam.step()
        return loss.item()

    def _weights(self, index: Tensor, labels: Tensor, intrinsic: Tensor, bias: Tensor) -> Tensor:
        difficulty = self._average_intrinsic.update(intrinsic, index)
        bias_difficulty = self._average_bias.update(bias, index)
        for label in range(10):
            chosen = torch.where(labels == label)[0]
            difficulty[chosen] /= self._average_intrinsic.largest(label)
            bias_difficulty[chosen] /= self._average_bias.largest(label)
        return bias_difficulty / (bias_difficulty + difficulty + 1e-8)

    def _swapped(self, z_i: Tensor, z_b: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        swap = torch.from_numpy(np.random.permutation(len(z_b)))
        swapped, swapped_labels = z_b[swap], labels[swap]
        for_intrinsic = torch.cat([z_i, swapped.detach()], 1)
        for_bias = torch.cat([z_i.detach(), swapped], 1)
        intrinsic = weights * self._cross_entropy(self._intrinsic.fc(for_intrinsic), labels)
        bias = self._generalised(self._bias.fc(for_bias), swapped_labels)
        return intrinsic.mean() + self._recipe.lambda_swap_b * bias.mean()

    def _generalised(self, logits: Tensor, labels: Tensor) -> Tensor:
        q = self._recipe.q
        probability = torch.softmax(logits, 1).gather(1, labels.unsqueeze(1)).squeeze(1)
        return self._cross_entropy(logits, labels) * (q * probability.detach() ** q)
