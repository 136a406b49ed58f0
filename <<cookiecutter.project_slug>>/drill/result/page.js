// The page: a head with all verdicts, then a picture with its numbers for each rehearsal.

const NARROWEST = 640; // pixels; on a narrower screen the picture scrolls in its box
const variantName = (variant) =>
  variant === "service" ? "the service" : `${variant}: the same without its lifecycle`;
const ROWS_TOP = 44;
const BETWEEN = 34;

const report = JSON.parse(document.getElementById("report").textContent);

/** A service and its naive variant in the same scenario belong side by side. */
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

/** A box that draws itself anew whenever its width changes, unless somebody is reading in it. */
function pictureBox(rehearsal, scales) {
  const box = html("div", { class: "box scroll", tabindex: 0, role: "region", "aria-label": `Picture: ${rehearsal.title}` });
  let drawn = 0;
  const draw = () => {
    const width = Math.max(Math.floor(box.clientWidth), NARROWEST);
    if (width === drawn || box.querySelector(":focus")) return;
    drawn = width;
    box.replaceChildren(drawPicture(rehearsal, scales, width));
  };
  queueMicrotask(draw); // the box is in the page by then, and the page not yet loaded
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
    html("div", { class: "tables" }, requestsTable(rehearsal), streamsTable(rehearsal), latencyTable(rehearsal), stopsTable(rehearsal)));
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
