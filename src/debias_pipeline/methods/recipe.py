"""Hyper-parameters of every method."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from debias_pipeline.errors import RecipeError
from debias_pipeline.networks import TORCHVISION_NETWORKS, encoder_names, smallest_image
from debias_pipeline.registry import unknown
from debias_pipeline.transforms import Transform


class Recipe(BaseModel):
    """Hyper-parameters of a method on a data set; methods add their own fields.

    Attributes:
        method: name of the method.
        network: name of the encoder.
        weights: initial weights of a torchvision network: none (random), imagenet, or a local
            file; see `networks.pretrained`. The head is always random.
        lr: learning rate at the start.
        optimiser: adam (default betas) or sgd.
        momentum: of sgd only.
        weight_decay: factor of the L2 penalty, which is added to the gradient.
        schedule: constant, or step: multiply the learning rate by `gamma` every `decay_every`
            steps.
        decay_every, gamma: see `schedule`; None if the schedule is constant.
        batch_size: images per step and seed.
        steps: number of updates.
        eval_every: steps between two evaluations.
        square, resize, centre_crop, crop_padding, flip, normalise: see `transforms.Transform`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    network: str
    weights: str = "none"
    lr: float = Field(gt=0, allow_inf_nan=False)
    optimiser: Literal["adam", "sgd"] = "adam"
    momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    schedule: Literal["constant", "step"] = "constant"
    decay_every: int | None = Field(default=None, gt=0, validate_default=True)
    gamma: float | None = Field(default=None, gt=0, le=1, validate_default=True)
    batch_size: int = Field(gt=0)
    steps: int = Field(gt=0)
    eval_every: int = Field(default=500, gt=0)
    square: bool = False
    resize: int | None = Field(default=None, gt=0)
    centre_crop: int | None = Field(default=None, gt=0)
    crop_padding: int = Field(default=0, ge=0)
    flip: bool = False
    normalise: Literal["none", "cifar10", "imagenet", "half"] = "none"

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_no_booleans(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and info.field_name == "normalise":
            raise ValueError(
                "true and false are not allowed; use cifar10 (formerly true), imagenet or none"
            )
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("true and false are not allowed; use a value of another type")
        return value

    @field_validator("network")
    @classmethod
    def _network_exists(cls, name: str) -> str:
        if name not in encoder_names():
            raise ValueError(unknown("network", name, encoder_names()))
        return name

    @field_validator("weights")
    @classmethod
    def _weights_are_of_torchvision(cls, value: str, info: ValidationInfo) -> str:
        network = info.data.get("network", "")
        if value != "none" and network not in TORCHVISION_NETWORKS:
            raise ValueError(
                f"{network} has random initial weights only; use none, or one of the networks "
                f"{', '.join(TORCHVISION_NETWORKS)}"
            )
        return value

    @field_validator("momentum")
    @classmethod
    def _momentum_needs_sgd(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("optimiser") == "adam":
            raise ValueError("optimiser=adam has no momentum; set optimiser=sgd as well")
        return value

    @field_validator("decay_every", "gamma")
    @classmethod
    def _decays_belong_to_the_step_schedule(
        cls, value: float | None, info: ValidationInfo
    ) -> float | None:
        schedule = info.data.get("schedule")
        if schedule == "step" and value is None:
            raise ValueError("schedule=step requires a value; set both decay_every and gamma")
        # recipe.gamma=… is set for all methods of a run, also for those without decays.
        return None if schedule == "constant" else value

    @property
    def transform(self) -> Transform:
        """Return the transform of images for the network."""
        return Transform(
            square=self.square,
            resize=self.resize,
            centre_crop=self.centre_crop,
            crop_padding=self.crop_padding,
            flip=self.flip,
            normalise=self.normalise,
        )

    def network_input(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return height, width, channels of transformed images.

        Raises:
            RecipeError: if the images are too small for the centre crop or the network.
        """
        height, width = self.transform.output_size(*image_shape[:2])
        needed = smallest_image(self.network)
        if min(height, width) < needed:
            raise RecipeError(
                f"images of {height} × {width} pixels are too small for "
                f"{{recipe}}.network={self.network}; it needs {needed} × {needed}, try "
                "{recipe}.resize=224"
            )
        return height, width, image_shape[2]

    @property
    def decay_start(self) -> int:
        """Return the step from which decays of the step schedule are counted."""
        return 0

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of an update: lr · γ^⌊(step − start) / decay_every⌋.

        Args:
            step: number of updates before this one.
        """
        if self.decay_every is None or self.gamma is None:
            return self.lr
        decays = max(0, step - self.decay_start) // self.decay_every
        return self.lr * self.gamma**decays
