//! Judges a float32 layer norm by refnorm's golden vectors, with the standard library alone.
//!
//!     refnorm vectors OUT --norm layer_norm --format raw
//!     rustc -O judge.rs && ./judge OUT
//!
//! Exit code: 0 right; 1 wrong, a line for each wrong array; 2 nothing to judge.

mod layer_norm;

use std::collections::HashMap;
use std::path::Path;
use std::process::exit;

/// One case of the manifest.  arrays: name -> (type, where it starts in vectors.bin, its shape).
#[derive(Default)]
struct Case<'a> {
    name: &'a str,
    dtype: &'a str,
    eps: f64,
    normalized: usize,
    arrays: HashMap<&'a str, (&'a str, usize, Vec<usize>)>,
}

impl<'a> Case<'a> {
    /// A statement of the manifest, as words; one that is not known is skipped.
    fn read(&mut self, words: &[&'a str]) -> Option<()> {
        match words {
            ["case", name] => self.name = name,
            ["dtype", dtype] => self.dtype = dtype,
            ["option", "eps", value] => self.eps = value.parse().ok()?,
            ["option", "normalized_ndim", value] => self.normalized = value.parse().ok()?,
            ["array", name, kind, offset, _, shape @ ..] => {
                let shape = shape.iter().map(|n| n.parse()).collect::<Result<_, _>>().ok()?;
                self.arrays.insert(name, (kind, offset.parse().ok()?, shape));
            }
            _ => {}
        }
        Some(())
    }

    /// The little-endian numbers of N bytes of an array; None where the case has none of that name.
    fn numbers<const N: usize, T>(&self, data: &[u8], name: &str, read: fn([u8; N]) -> T) -> Option<Vec<T>> {
        let (_, start, shape) = self.arrays.get(name)?;
        let bytes = &data[*start..start + N * shape.iter().product::<usize>()];
        Some(bytes.chunks_exact(N).map(|b| read(b.try_into().unwrap())).collect())
    }

    /// A tolerance of nan: not judged; of inf: any finite value is right.
    fn is_wrong(&self, data: &[u8], result: &str, observed: &[f32]) -> bool {
        let load = |kind: &str| self.numbers(data, &format!("{kind}.{result}"), f64::from_le_bytes);
        let (Some(expected), Some(bound)) = (load("expected"), load("tolerance")) else { return false };
        let right = |i: usize| {
            let v = f64::from(observed[i]);
            bound[i].is_nan() || (v.is_finite() && (v - expected[i]).abs() <= bound[i])
        };
        let Some(i) = (0..expected.len()).find(|&i| !right(i)) else { return false };
        println!("{}: {result}[{i}] is {}, expected {} within {:.2e}", self.name, observed[i], expected[i], bound[i]);
        true
    }

    /// How many of its results are wrong.
    fn judge(&self, data: &[u8]) -> usize {
        let load = |name: &str| self.numbers(data, name, f32::from_le_bytes);
        let (x, dy, gamma, beta) = (load("x").unwrap(), load("dy").unwrap(), load("gamma"), load("beta"));
        let shape = &self.arrays["x"].2;
        let n = shape[shape.len() - self.normalized..].iter().product::<usize>().max(1);
        let y = layer_norm::forward(&x, gamma.as_deref(), beta.as_deref(), self.eps, n);
        let (dx, dgamma, dbeta) = layer_norm::backward(&dy, &x, gamma.as_deref(), self.eps, n);
        let results = [("y", y), ("dx", dx), ("dgamma", dgamma), ("dbeta", dbeta)];
        results.iter().filter(|(name, value)| self.is_wrong(data, name, value)).count()
    }
}

fn read(folder: &str, name: &str) -> Vec<u8> {
    let path = Path::new(folder).join(name);
    std::fs::read(&path).unwrap_or_else(|error| {
        eprintln!("{}: {error}", path.display());
        exit(2)
    })
}

fn main() {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: judge FOLDER");
        exit(2)
    };
    let (manifest, data) = (read(&folder, "manifest.txt"), read(&folder, "vectors.bin"));
    let manifest = String::from_utf8_lossy(&manifest);
    if !manifest.lines().any(|line| line == "norm layer_norm") {
        eprintln!("{folder} holds no vectors of layer_norm");
        exit(2)
    }
    let (mut case, mut cases, mut wrong) = (Case::default(), 0, 0);
    for line in manifest.lines() {
        if line != "end" {
            case.read(&line.split(' ').collect::<Vec<_>>()).unwrap_or_else(|| {
                eprintln!("the manifest cannot be read at {line:?}");
                exit(2)
            });
        } else if std::mem::take(&mut case.dtype) == "float32" {
            cases += 1;
            wrong += std::mem::take(&mut case).judge(&data);
        } else {
            case = Case::default();
        }
    }
    println!("{cases} cases in float32, {wrong} arrays wrong");
    exit(if cases == 0 { 2 } else { i32::from(wrong > 0) })
}
