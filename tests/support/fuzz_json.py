"""Replaces, removes and adds values in JSON, also in JSON that is a text of other JSON."""

import json
import random
from typing import Any

ODD = (
    None, True, 0, -1, 1, 2, 3, 64, 0.5, -0.5, 1e300, 10**400, -(2**63), 2**31, float("nan"), float("inf"), "", "x",
    "nan", "\n\x1b[31m", "é" * 300, [], [1], {}, {"a": 1}, "float32", "int32", "bfloat16", "F32", "F16", "I32", "BOOL",
    [0, 2**60], [-1], [2**31, 2**31],
)  # fmt: skip
_DEEP = 100_000


def changed(text: str, chance: random.Random) -> str:
    """Returns a JSON text with a value changed; another text where it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return text[: chance.randrange(len(text) + 1)]
    if chance.random() < 0.03:
        return "[" * _DEEP + "]" * _DEEP
    for _ in range(chance.choice((1, 1, 1, 3))):
        value = _changed(value, chance)
    return json.dumps(value)


def _changed(value: Any, chance: random.Random) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        return changed(value, chance)
    if not isinstance(value, dict | list) or not value or chance.random() < 0.05:
        odd = chance.choice(ODD)
        return _nested(chance.choice((3, 300, 3000))) if odd == "x" else odd
    if isinstance(value, list):
        at = chance.randrange(len(value))
        return [_changed(item, chance) if i == at else item for i, item in enumerate(value)]
    key, other = chance.choice(sorted(value)), chance.choice(sorted(value))
    kind = chance.random()
    if kind < 0.7:
        return {**value, key: _changed(value[key], chance)}
    if kind < 0.8:
        return {name: item for name, item in value.items() if name != key}
    if kind < 0.9:
        return {**value, key: value[other]}
    new = chance.choice((key + "/" + other, key + "/", "", other.rpartition("/")[0], "\n", "../" + key, other))
    return {new if name == key else name: item for name, item in value.items()}


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels // 100 * 30 + levels % 100):  # json.dumps itself takes no more
        value = {"a": value}
    return value
