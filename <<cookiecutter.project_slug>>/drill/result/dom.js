// Elements and words. What the report says becomes text and attributes, never HTML.

const SVG = document.querySelector("svg").namespaceURI;

const html = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

/** Sets what is not null; children are nodes, strings or null. */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

/** A sentence whose `words` are set as code. */
function sentence(text) {
  return text.split("`").map((part, index) => (index % 2 ? html("code", {}, part) : part));
}

const ruler = document.createElement("canvas").getContext("2d");

/** How wide a text will be, in pixels; `size` as in the style sheet. */
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
