"""Hyper-parameters that every method has."""

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from debias_pipeline.networks import encoder_names, is_encoder
from debias_pipeline.transforms import Transform


class Recipe(BaseModel):
    """Hyper-parameters of one data set × method; a method adds its own fields.

    Attributes:
        method: name of the method.
        network: name of the encoder.
        lr: learning rate of Adam at the start.
        batch_size: images per step and seed.
        steps: number of updates.
        eval_every: steps between two evaluations.
        resize, crop_padding, flip, normalise: see `transforms.Transform`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    network: str
    lr: float = Field(gt=0, allow_inf_nan=False)
    batch_size: int = Field(gt=0)
    steps: int = Field(gt=0)
    eval_every: int = Field(default=500, gt=0)
    resize: int | None = Field(default=None, gt=0)
    crop_padding: int = Field(default=0, ge=0)
    flip: bool = False
    normalise: bool = False

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_no_booleans(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("this field is not true or false")
        return value

    @field_validator("network")
    @classmethod
    def _network_exists(cls, name: str) -> str:
        if not is_encoder(name):
            raise ValueError(
                f"there is no such network; choose from {', '.join(encoder_names())} "
                "or torchvision's classification networks, such as resnet18"
            )
        return name

    @property
    def transform(self) -> Transform:
        """What is done to images before the network sees them."""
        return Transform(self.resize, self.crop_padding, self.flip, self.normalise)

    def network_input(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Height, width, channels of images of a shape once they are transformed."""
        if self.resize is None:
            return image_shape
        return (self.resize, self.resize, image_shape[2])

    def learning_rate(self, step: int) -> float:
        """The learning rate of an update; steps count from 0."""
        del step
        return self.lr
