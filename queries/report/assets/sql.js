// SQL in the browser. Workers (read.js) read from the lake's files, by range requests, the columns that a statement names, and
// DuckDB gets them as Arrow; DuckDB itself may reach neither files nor network. A classic script, so that a page opened as a file
// can say that it needs a server in place of failing.
const byId = (id) => document.getElementById(id);
const loaded = new Map(); // table -> set of its columns that are in DuckDB
const ROWS = 500; // shown of an answer
const AHEAD = 3; // files that a reader has under way, so that it works on one while others come
let catalog, connection, readers, answer;

const here = (path) => new URL(path, location.href).href;
const words = (text) => new Set(text.replace(/--.*/g, "").match(/\w+/g));
const say = (text, bad = false) => { byId("status").textContent = text; byId("status").classList.toggle("bad", bad); };

function classic(path) {
  return new Promise((resolve, reject) => {
    const script = document.head.appendChild(document.createElement("script"));
    Object.assign(script, { src: path, onload: resolve, onerror: () => reject(new Error(`${path} does not load`)) });
  });
}

async function start() {
  say("Starting DuckDB …");
  await classic("vendor/arrow.js");
  const duckdb = await import(here("vendor/duckdb.mjs"));
  readers = pool(Math.min(4, Math.max(1, (navigator.hardwareConcurrency ?? 2) - 1)));
  const database = new duckdb.AsyncDuckDB(new duckdb.VoidLogger(), new Worker(here("vendor/duckdb-worker.js")));
  await database.instantiate(here("vendor/duckdb-eh.wasm"));
  await database.open({ query: { castBigIntToDouble: true, castDecimalToDouble: true } });
  connection = await database.connect();
  for (const name of Object.keys(catalog.tables)) await view(name);
  for (const step of catalog.steps) await connection.query(step.sql);
  for (const setting of ["autoinstall_known_extensions", "autoload_known_extensions", "enable_external_access"])
    await connection.query(`set ${setting} = false`);
  await connection.query("set lock_configuration = true");
}

// The view of a table: columns that are loaded, and the others as NULL of their type, so that every statement binds.
async function view(name) {
  const there = loaded.get(name) ?? new Set();
  const columns = Object.entries(catalog.tables[name].columns).map(([column, type]) => there.has(column) ? column : `null::${type} as ${column}`);
  await connection.query(`create or replace view ${name} as select ${columns.join(", ")} ${there.size ? `from loaded_${name}` : "where false"}`);
}

