// Reads this machine: /proc where there is one, what node:os knows elsewhere.
//
// In:  nothing. Out: readings as `meters.js` takes them.

import { readFile } from "node:fs/promises";
import os from "node:os";

import * as meters from "./meters.js";

const MIB = 1024 * 1024;

/** What does not change while this runs; all of it fits into a header. */
export const MACHINE = {
  host: os.hostname().slice(0, 64),
  cores: os.cpus().length || 1,
  memory: Math.round(os.totalmem() / MIB),
};

export async function read() {
  const [cpu, memory, load, network, disk] = await Promise.all([
    from("stat", meters.cpu),
    from("meminfo", meters.memory),
    from("loadavg", meters.load),
    from("net/dev", meters.network),
    from("diskstats", meters.disk),
  ]);
  return {
    at: Date.now(),
    cpu: cpu ?? cpuTimes(),
    memory: memory ?? { used: (os.totalmem() - os.freemem()) / MIB, cache: null },
    load: load ?? os.loadavg().map((value) => Math.round(value * 100) / 100),
    network,
    disk,
  };
}

async function from(file, parse) {
  try {
    return parse(await readFile(`/proc/${file}`, "utf8"));
  } catch {
    return null; // not this system, or not for this user
  }
}

function cpuTimes() {
  const sum = { user: 0, system: 0, idle: 0 };
  for (const { times } of os.cpus()) {
    sum.user += times.user + times.nice;
    sum.system += times.sys + times.irq;
    sum.idle += times.idle;
  }
  return sum;
}
