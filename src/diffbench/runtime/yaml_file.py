"""YAML that people write: read whole, or refused in one line."""

import math
import re
from pathlib import Path
from typing import Any

import yaml

from diffbench.errors import UserError

LARGEST = 100_000  # values that a file may hold
DEEPEST = 100  # lists and mappings in one another; libyaml's recursion has no guard of its own


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """SafeLoader that reads words and numbers as DVC does, by YAML 1.2, and refuses keys that are no text or twice.

    By PyYAML's rules, those of YAML 1.1, DVC would name a job or a file by another number than this program does.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "keys must be plain words", key_node.start_mark)
            kind = key_node.tag.rpartition(":")[2]
            if kind not in ("str", "merge"):  # a DVC stage or a folder would be named by it, as nobody wrote it
                told = f"the key '{key_node.value}' is read as {kind}, not as text; choose a word, or put it in quotes"
                raise yaml.constructor.ConstructorError(None, None, told, key_node.start_mark)
            if key_node.value in seen and kind != "merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key_node.value}' is given twice; remove one", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    """An integer; 010 is ten, as DVC reads it."""
    text = loader.construct_scalar(node).replace("_", "")
    return int(text, 0) if text.lstrip("+-")[:2] in ("0b", "0o", "0x") else int(text)


# yes, no, on and off are words, and 12:30 is one.
PLAIN = {
    "bool": ("tTfF", r"true|True|TRUE|false|False|FALSE"),
    "float": (
        "-+.0123456789",
        r"[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.[0-9_]+([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    ),
    "int": ("-+0123456789", r"[-+]?0b[01_]+|[-+]?0o[0-7_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?_*[0-9][0-9_]*"),
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag.rpartition(":")[2] not in PLAIN]
    for first, rules in _Loader.yaml_implicit_resolvers.items()
}
for _kind, (_first, _rule) in PLAIN.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^({_rule})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)


def read_yaml(path: Path) -> dict:
    """The mapping in a YAML file.

    Raises:
        UserError: missing, unreadable, not YAML, a key given twice, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_depth(text)
        data = yaml.load(text, Loader=_Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run from the root of the repository") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise UserError(f"{path}{where}: {' '.join(str(problem).split())}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds {type(data).__name__}, expected a mapping of keys to values")
    values, depth = _size(data)
    if values > LARGEST or depth > DEEPEST:
        raise UserError(f"{path}: its aliases make it too large, too deep or endless; write out what they stand for")
    return data


def _refuse_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=f"more than {DEEPEST} lists or mappings in one another", problem_mark=event.start_mark
            )


def _size(node: Any) -> tuple[float, float]:
    """The values in parsed YAML and their depth with aliases written out, which a few lines can make astronomical."""
    sizes: dict[int, tuple[float, float]] = {}

    def size(node: Any) -> tuple[float, float]:
        if not isinstance(node, dict | list):
            return 1, 0
        if id(node) not in sizes:
            sizes[id(node)] = math.inf, math.inf  # what they are if met again inside itself
            own = [size(value) for value in (node.values() if isinstance(node, dict) else node)]
            sizes[id(node)] = 1 + sum(count for count, _ in own), 1 + max((depth for _, depth in own), default=0)
        return sizes[id(node)]

    return size(node)
