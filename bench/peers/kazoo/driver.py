"""kazoo's Lock, driven by the bench.

What is said on the input and the output is told in bench/src/drive/mod.rs; the words of
a piece of work in bench/src/compare/work.rs. Each task is a thread with a lock object of its own, on the
session that the work gives it.
"""

import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import NamedTuple

from kazoo.client import KazooClient


class Work(NamedTuple):
    server: str
    path: str
    clients: int
    tasks: int
    names: int
    rounds: int
    millis: int
    hold_micros: int

    @classmethod
    def parse(cls, line):
        server, path, *numbers = line.split()
        return cls(server, path, *map(int, numbers))


def hold(micros):
    """Below a millisecond it is busy, because a timer is not that exact."""
    end = time.monotonic_ns() + micros * 1_000
    if micros >= 1_000:
        time.sleep(micros / 1e6)
    while micros < 1_000 and time.monotonic_ns() < end:
        pass


def take_turns(work, task, lock, barrier):
    holds = []
    barrier.wait()
    end = time.monotonic_ns() + work.millis * 1_000_000
    turn = 0
    while turn < work.rounds if work.rounds else time.monotonic_ns() < end:
        turn += 1
        if work.rounds:
            barrier.wait()
        asked = time.monotonic_ns()
        lock.acquire()
        acquired = time.monotonic_ns()
        hold(work.hold_micros)
        releasing = time.monotonic_ns()
        lock.release()
        holds.append((task, asked, acquired, releasing, time.monotonic_ns()))
    return holds


def run(work, clients, threads):
    barrier = Barrier(work.tasks)
    tasks = []
    for task in range(work.tasks):
        lock = clients[task % work.clients].Lock(f"{work.path}/{task % work.names}", "bench")
        tasks.append(threads.submit(take_turns, work, task, lock, barrier))
    return [hold for task in tasks for hold in task.result(timeout=50)]


def talk():
    for line in iter(sys.stdin.readline, ""):
        work = Work.parse(line)
        clients = [KazooClient(work.server, timeout=20) for _ in range(work.clients)]
        for client in clients:
            client.start(timeout=15)
        with ThreadPoolExecutor(work.tasks) as threads:
            print("ready", flush=True)
            sys.stdin.readline()
            before = time.process_time_ns()
            holds = run(work, clients, threads)
            cpu_nanos = time.process_time_ns() - before
        for hold in holds:
            print(*hold)
        print("cpu", cpu_nanos / 1e3, flush=True)
        sys.stdin.readline()
        for client in clients:
            client.stop()
            client.close()
        print("closed", flush=True)


if __name__ == "__main__":
    logging.disable()
    try:
        talk()
    except Exception as error:  # Whatever it is, the bench is told.
        print(f"failed: {error!r}", flush=True)
        sys.exit(1)
