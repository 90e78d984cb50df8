"""Hands the native build to CMake; everything else about the package stands in pyproject.toml."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()


class CMakeBuild(build_ext):
    """Builds `_C` and `lib/libgnas_*.so` into the package: in place for an editable install, else into the wheel.

    GNAS_BUILD names a folder that keeps what was compiled, so that a second build compiles what has changed alone; of
    the sources here, or of those in GNAS_SOURCE.
    """

    def build_extension(self, ext):
        output = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        work = Path(os.environ.get("GNAS_BUILD") or Path(self.build_temp, "cmake")).resolve()
        options = {"GNAS_PYTHON": sys.executable, "GNAS_OUTPUT": output}
        options |= {name: os.environ[name] for name in ("GNAS_CUDA", "GNAS_SANITIZE") if name in os.environ}
        # Objects are kept, settings are not: an option, a program or a path may be another one now.
        (work / "CMakeCache.txt").unlink(missing_ok=True)
        configure = [f"-D{name}={value}" for name, value in options.items()]
        # ninja comes with the build requirements, cmake with the system or from PyPI.
        source = Path(os.environ.get("GNAS_SOURCE", ROOT)).resolve()
        subprocess.run(["cmake", "-G", "Ninja", "-S", source, "-B", work, *configure], check=True)
        subprocess.run(["cmake", "--build", work], check=True)

    def copy_extensions_to_source(self):
        """For an editable install setuptools copies `_C` beside the sources; the op libraries must stand beside it."""
        super().copy_extensions_to_source()
        shutil.copytree(Path(self.build_lib, "gnas_ext", "lib"), ROOT / "gnas_ext" / "lib", dirs_exist_ok=True)


setup(ext_modules=[Extension("gnas_ext._C", sources=[])], cmdclass={"build_ext": CMakeBuild})
