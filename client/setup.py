"""The optional compiled half of `logd_wire`; everything else is in pyproject.toml.

Where it cannot be built (no compiler, no headers of Python), the package is complete without it and
its wheel is a pure one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SPEED = Extension(
    "logd_wire._speed",
    sources=[
        "native/decode.c",
        "native/encode.c",
        "native/filter.c",
        "native/intake.c",
        "native/keymap.c",
        "native/module.c",
    ],
    depends=["native/decode.h", "native/speed.h"],
    extra_compile_args=["-O3", "-fvisibility=hidden"],
    optional=True,
)


class BuildWithoutNoise(build_ext):
    """A failed build of the optional extension is one line, not a page of a compiler's words."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:
            print(f"logd_wire stays without its compiled codec: {error}", file=sys.stderr)
            if self.inplace or self.editable_mode:
                # One that was built from older sources would be taken for the one of today.
                name = Path(self.get_ext_filename(ext.name)).name
                (Path(__file__).parent / "logd_wire" / name).unlink(missing_ok=True)


class WheelOfWhatWasBuilt(bdist_wheel):
    """Tags the wheel as pure when there is nothing compiled in it."""

    def run(self) -> None:
        self.run_command("build_ext")
        built = self.get_finalized_command("build_ext")
        if not any(Path(output).exists() for output in built.get_outputs()):
            self.distribution.ext_modules = []
            self.root_is_pure = True
        super().run()


setup(
    ext_modules=[SPEED],
    cmdclass={"build_ext": BuildWithoutNoise, "bdist_wheel": WheelOfWhatWasBuilt},
)
