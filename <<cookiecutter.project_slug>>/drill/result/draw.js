// Elements and text. Data of the report becomes text and attributes, never HTML.

const SVG = document.querySelector("svg").namespaceURI;

const html = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

/** Sets attributes that are not null; children are nodes, strings or null. */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

/** A sentence with its `words` in backticks as code. */
function sentence(text) {
  return text.split("`").map((part, index) => (index % 2 ? html("code", {}, part) : part));
}

const ruler = document.createElement("canvas").getContext("2d");

/** The width of a text in pixels; `size` as in the style sheet. */
function widthOf(text, size, weight = "400") {
  ruler.font = `${weight} ${size}px ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(text).width;
}

const number = (value) => value.toLocaleString("en-US");
const seconds = (value) => `${value.toFixed(value < 9.995 ? 2 : 1)} s`;
const milliseconds = (value) =>
  value === null ? "–" : `${value < 99.95 ? value.toFixed(1) : number(Math.round(value))} ms`;
const within = (from, to) =>
  to - from < 0.01 ? `at ${seconds(from)}` : `${seconds(from)} to ${seconds(to)}`;

// The shared time axis, the scales of the rows, and room for text.

const RIGHT = 40; // for the names at the ends of the lines

/** From values to pixels. */
function linear([from, to], [start, end]) {
  return (value) => start + ((value - from) / (to - from || 1)) * (end - start);
}

function logarithmic([from, to], range) {
  const scale = linear([Math.log10(from), Math.log10(to)], range);
  return (value) => scale(Math.log10(Math.max(value, from)));
}

/** The smallest 1, 2 or 5 times a power of ten that is not less than `value`. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 5, 10].find((step) => step * power >= value * 0.999999) * power;
}

/** The scales that all pictures of a scenario share, so that they can be compared. */
function scalesOf(rehearsals) {
  const rates = rehearsals.flatMap(({ bins }) =>
    bins.served.map((served, index) => (served + bins.lost[index]) / bins.seconds));
  const times = rehearsals
    .flatMap(({ bins }) => [...bins.p50_ms, ...bins.p99_ms])
    .filter((value) => value !== null && value > 0);
  const lowest = 10 ** Math.floor(Math.log10(Math.min(...times, 1)));
  const highest = 10 ** Math.ceil(Math.log10(Math.max(...times, 10)));
  return {
    seconds: Math.max(...rehearsals.map((rehearsal) => rehearsal.seconds)),
    rate: fourths(Math.max(...rates, 1)),
    latency: [lowest, highest],
  };
}

/** Like `roundUp`, in finer steps, so that an axis is not half empty. */
function fourths(value) {
  const step = roundUp(value / 4);
  return Math.ceil(value / step) * step;
}

/** Vertical lines and their times, the tinted disturbance, and names for its sides. */
function drawTime(plot, height) {
  const { x, left, right } = plot;
  const every = roundUp((plot.scales.seconds / (right - left)) * 70);
  const group = svg("g", { class: "time", "aria-hidden": "true" });
  const [from, to] = plot.disturbance.map(x);
  group.append(svg("rect", { class: "band", x: from, y: 0, width: to - from, height: height - 20 }));
  for (let time = 0; time <= plot.scales.seconds + 1e-9; time += every) {
    const at = x(time);
    group.append(svg("line", { class: "grid", x1: at, x2: at, y1: 18, y2: height - 20 }));
    const text = `${Number(time.toFixed(3))}${time ? "" : " s"}`;
    group.append(svg("text", { class: "tick", x: at, y: height - 7, "text-anchor": "middle" }, text));
  }
  for (const [name, start, end] of [["before", left, from], ["during", from, to], ["after", to, right]]) {
    if (end - start < widthOf(name, 10) + 6) continue;
    group.append(svg("text", { class: "side", x: (start + end) / 2, y: 12, "text-anchor": "middle" }, name));
  }
  return group;
}

/** A row's ticks: a line across and the value to the left. */
function drawTicks(plot, y, values) {
  return values.map((value) => [
    svg("line", { class: value ? "grid" : "base", x1: plot.left, x2: plot.right, y1: y(value), y2: y(value) }),
    svg("text", { class: "tick", x: plot.left - 8, y: y(value) + 3.5, "text-anchor": "end" }, number(value)),
  ]);
}

/** The occupied parts of a row; text without room is left out. */
class Room {
  constructor(left, right) {
    this.left = left;
    this.right = right;
    this.taken = [];
  }

  take(from, to) {
    this.taken.push([from, to]);
  }

  /** Takes the range, unless part of it is occupied or outside. */
  claim(from, to) {
    if (from < this.left || to > this.right) return false;
    if (this.taken.some(([start, end]) => from < end && start < to)) return false;
    this.take(from, to);
    return true;
  }
}

// A pod's events above its lane: marks, and text where there is room.

const MARKS = {
  deleted: "deleted", evicted: "deleted", "preStop ended": "prestop", SIGTERM: "sigterm", SIGKILL: "sigkill",
  exit: "exit", exited: "exit",
};
/** Visible in the lane's colours, or logged by the service itself. */
const UNMARKED = new Set(["started", "ready", "unready", "still ready", "draining", "stopping", "stopped", "gone"]);

const use = (name, x, y, data) =>
  svg("use", { class: `mark ${name}`, href: `#mark-${name}`, x: x - 5, y: y - 5, width: 10, height: 10, ...data });

/** The pod's events: a mark above the lane, a thin line through it, and text where there is room. */
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
      return { ...event, exact, x, text: shortText(event, pod) };
    });
  const drawn = marks.flatMap(({ what, at, detail, exact, x }) => {
    const after = pod.deleted_at === null || at <= pod.deleted_at ? "" : `, ${seconds(at - pod.deleted_at)} after deletion`;
    const told = `${pod.name}: ${what}${detail ? `, ${detail}` : ""}\nat ${seconds(at)}${after}`;
    return [
      svg("line", { class: "hair", x1: exact, x2: exact, y1: bar - 1, y2: bar + size.bar + 1 }),
      use(MARKS[what] ?? "other", x, y, { "data-event": what, "data-at": at, "data-tip": told }),
    ];
  });
  return size.labels ? [...drawn, ...nameMarks(marks, y, room)] : drawn;
}

