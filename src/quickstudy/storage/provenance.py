"""Where a number comes from: the commit of the code and the machine it ran on."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import torch


@cache
def commit() -> str:
    """Commit of the checkout this package is imported from, '+' if it has changes; '' outside a checkout."""
    folder = Path(__file__).resolve().parent
    if not any((parent / ".git").exists() for parent in folder.parents):
        return ""

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    if not git("ls-files", "--error-unmatch", Path(__file__).name):
        return ""  # installed inside somebody else's repository
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


@cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine(device: torch.device) -> str:
    """The processor or accelerator, cores, threads, and versions that speed and rounding depend on."""
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    threads = torch.get_num_threads()
    return (
        f"{what}, {os.cpu_count()} cores, {threads} thread{'' if threads == 1 else 's'}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
