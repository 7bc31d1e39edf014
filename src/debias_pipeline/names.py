"""Names that the whole project shares: splits, metrics and the states of a trial."""

from typing import Final, Literal

Split = Literal["train", "valid", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "valid", "test")

# Which metric published tables quote for a data set.
Headline = Literal["accuracy", "conflicting_accuracy", "worst_group_accuracy"]

# Metrics of a split, as fractions.
Metric = Literal[
    "accuracy",
    "group_balanced_accuracy",
    "aligned_accuracy",
    "conflicting_accuracy",
    "worst_group_accuracy",
    "adjusted_average_accuracy",
]
METRICS: Final[tuple[Metric, ...]] = (
    "accuracy",
    "group_balanced_accuracy",
    "aligned_accuracy",
    "conflicting_accuracy",
    "worst_group_accuracy",
    "adjusted_average_accuracy",
)
# Accuracy of the branch that is meant to learn the bias: how far the bias alone gets.
BIAS_BRANCH_ACCURACY: Final = "bias_branch_accuracy"

# Column of the history: share of the feature units that are zero for every validation image.
DEAD_UNITS: Final = "dead_units"

# Every table of sample weights has columns `loss_average_<name>` for these, null if the method
# keeps no such average. Methods may add others.
LOSS_AVERAGES: Final = ("intrinsic", "bias")

# Tags of MLflow runs: the command as typed, and the commit of the project.
COMMAND_TAG: Final = "kedro_command"
COMMIT_TAG: Final = "git_commit"

# Addresses of MLflow stores in a file, and the store of a project that sets none.
SQLITE: Final = "sqlite:///"
DEFAULT_STORE: Final = "sqlite:///mlflow.db"

# Which bias labels a result rests on: to choose a step or hyper-parameters (tuning), or to train.
BiasLabels = Literal["none", "tuning", "heldout", "training"]
# A method that is trained with these is an oracle: it is listed apart and not ranked.
ORACLE_LABELS: Final = ("heldout", "training")

TrialState = Literal["done", "failed", "not run"]
DONE: Final = "done"
FAILED: Final = "failed"
NOT_RUN: Final = "not run"

# Keys of the recipe files that belong to no method.
DEFAULTS: Final = "recipe_defaults"
DEFAULT_RANGES: Final = "default_ranges"
SOURCES: Final = "published_sources"

# Pipelines of the grid.
GRID_PIPELINES: Final = ("benchmark", "leaderboard")