function shortText({ what, at }, pod) {
  if (MARKS[what] !== "exit") return what;
  const after = pod.deleted_at === null ? "" : ` after ${seconds(at - pod.deleted_at)}`;
  return `exit ${pod.exit_code ?? ""}${after}`;
}

/** Names adjacent marks together, to the right of the last one, else to the left of the first. */
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

// The tooltip at the pointer or the focus, and a line through all rows at the pointer's time.

const tip = document.getElementById("tip");

function showTip(event) {
  const marked = event.target.closest?.("[data-tip]");
  tip.hidden = !marked;
  if (!marked) return;
  tip.replaceChildren(...sentence(marked.getAttribute("data-tip")));
  const box = marked.getBoundingClientRect();
  const x = event.clientX ?? box.right;
  const y = event.clientY ?? box.bottom;
  const { width, height } = tip.getBoundingClientRect();
  const below = y + 16 + height < innerHeight;
  tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - width - 4))}px`;
  tip.style.top = `${Math.max(4, Math.min(below ? y + 16 : y - height - 12, innerHeight - height - 4))}px`;
}

function hideTip() {
  tip.hidden = true;
}

/** A line that follows the pointer, with its time at the top. */
function addCrosshair(picture, plot, height) {
  const line = svg("line", { y1: 16, y2: height - 20 });
  const text = svg("text", { y: 12, "text-anchor": "middle" });
  const cross = svg("g", { class: "crosshair", visibility: "hidden", "aria-hidden": "true" }, line, text);
  picture.append(cross);
  picture.addEventListener("pointermove", (event) => {
    const at = event.clientX - picture.getBoundingClientRect().left;
    const inside = at >= plot.left && at <= plot.right;
    cross.setAttribute("visibility", inside ? "visible" : "hidden");
    if (!inside) return;
    const share = (at - plot.left) / (plot.right - plot.left);
    text.textContent = `${(share * plot.scales.seconds).toFixed(2)} s`;
    for (const [element, name] of [[line, "x1"], [line, "x2"], [text, "x"]]) element.setAttribute(name, at);
  });
  picture.addEventListener("pointerleave", () => cross.setAttribute("visibility", "hidden"));
}

document.addEventListener("pointermove", showTip);
document.addEventListener("focusin", showTip);
document.addEventListener("focusout", hideTip);
document.addEventListener("scroll", () => {
  if (!tip.hidden) showTip({ target: document.activeElement }); // the focus itself may have scrolled
}, true);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideTip();
});
