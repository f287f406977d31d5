"""Trees of named arrays, which are nested dicts, as one dict of paths: what `flax.traverse_util` does, without JAX."""

from collections.abc import Mapping
from typing import Any

Path = tuple[str, ...]


def flatten(tree: Mapping[str, Any]) -> dict[Path, Any]:
    """Returns the leaves of a tree by their paths, ("params", "stem", "kernel"); empty branches are left out."""
    flat = {}
    for name, branch in tree.items():
        if isinstance(branch, Mapping):
            flat.update({(name, *path): leaf for path, leaf in flatten(branch).items()})
        else:
            flat[(name,)] = branch
    return flat


def flatten_names(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the leaves of a tree by names such as "params/stem/kernel"."""
    return {"/".join(path): leaf for path, leaf in flatten(tree).items()}


def unflatten(flat: Mapping[Path, Any]) -> dict[str, Any]:
    """Inverts `flatten`."""
    tree: dict[str, Any] = {}
    for (*branches, name), leaf in flat.items():
        branch = tree
        for part in branches:
            branch = branch.setdefault(part, {})
        branch[name] = leaf
    return tree


def unflatten_names(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Inverts `flatten_names`."""
    return unflatten({tuple(name.split("/")): leaf for name, leaf in flat.items()})
