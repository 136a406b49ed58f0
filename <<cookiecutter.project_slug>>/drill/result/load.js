// The clients' side: requests a second with the lost ones on top, and how long answers took.

const RATE_HEIGHT = 76;
const LATENCY_HEIGHT = 60;

function drawRates(rehearsal, top, plot) {
  const { bins } = rehearsal;
  const y = linear([0, plot.scales.rate], [top + RATE_HEIGHT, top]);
  const group = svg("g", { "data-row": "requests" });
  group.append(
    title(plot, top, "requests a second", [["served", "served"], ["lost", "lost"]]),
    ...drawTicks(plot, y, [0, plot.scales.rate / 2, plot.scales.rate]).flat(),
    svg("path", { class: "area-served", d: steps(bins, plot, y) }),
  );
  bins.lost.forEach((lost, index) => {
    if (!lost) return;
    const [from, to] = edges(bins, index, plot);
    const height = Math.max(y(0) - y(lost / bins.seconds), 3);
    const bottom = y(bins.served[index] / bins.seconds);
    const attributes = { class: "area-lost", x: from, y: bottom - height, width: to - from, height };
    group.append(svg("rect", { ...attributes, "data-lost": lost, "data-from": bins.from + index * bins.seconds }));
  });
  return group;
}

function drawLatency(rehearsal, top, plot) {
  const { bins } = rehearsal;
  const [lowest, highest] = plot.scales.latency;
  const y = logarithmic(plot.scales.latency, [top + LATENCY_HEIGHT, top]);
  const group = svg("g", { "data-row": "latency" });
  const decades = [];
  for (let value = lowest; value <= highest * 1.001; value *= 10) decades.push(Number(value.toPrecision(1)));
  group.append(title(plot, top, "latency of new connections, ms"), ...drawTicks(plot, y, decades).flat());
  const ends = [["p99", bins.p99_ms], ["p50", bins.p50_ms]].map(([name, values]) => {
    group.append(svg("path", { class: `line-${name}`, d: line(values, bins, plot, y), "data-line": name }));
    const last = values.findLastIndex((value) => value !== null);
    return { name, x: last < 0 ? null : edges(bins, last, plot)[1], y: last < 0 ? 0 : y(values[last]) };
  });
  const [upper, lower] = ends;
  lower.y = Math.max(lower.y, upper.y + 11);
  for (const { name, x, y: at } of ends) {
    if (x !== null) group.append(svg("text", { class: `name name-${name}`, x: x + 5, y: at + 3.5 }, name));
  }
  return group;
}

/** One invisible column a bin over both rows: what happened in it, in words. */
function drawColumns(rehearsal, top, bottom, plot) {
  const { bins, losses } = rehearsal;
  return svg("g", {}, bins.served.map((served, index) => {
    const from = bins.from + index * bins.seconds;
    const [start, end] = edges(bins, index, plot);
    const lost = losses.filter(({ at }) => at >= from && at < from + bins.seconds);
    const words = [
      `${within(from, from + bins.seconds)}: ${number(served)} served, ${number(bins.lost[index])} lost`,
      `p50 ${milliseconds(bins.p50_ms[index])}, p99 ${milliseconds(bins.p99_ms[index])}`,
      ...(lost.length ? [tell(lost)] : []),
    ];
    const attributes = { class: "column", x: start, y: top, width: end - start, height: bottom - top };
    return svg("rect", { ...attributes, "data-bin": index, "data-tip": words.join("\n") });
  }));
}

/** A row's name above it, and what its colours mean, in these colours. */
function title(plot, top, text, keys = []) {
  const words = keys.map(([key, name]) => svg("tspan", { class: `name-${key}`, dx: 8 }, name));
  return svg("text", { class: "title", x: plot.left, y: top - 8 }, text, words);
}

function edges(bins, index, plot) {
  const from = bins.from + index * bins.seconds;
  return [plot.x(from), plot.x(Math.min(from + bins.seconds, plot.scales.seconds))];
}

function steps(bins, plot, y) {
  const parts = bins.served.map((served, index) => {
    const [from, to] = edges(bins, index, plot);
    const at = y(served / bins.seconds);
    return `L${from} ${at}L${to} ${at}`;
  });
  const end = plot.x(Math.min(bins.from + bins.served.length * bins.seconds, plot.scales.seconds));
  return `M${plot.x(bins.from)} ${y(0)}${parts.join("")}L${end} ${y(0)}Z`;
}

/** Through the middle of the bins, broken where there is no value. */
function line(values, bins, plot, y) {
  let pen = "M";
  const parts = values.map((value, index) => {
    if (value === null) {
      pen = "M";
      return "";
    }
    const [from, to] = edges(bins, index, plot);
    const move = `${pen}${(from + to) / 2} ${y(value)}`;
    const alone = pen === "M" && (values[index + 1] ?? null) === null;
    pen = "L";
    return alone ? `M${from} ${y(value)}H${to}` : move;
  });
  return parts.join("");
}
