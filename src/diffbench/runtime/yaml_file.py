"""YAML that people write: read whole, or refused in one line."""

import math
from pathlib import Path
from typing import Any

import yaml

from diffbench.errors import UserError

LARGEST = 100_000  # values that a file may hold
DEEPEST = 100  # lists and mappings in one another; libyaml's recursion has no guard of its own


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """SafeLoader that refuses a key written twice; plain YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "keys must be plain words", key_node.start_mark)
            if key_node.value in seen and key_node.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key_node.value}' is given twice; remove one", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


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
