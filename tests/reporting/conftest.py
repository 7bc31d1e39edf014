import pytest
from made_up_published import published, published_elsewhere
from made_up_reports import compare, comparison_report, draw, method_report
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


@pytest.fixture(scope="session")
def figures(disent: Run) -> dict[str, str]:
    return draw(disent)


@pytest.fixture(scope="session")
def compared(vanilla: Run, disent: Run) -> dict[str, str]:
    return compare(vanilla, disent)


@pytest.fixture(scope="session")
def method_page(disent: Run, figures: dict[str, str]) -> str:
    return method_report(disent, figures, [published(0.8479), published_elsewhere(0.8286)])


@pytest.fixture(scope="session")
def comparison_page(vanilla: Run, disent: Run) -> str:
    of_papers = {"vanilla": [published(0.6586)], "disent": [published(0.8479)]}
    return comparison_report(vanilla, disent, published=of_papers)
