"""How rows are asked of a cluster's actors: a stand-in for Ray holds them in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ecdd.evaluation.ray_engine import _spread, ray_rows

DEADLY = 37


class ActorError(Exception):
    """What Ray raises for an actor that died."""


class Actor:
    """An actor that dies of one task, and answers nothing from then on."""

    def __init__(self, name: int, said: list[int]) -> None:
        self.rows, self._name, self._said, self._dead = SimpleNamespace(remote=self._ask), name, said, False

    def _ask(self, tasks: list[int]) -> Callable[[], list[dict[str, int]]]:
        self._said.append(self._name)
        self._dead |= DEADLY in tasks
        if self._dead:
            return self._died
        return lambda: [{"task": task} for task in tasks]

    def _died(self) -> list[dict[str, int]]:
        raise ActorError


def spread(count: int, jobs: int) -> tuple[list[dict[str, Any]], list[int]]:
    """Rows of so many tasks, and which of the first actors was asked each time."""
    said: list[int] = []
    names = iter(range(1000))
    ray = SimpleNamespace(
        get=lambda reference: reference(), kill=lambda _: None, exceptions=SimpleNamespace(RayActorError=ActorError)
    )
    remote = SimpleNamespace(remote=lambda _: Actor(next(names), said))
    settings: Any = SimpleNamespace(died=lambda task, _: {"died": task})
    tasks: list[Any] = list(range(count))
    return _spread(ray, remote, [remote.remote(settings) for _ in range(jobs)], settings, tasks), said


@pytest.mark.parametrize(("running", "calls"), [(False, ["init", "kill", "shutdown"]), (True, ["kill"])])
def test_a_cluster_that_was_there_before_stays(
    running: bool, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    ray = SimpleNamespace(
        is_initialized=lambda: running,
        init=lambda **_: said.append("init"),
        shutdown=lambda: said.append("shutdown"),
        kill=lambda _: said.append("kill"),
        remote=lambda **_: lambda _: SimpleNamespace(remote=lambda _: object()),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    settings: Any = None
    with ray_rows(settings, 1):
        assert said == calls[: len(calls) // 3]
    assert said == calls


def test_chunks_go_round_the_actors_and_rows_keep_their_order() -> None:
    for count in (0, 1, 16, 17, 37):
        rows, asked = spread(count, 2)
        assert rows == [{"task": task} for task in range(count)]
        assert asked == [0, 1, 0][: len(asked)]


def test_every_actor_has_work_where_there_is_enough() -> None:
    _, asked = spread(33, 3)
    assert asked == [0, 1, 2]


def test_an_actor_that_dies_costs_the_picture_it_died_of() -> None:
    rows, _ = spread(60, 2)
    assert rows == [{"died": task} if task == DEADLY else {"task": task} for task in range(60)]
