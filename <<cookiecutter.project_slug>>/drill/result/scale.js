// The time axis that all rows share, the scales of the rows, and room for words.

const RIGHT = 40; // for the names of the lines at their ends

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

/** What the pictures of one scenario share, so that they can be compared by eye. */
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

/** As `roundUp`, in finer steps: an axis should not be half empty. */
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

/** A row's numbers: a line across and its value in the gutter. */
function drawTicks(plot, y, values) {
  return values.map((value) => [
    svg("line", { class: value ? "grid" : "base", x1: plot.left, x2: plot.right, y1: y(value), y2: y(value) }),
    svg("text", { class: "tick", x: plot.left - 8, y: y(value) + 3.5, "text-anchor": "end" }, number(value)),
  ]);
}

/** Which part of a row is taken: words are left out rather than set over others. */
class Room {
  constructor(left, right) {
    this.left = left;
    this.right = right;
    this.taken = [];
  }

  take(from, to) {
    this.taken.push([from, to]);
  }

  /** Takes it, unless some of it is taken or outside. */
  claim(from, to) {
    if (from < this.left || to > this.right) return false;
    if (this.taken.some(([start, end]) => from < end && start < to)) return false;
    this.take(from, to);
    return true;
  }
}
