// The losses: grouped where their marks would overlap, described in sentences.

const WINDOW = 24; // pixels that share one mark, enough for its number
const MOST_SENTENCES = 5;

/** Losses by time, in groups of at most WINDOW pixels. */
function gather(losses, x) {
  const groups = [];
  for (const loss of losses.toSorted((one, other) => one.at - other.at)) {
    const group = groups.at(-1);
    if (group && group[0].excused === loss.excused && x(loss.at) - x(group[0].at) < WINDOW) group.push(loss);
    else groups.push([loss]);
  }
  return groups;
}

/** Losses grouped by cause: how many, when, and the sentence of the first. */
function causes(losses) {
  const byCause = Map.groupBy(losses, (loss) =>
    JSON.stringify([loss.pod, loss.reason, loss.detail, loss.excused]));
  return [...byCause.values()]
    .map((same) => ({
      count: same.length,
      from: Math.min(...same.map((loss) => loss.at)),
      to: Math.max(...same.map((loss) => loss.at)),
      kinds: countKinds(same),
      ...same[0],
    }))
    .toSorted((one, other) => other.count - one.count);
}

/** For example "8 × new connections, 2 × uploads". */
function countKinds(losses) {
  const kinds = [...Map.groupBy(losses, (loss) => loss.kind)].toSorted((one, other) => other[1].length - one[1].length);
  return kinds.map(([kind, same]) => `${number(same.length)} × ${kind}`).join(", ");
}

function describeLosses(losses) {
  const all = causes(losses);
  const lines = all.slice(0, MOST_SENTENCES).map(({ kinds, text, excused }) =>
    `${kinds}: ${text}${excused ? " (excused)" : ""}`);
  const rest = all.length - lines.length;
  return [...lines, ...(rest > 0 ? [`and ${number(rest)} other ${rest > 1 ? "causes" : "cause"}`] : [])].join("\n");
}

/** The losses' marks on a lane; they take their room first, so that no text hides them. */
function drawLosses(losses, name, top, size, plot, room) {
  let free = -Infinity;
  return gather(losses, plot.x).map((group) => {
    const [from, to] = [plot.x(group[0].at), plot.x(group.at(-1).at)];
    const count = group.length > 1 ? number(group.length) : "";
    const width = Math.max(to - from + 2, 3, count ? widthOf(count, size.text - 1, "700") + 5 : 0);
    const left = Math.max((from + to - width) / 2, free);
    free = left + width;
    room.take(left - 2, left + width + 2);
    const when = within(group[0].at, group.at(-1).at);
    const told = `${number(group.length)} lost, ${name}, ${when}\n${describeLosses(group)}`;
    return svg("g", {
      class: group[0].excused ? "loss excused" : "loss", tabindex: 0, role: "img",
      "aria-label": told.replaceAll("`", ""), "data-tip": told, "data-losses": group.length,
      "data-from": group[0].at, "data-to": group.at(-1).at,
    },
    svg("rect", { x: left, y: top - 2, width, height: size.bar + 4, rx: 1 }),
    count ? svg("text", { x: left + width / 2, y: top + size.bar / 2, "text-anchor": "middle", "dominant-baseline": "central" }, count) : null);
  });
}

// The clients' side: requests a second with losses on top, and latency.

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

/** An invisible column over both rows for each bin, with a tooltip. */
function drawColumns(rehearsal, top, bottom, plot) {
  const { bins, losses } = rehearsal;
  return svg("g", {}, bins.served.map((served, index) => {
    const from = bins.from + index * bins.seconds;
    const [start, end] = edges(bins, index, plot);
    const lost = losses.filter(({ at }) => at >= from && at < from + bins.seconds);
    const words = [
      `${within(from, from + bins.seconds)}: ${number(served)} served, ${number(bins.lost[index])} lost`,
      `p50 ${milliseconds(bins.p50_ms[index])}, p99 ${milliseconds(bins.p99_ms[index])}`,
      ...(lost.length ? [describeLosses(lost)] : []),
    ];
    const attributes = { class: "column", x: start, y: top, width: end - start, height: bottom - top };
    return svg("rect", { ...attributes, "data-bin": index, "data-tip": words.join("\n") });
  }));
}

/** A row's name, and the names of its colours in these colours. */
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

// The pods' side: a lane for each, and below it the endpoint in the API and as the clients see it.

