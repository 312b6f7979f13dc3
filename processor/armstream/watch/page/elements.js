/** Elements with text in them. Law: a name from outside becomes text, never markup, and no style is written inline. */

const SVG = "http://www.w3.org/2000/svg";

/** el("td", {class: "number"}, "text", child): null children and attributes are left out; on* are listeners. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A name that somebody else chose: its own direction, cut with an ellipsis, whole in the tooltip. */
export const name = (text, attributes = {}) => el("bdi", { class: "name", title: text, ...attributes }, text);

/** Writes only what differs, so that nothing is laid out again for nothing. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function attribute(element, key, value) {
  if (value === null || value === false) element.removeAttribute(key);
  else if (element.getAttribute(key) !== String(value)) element.setAttribute(key, value);
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

/** A table whose headings say what is in a column: [{title, number, hint}], and a caption for who does not see it. */
export function table(caption, columns, attributes = {}) {
  const head = el(
    "tr",
    {},
    ...columns.map(({ title, number, hint, wide }) =>
      el(
        "th",
        {
          scope: "col",
          class: [number && "number", wide && (wide === true ? "wide" : wide)].filter(Boolean).join(" ") || null,
          title: hint,
        },
        title,
      ),
    ),
  );
  const body = el("tbody");
  return {
    body,
    element: el("table", attributes, el("caption", { class: "unseen" }, caption), el("thead", {}, head), body),
  };
}

export const cell = (content, kind = null) => el("td", { class: kind }, content ?? "");
export const number = (text, kind = "") => el("td", { class: `number ${kind}`.trim() }, text);

/** Named numbers in a line: [[title, value, note, kind, hint]]. */
export function figures(list, label) {
  return el(
    "dl",
    { class: "figures", "aria-label": label },
    ...list.map(([title, value, note, kind, hint]) =>
      el(
        "div",
        { class: [kind, hint && "hinted"].filter(Boolean).join(" ") || null, title: hint },
        el("dt", {}, title), el("dd", {}, value, note ? el("small", {}, note) : null)),
    ),
  );
}
