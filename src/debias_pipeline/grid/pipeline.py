"""The grid's pipelines: ingestion per setting, training and evaluation per trial, leaderboard."""

from collections.abc import Sequence
from typing import Final

from kedro.pipeline import Pipeline, pipeline

from debias_pipeline.described import described_node
from debias_pipeline.grid.execution import record_outcome
from debias_pipeline.grid.leaderboard import create_leaderboard
from debias_pipeline.grid.trials import GRID_TAG, Trial
from debias_pipeline.pipelines.evaluation.pipeline import EVALUATION
from debias_pipeline.pipelines.ingestion import create_pipeline as create_ingestion
from debias_pipeline.pipelines.training.pipeline import TRAINING

# The entries of its setting that a trial reads.
TRIAL_DATA: Final = ("images", "manifest", "data_card")

_TRIAL = pipeline(
    [
        *TRAINING,
        *EVALUATION,
        described_node(
            record_outcome,
            inputs=["params:dataset", "params:percent", "training_record", "final_metrics"],
            outputs="outcome",
            name="record_outcome",
        ),
    ]
)


def create_pipelines(trials: Sequence[Trial]) -> dict[str, Pipeline]:
    """Return the pipelines `benchmark` and `leaderboard`.

    Namespaces are `<setting>` for the data of a setting and `<setting>.<method>` for a trial. Nodes
    are tagged with data set, percent, setting and method (data and leaderboard: all methods), and
    with `data`, `trial` or `leaderboard`.

    Args:
        trials: see `trials_of`.
    """
    settings: dict[str, list[Trial]] = {}
    for trial in trials:
        settings.setdefault(trial.setting, []).append(trial)
    leaderboard = create_leaderboard(trials)
    # One `Pipeline` of all parts: adding them one by one takes quadratic time.
    parts = [*map(_data_pipeline, settings.values()), *map(_trial_pipeline, trials), leaderboard]
    return {"benchmark": Pipeline(parts), "leaderboard": leaderboard}


def _data_pipeline(trials: Sequence[Trial]) -> Pipeline:
    """Return the pipeline that makes the data of one setting.

    Args:
        trials: all trials of the setting.
    """
    first = trials[0]
    methods = (trial.method for trial in trials)
    return pipeline(
        create_ingestion(),
        namespace=first.setting,
        parameters={"params:raw_dir", "params:data_seed"},
        tags={GRID_TAG, "data", first.dataset, first.percent, first.setting, *methods},
    )


def _trial_pipeline(trial: Trial) -> Pipeline:
    """Return the pipeline that trains and evaluates one trial."""
    of_setting = ("dataset", "percent")
    of_grid = ("seed", "seeds", "precision", "threads")
    return pipeline(
        _TRIAL,
        namespace=trial.name,
        inputs={name: f"{trial.setting}.{name}" for name in TRIAL_DATA},
        parameters={
            **{f"params:{name}": f"params:{trial.setting}.{name}" for name in of_setting},
            **{f"params:{name}": f"params:benchmark.{name}" for name in of_grid},
            **{name: name for name in ("params:device", "params:resume")},
        },
        tags={GRID_TAG, "trial", trial.dataset, trial.percent, trial.setting, trial.method},
    )
