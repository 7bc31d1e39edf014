"""Remakes constraints.txt: every version that a clean install of this project takes.

pip resolves the install without doing it, so this takes a minute and no disk.
"""

import json
import platform
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Tested together; torchvision fails at import beside another torch, so raise both at once.
FIXED = ["torch==2.14.1", "torchvision==0.29.1"]

# Some packages refuse early releases of 3.11, which distributions still ship.
OLDEST = "3.11.0"

LINUX_ONLY = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")
MARKER = 'platform_system == "Linux" and platform_machine == "x86_64"'

HEADER = """\
# The versions this project is tested with: all that `pip install -e .[dev]` takes on
# Linux x86-64 with Python 3.11. Made by `make lock`; used by `make setup` (pip's -c).
# PyTorch and its CUDA libraries are built per platform: other platforms take what fits them,
# hence the markers.
"""


def resolve() -> dict[str, str]:
    """Ask pip for the version of each package of a clean install."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        command = [f"{folder}/bin/python", "-m", "pip", "install", "--dry-run", "--quiet"]
        # pip takes a Python version only with the other two, though nothing is written.
        command += ["--python-version", OLDEST, "--only-binary", ":all:", "--target", folder]
        command += ["--report", "-", f"{ROOT}[dev]", *FIXED]
        report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    found = {}
    for item in report["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        found[name] = item["metadata"]["version"]
    del found["debias-pipeline"]
    return found


def main() -> None:
    """Write the lock."""
    here = (platform.system(), platform.machine(), sys.version_info[:2])
    if here != ("Linux", "x86_64", (3, 11)):
        sys.exit("The lock is made on Linux x86-64 with Python 3.11, so that it stays comparable.")
    lines = [
        f"{name}=={version}" + (f" ; {MARKER}" if LINUX_ONLY.fullmatch(name) else "")
        for name, version in sorted(resolve().items())
    ]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n")
    print(f"constraints.txt: {len(lines)} packages")


if __name__ == "__main__":
    main()
