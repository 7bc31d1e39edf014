"""What the loop promises of every method."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import (
    SHAPE,
    augmented,
    double_precision,
    steps_before_main,
    tiny_data,
    tiny_method,
    tiny_recipe,
)

from debias_pipeline.errors import UserError
from debias_pipeline.evaluation import predict
from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods import (
    Losses,
    Optimiser,
    Plan,
    Sampling,
    Stage,
    Task,
    Update,
    get_method,
    method_names,
)
from debias_pipeline.training import Checkpoint, restore_method, train

METHODS = method_names()


def run(method, seeds=(0,), data=None, **changes):
    recipe = tiny_recipe(method, **changes)
    return train(tiny_method(recipe, seeds), recipe, data or tiny_data())


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_twice_is_equal_bit_for_bit(method):
    assert_equal(*(run(method, seeds=(0, 1)) for _ in range(2)))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_twice_is_equal_bit_for_bit_with_crops_flips_and_convolutions(method):
    assert_equal(*(run(method, seeds=(1, 2), **augmented(method)) for _ in range(2)))


def assert_equal(first, second):
    for rule, kept in first.checkpoints.items():
        for ours, theirs in zip(kept, second.checkpoints[rule], strict=True):
            assert ours.step == theirs.step
            assert all(torch.equal(ours.state[name], theirs.state[name]) for name in ours.state)
    speed = ["images_per_second"]
    pd.testing.assert_frame_equal(
        first.history.drop(columns=speed), second.history.drop(columns=speed), check_exact=True
    )
    pd.testing.assert_frame_equal(first.sample_weights, second.sample_weights, check_exact=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_joint_run_of_seeds_equals_runs_of_each_seed_alone(method):
    # In double precision, as processors round differently and some losses amplify it.
    with double_precision():
        together, *single = (
            run(method, seeds=each, steps=20) for each in ((4, 5, 6), (4,), (5,), (6,))
        )
    for replica, (seed, alone) in enumerate(zip((4, 5, 6), single, strict=True)):
        ours, theirs = together.checkpoints["last"][replica], alone.checkpoints["last"][0]
        for name in theirs.state:
            torch.testing.assert_close(ours.state[name], theirs.state[name], rtol=1e-7, atol=1e-9)
        of_seed = together.history[together.history["seed"] == seed].reset_index(drop=True)
        losses = [name for name in of_seed.columns if name.startswith("loss")]
        np.testing.assert_allclose(of_seed[losses], alone.history[losses], rtol=1e-6, atol=1e-8)
        weights = together.sample_weights.query("seed == @seed")["weight"].to_numpy()
        np.testing.assert_allclose(weights, alone.sample_weights["weight"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["vanilla", "disent"])
def test_a_joint_run_equals_single_ones_in_single_precision_up_to_rounding(method):
    together, alone = run(method, seeds=(4, 5)), run(method, seeds=(5,))
    ours, theirs = together.checkpoints["last"][1], alone.checkpoints["last"][0]
    for name in theirs.state:
        torch.testing.assert_close(ours.state[name], theirs.state[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_history_has_a_row_per_evaluation_and_seed_and_the_last_step(method):
    recipe = tiny_recipe(method, steps=25)
    trained = tiny_method(recipe, (0, 1))
    history = train(trained, recipe, tiny_data()).history
    before = steps_before_main(recipe)
    assert (history["step"] - before).tolist() == [10, 10, 20, 20, 25, 25]
    assert history["seed"].tolist() == [0, 1] * 3
    accuracies = history.filter(regex="^(valid|test)_")
    _, of_bias_branch = trained.predict_branches(torch.zeros(1, 2, 3, 6, 6))
    assert accuracies.shape[1] == (12 if of_bias_branch is None else 14)
    assert ((accuracies >= 0) & (accuracies <= 1)).all(axis=None)
    assert (history["images_per_second"] > 0).all()


def test_loss_terms_of_the_swap_are_null_before_it_starts():
    history = run("disent").history
    assert history["loss_swap_bias"].isna().tolist() == [True, False, False]
    assert history["loss"].notna().all()


@pytest.mark.parametrize("method", ["disent", "lff"])
def test_history_has_the_accuracy_of_the_bias_branch(method):
    data, recipe = tiny_data(), tiny_recipe(method)
    trained = tiny_method(recipe, (0, 1))
    last = train(trained, recipe, data).history.query("step == 30")
    for split in ("valid", "test"):
        said = predict(trained, data, split, "fp32").bias_branch
        expected = (said == data.splits[split].labels).mean(1)
        assert last[f"{split}_bias_branch_accuracy"].tolist() == expected.tolist()


@pytest.mark.slow
def test_something_is_learned():
    history = run("vanilla", steps=400, eval_every=400, lr=0.05).history
    assert history["test_accuracy"].iloc[-1] > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_best_on_test_is_the_best_and_selected_goes_by_validation_only(method):
    result = run(method, steps=40, eval_every=5)
    history = result.history
    assert result.checkpoints["last"][0].step == 40 + steps_before_main(tiny_recipe(method))
    best = history["test_accuracy"].max()
    first_best = history.loc[history["test_accuracy"] == best, "step"].iloc[0]
    assert result.checkpoints["best_on_test"][0].step == first_best
    aligned, conflicting = history["valid_aligned_accuracy"], history["valid_conflicting_accuracy"]
    harmonic = (2 * aligned * conflicting / (aligned + conflicting)).fillna(0)
    assert result.checkpoints["selected"][0].step == history["step"][harmonic.idxmax()]


def test_without_bias_labels_there_is_no_selected_checkpoint():
    result = run("disent", data=tiny_data(with_bias=False))
    assert len(result.checkpoints["last"]) == len(result.checkpoints["best_on_test"]) == 1
    assert result.checkpoints["selected"] == []
    assert result.history["test_conflicting_accuracy"].isna().all()
    assert result.sample_weights["conflicting"].isna().all()
    assert result.sample_weights["weight"].between(0, 1).all()


def test_sample_weights_has_a_row_per_training_image_and_seed():
    weights = run("disent", seeds=(0, 1)).sample_weights
    assert len(weights) == 2 * 64
    assert weights["weight"].between(0, 1).all()
    assert list(weights.columns) == [
        "image_id", "seed", "weight", "loss_average_intrinsic", "loss_average_bias", "conflicting",
    ]  # fmt: skip


def test_sample_weights_are_means_over_the_last_window_only(monkeypatch):
    recipe = tiny_recipe("disent", steps=20, eval_every=4, batch_size=16)
    method = tiny_method(recipe, (0,))
    seen = []
    losses = method.losses

    def recorded(batch, step):
        result = losses(batch, step)
        seen.append((batch.index[0].tolist(), result.weights[0].tolist()))
        return result

    monkeypatch.setattr(method, "losses", recorded)
    weights = train(method, recipe, tiny_data()).sample_weights["weight"]
    drawn = [pair for index, values in seen[-4:] for pair in zip(index, values, strict=True)]
    expected = pd.DataFrame(drawn, columns=["row", "weight"]).groupby("row")["weight"].mean()
    np.testing.assert_allclose(weights[expected.index], expected, rtol=1e-5)


def test_images_not_drawn_in_the_last_window_get_the_weight_of_their_averages():
    recipe = tiny_recipe("disent", steps=13, eval_every=4)
    method = tiny_method(recipe, (0,))
    weights = train(method, recipe, tiny_data()).sample_weights["weight"]
    now = method.image_weights()[0].numpy()
    # One step in the last window: 16 of 64 images were drawn.
    assert (np.isclose(weights, now)).sum() >= 48


def test_a_method_that_keeps_nothing_per_image_still_has_the_weights_of_what_it_drew(monkeypatch):
    recipe = tiny_recipe("disent", steps=13, eval_every=4)
    method = tiny_method(recipe, (0,))
    monkeypatch.setattr(method, "image_weights", lambda: None)
    weights = train(method, recipe, tiny_data()).sample_weights["weight"]
    # One step in the last window: 16 of 64 images were drawn.
    assert weights.notna().sum() == 16


def test_vanilla_weighs_nothing():
    weights = run("vanilla").sample_weights
    assert weights["weight"].isna().all()


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_is_not_finite_stops_with_its_term_and_step(method):
    with pytest.raises(UserError, match=r"^loss\w* is not finite at step \d+ \(seed 0\)"):
        run(method, lr=1e30)


def test_the_first_step_and_term_that_is_not_finite_is_named(monkeypatch):
    recipe = tiny_recipe("disent")
    method = tiny_method(recipe, (0, 1))
    losses = method.losses

    def broken(batch, step):
        result = losses(batch, step)
        if step >= 7:
            result.terms["loss_bias"][1] = float("inf")
            result.total.detach()[1] = float("inf")
        return result

    monkeypatch.setattr(method, "losses", broken)
    with pytest.raises(UserError, match=r"^loss_bias is not finite at step 7 \(seed 1\)"):
        train(method, recipe, tiny_data())


class TwoUpdates(get_method("vanilla")):
    """Encoder and head have an optimiser and an update of their own, from a stream of their own."""

    def stages(self):
        return (Stage("first", 5, evaluated=False), Stage("second", 7, every=3))

    def begin(self, stage, run):
        self.seen, self.intervals = [], getattr(self, "intervals", [])
        sampling = Sampling(self.recipe.batch_size)
        of_head = Optimiser((self.head,), lambda step: 0.5, "sgd")
        of_encoder = Optimiser.of_recipe(self.recipe, self.encoder)
        return Plan((sampling, sampling), {"encoder": of_encoder, "head": of_head})

    def updates(self, batches, step):
        before = self.head.weight.detach().clone()
        yield Update(self.losses(batches[0], step), ("encoder",))
        assert torch.equal(self.head.weight, before)
        encoder = [each.detach().clone() for each in self.encoder.parameters()]
        yield Update(self.losses(batches[1], step), ("head",))
        assert not torch.equal(self.head.weight, before)
        assert all(map(torch.equal, encoder, self.encoder.parameters()))
        self.seen.append([each.index.tolist() for each in batches])

    def on_interval(self, stage, step, run):
        self.intervals.append((stage.name, step))


def test_a_stage_may_have_several_streams_optimisers_and_updates_and_intervals():
    recipe = tiny_recipe("vanilla", eval_every=4)
    method = TwoUpdates(recipe, Task(SHAPE, 3, (0, 1)))
    history = train(method, recipe, tiny_data()).history
    assert method.intervals == [("second", 3), ("second", 6)]
    assert history["step"].unique().tolist() == [9, 12]
    assert len(method.seen) == 7
    assert all(first != second for first, second in method.seen)


def test_listeners_hear_every_step_and_evaluation():
    heard = []

    class Listener:
        def on_step(self):
            heard.append("step")

        def on_evaluation(self, step, rows):
            heard.append((step, [row["seed"] for row in rows]))

    recipe = tiny_recipe("vanilla")
    train(tiny_method(recipe, (0, 1)), recipe, tiny_data(), listeners=[Listener()])
    assert heard.count("step") == 30
    assert [each for each in heard if each != "step"] == [(s, [0, 1]) for s in (10, 20, 30)]
    assert heard[9:11] == ["step", (10, [0, 1])]


@pytest.mark.parametrize("method", METHODS)
def test_bf16_trains_with_float32_parameters(method):
    recipe = tiny_recipe(method, steps=20)
    result = train(tiny_method(recipe, (0, 1)), recipe, tiny_data(), precision="bf16")
    state = result.checkpoints["last"][0].state
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert np.isfinite(result.history["loss"]).all()


@pytest.mark.parametrize("method", METHODS)
def test_checkpoint_survives_the_way_through_the_catalog(method):
    data, recipe = tiny_data(), tiny_recipe(method)
    task = Task(SHAPE, 3, (0, 1))
    trained = tiny_method(recipe, (0, 1))
    result = train(trained, recipe, data)
    checkpoint = Checkpoint.of_run(
        result.checkpoints, recipe.model_dump(), task, {"dataset": "tiny"}
    )
    back = Checkpoint.from_catalog(checkpoint.to_catalog())
    restored = restore_method(back, "last", torch.device("cpu"))
    np.testing.assert_array_equal(
        predict(restored, data, "test", "fp32").labels,
        predict(trained, data, "test", "fp32").labels,
    )
    assert back.steps["last"] == [30 + steps_before_main(recipe)] * 2
    assert back.origin == {"dataset": "tiny"}


def test_a_checkpoint_of_other_networks_is_refused_in_one_line():
    recipe = tiny_recipe("vanilla")
    task = Task(SHAPE, 3, (0,))
    result = train(tiny_method(recipe, (0,)), recipe, tiny_data())
    saved = Checkpoint.of_run(result.checkpoints, recipe.model_dump(), task, {}).to_catalog()
    saved["metadata"]["recipe"] = tiny_recipe("disent").model_dump()
    with pytest.raises(UserError, match="does not fit its recipe"):
        restore_method(Checkpoint.from_catalog(saved), "last", torch.device("cpu"))
    with pytest.raises(UserError, match="not written by this project"):
        Checkpoint.from_catalog({"tensors": {}, "metadata": {}})


@pytest.mark.parametrize("method", METHODS)
def test_networks_with_batch_statistics_train_jointly_and_survive_the_catalog(method):
    recipe = tiny_recipe(method, **augmented(method))
    with double_precision():
        alone, data = tiny_method(recipe, (2,)), tiny_data()
        single = train(alone, recipe, data)
        together = run(method, seeds=(1, 2), **augmented(method))
        ours, theirs = together.checkpoints["last"][1].state, single.checkpoints["last"][0].state
        assert any("running_mean" in name for name in theirs)
        for name in theirs:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-7, atol=1e-9)
        task = Task(SHAPE, 3, (2,))
        saved = Checkpoint.of_run(single.checkpoints, recipe.model_dump(), task, {}).to_catalog()
        restored = restore_method(Checkpoint.from_catalog(saved), "last", torch.device("cpu"))
        labels = [predict(each, data, "test", "fp32").labels for each in (restored, alone)]
    np.testing.assert_array_equal(*labels)


LOSS = {"loss": torch.zeros(2)}
WRONG_LOSSES = {
    "one loss for all seeds": (lambda each: Losses(each.mean(), LOSS), "total .* the shape []"),
    "a loss per image": (lambda each: Losses(each, LOSS), "total .* [2, 16]; [2], a loss per"),
    "seeds averaged": (lambda each: Losses(each.mean(0), LOSS), "total .* [16]; [2], a loss"),
    "a term of all seeds": (
        lambda each: Losses(each.mean(1), {"loss_a": each.detach().mean()}),
        "terms['loss_a'] .* []; [2], a loss",
    ),
    "a weight per seed": (
        lambda each: Losses(each.mean(1), LOSS, each.detach().mean(1)),
        "weights .* [2]; [2, 16], a weight per seed and image",
    ),
    "detached": (lambda each: Losses(each.detach().mean(1)), "total .* has no gradient"),
    "a term with a gradient": (
        lambda each: Losses(each.mean(1), {"loss": each.mean(1)}),
        "terms['loss'] .* has a gradient",
    ),
    "a term of another name": (
        lambda each: Losses(each.mean(1), {"penalty": LOSS["loss"]}),
        "terms['penalty'] .* name it loss_penalty",
    ),
}


@pytest.mark.parametrize("case", WRONG_LOSSES)
def test_losses_that_would_train_something_else_are_refused_in_one_line(case, monkeypatch):
    make, message = WRONG_LOSSES[case]
    recipe = tiny_recipe("vanilla")
    method = tiny_method(recipe, (0, 1))
    monkeypatch.setattr(
        method,
        "losses",
        lambda batch, step: make(cross_entropy(method.predict(batch.images), batch.labels)),
    )
    before = method.replica_state(0)
    pattern = re.escape(message).replace(re.escape(" .* "), " .* ")
    with pytest.raises(UserError, match=f"^vanilla: {pattern}"):
        train(method, recipe, tiny_data())
    assert all(torch.equal(each, method.replica_state(0)[name]) for name, each in before.items())


def test_the_total_is_in_the_history_whether_or_not_a_method_names_it(monkeypatch):
    recipe = tiny_recipe("vanilla")
    method = tiny_method(recipe, (0, 1))
    losses = method.losses
    monkeypatch.setattr(method, "losses", lambda batch, step: Losses(losses(batch, step).total))
    ours = train(method, recipe, tiny_data()).history["loss"]
    assert ours.tolist() == run("vanilla", seeds=(0, 1)).history["loss"].tolist()


def test_averages_of_any_name_become_columns_of_sample_weights(monkeypatch):
    recipe = tiny_recipe("vanilla")
    method = tiny_method(recipe, (0,))
    own = torch.arange(64.0).view(1, 64)
    monkeypatch.setattr(method, "image_losses", lambda: {"own": own})
    weights = train(method, recipe, tiny_data()).sample_weights
    assert weights["loss_average_own"].tolist() == own[0].tolist()
    assert weights[["loss_average_intrinsic", "loss_average_bias"]].isna().all(axis=None)


def test_predictions_of_another_shape_are_refused_in_one_line(monkeypatch):
    recipe = tiny_recipe("vanilla")
    method = tiny_method(recipe, (0, 1))
    predict_one = method.predict
    monkeypatch.setattr(method, "predict", lambda images: predict_one(images).unsqueeze(1))
    with pytest.raises(UserError, match=r"^vanilla: .* \[2, 1, 24, 3\]; \[2, 24, 3\]"):
        train(method, recipe, tiny_data())
