"""Write constraints.txt with all versions of a clean install of this project.

pip resolves the versions without installing anything, which takes about a minute.
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

# Tested together. torchvision fails at import with another version of torch: update both at once.
FIXED = ["torch==2.14.1", "torchvision==0.29.1"]

# Some packages do not support early releases of 3.11, which distributions still ship.
OLDEST = "3.11.0"

LINUX_ONLY = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")
MARKER = 'platform_system == "Linux" and platform_machine == "x86_64"'

HEADER = """\
# The versions that this project is tested with: everything that `pip install -e .[dev]` installs
# on Linux x86-64 with Python 3.11. Written by `make lock`; used by `make setup` (pip's -c).
# PyTorch and its CUDA libraries differ by platform: because of the markers, pip chooses their
# versions on other platforms.
"""


def resolve() -> dict[str, str]:
    """Return the version of each package of a clean install, as pip resolves it."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        command = [f"{folder}/bin/python", "-m", "pip", "install", "--dry-run", "--quiet"]
        # pip accepts --python-version only with the other two options. Nothing is written.
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
    """Write constraints.txt."""
    here = (platform.system(), platform.machine(), sys.version_info[:2])
    if here != ("Linux", "x86_64", (3, 11)):
        sys.exit(
            f"this is {here[0]} {here[1]} with Python {here[2][0]}.{here[2][1]}; make lock needs "
            "Linux x86_64 with Python 3.11, so that its results are comparable"
        )
    lines = [
        f"{name}=={version}" + (f" ; {MARKER}" if LINUX_ONLY.fullmatch(name) else "")
        for name, version in sorted(resolve().items())
    ]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n")
    print(f"constraints.txt: {len(lines)} packages")


if __name__ == "__main__":
    main()
