// What was lost: gathered where the marks would overlap, told in sentences.

const WINDOW = 24; // pixels that share one mark: room for its number
const MOST_SENTENCES = 5;

/** Losses in order of time, in groups of at most WINDOW pixels. */
function gather(losses, x) {
  const groups = [];
  for (const loss of losses.toSorted((one, other) => one.at - other.at)) {
    const group = groups.at(-1);
    if (group && group[0].excused === loss.excused && x(loss.at) - x(group[0].at) < WINDOW) group.push(loss);
    else groups.push([loss]);
  }
  return groups;
}

/** The losses that have the same cause, as one: how many, when, and the first one's sentence. */
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

/** As in "8 new connections, 2 uploads". */
function countKinds(losses) {
  const kinds = [...Map.groupBy(losses, (loss) => loss.kind)].toSorted((one, other) => other[1].length - one[1].length);
  return kinds.map(([kind, same]) => `${number(same.length)} ${kind}`).join(", ");
}

function tell(losses) {
  const all = causes(losses);
  const lines = all.slice(0, MOST_SENTENCES).map(({ kinds, text, excused }) =>
    `${kinds}: ${text}${excused ? " (excused)" : ""}`);
  const rest = all.length - lines.length;
  return [...lines, ...(rest > 0 ? [`and ${number(rest)} other ${rest > 1 ? "causes" : "cause"}`] : [])].join("\n");
}

/** The marks on a lane; they take their room first, no word may hide them. */
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
    const told = `${number(group.length)} lost, ${name}, ${when}\n${tell(group)}`;
    return svg("g", {
      class: group[0].excused ? "loss excused" : "loss", tabindex: 0, role: "img",
      "aria-label": told, "data-tip": told, "data-losses": group.length,
      "data-from": group[0].at, "data-to": group.at(-1).at,
    },
    svg("rect", { x: left, y: top - 2, width, height: size.bar + 4, rx: 1 }),
    count ? svg("text", { x: left + width / 2, y: top + size.bar / 2, "text-anchor": "middle", "dominant-baseline": "central" }, count) : null);
  });
}
