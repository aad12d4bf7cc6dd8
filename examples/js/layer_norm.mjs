// The layer norm under test: over rows of n numbers, in the typed array (Float32Array, Float64Array) that x is; gamma and beta may be null.
// Sums are taken in double, so that every result is rounded once.  Put yours in its place.

function statistics(x, eps, start, n) {
  let sum = 0, squares = 0;
  for (let i = start; i < start + n; i++) sum += x[i];
  const mean = sum / n;
  for (let i = start; i < start + n; i++) squares += (x[i] - mean) ** 2;
  return [mean, 1 / Math.sqrt(squares / n + eps)];
}

export function forward(x, gamma, beta, eps, n) {
  const y = new x.constructor(x.length);
  for (let start = 0; start < x.length; start += n) {
    const [mean, r] = statistics(x, eps, start, n);
    for (let i = 0; i < n; i++) {
      y[start + i] = (x[start + i] - mean) * r * (gamma ? gamma[i] : 1) + (beta ? beta[i] : 0);
    }
  }
  return y;
}

// dx = r (g - mean(g) - xhat mean(g xhat)) with g = gamma dy;  dgamma = sum of dy xhat;  dbeta = sum of dy
export function backward(dy, x, gamma, eps, n) {
  const dx = new x.constructor(x.length), dgamma = new Float64Array(n), dbeta = new Float64Array(n);
  for (let start = 0; start < x.length; start += n) {
    const [mean, r] = statistics(x, eps, start, n);
    const xhat = (i) => (x[start + i] - mean) * r, g = (i) => dy[start + i] * (gamma ? gamma[i] : 1);
    let a = 0, b = 0;
    for (let i = 0; i < n; i++) {
      a += g(i) / n;
      b += g(i) * xhat(i) / n;
      dgamma[i] += dy[start + i] * xhat(i);
      dbeta[i] += dy[start + i];
    }
    for (let i = 0; i < n; i++) dx[start + i] = r * (g(i) - a - xhat(i) * b);
  }
  return { dx, dgamma: x.constructor.from(dgamma), dbeta: x.constructor.from(dbeta) };
}
