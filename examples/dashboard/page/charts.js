// Which charts there are. The backend and the page read this same list: the order of a chart's
// series is the order of the values in its samples, and a chart's name is its group's.

export const CHARTS = {
  cpu: { title: "CPU", unit: "percent", series: ["busy", "of that, system"], about: "share of all cores" },
  memory: { title: "Memory", unit: "mebibytes", series: ["used", "file cache"], about: "of what the machine has" },
  load: { title: "Load", unit: "number", series: ["over 1 min", "over 5 min", "over 15 min"], about: "tasks that run or wait to" },
  network: { title: "Network", unit: "bytes_per_s", series: ["received", "sent", "loopback"], about: "bytes a second" },
  disk: { title: "Disk", unit: "bytes_per_s", series: ["read", "written"], about: "bytes a second" },
  gateway: { title: "Gateway", unit: "per_s", series: ["sent", "dropped"], about: "messages to viewers a second" },
};
