"""A browser without a window, where the machine has one."""

import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def chromium(profile: Path, *arguments: str) -> str:
    switches = "headless no-sandbox disable-gpu no-first-run disable-background-networking "
    switches += "disable-component-update disable-sync"
    command = [str(CHROMIUM), *(f"--{switch}" for switch in switches.split())]
    command += [f"--user-data-dir={profile / 'profile'}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Content Security Policy" not in done.stderr
    return done.stdout
