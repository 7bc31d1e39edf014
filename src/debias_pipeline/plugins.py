"""Import the commands of kedro-mlflow when one of them is used."""

import importlib
import sys
from types import ModuleType
from typing import Final

import click

_MODULE: Final = "kedro_mlflow.framework.cli.cli"
_COMMAND: Final = "mlflow"


class _DeferredCommands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return [_COMMAND]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the commands, and return one of them."""
        if cmd_name != _COMMAND:
            return None
        if isinstance(sys.modules.get(_MODULE), _Placeholder):
            del sys.modules[_MODULE]
        commands: click.Group = importlib.import_module(_MODULE).commands
        return commands.get_command(ctx, cmd_name)


class _Placeholder(ModuleType):
    """What Kedro imports instead of the commands of kedro-mlflow."""

    commands = _DeferredCommands("Mlflow", help="Commands of kedro-mlflow.")


def defer_commands_of_kedro_mlflow() -> None:
    """Make Kedro import the commands of kedro-mlflow when one of them is used.

    Kedro imports the commands of all plugins at every start, and those of kedro-mlflow import
    MLflow, which takes longer than all of Kedro. Kedro has no setting for this.
    """
    sys.modules.setdefault(_MODULE, _Placeholder(_MODULE))
