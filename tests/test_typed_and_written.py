"""What users type after --params and write into conf/: text, paths, and what is not valid."""

import shlex
import shutil
from pathlib import Path

import click
import pytest

from debias_pipeline.cli import run
from debias_pipeline.command_line import explanation
from debias_pipeline.config_loader import ProjectConfigLoader
from debias_pipeline.errors import UserError
from debias_pipeline.reporting.text import command

CONF = Path(__file__).parents[1] / "conf"
HOME = str(Path.home())


def typed(*params: str) -> dict[str, object]:
    """Return the parameters of a command line."""
    arguments = [word for text in params for word in ("--params", text)]
    values: dict[str, object] = run.make_context("run", arguments).params["params"]
    return values


def loader(conf: Path = CONF, project: Path | None = None, **runtime_params) -> ProjectConfigLoader:
    made = ProjectConfigLoader(
        str(conf),
        base_env="base",
        default_run_env="local",
        runtime_params=runtime_params,
        config_patterns={"mlflow": ["mlflow*"]},
        custom_resolvers={"oc.env": lambda _, default: default},
        merge_strategy={"parameters": "soft", "mlflow": "soft"},
    )
    made.project = project
    return made


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(CONF, tmp_path / "project" / "conf"))
    (copy / "local").mkdir(exist_ok=True)
    return copy


# --- What is typed --------------------------------------------------------------------------------

TEXTS = "0123 1e5 2024-01-01 yes no on null ~ 0x10 1_000 12:30 1.0 #1 [x] {x} *a @a !x % a\\b"


@pytest.mark.parametrize("text", [*TEXTS.split(), "a: b", "a #b", "${x}", "é", "a=b", "[x", ""])
def test_text_arrives_as_it_was_typed(text):
    values = typed(f"raw_dir={text},seed=3", "table=2024")
    assert values == {"raw_dir": text, "seed": 3, "table": "2024"}


@pytest.mark.parametrize("text", [*TEXTS.split(), "my photos", "a'b", '"a"', "~/x", "[x", "${x}"])
def test_text_in_a_command_of_a_report_arrives_unchanged(text):
    *_, params = shlex.split(command("ingestion", {"raw_dir": text, "recipe.steps": 5}))
    assert typed(params) == {"raw_dir": text, "recipe": {"steps": 5}}


def test_other_values_are_yaml():
    assert typed("recipe.lr=1e-3,resume=no,recipe.network=mlp", "seed=2,recipe.lr=0.5") == {
        "recipe": {"lr": 0.5, "network": "mlp"},
        "resume": False,
        "seed": 2,
    }


@pytest.mark.parametrize("text", ["recipe.lr=[1", "recipe.network=@x", "seed=*a"])
def test_values_that_are_not_yaml_are_one_line(text):
    with pytest.raises(click.ClickException) as refused:
        typed(text)
    assert text in str(refused.value)
    assert "quotation marks" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_config_file_that_is_not_yaml_is_one_line(tmp_path):
    (tmp_path / "run.yml").write_text("run:\n  env: [x\n")
    with pytest.raises(click.ClickException, match="--config is not YAML"):
        run.make_context("run", ["--config", str(tmp_path / "run.yml")])


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        *((key, 1e5, "quote it") for key in ("raw_dir", "pretrained", "model", "images")),
        ("images", True, "quote it"),
        ("images", None, "quote it"),
        ("images", "\udce9", "not UTF-8"),
    ],
)
def test_paths_that_are_not_text_are_refused(key, value, word):
    with pytest.raises(UserError, match=word) as refused:
        loader(**{key: value})["parameters"]
    assert str(refused.value).startswith(f"{key}=")


def test_an_empty_raw_dir_is_refused():
    with pytest.raises(UserError, match="raw_dir='': is empty"):
        loader(raw_dir="")["parameters"]


# --- Paths ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("key", ["raw_dir", "pretrained", "model", "images"])
def test_a_tilde_is_the_home_folder_and_stays_in_commands(key):
    values = loader(**{key: "~/photos"})["parameters"]
    assert values[key] == f"{HOME}/photos"
    assert values["typed"].get(key, "~/photos") == "~/photos"
    assert loader(**{key: "a~b"})["parameters"][key] == "a~b"


@pytest.mark.slow
def test_typed_paths_are_relative_to_the_current_folder_others_to_the_project(conf, monkeypatch):
    project = conf.parent
    inside = project / "notebooks"
    inside.mkdir()
    (conf / "local" / "parameters.yml").write_text("pretrained: nets\nmodel: runs:/1/model\n")
    for folder in (project, inside):
        monkeypatch.chdir(folder)
        found = loader(conf, project, images="photos")["parameters"]
        for key, place in (("raw_dir", "data/01_raw"), ("pretrained", "nets")):
            assert Path(found[key]).absolute() == project / place
        assert found["images"] == "photos"
        assert found["model"] == "runs:/1/model"
        assert "raw_dir" not in found["typed"]
        assert loader(conf, project, raw_dir="../x")["parameters"]["raw_dir"] == "../x"


# --- Files that are not valid ---------------------------------------------------------------------

# Content, the line at fault, and a word on the reason.
BROKEN = {
    "tab": (b"seed: 1\na:\n\tb: 1\n", 3, "tab"),
    "bracket": (b"a: [1\nb: 2\n", 2, "','"),
    "twice": (b"seed: 1\nseed: 2\n", 2, "duplicate key seed"),
    "alias": (b"\n\na: *x\n", 3, "alias"),
    "encoding": (b"a: 1\nb: \xe9\n", 2, "UTF-8"),
    "tag": (b"a: !!python/object:os.x {}\n", 1, "tag"),
    "colon": (b"a: b: c\n", 1, "not allowed"),
    "control character": (b"a: 1\nb: \x00\n", 2, "control characters"),
    "quote": (b"seed: 1\nraw_dir: 'abc\n", None, "quoted"),
    "list": (b"- a\n- b\n", None, "name: value"),
}


OTHER_FILES = ("mlflow.yml", "catalog_x.yml", "globals.yml")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "case"),
    [*(("parameters.yml", case) for case in BROKEN), *((name, "list") for name in OTHER_FILES)],
)
def test_a_file_that_is_not_valid_is_named_with_the_line(conf, name, case):
    content, line, word = BROKEN[case]
    (conf / "local" / name).write_bytes(content)
    with pytest.raises(UserError) as refused:
        made = loader(conf)
        made["parameters"], made["mlflow"], made["catalog"]
    message = str(refused.value)
    assert f"local/{name}" in message
    assert word in message
    assert line is None or f"line {line}," in message


def test_a_reference_to_nothing_is_one_line(conf):
    (conf / "local" / "parameters.yml").write_text("seed: ${nope}\n")
    with pytest.raises(Exception, match="nope") as refused:
        loader(conf)["parameters"]
    assert "nope" in (explanation(refused.value) or "")
