"""The Java programs of tests/interop/java: the real KPL and the real KCL, as processes that the tests drive."""

from __future__ import annotations

import functools
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).parent / "java"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


def command(
    program: str, *arguments: str, properties: Mapping[str, str] | None = None, jaxb: bool = False
) -> list[str]:
    """The command line of a main class of the package shardpack.interop, or of any class with its full name.

    Args:
        program: the class; those whose name starts with Kpl run beside the KPL, the others beside the KCL.
        arguments: its arguments.
        properties: system properties.
        jaxb: with javax.xml.bind, which is no dependency of the KCL's, though its AggregatorUtil wants it.
    """
    name = program if "." in program else f"shardpack.interop.{program}"
    settings = [f"-D{key}={value}" for key, value in (properties or {}).items()]
    path = _class_path("kpl" if program.startswith("Kpl") else "kcl", jaxb=jaxb)
    # The machine is small, and what these processes do is short: no second compiler, no parallel collector.
    return ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *settings, "-cp", path, name, *arguments]


def answers(program: str, *arguments: str, lines: str, jaxb: bool = False, seconds: int = 300) -> list[str]:
    """The lines that a program prints for the lines that it is given."""
    done = subprocess.run(
        command(program, *arguments, jaxb=jaxb),
        input=lines,
        capture_output=True,
        encoding="utf-8",
        timeout=seconds,
        check=False,
        env=os.environ | CREDENTIALS,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.removesuffix("\n").split("\n")  # not splitlines: keys may hold what it takes for a line end


def disassembled(name: str, *, module: str) -> str:
    """What javap says of a class, private members and bytecode included.

    Args:
        name: the class, with its package.
        module: kpl or kcl, beside which it is looked for.
    """
    done = subprocess.run(
        ["javap", "-p", "-c", "-cp", _class_path(module, jaxb=False), name],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@functools.cache
def versions() -> dict[str, str]:
    """The pinned versions: kcl, kpl, multilang."""
    space = "{http://maven.apache.org/POM/4.0.0}"
    properties = ET.parse(PROJECT / "pom.xml").getroot().find(f"{space}properties")
    assert properties is not None
    suffix = ".version"
    return {
        tag.removesuffix(suffix): item.text or ""
        for item in properties
        if (tag := item.tag.removeprefix(space)).endswith(suffix)
    }


def _class_path(module: str, *, jaxb: bool) -> str:
    target = PROJECT / module / "target"
    built = target / "classpath"
    if not built.exists():
        raise FileNotFoundError(f"{built} is missing: `make interop` builds it")
    jars = [built, target / "jaxb"] if jaxb else [built]
    return os.pathsep.join([str(target / "classes"), *(jar.read_text().strip() for jar in jars)])
