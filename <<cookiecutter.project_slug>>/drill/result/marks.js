// What happened to a pod, above its lane: marks, and words where there is room.

const MARKS = {
  deleted: "deleted", evicted: "deleted", "preStop ended": "prestop", SIGTERM: "sigterm", SIGKILL: "sigkill",
  exit: "exit", exited: "exit",
};
/** Seen already in the colours of the lane, or told by the service after the fact. */
const UNMARKED = new Set(["started", "ready", "unready", "still ready", "draining", "stopping", "stopped", "gone"]);

const use = (name, x, y, data) =>
  svg("use", { class: `mark ${name}`, href: `#mark-${name}`, x: x - 5, y: y - 5, width: 10, height: 10, ...data });

/** What happened to the pod: a mark above the lane, a hair through it, and in words where there is room. */
function drawMarks(pod, top, bar, size, plot) {
  const room = new Room(plot.left, plot.right + RIGHT - 4);
  const y = top + size.marks / 2;
  let free = -Infinity;
  const marks = pod.events
    .filter(({ what, at }) => !UNMARKED.has(what) && at <= plot.scales.seconds)
    .toSorted((one, other) => one.at - other.at)
    .map((event) => {
      const exact = plot.x(event.at);
      const x = Math.max(exact, free);
      free = x + 10;
      room.take(x - 5, x + 5);
      return { ...event, exact, x, text: briefly(event, pod) };
    });
  const drawn = marks.flatMap(({ what, at, detail, exact, x }) => {
    const after = pod.deleted_at === null || at <= pod.deleted_at ? "" : `, ${seconds(at - pod.deleted_at)} after deletion`;
    const told = `${pod.name}: ${what}${detail ? `, ${detail}` : ""}\nat ${seconds(at)}${after}`;
    return [
      svg("line", { class: "hair", x1: exact, x2: exact, y1: bar - 1, y2: bar + size.bar + 1 }),
      use(MARKS[what] ?? "other", x, y, { "data-event": what, "data-at": at, "data-tip": told }),
    ];
  });
  return size.words ? [...drawn, ...nameMarks(marks, y, room)] : drawn;
}

function briefly({ what, at }, pod) {
  if (MARKS[what] !== "exit") return what;
  const after = pod.deleted_at === null ? "" : ` after ${seconds(at - pod.deleted_at)}`;
  return `exit ${pod.exit_code ?? ""}${after}`;
}

/** Marks that touch are named together, to the right of the last of them, else to the left of the first. */
function nameMarks(marks, y, room) {
  const groups = [];
  for (const mark of marks) {
    if (groups.length && mark.x - groups.at(-1).at(-1).x < 14) groups.at(-1).push(mark);
    else groups.push([mark]);
  }
  return groups.flatMap((group) => {
    for (const text of [group.map((mark) => mark.text).join(", "), group.at(-1).text]) {
      const width = widthOf(text, 10);
      const right = group.at(-1).x + 8;
      const left = group[0].x - 8 - width;
      const x = [right, left].find((from) => room.claim(from, from + width));
      if (x !== undefined) return [svg("text", { class: "small", x, y, "dominant-baseline": "central" }, text)];
    }
    return [];
  });
}
