"""Which installed packages lie outside the ranges that affectllm was tried with.

The ranges are read from the metadata of the installed package, which pip made from pyproject.toml.
"""

import importlib.metadata
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from affectllm.errors import AffectError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# Set when the line has been printed: processes that this one starts inherit it and do not repeat the line.
SAID = "AFFECTLLM_VERSIONS_SAID"
# Where launchers write the number of a process, in the order in which accelerate reads them.
RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
# The extra that no run uses: tests, and what builds the package.
TOOLS = "dev"


class Needed(NamedTuple):
    """One package that affectllm needs on this Python and system."""

    name: str
    extra: str
    """The extra that it belongs to; empty for what every installation has."""
    tried: str
    """The range as pip reads it, e.g. '>=5.17,<5.25'."""
    everywhere: bool
    """False for a package that only some systems have wheels of: without it the rest works."""


class Outside(NamedTuple):
    """An installed package whose version was not tried."""

    name: str
    version: str
    tried: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} (tried: {self.tried})"


def needed() -> tuple[Needed, ...]:
    """Every package by extra, those of the base first. Raises AffectError where affectllm itself is not installed."""
    from packaging.requirements import Requirement

    try:
        metadata = importlib.metadata.metadata("affectllm")
    except importlib.metadata.PackageNotFoundError as error:
        raise AffectError(
            "affectllm runs from its files and is not installed, so its tried versions are not known. "
            "Install it: pip install -c constraints.txt -e '.[all]'"
        ) from error
    extras = ["", *(metadata.get_all("Provides-Extra") or [])]
    asked = [Requirement(line) for line in metadata.get_all("Requires-Dist") or []]
    found = {}
    for extra in extras:
        for requirement in asked:
            # 'all' names affectllm itself with the other extras.
            if requirement.name != "affectllm" and requirement.name not in found and applies(requirement, extra):
                found[requirement.name] = Needed(
                    requirement.name,
                    extra,
                    in_order(str(requirement.specifier)),
                    "sys_platform" not in str(requirement.marker),
                )
    return tuple(found.values())


def applies(requirement: "Requirement", extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def in_order(specifier: str) -> str:
    """The lower bound first: '<2,>=1' as '>=1,<2'."""
    return ",".join(sorted(specifier.split(","), key=lambda part: part[:1] == "<"))


def outside(packages: Iterable[Needed] | None = None) -> list[Outside]:
    """The installed packages whose version lies outside its range: of all that affectllm needs, or of those given."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion

    found = []
    for package in needed() if packages is None else packages:
        try:
            version = importlib.metadata.version(package.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        try:
            inside = SpecifierSet(package.tried).contains(version, prereleases=True)
        except InvalidVersion:
            inside = False
        if not inside:
            found.append(Outside(package.name, version, package.tried))
    return found


def say_outside() -> None:
    """Print one line on stderr, once a run, that names each package outside its tried range, if there is one.

    Called where a model is loaded or training begins. Of several processes the first one says it.
    """
    if SAID in os.environ or any(os.environ.get(name, "0") != "0" for name in RANKS):
        return
    os.environ[SAID] = "1"
    try:
        odd = outside(package for package in needed() if package.extra != TOOLS)
    except AffectError as error:
        print(f"affectllm: {error}", file=sys.stderr)
        return
    if odd:
        print(
            f"affectllm: not tried with {', '.join(map(str, odd))}. If something fails, go back to tried versions; "
            "affectllm doctor gives the commands.",
            file=sys.stderr,
        )
