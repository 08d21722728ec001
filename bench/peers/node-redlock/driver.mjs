// The package redlock, driven by the bench. What is said on the input and the output is told in
// bench/src/drive/mod.rs; the words of a piece of work in bench/src/compare/work.rs. Each task is
// a promise; each client has a connection to each server, and a Redlock object of its own.

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import Redlock from "redlock";

const LEASE_MS = 60_000;

const now = () => process.hrtime.bigint();

function parse(line) {
  const [server, path, ...numbers] = line.split(" ");
  const [clients, tasks, names, rounds, millis, holdMicros] = numbers.map(Number);
  return { server, path, clients, tasks, names, rounds, millis, holdMicros };
}

// All of them go on when the last has come.
function barrier(count) {
  let waiting = [];
  return () => new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === count) {
      const all = waiting;
      waiting = [];
      all.forEach((one) => one());
    }
  });
}

// Below a millisecond it is busy, because a timer is not that exact.
async function hold(micros) {
  const end = now() + BigInt(micros) * 1_000n;
  if (micros >= 1_000) {
    await sleep(micros / 1_000);
  }
  while (micros < 1_000 && now() < end);
}

async function open(work) {
  const servers = work.server.split(",").map((server) => {
    const [host, port] = server.split(":");
    return new Redis({ host, port: Number(port), lazyConnect: true });
  });
  await Promise.all(servers.map((server) => server.connect()));
  // It waits as long as the others do; everything else is as it comes.
  return { servers, redlock: new Redlock(servers, { retryCount: -1, automaticExtensionThreshold: 0 }) };
}

async function takeTurns(work, task, { redlock }, meet, end) {
  const name = `${work.path}/${task % work.names}`;
  const holds = [];
  for (let round = 0; work.rounds > 0 ? round < work.rounds : now() < end; round += 1) {
    if (work.rounds > 0) {
      await meet();
    }
    const asked = now();
    const lock = await redlock.acquire([name], LEASE_MS);
    const acquired = now();
    await hold(work.holdMicros);
    const releasing = now();
    await lock.release();
    holds.push([task, asked, acquired, releasing, now()]);
  }
  return holds;
}

async function talk() {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  for (;;) {
    const { value: line, done } = await lines.next();
    if (done) {
      return;
    }
    const work = parse(line);
    const clients = await Promise.all(Array.from({ length: work.clients }, () => open(work)));
    console.log("ready");
    await lines.next();
    const before = process.cpuUsage();
    const meet = barrier(work.tasks);
    const end = now() + BigInt(work.millis) * 1_000_000n;
    const tasks = Array.from({ length: work.tasks }, (_, task) =>
      takeTurns(work, task, clients[task % work.clients], meet, end));
    const holds = (await Promise.all(tasks)).flat();
    const { user, system } = process.cpuUsage(before);
    const said = holds.map((one) => one.join(" "));
    console.log([...said, `cpu ${user + system}`].join("\n"));
    await lines.next();
    clients.flatMap(({ servers }) => servers).forEach((server) => server.disconnect());
    console.log("closed");
  }
}

talk().catch((error) => {
  console.log(`failed: ${String(error).split("\n")[0]}`);
  process.exit(1);
});
