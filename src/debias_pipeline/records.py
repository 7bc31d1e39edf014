"""Types of the records that modules pass to each other and that the catalog stores as JSON."""

from typing import Any, NotRequired, TypedDict

from debias_pipeline.names import BiasLabels, Headline, Metric, Split, TrialState


class SplitSummary(TypedDict):
    """Counts of a split; null if no image of it is known to be aligned or conflicting.

    `conflicting_fraction` is the fraction among the images for which it is known.
    """

    images: int
    conflicting: int | None
    conflicting_fraction: float | None


class LabelBiasAssociation(TypedDict):
    """Whether the label and the bias are independent in the test split.

    `association` is Cramér's V, from 0 (independent) to 1; `unbiased` is null if it is not known.
    """

    unbiased: bool | None
    association: float | None


class DataDescription(TypedDict):
    """Facts about a data set as it was built.

    `image_shape` is H, W, 3. `bias_names` is empty if no image has a bias label. `aligned_bias`
    is, for each label, the bias value that counts as aligned (null if unknown), where it was
    determined from the data. `left_out` counts the files in the folder that are not among the
    images, by reason, for a data set that lists a folder. `attributes` has the names of the values
    of each bias attribute, for a data set with several; `bias_name` is then one of them, or
    several joined by "+" for their combination.
    """

    dataset: str
    percent: str
    headline: Headline
    label_name: str
    bias_name: str
    label_names: list[str]
    bias_names: list[str]
    image_shape: list[int]
    origin: str
    seed: int
    splits: dict[Split, SplitSummary]
    test_split: LabelBiasAssociation
    aligned_bias: NotRequired[list[int | None]]
    left_out: NotRequired[dict[str, int]]
    attributes: NotRequired[dict[str, list[str]]]


class DataCard(DataDescription):
    """The catalog's `data_card`.

    `title` is the name for people, see `BiasedDataset.title`; data cards of earlier versions lack
    it. `raw_hash` is null if the set needs no raw files. `images_hash` is that of the images alone,
    with which `images` is compared when it is loaded; earlier versions lack it.
    """

    title: NotRequired[str]
    raw_hash: str | None
    content_hash: str
    images_hash: NotRequired[str]


class DataIdentity(TypedDict, total=False):
    """Which data a network was trained on. Records of earlier versions lack the hashes."""

    label_names: list[str]
    image_shape: list[int]
    content_hash: str | None
    raw_hash: str | None


class ImagePasses(TypedDict):
    """Images that pass through networks in training, of one seed; see `training.cost.Cost`.

    An image counts once for each network: in `forward` if the network computes its features, in
    `backward` if the gradient of a loss passes through the network.
    """

    forward: int
    backward: int


class TrainingRecord(TypedDict, total=False):
    """The catalog's `training_record`: settings and cost of a training run.

    `threads` is the largest number of threads used, `thread_steps` the number of steps by number
    of threads. `selection_support` is, by selection rule and seed, the number of conflicting
    validation images that the rule rests on. `dead_units` is, by selection rule and seed, the share
    of feature units that are zero for every validation image. `image_passes` is null if a snapshot
    of an earlier version was resumed. `seconds` is the time of training, together with that before
    an interruption, `seconds_before`. `weights_hash` is the SHA-256 sum of the file of
    initial weights, null if there was none. `finished` is the end of the training, UTC, in ISO
    format; `versions` those of the main packages; `commit` and `mlflow_run_id` are null if they are
    not known. Records of earlier versions lack these four. Published checkpoints have no more than
    `recipe`, `seeds`, `precision` and `pretrained`.
    """

    recipe: dict[str, Any]
    seeds: list[int]
    device: str
    precision: str
    threads: int
    thread_steps: dict[str, int]
    torch: str
    selection_support: dict[str, list[int]]
    dead_units: dict[str, list[float]]
    image_passes: ImagePasses | None
    seconds: float
    seconds_before: float
    settings_digest: str
    weights_hash: str | None
    data: DataIdentity
    finished: str
    versions: dict[str, str]
    commit: str | None
    mlflow_run_id: str | None
    pretrained: bool


class OverSeeds(TypedDict):
    """A metric over seeds; null where it cannot be computed. `std` is null for one seed."""

    mean: float | None
    std: float | None
    per_seed: list[float | None]


class Evidence(TypedDict):
    """What a metric of the test split rests on.

    `images` is the number of test images: of the smallest group for the mean over groups, of the
    worst group (the smallest over seeds) for its accuracy. `low` and `high` are the ends of a 95 %
    interval of the mean over seeds.
    """

    images: int
    low: float
    high: float


class AttributeMetrics(TypedDict):
    """The metrics of `RuleMetrics` that depend on the bias, for one of several attributes."""

    group_balanced_accuracy: OverSeeds
    adjusted_average_accuracy: OverSeeds
    aligned_accuracy: OverSeeds
    conflicting_accuracy: OverSeeds
    worst_group_accuracy: OverSeeds


