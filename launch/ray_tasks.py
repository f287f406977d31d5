r"""Trains on a Ray cluster: one process in a task of its own on each of so many nodes, which find each other.

    ray job submit --working-dir . -- python launch/ray_tasks.py --nodes 2 --gpus 8 -- \
        .venv/bin/python -m palgan_jax.main --config imagenet256 --workdir /shared/runs/x --distributed=on

The command behind -- runs in a checkout that all nodes have under the same path, or in what Ray brings them. It is
begun again, on whatever nodes are there, until it has finished. Ends with 0 when finished, with 2 for bad input.
"""

import argparse
import os
import socket
import subprocess
import sys

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

BAD_INPUT, FAILED = 2, 1


def address() -> str:
    """Returns HOST:PORT of this node, with a port that is free now, for the others to come to."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"


def train(command: list[str], coordinator: str, count: int, number: int) -> int:
    """Runs the command as process `number` of `count`; returns its exit code."""
    joining = {"JAX_COORDINATOR_ADDRESS": coordinator, "JAX_NUM_PROCESSES": str(count), "JAX_PROCESS_ID": str(number)}
    return subprocess.run(command, env={**os.environ, **joining}, check=False).returncode


def turn(command: list[str], nodes: int, resources: dict[str, float]) -> int:
    """Trains once on all nodes; returns the code of the run: bad input before others, and 0 if all have finished."""
    bundle = {name: value for name, value in resources.items() if value}
    group = placement_group([bundle] * nodes, strategy="SPREAD")
    ray.get(group.ready())

    def on(number: int, function):
        place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number)
        options = {"num_cpus": resources["CPU"], "num_gpus": resources["GPU"], "max_retries": 0}
        return ray.remote(function).options(scheduling_strategy=place, **options)

    try:
        coordinator = ray.get(on(0, address).remote())
        tasks = [on(number, train).remote(command, coordinator, nodes, number) for number in range(nodes)]
        codes = []
        for task in tasks:
            try:
                codes.append(ray.get(task))
            except ray.exceptions.RayError as error:  # the node went away
                print(f"launch: {error}".splitlines()[0], file=sys.stderr)
                codes.append(FAILED)
    finally:
        remove_placement_group(group)
    return BAD_INPUT if BAD_INPUT in codes else next((code for code in codes if code), 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1, help="processes, each on a node of its own if there are enough")
    parser.add_argument("--gpus", type=float, default=0, help="of each node")
    parser.add_argument("--cpus", type=float, default=1, help="of each node")
    parser.add_argument("--attempts", type=int, default=50, help="how often a run is begun before giving up")
    parser.add_argument("command", nargs="+", help="of the training, behind --")
    options = parser.parse_args()
    ray.init()
    code = FAILED
    for attempt in range(1, options.attempts + 1):
        code = turn(options.command, options.nodes, {"CPU": options.cpus, "GPU": options.gpus})
        if code in (0, BAD_INPUT):
            break
        print(f"launch: attempt {attempt} of {options.attempts} ended with {code}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
