"""Archives of kernels in a wheel: made where `STNKIT_BUILD_ARCHIVES` names levels, as x86-64-v3,x86-64-v4.

Without it nothing is compiled, and the wheel is for any system. `STNKIT_BUILD_SET` names another set than `common`.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "stnkit/kernels/objects"
OLDEST = {"linux": "manylinux_2_17", "macosx": "macosx_11_0"}  # systems on which Numba runs, too


def platform() -> str:
    """Return the tag of the systems that the wheel is for: this one's, in the oldest release on which Numba runs."""
    system, _, machine = sysconfig.get_platform().rpartition("-")
    oldest = OLDEST.get(system.partition("-")[0], system)
    return f"{oldest}_{machine}".replace("-", "_").replace(".", "_")


class CustomBuildHook(BuildHookInterface):
    """What Hatchling calls."""

    def levels(self) -> list[str]:
        """Return the levels that archives are made for."""
        asked = os.environ.get("STNKIT_BUILD_ARCHIVES", "") if self.target_name == "wheel" else ""
        return [level for level in asked.split(",") if level]

    def dependencies(self) -> list[str]:
        """Return what the build needs beside Hatchling: what stnkit needs."""
        return list(self.metadata.core.dependencies) if self.levels() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make archives, and put them into the wheel."""
        if not self.levels():
            return
        self.folder = tempfile.TemporaryDirectory()
        environment = os.environ | {"PYTHONPATH": self.root}
        for level in self.levels():
            file = Path(self.folder.name) / f"{level}.kernels"
            name = os.environ.get("STNKIT_BUILD_SET", "common")
            command = [sys.executable, "-m", "stnkit.cli.archiving", str(file), level, name]
            subprocess.run(command, check=True, env=environment, cwd=self.root)
            build_data["force_include"][str(file)] = f"{FOLDER}/{file.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what archives were made in."""
        if self.levels():
            self.folder.cleanup()
