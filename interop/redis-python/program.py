"""redis-py's Lock and pottery's Redlock behind a line protocol (../README.md): orders on standard
input, answers on standard output. It ends with its input.

Each seat of the protocol is a thread, so that seats wait side by side. A session is a lease: what
is taken in it is kept for that long and not prolonged.
"""

import os
import pathlib
import queue
import sys
import threading
import uuid

from pottery import Redlock, ReleaseUnlockedLock
from redis import Redis
from redis.exceptions import LockNotOwnedError
from redis.lock import Lock

# How long one turn of a stress may take; a lock that nobody gets is a failure.
TURN_MAX_MS = 60_000

# How often both look whether a lock is free. Their own are 100 ms and, on average, as much: beside
# clients that are told, they would hardly ever meet a free lock.
LOOK_EVERY_S = 0.002
Redlock._RETRY_DELAY = LOOK_EVERY_S

# How cotter's fenced keys are written, from every language.
FENCE = pathlib.Path(__file__).parents[2] / "crates/cotter-redis/src/fence.lua"

# pottery puts this before the names of its locks.
POTTERY = "redlock:"


class Voice:
    """Standard output, a whole line at a time, from any thread."""

    def __init__(self):
        self.one_at_a_time = threading.Lock()

    def done(self, number, answer):
        self._say(f"{number} ok {answer}")

    def failed(self, number, error):
        self._say(f"{number} failed {type(error).__name__}: {error}")

    def _say(self, line):
        line = line.replace("\n", " ").replace("\r", " ")
        with self.one_at_a_time:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


class RedisPy:
    """redis.lock.Lock, with a time to live, or immortal as it is by default."""

    def __init__(self, client, name, lease_ms):
        self.lock = Lock(
            client,
            name,
            timeout=None if lease_ms is None else lease_ms / 1000,
            sleep=LOOK_EVERY_S,
            thread_local=False,
        )

    def take(self, limit_ms):
        if limit_ms == 0:
            return self.lock.acquire(blocking=False)
        return self.lock.acquire(blocking_timeout=limit_ms / 1000)

    def give_back(self):
        self.lock.release()

    def owner(self):
        return self.lock.local.token.decode()


class Pottery:
    """pottery.Redlock with one master, which is a lock on one server."""

    def __init__(self, client, name, lease_ms):
        if not name.startswith(POTTERY):
            raise ValueError(f"pottery's locks are called {POTTERY}…, not {name}")
        self.lock = Redlock(
            key=name.removeprefix(POTTERY),
            masters={client},
            auto_release_time=lease_ms / 1000,
        )

    def take(self, limit_ms):
        if limit_ms == 0:
            return self.lock.acquire(blocking=False)
        return self.lock.acquire(timeout=limit_ms / 1000)

    def give_back(self):
        self.lock.release()

    def owner(self):
        return "-"


class Seat:
    """A thread that carries out its orders one after the other."""

    MADE = {
        "redis-py": RedisPy,
        "immortal": lambda client, name, _lease_ms: RedisPy(client, name, None),
        "pottery": Pottery,
    }

    def __init__(self, client, lease_ms, voice):
        self.client = client
        self.lease_ms = lease_ms
        self.voice = voice
        self.orders = queue.Queue()
        self.locks = {}
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            number, verb, rest = self.orders.get()
            try:
                self.voice.done(number, getattr(self, "do_" + verb)(*rest))
            except Exception as error:  # whatever it is, the one who asked is told
                self.voice.failed(number, error)

    def do_lock(self, kind, name, limit_ms):
        lock = self._lock(kind, name)
        # None of these clients has a token.
        return f"granted 0 {lock.owner()}" if lock.take(int(limit_ms)) else "busy"

    def do_unlock(self, kind, name):
        try:
            self._lock(kind, name).give_back()
        except (LockNotOwnedError, ReleaseUnlockedLock):
            return "gone"
        return "released"

    def do_stress(self, kind, name, counter, goal):
        """Takes the lock again and again until the counter it protects has reached the goal."""
        lock, own = self._lock(kind, name), 0
        while True:
            if not lock.take(TURN_MAX_MS):
                raise TimeoutError(f"no turn within {TURN_MAX_MS} ms")
            try:
                goes_on = self._increment(counter, int(goal))
            finally:
                lock.give_back()
            if not goes_on:
                return f"done {own}"
            own += 1

    def do_fence(self, key, token, value):
        """Writes to a fenced key, as cotter's README says."""
        fence = self.client.register_script(FENCE.read_text())
        answer, *_rest = fence(keys=[key], args=[token, value])
        return answer.decode()

    def _lock(self, kind, name):
        if (kind, name) not in self.locks:
            self.locks[kind, name] = self.MADE[kind](self.client, name, self.lease_ms)
        return self.locks[kind, name]

    def _increment(self, counter, goal):
        """Adds one to a counter in the way that loses increments where two hold the lock: read,
        then write. Beside the count stands the newest token of those who have one. False if the
        goal was reached already."""
        count, token = self.client.get(counter).decode().split(" ")
        if int(count) >= goal:
            return False
        self.client.set(counter, f"{int(count) + 1} {token}")
        return True


class Program:
    def __init__(self, server):
        self.host, self.port = server.rsplit(":", 1)
        self.voice = Voice()
        self.sessions = {}
        self.seats = {}

    def serve(self):
        for line in sys.stdin:
            number, *words = line.rstrip("\n").split(" ")
            try:
                self._obey(number, *words)
            except Exception as error:  # whatever it is, the one who asked is told
                self.voice.failed(number, error)

    def _obey(self, number, session, seat, verb, *rest):
        if verb == "open":
            client = Redis(host=self.host, port=int(self.port))
            client.ping()
            self.sessions[session] = (client, int(rest[0]))
            self.voice.done(number, f"open {uuid.uuid4()}")
        elif verb == "close":
            self.sessions.pop(session)[0].close()
            self.voice.done(number, "closed")
        elif verb == "die":
            # Nothing is tidied up, as in a crash: the operating system closes the sockets.
            os._exit(137)
        else:
            key = (session, seat)
            if key not in self.seats:
                self.seats[key] = Seat(*self.sessions[session], self.voice)
            self.seats[key].orders.put((number, verb, rest))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: program.py HOST:PORT")
    Program(sys.argv[1]).serve()
    sys.stdout.flush()
    # Threads may be waiting; what they hold ends with its time to live.
    os._exit(0)
