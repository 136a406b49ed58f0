// Words beside the pointer or the focus, and a line through all rows at the pointer's time.

const tip = document.getElementById("tip");

function showTip(event) {
  const marked = event.target.closest?.("[data-tip]");
  tip.hidden = !marked;
  if (!marked) return;
  tip.textContent = marked.getAttribute("data-tip");
  const box = marked.getBoundingClientRect();
  const x = event.clientX ?? box.right;
  const y = event.clientY ?? box.bottom;
  const { width, height } = tip.getBoundingClientRect();
  const below = y + 16 + height < innerHeight;
  tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - width - 4))}px`;
  tip.style.top = `${Math.max(4, below ? y + 16 : y - height - 12)}px`;
}

function hideTip() {
  tip.hidden = true;
}

/** Follows the pointer; the time stands at the top of the line. */
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
document.addEventListener("scroll", hideTip, true);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideTip();
});