class RuleMetrics(TypedDict):
    """Metrics on the test split of the networks that a selection rule selects.

    `support` is the number of conflicting validation images that the rule rests on, null if it
    uses none; `reliable` is false if that is too few. `evidence` has the metrics with a value.
    `attributes` has metrics by bias attribute, for a data set with several. Metrics of earlier
    versions lack `evidence` and `adjusted_average_accuracy`.
    """

    step: OverSeeds
    accuracy: OverSeeds
    group_balanced_accuracy: OverSeeds
    adjusted_average_accuracy: NotRequired[OverSeeds]
    aligned_accuracy: OverSeeds
    conflicting_accuracy: OverSeeds
    worst_group_accuracy: OverSeeds
    bias_branch_accuracy: OverSeeds
    support: OverSeeds | None
    reliable: bool
    evidence: NotRequired[dict[Metric, Evidence]]
    attributes: NotRequired[dict[str, AttributeMetrics]]


class Metrics(TypedDict):
    """The catalog's `metrics` of a trial.

    `checkpoints` has an entry per selection rule, null if the rule selects no step. `title` and
    `bias_name` are those of the data card, `bias_labels` that of the method. `dead_units` is, by
    selection rule, the share of feature units that are zero for every validation image, and
    `collapsed` lists the seeds that have collapsed (see `collapse`). Metrics of earlier versions
    lack these.
    """

    dataset: str
    percent: str
    title: NotRequired[str]
    bias_name: NotRequired[str]
    method: str
    bias_labels: NotRequired[BiasLabels]
    headline: Headline
    unbiased_test: bool | None
    seeds: list[int]
    checkpoints: dict[str, RuleMetrics | None]
    conflict_detection_auroc: OverSeeds
    dead_units: NotRequired[dict[str, OverSeeds]]
    collapsed: NotRequired[dict[str, list[int]]]


class FirstSuspects(TypedDict):
    """How many of the first suspects are bias-conflicting.

    `images` is their number, `known` how many of them are known to be conflicting or aligned,
    `conflicting_fraction` the fraction of conflicting images among all images of which it is known.
    """

    conflicting: int
    known: int
    images: int
    conflicting_fraction: float


class Estimate(TypedDict):
    """A value estimated from labelled images, and the ends of its 95 % interval.

    `images` is the number of labelled images that it rests on, `right` how many of them are
    predicted correctly (null if it is not an accuracy).
    """

    value: float
    images: int
    right: int | None
    low: float
    high: float


class LabelEstimates(TypedDict):
    """The catalog's `label_estimates`: group accuracies estimated from images labelled by hand.

    `labelled` is the number of images whose kind (aligned or conflicting) is known, `drawn` how
    many labelled images are those of `to_label`, `represented` the number of images that the
    estimates are about: those of the validation and test split. Estimates are null without labelled
    images of the kind. `worst_group` is the name of the group, such as "cow, sand". `auroc` is that
    of the ranking.
    """

    labelled: int
    drawn: int
    represented: int
    aligned_accuracy: Estimate | None
    conflicting_accuracy: Estimate | None
    worst_group_accuracy: Estimate | None
    worst_group: str | None
    auroc: Estimate | None


class Outcome(TypedDict):
    """The catalog's `outcome`: how a trial of the grid ended, and its cost.

    `seconds` is wall time. `peak_memory_bytes` is null where it is not known. `image_passes` is
    that of the training record; outcomes of earlier versions lack it.
    """

    dataset: str
    percent: str
    method: str
    seeds: list[int]
    precision: str
    steps: int
    status: TrialState
    error: str | None
    seconds: float
    peak_memory_bytes: int | None
    image_passes: NotRequired[ImagePasses | None]
    threads: int
    settings_digest: str | None
    content_hash: str | None
    mlflow_run_id: str | None
    mlflow_experiment_id: str | None


class TuningTrial(TypedDict):
    """A trial of a search; `score`, the mean of `scores`, is null if the trial has failed.

    `values` are the recipe fields that were tried, `scores` and `steps` the validation score and
    the selected step of each seed.
    """

    trial: int
    values: dict[str, Any]
    status: str
    score: float | None
    scores: list[float]
    steps: list[int]
    seconds: float
    error: str | None


class TunedMethod(TypedDict):
    """All trials of a method.

    `params` are the values of the best trial for --params, and `command` trains with them; both are
    null, like `best`, if all trials have failed.
    """

    ranges: dict[str, Any]
    trials: list[TuningTrial]
    failed: int
    best: TuningTrial | None
    params: str | None
    command: str | None


class Tuning(TypedDict):
    """The catalog's `tune.tuning`: the result of a search.

    `seed` is that of the sampler, `bias_labels` says whether scores use bias labels of the
    validation split, and `conflicting_images` on how many conflicting images a score rests (of
    several seeds the lowest number).
    """

    dataset: str
    percent: str
    title: str
    selection: str
    sampler: str
    seed: int
    trials: int
    seeds: list[int]
    precision: str
    bias_labels: BiasLabels
    conflicting_images: int
    methods: dict[str, TunedMethod]
