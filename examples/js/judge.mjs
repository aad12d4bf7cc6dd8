// Judges a layer norm by refnorm's golden vectors, float64 and float32.
//
//     refnorm vectors OUT --norm layer_norm --format json
//     node judge.mjs OUT
//
// Exit code: 0 right; 1 wrong, a line for each wrong array; 2 nothing to judge.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { backward, forward } from "./layer_norm.mjs";

const TYPES = { float64: Float64Array, float32: Float32Array };

// NaN and infinities are strings in JSON; Number reads them, and leaves numbers as they are.
const load = (array) => (array ? TYPES[array.dtype].from(array.data, Number) : null);

// A tolerance of NaN: not judged; of Infinity: any finite value is right.
function isWrong({ name, arrays }, result, observed) {
  const right = load(arrays[`expected.${result}`]), bound = load(arrays[`tolerance.${result}`]);
  const bad = (v, i) => !Number.isNaN(bound[i]) && !(Number.isFinite(v) && Math.abs(v - right[i]) <= bound[i]);
  const i = observed.findIndex(bad);
  if (i >= 0) console.log(`${name}: ${result}[${i}] is ${observed[i]}, expected ${right[i]} within ${bound[i]}`);
  return i >= 0;
}

function judge(test) {
  const { eps, normalized_ndim } = test.options, { arrays } = test;
  const [x, gamma, beta, dy] = ["x", "gamma", "beta", "dy"].map((name) => load(arrays[name]));
  const n = arrays.x.shape.slice(-normalized_ndim).reduce((a, b) => a * b, 1);
  const results = { y: forward(x, gamma, beta, eps, n), ...backward(dy, x, gamma, eps, n) };
  return Object.keys(test.results).filter((name) => isWrong(test, name, results[name])).length;
}

let vectors;
try {
  vectors = JSON.parse(readFileSync(join(process.argv[2] ?? ".", "vectors.json"), "utf8"));
} catch (error) {
  console.error(error.message);
  process.exit(2);
}
const cases = vectors.norm === "layer_norm" ? vectors.cases.filter((test) => test.dtype in TYPES) : [];
const wrong = cases.reduce((count, test) => count + judge(test), 0);
console.log(`${cases.length} cases in ${Object.keys(TYPES).join(" and ")}, ${wrong} arrays wrong`);
process.exit(cases.length === 0 ? 2 : wrong > 0 ? 1 : 0);
