"""redis-py's Lock on one server, or pottery's Redlock on several, driven by the bench."""

import logging
import sys

from pottery import Redlock
from redis import Redis

from turns import drive

LEASE_S = 60


def open_clients(work):
    servers = (server.split(":") for server in work.server.split(","))
    clients = [Redis(host=host, port=int(port)) for host, port in servers]
    for client in clients:
        client.ping()
    return clients


def lock_of(clients, path):
    return clients[0].lock(path, timeout=LEASE_S)


def redlock_of(clients, path):
    return Redlock(key=path, masters=set(clients), auto_release_time=LEASE_S)


def close(clients):
    for client in clients:
        client.close()


if __name__ == "__main__":
    logging.disable()
    drive(open_clients, redlock_of if sys.argv[1] == "pottery" else lock_of, close)
