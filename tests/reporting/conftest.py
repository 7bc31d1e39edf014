import pytest
from made_up_runs import Run, make_run


@pytest.fixture(scope="session")
def disent() -> Run:
    return make_run()


@pytest.fixture(scope="session")
def vanilla() -> Run:
    return make_run("vanilla", weights=False, conflicting_accuracy=0.2213)


@pytest.fixture(scope="session")
def without_bias_labels() -> Run:
    return make_run(bias_labels=False)


@pytest.fixture(scope="session")
def one_seed() -> Run:
    return make_run(seeds=(0,))
