"""Params mean what DVC takes them for: numbers, words and keys, as people and DVC write them."""

import copy
from contextlib import suppress

import pytest
import yaml
from conftest import ROOT
from dvc.utils.serialize import loads_yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAMLError

from diffbench import cli, runs
from diffbench.config import models
from diffbench.errors import UserError
from diffbench.runtime.yaml_file import read_yaml

FULL = yaml.safe_load((ROOT / "workflow/presets/mnist.yaml").read_text())


def integers(kind, value, path=()):
    """The places in params that hold integers, by the schema: those in lists and in rows of the user's names too."""
    kind = models.schema()["$defs"][kind["$ref"].rpartition("/")[2]] if "$ref" in kind else kind
    if kind.get("type") == "integer":
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            named = [kind.get("additionalProperties"), *kind.get("patternProperties", {}).values()]
            under = kind.get("properties", {}).get(key) or next(filter(None, named), None)
            yield from integers(under if isinstance(under, dict) else {}, inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from integers(kind.get("items", {}), inner, (*path, number))


WHOLE = [".".join(map(str, path)) for path in integers(models.schema(), FULL)]


def test_integers_are_found_everywhere():
    assert {"seeds.0", "sampling.steps.7", "sampling.native.ddpm.steps", "sampling.arms.sd1.leading.steps"} <= {*WHOLE}
    assert {"classifier.channels.1", "probe.images", "tune.seeds.0", "compute.threads"} <= {*WHOLE} and len(WHOLE) > 60


@pytest.mark.parametrize("key", WHOLE)
def test_a_whole_number_written_as_a_fraction_is_refused_with_what_to_write(key):
    """DVC would name jobs and files by it as it stands, and a loop over 100.0 steps ends in a traceback."""
    params = copy.deepcopy(FULL)
    *parents, last = (int(part) if part.isdigit() else part for part in key.split("."))
    node = params
    for parent in parents:
        node = node[parent]
    node[last] = float(node[last])
    with pytest.raises(UserError) as refused:
        runs.check(params, "params.yaml")
    assert str(refused.value) == f"params.yaml: {key}: {node[last]} is not an integer; write {node[last]:.0f}"


@pytest.mark.parametrize("text", ["1e2", "100.0", "100."])
def test_as_dvc_writes_a_whole_number(workplace, capsys, text):
    path = workplace / "params.yaml"
    path.write_text(path.read_text().replace("images: 2000", f"images: {text}", 1))
    assert cli.main(["params"]) == 2
    assert capsys.readouterr().err == "error: params.yaml: probe.images: 100.0 is not an integer; write 100\n"


def test_a_job_that_dvc_names_by_it_is_told_of_the_params_not_of_its_command_line(workplace, capsys):
    path = workplace / "params.yaml"
    path.write_text(path.read_text().replace("\nseeds: [0, 1, 2]", "\nseeds: [0.0, 1, 2]", 1))
    assert cli.main(["train", "mnist", "--paradigm", "sd1", "--seed", "0.0"]) == 2
    assert capsys.readouterr().err == "error: params.yaml: seeds.0: 0.0 is not an integer; write 0\n"
    path.write_text(path.read_text().replace("[0.0, 1, 2]", "[0, 1, 2]", 1))
    for seed in ("0.0", "00", "nine", "9"):
        assert cli.main(["train", "mnist", "--paradigm", "sd1", "--seed", seed]) == 2
        assert capsys.readouterr().err == f"error: --seed {seed}: not in params; allowed: 0, 1, 2\n"


@pytest.mark.parametrize(("part", "value"), [("channels", [48.0, 128]), ("blocks", 1.0)])
def test_a_networks_size_is_of_integers_too(part, value):
    params = copy.deepcopy(FULL)
    params["paradigms"]["sd1"]["size"][part] = value
    with pytest.raises(UserError, match=rf"^params.yaml: paradigms.sd1.size.{part}: [^\n]*positive integer[^\n]*$"):
        runs.check(params, "params.yaml")


PLAIN = st.one_of(
    st.from_regex(r"[-+]?[0-9_.:]{1,6}([eE][-+]?[0-9]{1,2})?", fullmatch=True),
    st.from_regex(r"0[box]?[0-9a-f_]{1,4}", fullmatch=True),
    st.sampled_from(
        ["yes", "no", "on", "off", "y", "True", "TRUE", "tRUE", "null", "Null", "~", ".inf", "-.INF", ".nan"]
    ),
    st.sampled_from(["2026-01-01", "12:30:45", "true"]),
)


@settings(max_examples=400, deadline=None)
@given(word=PLAIN)
@example(word="010")
@example(word="12:30")
@example(word="on")
@example(word="1e2")
@example(word="1_000")
@example(word="._0")
@example(word="._")
def test_words_and_numbers_are_what_dvc_takes_them_for(tmp_path_factory, word):
    """By PyYAML's own rules 010 is eight, 12:30 is 750 and on is true: DVC names jobs and files by 10, 12:30 and on."""
    path = tmp_path_factory.getbasetemp() / "word.yaml"
    path.write_text(f"a: {word}\n")
    try:
        theirs = loads_yaml(f"a: {word}\n")["a"]
    except (YAMLError, ValueError, IndexError):  # DVC stops
        return
    with suppress(UserError):
        assert repr(read_yaml(path)["a"]) == repr(theirs)


@pytest.mark.parametrize("key", ["50", "1", "~", "1.5", "true", "2026-01-01", "null", "''"])
@pytest.mark.parametrize("place", ["", "paradigms:", "  native:", "    ddpm:", "    sd1:"])
def test_keys_that_are_no_words_are_refused_with_their_line(workplace, capsys, place, key):
    path, lines = workplace / "params.yaml", (workplace / "params.yaml").read_text().splitlines()
    at = lines.index(next(line for line in lines if line.split("#")[0].rstrip() == place)) if place else 3
    indent = " " * (len(place) - len(place.lstrip()) + (2 if place else 0))
    lines.insert(at + 1, f"{indent}{key}: {{sampler: ddim, steps: 5}}")
    path.write_text("\n".join(lines))
    assert cli.main(["params"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 or key == "''", said
    if key != "''":
        assert said[0].startswith(f"error: params.yaml:{at + 2}: the key '{key}' is read as ") and "quotes" in said[0]


@pytest.mark.parametrize("name", ["on", "no", "off", "yes"])
def test_words_that_yaml_once_took_for_truth_are_names(workplace, name):
    path = workplace / "params.yaml"
    path.write_text(path.read_text().replace("      eta-half: ", f"      {name}: ").replace("  sd2:\n", f"  {name}:\n"))
    params = runs.load("mnist")
    assert name in params.sampling.arms["ddpm"] and name in params.paradigms and "sd2" not in params.paradigms


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: 5", "name: 5 is not a string"),
        ("name: 1.5", "name: 1.5 is not a string"),
        ("name: true", "name: true is not a string (write it in quotes)"),
        ("name:", "name: null is not a string"),
        ("name: [a]", 'name: ["a"] is not a string'),
        ("", "name: missing"),
        ('name: "5"', 'name: "5"; allowed: lower-case letters, digits and hyphens, a letter first'),
    ],
)
def test_a_name_that_is_no_text_is_a_mistake_not_another_run(workplace, capsys, text, line):
    path = workplace / "params.yaml"
    path.write_text(path.read_text().replace("name: mnist", text, 1))
    assert cli.main(["params"]) == 2
    assert capsys.readouterr().err == f"error: params.yaml: {line}\n"
    assert runs.load("mnist").name == "mnist", "the preset is still there"


def test_text_that_looks_like_a_number_is_told_to_be_quoted(workplace, capsys):
    path = workplace / "params.yaml"
    path.write_text(path.read_text().replace("label: DDPM", "label: 2020", 1))
    assert cli.main(["params"]) == 2
    assert "paradigms.ddpm.label: 2020 is not a string (write it in quotes)" in capsys.readouterr().err
