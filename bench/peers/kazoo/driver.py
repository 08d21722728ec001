"""kazoo's Lock, driven by the bench."""

import logging

from kazoo.client import KazooClient

from turns import drive


def open_client(work):
    client = KazooClient(work.server, timeout=20)
    client.start(timeout=15)
    return client


def lock_of(client, path):
    return client.Lock(path, "bench")


def close(client):
    client.stop()
    client.close()


if __name__ == "__main__":
    logging.disable()
    drive(open_client, lock_of, close)
