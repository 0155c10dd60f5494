import assert from "node:assert/strict";
import test from "node:test";

import * as meters from "../src/meters.js";

test("cpu time is split into user, system and idle", () => {
  const text = "cpu  100 20 30 400 50 6 7 8 0 0\ncpu0 50 10 15 200 25 3 3 4 0 0\n";
  assert.deepEqual(meters.cpu(text), { user: 128, system: 43, idle: 450 });
  assert.equal(meters.cpu("no such line"), null);
});

test("used memory is what is not available, in MiB", () => {
  const text = "MemTotal:        4096000 kB\nMemFree:          100 kB\nMemAvailable:    3072000 kB\nBuffers:           10240 kB\nCached:          1013760 kB\n";
  assert.deepEqual(meters.memory(text), { used: 1000, cache: 1000 });
  assert.equal(meters.memory("MemTotal: 1 kB\n"), null);
});

test("loopback is counted by itself and virtual interfaces not at all", () => {
  const text = [
    "Inter-|   Receive                            |  Transmit",
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed",
    "    lo: 500 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0",
    "  eth0: 700 1 0 0 0 0 0 0 90 1 0 0 0 0 0 0",
    " wlan0:1000 1 0 0 0 0 0 0 10 1 0 0 0 0 0 0",
    "veth1a: 9999 1 0 0 0 0 0 0 9999 1 0 0 0 0 0 0",
  ].join("\n");
  assert.deepEqual(meters.network(text), { received: 1700, sent: 100, loopback: 500 });
});

test("whole disks are counted and their partitions not again", () => {
  const line = (name, read, written) => `   8       0 ${name} 1 0 ${read} 0 1 0 ${written} 0 0 0 0`;
  const text = [line("sda", 10, 4), line("sda1", 10, 4), line("nvme0n1", 2, 0), line("nvme0n1p1", 2, 0), line("loop0", 9, 9)].join("\n");
  assert.deepEqual(meters.disk(text), { read: 12 * 512, written: 4 * 512 });
  assert.equal(meters.disk(line("loop0", 9, 9)), null);
});

test("the gateway's messages out are summed over its routes", () => {
  const text = [
    '# TYPE tidegate_messages_total counter',
    'tidegate_messages_total{api="dashboard",direction="in",route="watch",stage="live"} 50',
    'tidegate_messages_total{api="dashboard",direction="out",route="watch",stage="live"} 5',
    'tidegate_messages_total{api="dashboard",direction="out",route="@connections",stage="live"} 20',
    'tidegate_send_queue_dropped_total{api="dashboard",cause="closed",stage="live"} 3',
    'tidegate_send_queue_dropped_total{api="dashboard",cause="drop_oldest",stage="live"} 7',
  ].join("\n");
  assert.deepEqual(meters.gateway(text), { sent: 25, dropped: 7 });
});

test("a rate is per second, and a counter that went back gives none", () => {
  assert.deepEqual(meters.rates({ a: 100, b: 0 }, { a: 150, b: 1 }, 250), [200, 4]);
  assert.equal(meters.rates({ a: 100 }, { a: 50 }, 250), null);
  assert.equal(meters.rates(null, { a: 50 }, 250), null);
  assert.equal(meters.rates({ a: 1 }, { a: 2 }, 0), null);
});

test("what a machine does not tell is null and harms no other chart", () => {
  const reading = (at, busy) => ({ at, cpu: { user: busy, system: 10, idle: 100 - busy }, memory: { used: 10.4, cache: null }, load: [1, 2, 3], network: null, disk: null });
  assert.deepEqual(meters.values(reading(0, 10), { ...reading(250, 30), cpu: { user: 30, system: 20, idle: 160 } }),
    { cpu: [30, 10], memory: [10, null], load: [1, 2, 3], network: null, disk: null });
});
