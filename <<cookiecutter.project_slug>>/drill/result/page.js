// The tables below a picture, and the losses in sentences.

const MOST_CAUSES = 60;

/** A table: text on the left in the first column, numbers on the right in the others. */
function table(caption, head, rows) {
  const cells = ([first, ...others]) => [
    html("th", { scope: "row" }, String(first)),
    ...others.map((cell) => html("td", cell === "0" || cell === "–" ? { class: "nothing" } : {}, String(cell))),
  ];
  return html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    html("table", {},
      html("caption", {}, caption),
      html("thead", {}, html("tr", {}, head.map((name) => html("th", { scope: "col" }, name)))),
      html("tbody", {}, rows.map((row) => html("tr", {}, cells(row))))));
}

function requestsTable({ requests, jobs }) {
  const rows = requests.map(({ kind, sent, served, shed, lost, p50_ms, p99_ms }) =>
    [kind, number(sent), number(served), number(shed), number(lost), milliseconds(p50_ms), milliseconds(p99_ms)]);
  if (jobs) rows.push(["jobs done", number(jobs.accepted), number(jobs.done), "", number(jobs.missing), "", ""]);
  return table("Requests", ["kind", "sent", "served", "shed", "lost", "p50", "p99"], rows);
}

/** What the scenario demands besides that nothing is lost. */
function checksTable({ checks }) {
  const rows = checks.map(({ what, value, bound, passed }) => [what, value, bound, passed ? "✓" : "✗"]);
  return rows.length ? table("Checks", ["what", "found", "allowed", ""], rows) : null;
}

const streamsTable = ({ streams }) =>
  table("Streams", ["kind", "opened", "ended", "lost", "still open", "messages"],
    streams.map(({ kind, opened, ended, lost, still_open, messages }) =>
      [kind, ...[opened, ended, lost, still_open, messages].map(number)]));

const latencyTable = ({ latency }) =>
  table("Latency of new connections", ["the disturbance", "p50", "p99"],
    ["before", "during", "after"].map((side) =>
      [side, milliseconds(latency[side].p50_ms), milliseconds(latency[side].p99_ms)]));

/** Each pod's steps in seconds after its deletion, and its served requests. */
function stopsTable({ pods }) {
  const rows = pods.filter((pod) => pod.deleted_at !== null).map((pod) => {
    const phase = (name) => pod.phases.find((span) => span.phase === name)?.from;
    const event = (name) => pod.events.find(({ what }) => what === name)?.at;
    const times = [phase("draining"), phase("stopping"), event("stopped"), event("SIGTERM"), pod.gone_at, pod.possible_at];
    const after = times.map((at) => (at === undefined || at === null ? "–" : Math.max(at - pod.deleted_at, 0).toFixed(2)));
    return [pod.name, ...after, String(pod.exit_code ?? "–"), String(pod.stop?.requests_served ?? "–")];
  });
  const head = ["pod", "draining", "stopping", "stopped", "SIGTERM", "exit", "earliest exit", "code", "served"];
  const told = head.map((_, column) => rows.some((row) => row[column] !== "–"));
  const known = (row) => row.filter((_, column) => told[column]);
  return rows.length ? table("Stops: seconds after the deletion", known(head), rows.map(known)) : null;
}

/** Each fault with its remedy, then the losses by cause. */
function faultsList({ faults, losses }) {
  const all = causes(losses);
  const shown = all.slice(0, MOST_CAUSES).map(({ kinds, pod, from, to, text, excused }) =>
    html("li", { class: excused ? "excused" : null },
      html("b", {}, kinds), ` ${pod ? `on ${pod}` : "on no pod"}, ${within(from, to)}: `,
      sentence(text), excused ? " (excused: does not count)" : ""));
  if (all.length > MOST_CAUSES) shown.push(html("li", {}, `and ${number(all.length - MOST_CAUSES)} other causes: report.json has them`));
  return html("div", { class: "faults" },
    html("h4", {}, "Faults"),
    faults.length
      ? html("ul", { "data-faults": faults.length }, faults.map((fault) => html("li", {}, sentence(fault))))
      : html("p", { "data-faults": 0 }, "None."),
    shown.length ? [html("h4", {}, "Losses by cause"), html("ul", { class: "causes" }, shown)] : []);
}

// The page: all verdicts, then a picture and tables for each rehearsal.

const NARROWEST = 640; // pixels; on a narrower screen the picture scrolls
const variantName = (variant) =>
  variant === "service" ? "the service" : `${variant}: the service without its lifecycle`;
const ROWS_TOP = 44;
const BETWEEN = 34;

const report = JSON.parse(document.getElementById("report").textContent);

/** Puts the service and its variant in the same scenario side by side. */
function pairUp(rehearsals) {
  const groups = [];
  for (const rehearsal of rehearsals) {
    const { scenario, variant } = rehearsal;
    const partner = groups.find((group) =>
      group.length === 1 && group[0].scenario === scenario && group[0].variant !== variant);
    if (partner) partner.push(rehearsal);
    else groups.push([rehearsal]);
  }
  return groups.map((group) => group.toSorted((one, other) => (other.variant === "service") - (one.variant === "service")));
}

