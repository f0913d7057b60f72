"""The images for clusters (`remdm.def`) and for Docker have the same in them."""

import re
import tomllib

from tests.conftest import REPOSITORY


def apptainer():
    """Base image, paths that are copied, and commands, of the recipe for Apptainer."""
    text = (REPOSITORY / "remdm.def").read_text()
    sections = dict(re.findall(r"^%(\w+)\n(.*?)(?=^%|\Z)", text, re.M | re.S))
    copied = [path for line in sections["files"].splitlines() if line for path in line.split()[:-1]]
    commands = [line.strip() for line in sections["post"].splitlines() if line.strip()]
    return re.search(r"^From: (\S+)$", text, re.M)[1], copied, commands


def docker():
    """The same of the Dockerfile; its working folder is where it is changed to."""
    lines = re.sub(r"\\\n\s*", "", (REPOSITORY / "Dockerfile").read_text()).splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    base, copied, commands = "", [], []
    for step, text in steps:
        match step:
            case "FROM":
                base = text
            case "COPY":
                copied += text.split()[:-1]
            case "RUN":
                commands += text.split(" && ")
            case "WORKDIR" if not commands:
                commands.append(f"cd {text}")
    return base, copied, commands


def test_both_images_are_made_alike():
    assert docker() == apptainer()


def test_what_is_copied_is_all_that_an_installation_needs():
    _, copied, commands = docker()
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", settings["project"]["readme"], *settings["project"]["license-files"]}
    needed |= {*wheel["packages"], *wheel["force-include"], "requirements.lock"}
    assert set(copied) == needed
    assert all((REPOSITORY / path).exists() for path in copied)
    # The context that Docker is sent is those, and no environment or results.
    allowed = (REPOSITORY / ".dockerignore").read_text().split()
    assert allowed == ["*", *(f"!{path}" for path in copied), "**/__pycache__"]
    assert "-r requirements.lock" in " ".join(commands)


def test_the_images_python_is_one_that_the_project_is_for():
    supported = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"]
    least, most = map(int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", supported).groups())
    assert int(re.fullmatch(r"python:3\.(\d+)-slim", docker()[0])[1]) in range(least, most)