const ROOMY = { marks: 14, bar: 17, gap: 4, strip: 5, below: 9, text: 11, labels: true };
const COMPACT = { marks: 8, bar: 11, gap: 2, strip: 3, below: 3, text: 9.5, labels: false };
const MOST_ROOMY = 10; // lanes

const sizeOf = (rehearsal) => (rehearsal.pods.length > MOST_ROOMY ? COMPACT : ROOMY);
const laneHeight = (size) => size.marks + size.bar + 2 * (size.gap + size.strip) + size.below;

/** Losses without a pod, or of a pod that is not in the report. */
function lossesWithoutPod({ pods, losses }) {
  const names = new Set(pods.map((pod) => pod.name));
  return losses.filter((loss) => !names.has(loss.pod));
}

/** Names without their common prefix, such as the ReplicaSet's name. */
function shortNames(pods) {
  const names = pods.map((pod) => pod.name);
  let [shared] = names;
  for (const name of names) while (!name.startsWith(shared)) shared = shared.slice(0, -1);
  const cut = names.length > 1 ? shared.lastIndexOf("-") + 1 : 0;
  return new Map(names.map((name) => [name, name.slice(cut)]));
}

function drawLane(pod, label, losses, top, size, plot) {
  const bar = top + size.marks;
  const api = bar + size.bar + size.gap;
  const seen = api + size.strip + size.gap;
  const room = new Room(plot.left, plot.right + RIGHT - 4);
  const lane = svg("g", { "data-lane": pod.name, role: "group", "aria-label": describe(pod) });
  lane.append(...drawLabels(pod, label, bar, api, seen, size, plot));
  lane.append(...pod.endpoint.map((span) =>
    drawSpan(span, `strip endpoint-${span.state.replaceAll(" ", "-")}`, api, size.strip, plot,
      `${pod.name} in the API: ${span.state}`, { "data-endpoint": span.state })));
  lane.append(...(pod.seen ?? []).map((span) =>
    drawSpan(span, "strip seen", seen, size.strip, plot, `clients are sent to ${pod.name}`, { "data-seen": "" })));
  lane.append(...pod.phases.filter(({ phase }) => phase !== "gone").map((span) =>
    drawSpan(span, `phase phase-${span.phase}`, bar, size.bar, plot,
      `${pod.name} ${span.phase}${decision(pod, span)}`, { "data-phase": span.phase })));
  const marks = drawLosses(losses, pod.name, bar, size, plot, room);
  const ticks = budgetsOf(pod, plot.budgets);
  for (const { at, name } of ticks) room.take(plot.x(at) - 5, plot.x(at) + (name === "possible" ? 5 : 2));
  for (const { what, at } of pod.events) if (!UNMARKED.has(what)) room.take(plot.x(at) - 2, plot.x(at) + 2);
  lane.append(
    ...drawPhaseNames(pod, bar, size, plot, room),
    ...drawBudgets(pod, ticks, bar, size, plot, room),
    ...drawMarks(pod, top, bar, size, plot),
    ...marks,
  );
  return lane;
}

/** The rule that ended the drain. */
const decision = ({ stop }, { phase }) =>
  phase === "draining" && stop?.decided_by ? `, until: ${stop.decided_by}` : "";

/** A lane for losses without a pod. */
function drawLaneWithoutPod(losses, top, size, plot) {
  const bar = top + size.marks;
  const room = new Room(plot.left, plot.right);
  return svg("g", { "data-lane": "", role: "group", "aria-label": "no pod" },
    svg("text", { class: "pod", x: plot.left - 8, y: bar + size.bar - 4, "text-anchor": "end" }, "no pod"),
    svg("line", { class: "base", x1: plot.left, x2: plot.right, y1: bar + size.bar / 2, y2: bar + size.bar / 2 }),
    drawLosses(losses, "no pod", bar, size, plot, room));
}

function describe(pod) {
  const phases = pod.phases.map(({ phase, from }) => `${phase} from ${seconds(from)}`);
  const gone = pod.gone_at === null ? [] : [`gone at ${seconds(pod.gone_at)}, exit code ${pod.exit_code ?? "unknown"}`];
  return `pod ${pod.name}, revision ${pod.revision}: ${[...phases, ...gone].join(", ")}`;
}