// Tables that a statement reads, itself or through views and macros, each with the columns to load.
function needed(sql) {
  const own = words(sql.toLowerCase());
  const all = new Set(own);
  for (const step of [...catalog.steps].reverse()) if (all.has(step.name)) for (const word of words(step.sql)) all.add(word);
  const star = /(^|[\s,.(])\*(?!\s*[\w(])|\*\s*(exclude|replace|from)|columns\s*\(|^\s*(from|describe|summarize)\b/i.test(sql.replace(/count\(\*\)/gi, ""));
  return Object.entries(catalog.tables).filter(([name]) => all.has(name)).map(([name, { columns }]) =>
    [name, Object.keys(columns).filter((column) => all.has(column) || (star && own.has(name)))]);
}

async function load(name, wanted) {
  const { columns, files } = catalog.tables[name];
  const first = Object.keys(columns)[0];
  const union = new Set([...(loaded.get(name) ?? []), ...(wanted.length ? wanted : [first])]);
  if (!files.length || union.size === loaded.get(name)?.size) return;
  await connection.query(`drop table if exists loaded_${name}`);
  const types = Object.fromEntries([...union].map((column) => [column, columns[column]]));
  const coming = files.map(({ path, bytes }) => readers.read({ url: here(`data/${path}`), bytes, types }));
  for (const file of coming) file.catch(() => {}); // those after one that fails have nobody who waits
  for (const [place, file] of coming.entries()) {
    say(`Reading ${name}, file ${place + 1} of ${files.length} …`);
    await connection.insertArrowFromIPCStream(await file, { name: `loaded_${name}`, create: place === 0 });
  }
  loaded.set(name, union);
  await view(name);
}

// Workers that read files, as many as there are processors to spare; each is given a few files at a time, and the others wait.
function pool(size) {
  const waiting = [], asked = new Map();
  let number = 0;
  const hand = (worker) => {
    for (; worker.busy < AHEAD && waiting.length; worker.busy++) worker.postMessage(waiting.shift());
  };
  const workers = Array.from({ length: size }, () => {
    const worker = Object.assign(new Worker(here("assets/read.js")), { busy: 0 });
    worker.onmessage = ({ data: { id, stream, error } }) => {
      const { resolve, reject } = asked.get(id);
      asked.delete(id);
      worker.busy--;
      if (error) reject(new Error(error)); else resolve(stream);
      hand(worker);
    };
    return worker;
  });
  return {
    read: (file) => new Promise((resolve, reject) => {
      asked.set(++number, { resolve, reject });
      waiting.push({ id: number, ...file });
      workers.toSorted((a, b) => a.busy - b.busy).forEach(hand);
    }),
  };
}

// $name becomes a literal: the database lives in this page alone, and quotes are doubled.
function bound(sql) {
  const query = catalog.queries[byId("query").value];
  const given = Object.fromEntries((query?.params ?? []).map(({ name, type }) => [name, literal(byId(`param-${name}`).value.trim(), type)]));
  return sql.replace(/--.*|'[^']*'|\$(\w+)/g, (found, name) => name && given[name] !== undefined ? given[name] : found);
}

function literal(text, type) {
  const kind = { integer: "integer", bigint: "bigint", double: "double", boolean: "boolean", integers: "integer[]" }[type] ?? "varchar";
  if (type === "integers" && text !== "null") text = `[${text}]`;
  return text === "" || text === "null" ? `null::${kind}` : `'${text.replaceAll("'", "''")}'::${kind}`;
}

function shown(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" && !Number.isInteger(value)) return Number(value.toPrecision(5)).toString();
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === "object" && value[Symbol.iterator]) { const items = [...value]; return `[${items.slice(0, 4).map(shown).join(", ")}${items.length > 4 ? ", …" : ""}]`; }
  return String(value);
}

function show() {
  const table = document.createElement("table");
  const names = answer.schema.fields.map((field) => field.name);
  const head = table.createTHead().insertRow();
  for (const name of names) { const cell = head.appendChild(document.createElement("th")); cell.scope = "col"; cell.textContent = name; }
  const body = table.createTBody();
  for (let i = 0; i < Math.min(answer.numRows, ROWS); i++) {
    const row = answer.get(i);
    const line = body.insertRow();
    for (const name of names) { const cell = line.insertCell(); cell.textContent = shown(row[name]); if (typeof row[name] === "number") cell.className = "n"; }
  }
  byId("answer").replaceChildren(table);
  byId("answer").hidden = false;
}

async function run() {
  byId("run").disabled = true;
  try {
    if (!connection) await start();
    const sql = bound(byId("sql").value);
    const began = performance.now();
    await Promise.all(needed(sql).map(([name, columns]) => load(name, columns)));
    say("Running …");
    answer = await connection.query(sql);
    show();
    const more = answer.numRows > ROWS ? `, the first ${ROWS} of them here` : "";
    say(`${answer.numRows.toLocaleString("en")} ${answer.numRows === 1 ? "row" : "rows"}${more}, ${((performance.now() - began) / 1000).toFixed(1)} s`);
    byId("download").disabled = false;
  } catch (error) {
    say(String(error.message ?? error).split("\n").slice(0, 3).join(" "), true);
  }
  byId("run").disabled = false;
}

function download() {
  const names = answer.schema.fields.map((field) => field.name);
  const quoted = (value) => value === null || value === undefined ? "" : typeof value === "number" ? String(value) : `"${String(value).replaceAll('"', '""')}"`;
  const lines = answer.toArray().map((row) => names.map((name) => quoted(row[name])).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([[names.join(","), ...lines].join("\n") + "\n"], { type: "text/csv" }));
  link.download = `${byId("query").value || "answer"}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
}

function choose() {
  const query = catalog.queries[byId("query").value];
  byId("question").textContent = query?.question ?? "";
  if (query) byId("sql").value = query.sql;
  byId("params").replaceChildren(...(query?.params ?? []).map(({ name, default: given, meaning }) => {
    const label = document.createElement("label");
    label.title = meaning;
    const input = Object.assign(document.createElement("input"), { id: `param-${name}`, value: given ?? "0", size: 9, autocomplete: "off" });
    label.append(name, input);
    return label;
  }));
}

async function open() {
  if (location.protocol === "file:") { byId("file").hidden = false; byId("lake").hidden = byId("run").disabled = true; return; }
  catalog = await (await fetch("data/catalog.json")).json();
  byId("tables").append(...Object.entries(catalog.tables).map(([name, { columns, files }]) => {
    const item = document.createElement("li");
    const code = item.appendChild(document.createElement("code"));
    code.textContent = name;
    item.append(` (${files.length} ${files.length === 1 ? "file" : "files"}): ${Object.keys(columns).join(", ")}`);
    return item;
  }));
  const asked = new URLSearchParams(location.search).get("query");
  if (asked && catalog.queries[asked]) byId("query").value = asked;
  if (byId("query").value) choose();
  byId("query").addEventListener("change", choose);
  byId("run").addEventListener("click", run);
  byId("download").addEventListener("click", download);
  byId("ask").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  byId("sql").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(); });
}

open();
