// The layer norm under test: float32, rows of n numbers, gamma and beta may be absent.
// Sums are taken in f64, so that every result is rounded once.  Put yours in its place.

fn statistics(row: &[f32], eps: f64) -> (f64, f64) {
    let n = row.len() as f64;
    let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let squares = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
    (mean, 1.0 / (squares / n + eps).sqrt())
}

fn at(p: Option<&[f32]>, i: usize, absent: f64) -> f64 {
    p.map_or(absent, |p| f64::from(p[i]))
}

pub fn forward(x: &[f32], gamma: Option<&[f32]>, beta: Option<&[f32]>, eps: f64, n: usize) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks(n) {
        let (mean, r) = statistics(row, eps);
        y.extend((0..n).map(|i| ((f64::from(row[i]) - mean) * r * at(gamma, i, 1.0) + at(beta, i, 0.0)) as f32));
    }
    y
}

/// dx = r (g - mean(g) - xhat mean(g xhat)) with g = gamma dy;  dgamma = sum of dy xhat;  dbeta = sum of dy
pub fn backward(dy: &[f32], x: &[f32], gamma: Option<&[f32]>, eps: f64, n: usize) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (mut dx, mut dgamma, mut dbeta) = (Vec::with_capacity(x.len()), vec![0.0; n], vec![0.0; n]);
    for (row, up) in x.chunks(n).zip(dy.chunks(n)) {
        let (mean, r) = statistics(row, eps);
        let xhat = |i: usize| (f64::from(row[i]) - mean) * r;
        let g = |i: usize| f64::from(up[i]) * at(gamma, i, 1.0);
        let (mut a, mut b) = (0.0, 0.0);
        for i in 0..n {
            a += g(i) / n as f64;
            b += g(i) * xhat(i) / n as f64;
            dgamma[i] += f64::from(up[i]) * xhat(i);
            dbeta[i] += f64::from(up[i]);
        }
        dx.extend((0..n).map(|i| (r * (g(i) - a - xhat(i) * b)) as f32));
    }
    let stored = |sums: Vec<f64>| sums.into_iter().map(|v| v as f32).collect();
    (dx, stored(dgamma), stored(dbeta))
}
