// Search over EXAMPLES, rows of [split, id, label, mean margin, paged], written by the report into examples.js.
// The state of the form is kept in the address, so that a search can be linked to.
const form = document.querySelector("form.find");
const list = document.getElementById("cards");
const more = document.getElementById("more");
const status = document.getElementById("found");
const STEP = 120;
let found = [];

function card([split, id, label, margin, paged]) {
  const item = document.createElement("li");
  const link = item.appendChild(document.createElement(paged ? "a" : "div"));
  if (paged) link.href = `examples/${split}-${id}.html`;
  const image = link.appendChild(new Image(96, 96));
  Object.assign(image, { className: "pixels", loading: "lazy", src: `images/${split}-${id}.png` });
  image.alt = `${split === "train" ? "training" : "test"} image ${id}, class ${label}`;
  const who = link.appendChild(document.createElement("span"));
  who.className = "who";
  who.append(`${split} ${id}`, document.createElement("br"), `class ${label}`);
  if (margin !== null) {
    const why = link.appendChild(document.createElement("span"));
    why.className = "why";
    why.textContent = `margin ${margin.toFixed(2).replace("-", "−")}`;
  }
  return item;
}

function show() {
  const there = list.children.length;
  list.append(...found.slice(there, there + STEP).map(card));
  more.hidden = list.children.length >= found.length;
}

function search() {
  const { id, label, split, order } = Object.fromEntries(new FormData(form));
  const wanted = id.trim();
  found = EXAMPLES.filter((row) =>
    (!wanted || String(row[1]) === wanted) && (!label || String(row[2]) === label) && (!split || row[0] === split));
  if (order) {
    const sign = order === "low" ? 1 : -1;
    found = found.filter((row) => row[3] !== null).sort((a, b) => sign * (a[3] - b[3]));
  }
  list.replaceChildren();
  show();
  status.textContent = found.length === 1 ? "One image" : `${found.length.toLocaleString("en")} images`;
  const asked = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  history.replaceState(null, "", asked.size ? `?${asked}` : location.pathname.split("/").pop());
}

for (const [name, value] of new URLSearchParams(location.search)) if (form.elements[name]) form.elements[name].value = value;
form.addEventListener("input", search);
form.addEventListener("submit", (event) => { event.preventDefault(); list.querySelector("a")?.click(); });
more.addEventListener("click", () => { const at = list.children.length; show(); list.children[at]?.querySelector("a")?.focus(); });
search();
