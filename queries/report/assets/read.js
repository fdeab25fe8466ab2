// A worker that reads columns of the lake's parquet files and answers with an Arrow stream. A message has an id, the file's url
// and bytes, and the types of the columns by name; the answer has the id and the stream, or what went wrong.
const vendor = new URL("../vendor/", location.href).href;
const ARROW = { INTEGER: "Int32", BIGINT: "Int64", FLOAT: "Float32", DOUBLE: "Float64", BOOLEAN: "Bool", VARCHAR: "Utf8", BLOB: "Binary" };
importScripts(`${vendor}arrow.js`);
const parts = Promise.all([import(`${vendor}hyparquet/index.js`), import(`${vendor}fzstd.mjs`)]);

onmessage = async ({ data: { id, url, bytes, types } }) => {
  try {
    const stream = Arrow.tableToIPC(await read(url, bytes, types), "stream");
    postMessage({ id, stream }, [stream.buffer]);
  } catch (error) {
    postMessage({ id, error: `${url} cannot be read: ${error.message ?? error}` });
  }
};

async function read(url, byteLength, types) {
  const [hyparquet, { decompress }] = await parts;
  const compressors = { ZSTD: (data, length) => decompress(data, new Uint8Array(length)) };
  const file = await hyparquet.asyncBufferFromUrl({ url, byteLength });
  const names = Object.keys(types);
  const chunks = Object.fromEntries(names.map((name) => [name, []]));
  await hyparquet.parquetRead({ file, compressors, columns: names, utf8: false,
    onChunk: ({ columnName, columnData, rowStart }) => chunks[columnName].push([rowStart, columnData]) });
  const ordered = (name) => chunks[name].sort(([a], [b]) => a - b).map(([, data]) => data);
  return new Arrow.Table(Object.fromEntries(names.map((name) => [name, vector(ordered(name), types[name])])));
}

function arrowType(type) {
  if (type.endsWith("[]")) return new Arrow.List(new Arrow.Field("item", arrowType(type.slice(0, -2)), true));
  if (type.startsWith("STRUCT(")) {
    const fields = type.slice(7, -1).split(", ").map((field) => field.replaceAll('"', "").split(" "));
    return new Arrow.Struct(fields.map(([name, kind]) => new Arrow.Field(name, arrowType(kind), true)));
  }
  return new Arrow[ARROW[type]]();
}

// Numbers, bytes and lists of numbers are copied into typed arrays, and a text becomes its place in a dictionary: Arrow's builders, which
// serve what else there is, take microseconds a value, and a table of weights has millions.
function vector(parts, type) {
  const item = { "FLOAT[]": Float32Array, "INTEGER[]": Int32Array }[type];
  const plain = { INTEGER: Int32Array, FLOAT: Float32Array, DOUBLE: Float64Array }[type];
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (plain) return numbers(parts, type, new plain(length));
  if (item) return lists(parts, type, item, length);
  if (type === "VARCHAR") return texts(parts, length);
  if (type === "BLOB") return lists(parts, type, Uint8Array, length);
  return Arrow.vectorFromArray(parts.flatMap((part) => Array.from(part, (value) => value ?? null)), arrowType(type));
}

function numbers(parts, type, data) {
  const nulls = validity(data.length);
  let row = 0;
  for (const part of parts) {
    if (ArrayBuffer.isView(part)) data.set(part, row);
    else for (const [place, value] of part.entries()) if (value == null) nulls.mark(row + place); else data[row + place] = value;
    row += part.length;
  }
  return new Arrow.Vector([Arrow.makeData({ type: arrowType(type), length: data.length, ...nulls.found(), data })]);
}

function texts(parts, length) {
  const places = new Map(), data = new Int32Array(length), nulls = validity(length);
  let row = 0;
  for (const part of parts) for (const value of part) {
    if (value == null) nulls.mark(row);
    else {
      if (!places.has(value)) places.set(value, places.size);
      data[row] = places.get(value);
    }
    row++;
  }
  const type = new Arrow.Dictionary(new Arrow.Utf8(), new Arrow.Int32());
  const dictionary = Arrow.vectorFromArray(places.size ? [...places.keys()] : [""], new Arrow.Utf8());
  return new Arrow.Vector([Arrow.makeData({ type, length, ...nulls.found(), data, dictionary })]);
}

function lists(parts, type, item, length) {
  const nulls = validity(length), valueOffsets = new Int32Array(length + 1);
  let row = 0;
  for (const part of parts) for (const value of part) {
    if (value == null) nulls.mark(row);
    valueOffsets[row + 1] = valueOffsets[row] + (value?.length ?? 0);
    row++;
  }
  const data = new item(valueOffsets[length]);
  row = 0;
  for (const part of parts) for (const value of part) { if (value) data.set(value, valueOffsets[row]); row++; }
  if (type === "BLOB") return new Arrow.Vector([Arrow.makeData({ type: arrowType(type), length, ...nulls.found(), valueOffsets, data })]);
  const child = Arrow.makeData({ type: arrowType(type).children[0].type, length: data.length, nullCount: 0, data });
  return new Arrow.Vector([Arrow.makeData({ type: arrowType(type), length, ...nulls.found(), valueOffsets, child })]);
}

// Which of so many rows are NULL, as Arrow writes it: a bit for each that is not.
function validity(length) {
  const nullBitmap = new Uint8Array((length + 7) >> 3).fill(255);
  let nullCount = 0;
  return {
    mark: (row) => { nullCount++; nullBitmap[row >> 3] &= ~(1 << (row & 7)); },
    found: () => nullCount ? { nullCount, nullBitmap } : { nullCount },
  };
}
