// The numbers under a picture, and the losses in sentences.

const MOST_CAUSES = 60;

/** Words to the left in the first column, numbers to the right in the others. */
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
  const rows = requests.map(({ kind, sent, served, lost, p50_ms, p99_ms }) =>
    [kind, number(sent), number(served), number(lost), milliseconds(p50_ms), milliseconds(p99_ms)]);
  if (jobs) rows.push(["jobs done", number(jobs.accepted), number(jobs.done), number(jobs.missing), "", ""]);
  return table("Requests", ["kind", "sent", "served", "lost", "p50", "p99"], rows);
}

const streamsTable = ({ streams }) =>
  table("Streams", ["kind", "opened", "ended", "lost", "still open", "messages"],
    streams.map(({ kind, opened, ended, lost, still_open, messages }) =>
      [kind, ...[opened, ended, lost, still_open, messages].map(number)]));

const latencyTable = ({ latency }) =>
  table("Latency of new connections", ["the disturbance", "p50", "p99"],
    ["before", "during", "after"].map((side) =>
      [side, milliseconds(latency[side].p50_ms), milliseconds(latency[side].p99_ms)]));

/** Each pod's steps in seconds after its deletion, and what it served on the way. */
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

/** The verdict's reasons: each fault with its remedy, then what was lost, cause by cause. */
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
