{
  const L = JSON.parse(document.getElementById("layer").textContent), at = id => document.getElementById(id);
  const times = (A, B) => A.map(r => B[0].map((_, j) => r.reduce((s, v, k) => s + v * B[k][j], 0)));      // A B
  const turned = A => A[0].map((_, j) => A.map(r => r[j]));                                               // A'
  const shaped = (flat, like) => like.map((r, i) => r.map((_, j) => flat[i * r.length + j]));
  const mean = (v, rows) => { const s = [], n = []; v.forEach((x, i) => { s[rows[i]] = (s[rows[i]] ?? 0) + x; n[rows[i]] = (n[rows[i]] ?? 0) + 1; }); return s.map((t, k) => t / n[k]); };

  // zhat = r (z - mean), r = var^(-1/2); and dz = r (g - mean(g) - zhat mean(g zhat)).  rms: without the means.
  const normalize = z => {
    const mu = L.kind === "rms" ? null : mean(z, L.labels), centred = z.map((v, i) => mu ? v - mu[L.labels[i]] : v);
    const r = mean(centred.map(v => v * v), L.labels).map(v => 1 / Math.sqrt(v));
    const zhat = centred.map((v, i) => v * r[L.labels[i]]);
    const back = g => {
      const a = L.kind === "rms" ? null : mean(g, L.labels), b = mean(g.map((v, i) => v * zhat[i]), L.labels);
      return g.map((v, i) => r[L.labels[i]] * (v - (a ? a[L.labels[i]] : 0) - zhat[i] * b[L.labels[i]]));
    };
    return [zhat, back];
  };
  const layer = W => {                                  // h = norm(W x), or norm(W) x; and dL/dW of L = <dy, h>
    const z = L.acts === "weights" ? W : times(L.X, turned(W)), [zhat, back] = normalize(z.flat());
    const y = shaped(zhat.map((v, i) => L.gain[i] * v + L.shift[i]), z);
    const h = L.acts === "weights" ? times(L.X, turned(y)) : y;
    const dy = L.acts === "weights" ? times(turned(L.dy), L.X) : L.dy;
    const dz = shaped(back(dy.flat().map((v, i) => v * L.gain[i])), z);
    return [h, L.acts === "weights" ? dz : times(turned(dz), L.X)];
  };
  const length = v => Math.sqrt(v.reduce((s, x) => s + x * x, 0)), inner = (u, v) => u.reduce((s, x, i) => s + x * v[i], 0);
  const largest = v => Math.max(...v.map(Math.abs));
  const said = v => Math.abs(v) < 1e-12 ? "0" : Math.abs(v) < 1e-3 ? v.toExponential(1) : String(+v.toPrecision(4));
  const [h1, g1] = layer(L.W);

  const draw = (h, g, first) => {
    const svg = document.querySelector("#slider .bars"), parts = [], bar = (x, w, v, base, unit, kind) =>
      `<rect class="${kind}" x="${x}" width="${w}" y="${v > 0 ? base - v * unit : base}" height="${Math.max(Math.abs(v * unit), .5)}"/>`;
    const groups = [["outputs of the first sample", h[0], h1[0], "bar", 10], [`gradient of ${first ? "w₁" : "W, first row"}`, g[0], g1[0], "grad", 200]];
    for (const [title, now, before, kind, left] of groups) {
      const unit = 55 / Math.max(largest(before), 1e-9), w = Math.min(30, 165 / now.length);
      const clip = v => Math.max(-62 / unit, Math.min(62 / unit, v));
      now.forEach((v, i) => parts.push(bar(left + i * w, w - 5, clip(v), 70, unit, kind), bar(left + i * w, w - 5, before[i], 70, unit, "ghost")));
      parts.push(`<line x1="${left - 4}" x2="${left + 168}" y1="70" y2="70"/>`, `<text x="${left}" y="146">${title}</text>`);
    }
    svg.innerHTML = parts.join("");
  };
  const update = () => {
    const a = 2 ** +at("a").value, neuron = document.querySelector("#slider [value=neuron]").checked;
    const W = L.W.map((r, i) => r.map(v => neuron && i ? v : a * v)), [h, g] = layer(W);
    const moving = neuron ? 1 : L.W.length, flat = A => A.slice(0, moving).flat(), cosine = (u, v) => inner(u, v) / length(u) / length(v);
    const moved = largest(h.flat().map((v, i) => v - h1.flat()[i])) / largest(h1.flat());
    const ratio = length(flat(g)) / length(flat(g1)), along = cosine(flat(W), flat(g));
    at("a-value").textContent = said(a);
    for (const [id, v] of [["moved", moved], ["ratio", ratio], ["along", along]]) { at(id).textContent = said(v); at(id).dataset.value = v; }
    at("along-1").textContent = said(cosine(flat(L.W), flat(g1)));
    const still = moved < 1e-9;
    at("answer").textContent = a === 1 ? "Move the slider." : still
      ? `The output does not answer; the gradient is ${said(ratio)} of what it was, 1/a: a longer weight learns more slowly.`
      : `The output moves by ${said(moved)} of its scale: no invariance here, and the gradient keeps a part along the weight.`;
    draw(h, g, neuron);
  };
  at("a").addEventListener("input", update);
  for (const radio of document.querySelectorAll("#slider [name=which]")) radio.addEventListener("change", update);
  update();
}
