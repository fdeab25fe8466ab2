// SQL in the browser. hyparquet reads from the lake's files, by range requests, the columns that a statement names, and DuckDB
// gets them as Arrow; DuckDB itself may reach neither files nor network. A classic script, so that a page opened as a file
// can say that it needs a server in place of failing.
const byId = (id) => document.getElementById(id);
const loaded = new Map(); // table -> set of its columns that are in DuckDB
const ARROW = { INTEGER: "Int32", BIGINT: "Int64", FLOAT: "Float32", DOUBLE: "Float64", BOOLEAN: "Bool", VARCHAR: "Utf8", BLOB: "Binary" };
const ROWS = 500;
let catalog, connection, hyparquet, compressors, answer;

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
  hyparquet = await import(here("vendor/hyparquet/index.js"));
  const { decompress } = await import(here("vendor/fzstd.mjs"));
  compressors = { ZSTD: (data, length) => decompress(data, new Uint8Array(length)) };
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
  let rows = 0;
  for (const [place, { path, bytes }] of files.entries()) {
    say(`Reading ${name}, file ${place + 1} of ${files.length} …`);
    const batch = await read(path, bytes, [...union], columns);
    rows += batch.numRows;
    await connection.insertArrowTable(batch, { name: `loaded_${name}`, create: place === 0 });
  }
  loaded.set(name, union);
  await view(name);
  return rows;
}

// Columns of one file as an Arrow table.
async function read(path, byteLength, names, types) {
  const file = await hyparquet.asyncBufferFromUrl({ url: here(`data/${path}`), byteLength });
  const parts = Object.fromEntries(names.map((name) => [name, []]));
  await hyparquet.parquetRead({ file, compressors, columns: names, utf8: false,
    onChunk: ({ columnName, columnData, rowStart }) => parts[columnName].push([rowStart, columnData]) });
  const vectors = names.map((name) => {
    const ordered = parts[name].sort(([a], [b]) => a - b).map(([, data]) => data);
    return [name, vector(ordered, types[name])];
  });
  return new Arrow.Table(Object.fromEntries(vectors));
}

function arrowType(type) {
  if (type.endsWith("[]")) return new Arrow.List(new Arrow.Field("item", arrowType(type.slice(0, -2)), true));
  if (type.startsWith("STRUCT(")) {
    const fields = type.slice(7, -1).split(", ").map((field) => field.replaceAll('"', "").split(" "));
    return new Arrow.Struct(fields.map(([name, kind]) => new Arrow.Field(name, arrowType(kind), true)));
  }
  return new Arrow[ARROW[type]]();
}

// Lists of numbers and numbers are copied into typed arrays; what else there is goes through Arrow's builders.
function vector(parts, type) {
  const item = { "FLOAT[]": Float32Array, "INTEGER[]": Int32Array }[type];
  const plain = { INTEGER: Int32Array, FLOAT: Float32Array, DOUBLE: Float64Array }[type];
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (!item && !plain) return Arrow.vectorFromArray(parts.flatMap((part) => Array.from(part, (value) => value ?? null)), arrowType(type));
  const nullBitmap = new Uint8Array((length + 7) >> 3);
  let nullCount = 0, row = 0;
  const mark = (value) => { if (value == null) nullCount++; else nullBitmap[row >> 3] |= 1 << (row & 7); };
  if (plain) {
    const data = new plain(length);
    for (const part of parts) for (const value of part) { mark(value); data[row++] = value ?? 0; }
    return new Arrow.Vector([Arrow.makeData({ type: arrowType(type), length, nullCount, nullBitmap, data })]);
  }
  const valueOffsets = new Int32Array(length + 1);
  for (const part of parts) for (const value of part) { mark(value); valueOffsets[row + 1] = valueOffsets[row] + (value?.length ?? 0); row++; }
  const data = new item(valueOffsets[length]);
  row = 0;
  for (const part of parts) for (const value of part) if (value) data.set(value, valueOffsets[row++]); else row++;
  const inner = arrowType(type).children[0].type;
  const child = Arrow.makeData({ type: inner, length: data.length, nullCount: 0, data });
  return new Arrow.Vector([Arrow.makeData({ type: arrowType(type), length, nullCount, nullBitmap, valueOffsets, child })]);
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
    for (const [name, columns] of needed(sql)) await load(name, columns);
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
  if (location.protocol === "file:") { byId("file").hidden = false; byId("run").disabled = true; return; }
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
