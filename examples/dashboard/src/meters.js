// What the kernel counts, and what a chart shows of it.
//
// In:  the text of files below /proc; two readings, one after the other.
// Out: a reading (counters since boot, and levels); the values of each chart's series.
//
// Holds always: no file is opened here; what a machine does not tell is null, and so are all
// values that would be made of it.

/** Neither a machine's own traffic nor counted elsewhere already: bridges and what hangs on them. */
const VIRTUAL = /^(veth|docker|br-|virbr|cni|flannel|cali|ifb|dummy|tun|tap|wg)/;
/** Whole disks; their partitions and what is built upon them would count twice. */
const WHOLE_DISK = /^([shv]d[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+)$/;
const SECTOR_BYTES = 512;
const KIB_IN_MIB = 1024;

/** /proc/stat: time of all cores since boot, in one unit. */
export function cpu(text) {
  const line = /^cpu +(.*)$/m.exec(text)?.[1];
  if (!line) return null;
  const [user, nice, system, idle, iowait = 0, irq = 0, softirq = 0, steal = 0] = line.split(" ").map(Number);
  return { user: user + nice + steal, system: system + irq + softirq, idle: idle + iowait };
}

/** /proc/meminfo, MiB. */
export function memory(text) {
  const mib = (key) => Number(new RegExp(`^${key}: +(\\d+) kB$`, "m").exec(text)?.[1] ?? NaN) / KIB_IN_MIB;
  const used = mib("MemTotal") - mib("MemAvailable");
  return Number.isNaN(used) ? null : { used, cache: mib("Cached") + mib("Buffers") };
}

/** /proc/loadavg. */
export function load(text) {
  return text.split(" ", 3).map(Number);
}

/** /proc/net/dev: bytes since boot. */
export function network(text) {
  const sum = { received: 0, sent: 0, loopback: 0 };
  for (const [, name, rest] of text.matchAll(/^ *([^\s:]+): *(.*)$/gm)) {
    const fields = rest.trim().split(/ +/).map(Number);
    if (name === "lo") sum.loopback += fields[8];
    else if (!VIRTUAL.test(name)) {
      sum.received += fields[0];
      sum.sent += fields[8];
    }
  }
  return sum;
}

/** /proc/diskstats: bytes since boot; null where no disk can be seen. */
export function disk(text) {
  const disks = text.split("\n").map((line) => line.trim().split(/ +/)).filter(([, , name]) => WHOLE_DISK.test(name));
  if (disks.length === 0) return null;
  const bytes = (field) => disks.reduce((sum, fields) => sum + Number(fields[field]) * SECTOR_BYTES, 0);
  return { read: bytes(5), written: bytes(9) };
}

/** The gateway's /metrics: messages to clients, and what their full queues let go, since its start. */
export function gateway(text) {
  const sum = (pattern) => [...text.matchAll(pattern)].reduce((total, [, value]) => total + Number(value), 0);
  return {
    sent: sum(/^tidegate_messages_total\{[^}]*direction="out"[^}]*\} (\S+)$/gm),
    dropped: sum(/^tidegate_send_queue_dropped_total\{[^}]*cause="drop_oldest"[^}]*\} (\S+)$/gm),
  };
}

/**
 * The values of each chart at `now`, where `before` is an earlier reading. `at` is milliseconds;
 * a reading's `gateway` has an `at` of its own, for it is read less often.
 */
export function values(before, now) {
  return {
    cpu: shares(before.cpu, now.cpu),
    memory: now.memory && [now.memory.used, now.memory.cache].map((mib) => mib && Math.round(mib)),
    load: now.load,
    network: rates(before.network, now.network, now.at - before.at),
    disk: rates(before.disk, now.disk, now.at - before.at),
  };
}

/** Per second, for each counter; null where a counter went back, as after a restart. */
export function rates(before, now, elapsedMs) {
  if (!before || !now || elapsedMs <= 0) return null;
  const rate = Object.keys(now).map((key) => Math.round(((now[key] - before[key]) * 1000) / elapsedMs));
  return rate.some((value) => !(value >= 0)) ? null : rate;
}

function shares(before, now) {
  if (!before || !now) return null;
  const busy = now.user + now.system - before.user - before.system;
  const all = busy + now.idle - before.idle;
  if (!(all > 0)) return null;
  const percent = (part) => Math.min(100, Math.max(0, Math.round((part / all) * 1000) / 10));
  return [percent(busy), percent(now.system - before.system)];
}
