// node-redlock behind a line protocol (../README.md): orders on standard input, answers on standard
// output. It ends with its input.
//
// A seat is a chain of promises, so that seats wait side by side and each does one thing after the
// other. A session is a lease: what is taken in it is kept for that long and not prolonged.

import { createInterface } from "node:readline";
import { randomUUID } from "node:crypto";
import Redis from "ioredis";
import redlock from "redlock";

// The package names its class twice, for two kinds of modules.
const Redlock = redlock.default ?? redlock;

// How long one turn of a stress may take; a lock that nobody gets is a failure.
const TURN_MAX_MS = 60_000;

// How often the library looks whether a lock is free: its own default is 200 ms, so that beside
// clients that wait for news it would hardly ever meet a free lock.
const LOOK_EVERY_MS = 2;

class Seat {
  constructor(client, leaseMs) {
    this.client = client;
    this.leaseMs = leaseMs;
    this.held = new Map();
    this.last = Promise.resolve();
  }

  order(number, verb, rest) {
    this.last = this.last.then(async () => {
      try {
        done(number, await this.obey(verb, rest));
      } catch (error) {
        // Whatever it is, the one who asked is told.
        failed(number, error);
      }
    });
  }

  async obey(verb, rest) {
    switch (verb) {
      case "lock":
        return this.lock(rest[1], Number(rest[2]));
      case "unlock":
        return this.unlock(rest[1]);
      case "stress":
        return this.stress(rest[1], rest[2], Number(rest[3]));
      default:
        throw new Error(`there is no verb ${verb}`);
    }
  }

  async lock(name, limitMs) {
    const lock = await this.take(name, limitMs);
    if (lock === null) {
      return "busy";
    }
    this.held.set(name, lock);
    // This client has no token.
    return `granted 0 ${lock.value}`;
  }

  async unlock(name) {
    const lock = this.held.get(name);
    this.held.delete(name);
    try {
      await this.release(lock);
    } catch (error) {
      // No server had it any more.
      if (error.name === "ExecutionError") {
        return "gone";
      }
      throw error;
    }
    return "released";
  }

  // Takes the lock again and again until the counter it protects has reached the goal.
  async stress(name, counter, goal) {
    for (let own = 0; ; own++) {
      const lock = await this.take(name, TURN_MAX_MS);
      if (lock === null) {
        throw new Error(`no turn within ${TURN_MAX_MS} ms`);
      }
      let goesOn;
      try {
        goesOn = await this.increment(counter, goal);
      } finally {
        await this.release(lock);
      }
      if (!goesOn) {
        return `done ${own}`;
      }
    }
  }

  // A lock, or null if somebody else had it all the time.
  async take(name, limitMs) {
    const settings = {
      retryCount: Math.ceil(limitMs / LOOK_EVERY_MS),
      retryDelay: LOOK_EVERY_MS,
      retryJitter: LOOK_EVERY_MS,
    };
    try {
      return await new Redlock([this.client], settings).acquire([name], this.leaseMs);
    } catch (error) {
      if (error.name === "ExecutionError") {
        return null;
      }
      throw error;
    }
  }

  // Once: a lock that is gone does not come back, and the library would go on asking.
  release(lock) {
    return new Redlock([this.client]).release(lock, { retryCount: 0 });
  }

  // Adds one to a counter in the way that loses increments where two hold the lock: read, then
  // write. Beside the count stands the newest token of those who have one. False if the goal was
  // reached already.
  async increment(counter, goal) {
    const [count, token] = (await this.client.get(counter)).split(" ");
    if (Number(count) >= goal) {
      return false;
    }
    await this.client.set(counter, `${Number(count) + 1} ${token}`);
    return true;
  }
}

const sessions = new Map();
const seats = new Map();
const [host, port] = (process.argv[2] ?? "").split(":");
if (!port) {
  console.error("usage: program.mjs HOST:PORT");
  process.exit(2);
}

function done(number, answer) {
  process.stdout.write(`${number} ok ${answer}\n`);
}

function failed(number, error) {
  const words = `${error.name}: ${error.message}`.replaceAll("\n", " ");
  process.stdout.write(`${number} failed ${words}\n`);
}

async function obey(number, session, seat, verb, rest) {
  switch (verb) {
    case "open": {
      const client = new Redis({ host, port: Number(port) });
      await client.ping();
      sessions.set(session, { client, leaseMs: Number(rest[0]) });
      done(number, `open ${randomUUID()}`);
      return;
    }
    case "close":
      sessions.get(session).client.disconnect();
      sessions.delete(session);
      done(number, "closed");
      return;
    // Nothing is tidied up, as in a crash: the operating system closes the sockets.
    case "die":
      process.kill(process.pid, "SIGKILL");
      return;
    default: {
      const { client, leaseMs } = sessions.get(session);
      const key = `${session}/${seat}`;
      if (!seats.has(key)) {
        seats.set(key, new Seat(client, leaseMs));
      }
      seats.get(key).order(number, verb, rest);
    }
  }
}

const orders = createInterface({ input: process.stdin });
orders.on("line", (line) => {
  const [number, session, seat, verb, ...rest] = line.split(" ");
  obey(number, session, seat, verb, rest).catch((error) => failed(number, error));
});
// Seats may be waiting; what they hold ends with its time to live.
orders.on("close", () => process.exit(0));
