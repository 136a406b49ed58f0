// The pods' side: a lane for each, and under it what the API says of it and what the clients believe.

const ROOMY = { marks: 14, bar: 17, gap: 4, strip: 5, below: 9, text: 11, words: true };
const COMPACT = { marks: 8, bar: 11, gap: 2, strip: 3, below: 3, text: 9.5, words: false };
const MOST_ROOMY = 10; // lanes

const sizeOf = (rehearsal) => (rehearsal.pods.length > MOST_ROOMY ? COMPACT : ROOMY);
const laneHeight = (size) => size.marks + size.bar + 2 * (size.gap + size.strip) + size.below;

/** Losses of no pod, or of one that the report does not know. */
function lossesWithoutPod({ pods, losses }) {
  const names = new Set(pods.map((pod) => pod.name));
  return losses.filter((loss) => !names.has(loss.pod));
}

/** What all names begin with is left out: the words of a ReplicaSet are the same in each. */
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

/** Which rule of the drain policy was the last to be content. */
const decision = ({ stop }, { phase }) =>
  phase === "draining" && stop?.decided_by ? `, until: ${stop.decided_by}` : "";

/** For losses that no pod can be blamed for. */
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
  const words = size.words
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

/** The times that a deleted pod was given, as far as they are known. */
function budgetsOf(pod, { floor }) {
  if (pod.deleted_at === null) return [];
  return [
    { name: "possible", at: pod.possible_at, why: "earliest exit that loses nothing" },
    { name: "limit", at: pod.limit_at, why: "the drain may take no longer" },
    { name: "grace ends", at: pod.grace_ends_at, why: "end of the grace period: SIGKILL, or SIGTERM first if the hook still ran" },
    { name: "floor", at: floor ? pod.deleted_at + floor : null, why: "the listener stays open at least until here" },
  ].filter(({ at }) => at !== null);
}

/** Ticks at these times, and a dotted line to the last of them. */
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
    const place = size.words && name !== "possible"
      ? [x + 4, x - width - 6].find((from) => room.claim(from - 1, from + width))
      : undefined;
    return [mark, ...(place === undefined ? [] : [word(name, place, bar, { ...size, text: size.text - 1 }, "on-phase")])];
  })];
}

/** The budgets that end after the picture does, in words at its edge. */
function drawLater(pod, ticks, bar, size, plot, room) {
  const later = ticks.filter(({ at }) => at > plot.scales.seconds);
  const text = `${later.map(({ name, at }) => `${name} ${seconds(at - pod.deleted_at)}`).join(", ")} ›`;
  const width = widthOf(text, size.text - 1);
  if (!later.length || !size.words || !room.claim(plot.right - width - 4, plot.right)) return [];
  return [word(text, plot.right - width, bar, { ...size, text: size.text - 1 }, "small later")];
}