/** The whole picture of a rehearsal, `width` pixels wide. */
function drawPicture(rehearsal, scales, width) {
  const size = sizeOf(rehearsal);
  const names = shortNames(rehearsal.pods);
  const widest = Math.max(...[...names.values(), "clients"].map((name) => widthOf(name, 11, "600")));
  const left = Math.ceil(Math.min(Math.max(widest, 44), 170)) + 14;
  const right = width - RIGHT;
  const plot = {
    left, right, scales, budgets: rehearsal.budgets, disturbance: rehearsal.disturbance,
    x: linear([0, scales.seconds], [left, right]),
  };
  const latencyTop = ROWS_TOP + RATE_HEIGHT + BETWEEN;
  const lanesTop = latencyTop + LATENCY_HEIGHT + 14;
  const lost = Map.groupBy(rehearsal.losses, (loss) => loss.pod);
  const lanes = rehearsal.pods.map((pod, index) =>
    drawLane(pod, names.get(pod.name), lost.get(pod.name) ?? [], lanesTop + index * laneHeight(size), size, plot));
  const podless = lossesWithoutPod(rehearsal);
  if (podless.length) lanes.push(drawLaneWithoutPod(podless, lanesTop + lanes.length * laneHeight(size), size, plot));
  const height = lanesTop + lanes.length * laneHeight(size) + 24;

  const picture = svg("svg", { class: "picture", width, height, viewBox: `0 0 ${width} ${height}`, "data-picture": rehearsal.variant });
  picture.append(
    drawTime(plot, height),
    drawRates(rehearsal, ROWS_TOP, plot),
    drawLatency(rehearsal, latencyTop, plot),
    ...lanes,
    drawColumns(rehearsal, ROWS_TOP, latencyTop + LATENCY_HEIGHT, plot),
  );
  addCrosshair(picture, plot, height);
  return picture;
}

/** A box that redraws when its width changes, unless it has the focus. */
function pictureBox(rehearsal, scales) {
  const box = html("div", { class: "box scroll", tabindex: 0, role: "region", "aria-label": `Picture: ${rehearsal.title}` });
  let drawn = 0;
  const draw = () => {
    const width = Math.max(Math.floor(box.clientWidth), NARROWEST);
    if (width === drawn || box.querySelector(":focus")) return;
    drawn = width;
    box.replaceChildren(drawPicture(rehearsal, scales, width));
  };
  queueMicrotask(draw); // the box is in the page by then
  new ResizeObserver(draw).observe(box);
  return box;
}

function outcome(passed) {
  const [style, text] = passed ? ["passed", "✓ Passed"] : ["failed", "✗ Failed"];
  return html("strong", { class: `outcome ${style}` }, text);
}

const skippedMark = () => html("strong", { class: "outcome skipped" }, "– Skipped");

function article(rehearsal, scales, paired) {
  const { variant, skipped, passed, verdict } = rehearsal;
  const name = paired || variant !== "service" ? html("span", { class: "variant" }, variantName(variant)) : null;
  const heading = html("h3", {}, name, skipped ? skippedMark() : outcome(passed), " ",
    html("span", { class: "verdict" }, sentence(skipped || verdict)));
  const data = { "data-rehearsal": rehearsal.scenario, "data-variant": variant };
  if (skipped) return html("article", data, heading);
  return html("article", data, heading, pictureBox(rehearsal, scales), faultsList(rehearsal),
    html("div", { class: "tables" }, checksTable(rehearsal), requestsTable(rehearsal), streamsTable(rehearsal), latencyTable(rehearsal), stopsTable(rehearsal)));
}

function section(group, index) {
  const drawn = group.filter((rehearsal) => !rehearsal.skipped);
  const scales = drawn.length ? scalesOf(drawn) : null;
  const [{ scenario, title, backend }] = group;
  return html("section", { id: `rehearsal-${index + 1}`, class: group.length > 1 ? "pair" : "single" },
    html("h2", {}, title, " ", html("small", {}, `${scenario}, ${backend}`)),
    html("div", { class: "side-by-side" }, group.map((rehearsal) => article(rehearsal, scales, group.length > 1))));
}

function head(groups) {
  const items = groups.map((group, index) => html("li", {},
    html("a", { href: `#rehearsal-${index + 1}` }, group[0].scenario),
    group.map(({ variant, skipped, passed }) =>
      [" ", skipped ? skippedMark() : outcome(passed), group.length > 1 ? ` ${variant}` : ""]).flat()));
  return [
    html("p", { class: "made" }, "rollout drill, ", html("time", { datetime: report.made }, report.made.replace("T", " ").replace("Z", " UTC"))),
    html("h1", {}, report.project, " ", outcome(report.passed)),
    ...(items.length > 1 ? [html("ol", { class: "contents" }, items)] : []),
  ];
}

const groups = pairUp(report.rehearsals);
document.getElementById("head").append(...head(groups));
document.getElementById("rehearsals").append(...groups.map(section));
