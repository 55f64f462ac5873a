"""Puts the weights at the top level into the installed package; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithWeights(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:  # an editable installation finds the file where it lies
            target = Path(self.build_lib, "Miniproject_1", "bestmodel.pth")
            self.copy_file("bestmodel.pth", str(target))


setup(cmdclass={"build_py": BuildWithWeights})
