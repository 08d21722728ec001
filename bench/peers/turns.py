"""What the drivers in Python have in common: the lines they speak, and the turns of their tasks.

What is said on the input and the output is told in bench/src/drive/mod.rs; the words of a piece of
work in bench/src/compare/work.rs. Each task is a thread with a lock object of its own.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import NamedTuple


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


def run(work, clients, threads, lock_of):
    barrier = Barrier(work.tasks)
    tasks = []
    for task in range(work.tasks):
        lock = lock_of(clients[task % work.clients], f"{work.path}/{task % work.names}")
        tasks.append(threads.submit(take_turns, work, task, lock, barrier))
    return [hold for task in tasks for hold in task.result(timeout=50)]


def talk(open_client, lock_of, close):
    for line in iter(sys.stdin.readline, ""):
        work = Work.parse(line)
        clients = [open_client(work) for _ in range(work.clients)]
        with ThreadPoolExecutor(work.tasks) as threads:
            print("ready", flush=True)
            sys.stdin.readline()
            before = time.process_time_ns()
            holds = run(work, clients, threads, lock_of)
            cpu_nanos = time.process_time_ns() - before
        for hold in holds:
            print(*hold)
        print("cpu", cpu_nanos / 1e3, flush=True)
        sys.stdin.readline()
        for client in clients:
            close(client)
        print("closed", flush=True)


def drive(open_client, lock_of, close):
    """Does what is said on the input, until that ends."""
    try:
        talk(open_client, lock_of, close)
    except Exception as error:  # Whatever it is, the bench is told.
        print(f"failed: {error!r}", flush=True)
        sys.exit(1)