function drawLabels(pod, label, bar, api, seen, size, plot) {
  const at = { x: plot.left - 8, "text-anchor": "end" };
  const place = [pod.name, `revision ${pod.revision}`, pod.node, pod.address].filter(Boolean).join("\n");
  const restarts = pod.restarts ? `\nrestarted ${pod.restarts} times` : "";
  const name = { ...at, class: "pod", y: bar + size.bar / 2, "dominant-baseline": "central", "data-tip": place + restarts };
  const words = size.labels
    ? [svg("text", { ...at, class: "small", y: api + size.strip }, "API"),
       ...(pod.seen ? [svg("text", { ...at, class: "small", y: seen + size.strip + 1 }, "clients")] : [])]
    : [];
  return [svg("text", name, label), ...words];
}

function drawSpan({ from, to }, style, y, height, plot, told, data) {
  const [start, end] = [from, to].map((time) => plot.x(Math.min(time, plot.scales.seconds)));
  return svg("rect", {
    class: style, x: start, y, width: Math.max(end - start, 1), height,
    "data-from": from, "data-to": to, "data-tip": `${told}\n${within(from, to)} (${seconds(to - from)})`, ...data,
  });
}

function drawPhaseNames(pod, bar, size, plot, room) {
  return pod.phases.filter(({ phase }) => phase !== "gone").flatMap(({ phase, from, to }) => {
    const [start, end] = [plot.x(from), plot.x(Math.min(to, plot.scales.seconds))];
    const width = widthOf(phase, size.text);
    if (width + 8 > end - start) return [];
    const place = [start + 5, end - width - 5].find((x) => room.claim(x - 2, x + width + 2));
    return place === undefined ? [] : [word(phase, place, bar, size, `on-phase phase-${phase}`)];
  });
}

const word = (text, x, bar, size, style) =>
  svg("text", { class: style, x, y: bar + size.bar / 2, "dominant-baseline": "central", "font-size": size.text }, text);

/** The known budgets of a deleted pod. */
function budgetsOf(pod, { floor }) {
  if (pod.deleted_at === null) return [];
  return [
    { name: "possible", at: pod.possible_at, why: "earliest exit that loses nothing" },
    { name: "limit", at: pod.limit_at, why: "the drain ends here at the latest" },
    { name: "grace ends", at: pod.grace_ends_at, why: "end of the grace period: SIGKILL, or SIGTERM first if the hook still runs" },
    { name: "floor", at: floor ? pod.deleted_at + floor : null, why: "the listener stays open at least until here" },
  ].filter(({ at }) => at !== null);
}

/** Ticks at the budgets, and a dotted line to the last of them. */
function drawBudgets(pod, ticks, bar, size, plot, room) {
  const inside = ticks.filter(({ at }) => at <= plot.scales.seconds);
  const last = Math.max(...inside.map(({ at }) => at), 0);
  const middle = bar + size.bar / 2;
  const start = pod.gone_at ?? pod.deleted_at;
  const wait = last > start
    ? [svg("line", { class: "wait", x1: plot.x(start), x2: plot.x(last), y1: middle, y2: middle })]
    : [];
  return [...wait, ...drawLater(pod, ticks, bar, size, plot, room), ...inside.flatMap(({ name, at, why }) => {
    const x = plot.x(at);
    const told = `${name}: ${seconds(at - pod.deleted_at)} after the deletion of ${pod.name}\n${why}`;
    const data = { "data-budget": name, "data-at": at, "data-tip": told };
    const mark = name === "possible"
      ? use("possible", x, middle, data)
      : svg("g", { class: "budget", ...data },
        svg("rect", { class: "column", x: x - 4, y: bar, width: 8, height: size.bar }),
        svg("line", { x1: x, x2: x, y1: bar + size.bar - 7, y2: bar + size.bar + 3 }));
    const width = widthOf(name, size.text - 1);
    const place = size.labels && name !== "possible"
      ? [x + 4, x - width - 6].find((from) => room.claim(from - 1, from + width))
      : undefined;
    return [mark, ...(place === undefined ? [] : [word(name, place, bar, { ...size, text: size.text - 1 }, "on-phase")])];
  })];
}

/** Budgets that end after the picture, as text at its edge. */
function drawLater(pod, ticks, bar, size, plot, room) {
  const later = ticks.filter(({ at }) => at > plot.scales.seconds);
  const text = `${later.map(({ name, at }) => `${name} ${seconds(at - pod.deleted_at)}`).join(", ")} ›`;
  const width = widthOf(text, size.text - 1);
  if (!later.length || !size.labels || !room.claim(plot.right - width - 4, plot.right)) return [];
  return [word(text, plot.right - width, bar, { ...size, text: size.text - 1 }, "small later")];
}
