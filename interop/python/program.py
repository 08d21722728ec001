"""kazoo's recipes behind a line protocol (../README.md): orders on standard input, answers on
standard output. It ends with its input.

Each task of the protocol is a thread, so that tasks wait side by side.
"""

import os
import queue
import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import LockTimeout, NoNodeError
from kazoo.recipe.lock import Lock, ReadLock, Semaphore, WriteLock

# How long one turn of a stress may take; a line that stands still is a failure.
TURN_MAX_MS = 60_000


class CuratorLock(Lock):
    """How users of kazoo join a line of Curator: the node is called as Curator calls it, so that
    Curator sees it, and Curator's nodes count. What stands before the marker does not matter to
    either."""

    _NODE_NAME = "lock-"
    _EXCLUDE_NAMES = ["lock-"]


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


class Task:
    """A thread that carries out its orders one after the other."""

    def __init__(self, client, voice):
        self.client = client
        self.voice = voice
        self.orders = queue.Queue()
        self.locks = {}
        self.semaphores = {}
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            number, verb, rest = self.orders.get()
            try:
                self.voice.done(number, getattr(self, "do_" + verb)(*rest))
            except Exception as error:  # whatever it is, the one who asked is told
                self.voice.failed(number, error)

    def do_lock(self, kind, path, limit_ms):
        lock = self._lock(kind, path)
        if not self._take(lock, int(limit_ms)):
            return "busy"
        return self._granted(path + "/" + lock.node)

    def do_unlock(self, kind, path):
        self._lock(kind, path).release()
        return "released"

    def do_contenders(self, kind, path):
        return "contenders " + " | ".join(self._lock(kind, path).contenders())

    def do_stress(self, kind, path, counter, goal):
        """Takes the lock again and again until the counter it protects has reached the goal."""
        lock, own = self._lock(kind, path), 0
        while True:
            if not self._take(lock, TURN_MAX_MS):
                raise TimeoutError(f"no turn within {TURN_MAX_MS} ms")
            try:
                goes_on = self._increment(counter, int(goal), path + "/" + lock.node)
            finally:
                lock.release()
            if not goes_on:
                return f"done {own}"
            own += 1

    def do_mingle(self, kind, path, room, rounds):
        """Reads or writes again and again, in a room where that shows."""
        lock = self._lock(kind, path)
        for _ in range(int(rounds)):
            if not self._take(lock, TURN_MAX_MS):
                raise TimeoutError(f"no turn within {TURN_MAX_MS} ms")
            self.client.delete(self._enter(room, kind[0]))
            lock.release()
        return f"done {rounds}"

    def do_permit(self, path, limit, limit_ms):
        semaphore = Semaphore(self.client, path, max_leases=int(limit))
        try:
            if not semaphore.acquire(timeout=int(limit_ms) / 1000):
                return "busy"
        except LockTimeout:
            return "busy"
        self.semaphores.setdefault(path, []).append(semaphore)
        return self._granted(semaphore.create_path)

    def do_return(self, path):
        """Gives back the newest of the permits that this task has."""
        self.semaphores[path].pop().release()
        return "released"

    def do_mkdir(self, path):
        self.client.ensure_path(path)
        return "made"

    def do_put(self, path, *words):
        self.client.set(path, " ".join(words).encode())
        return "put"

    def do_get(self, path):
        return "data " + self.client.get(path)[0].decode()

    def do_ls(self, path):
        try:
            return "children " + " ".join(self.client.get_children(path))
        except NoNodeError:
            return "children "

    def do_rm(self, path):
        self.client.delete(path)
        return "removed"

    def _lock(self, kind, path):
        """`default`: kazoo's own. `extra`: kazoo's own, with the nodes of Curator counted.
        `curator`: the subclass above. `read`, `write`: the two halves of the read/write lock."""
        made = {
            "default": lambda: Lock(self.client, path, kind),
            "extra": lambda: Lock(self.client, path, kind, extra_lock_patterns=["lock-"]),
            "curator": lambda: CuratorLock(self.client, path, kind),
            "read": lambda: ReadLock(self.client, path, kind),
            "write": lambda: WriteLock(self.client, path, kind),
        }
        if (kind, path) not in self.locks:
            self.locks[kind, path] = made[kind]()
        return self.locks[kind, path]

    @staticmethod
    def _take(lock, limit_ms):
        try:
            if limit_ms == 0:
                return lock.acquire(blocking=False)
            return lock.acquire(timeout=limit_ms / 1000)
        except LockTimeout:
            return False

    def _granted(self, node):
        return f"granted {self._token(node)} {node}"

    def _token(self, node):
        """The fencing token that every client can see: the transaction that created the node."""
        stat = self.client.exists(node)
        if stat is None:
            raise RuntimeError(f"the own node {node} is gone")
        return stat.czxid

    def _enter(self, room, role):
        """Steps into a room in which a holder shows itself while it holds: a reader as "r", a
        writer as "w". Fails if those who are there may not be there together. The list is not
        old: the own node was made after all that was done before the grant."""
        own = self.client.create(room + "/" + role, ephemeral=True, sequence=True)
        inside = self.client.get_children(room)
        if len(inside) > 1 and any(name.startswith("w") for name in inside):
            raise RuntimeError(f"together in {room}: {inside}")
        return own

    def _increment(self, counter, goal, own_node):
        """Adds one to a counter in the way that loses increments where two hold the lock: read,
        then write without asking for the version. Beside the count stands the token of the last
        holder. False if the goal was reached already."""
        token = self._token(own_node)
        count, last_token = (int(word) for word in self.client.get(counter)[0].split())
        if token <= last_token:
            raise RuntimeError(f"token {token} after {last_token}")
        if count >= goal:
            return False
        self.client.set(counter, f"{count + 1} {token}".encode())
        return True


class Program:
    def __init__(self, servers):
        self.servers = servers
        self.voice = Voice()
        self.sessions = {}
        self.tasks = {}

    def serve(self):
        for line in sys.stdin:
            number, *words = line.rstrip("\n").split(" ")
            try:
                self._obey(number, *words)
            except Exception as error:  # whatever it is, the one who asked is told
                self.voice.failed(number, error)
        for session in self.sessions.values():
            session.stop()

    def _obey(self, number, session, task, verb, *rest):
        if verb == "open":
            client = KazooClient(hosts=self.servers, timeout=int(rest[0]) / 1000)
            client.start()
            self.sessions[session] = client
            self.voice.done(number, f"open {client.client_id[0]:#x}")
        elif verb == "close":
            self.sessions.pop(session).stop()
            self.voice.done(number, "closed")
        elif verb == "die":
            # Nothing is tidied up, as in a crash: the operating system closes the sockets.
            os._exit(137)
        else:
            key = (session, task)
            if key not in self.tasks:
                self.tasks[key] = Task(self.sessions[session], self.voice)
            self.tasks[key].orders.put((number, verb, rest))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: program.py HOST:PORT")
    Program(sys.argv[1]).serve()
    sys.stdout.flush()
    # Threads may be waiting in line; what they hold has ended with their sessions.
    os._exit(0)
