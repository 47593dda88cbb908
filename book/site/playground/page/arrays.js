"use strict";
// Arithmetic on batches.  A batch is a Float64Array that holds its samples one after the other, each of d numbers.

/** a x + b y + ...:  combine(a, x, b, y, ...), with numbers a, b and batches x, y of one length. */
function combine(...terms) {
  const sum = new Float64Array(terms[1].length);
  for (let k = 0; k < terms.length; k += 2) {
    const factor = terms[k], batch = terms[k + 1];
    for (let i = 0; i < sum.length; i++) sum[i] += factor * batch[i];
  }
  return sum;
}

/** x + sum_j weights[j] values[j], as far as there are weights. */
function weighted(x, weights, values) {
  return combine(1, x, ...weights.flatMap((weight, j) => [weight, values[j]]));
}

/** The root mean square of each sample of a batch: an array. */
function sizes(batch, d) {
  const found = [];
  for (let first = 0; first < batch.length; first += d) {
    let sum = 0;
    for (let j = first; j < first + d; j++) sum += batch[j] * batch[j];
    found.push(Math.sqrt(sum / d));
  }
  return found;
}

/** The samples of a batch with these numbers, in this order. */
function pick(batch, rows, d) {
  const found = new Float64Array(rows.length * d);
  rows.forEach((row, k) => found.set(batch.subarray(row * d, (row + 1) * d), k * d));
  return found;
}

/** The solution of matrix · y = right for a square matrix, rows one after the other, by elimination with pivots. */
function solve(matrix, right) {
  const n = right.length, m = Float64Array.from(matrix), y = Float64Array.from(right);
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let row = column + 1; row < n; row++) {
      if (Math.abs(m[row * n + column]) > Math.abs(m[pivot * n + column])) pivot = row;
    }
    if (pivot !== column) {
      for (let j = 0; j < n; j++) {
        [m[column * n + j], m[pivot * n + j]] = [m[pivot * n + j], m[column * n + j]];
      }
      [y[column], y[pivot]] = [y[pivot], y[column]];
    }
    for (let row = column + 1; row < n; row++) {
      const factor = m[row * n + column] / m[column * n + column];
      if (factor === 0) continue;
      for (let j = column; j < n; j++) m[row * n + j] -= factor * m[column * n + j];
      y[row] -= factor * y[column];
    }
  }
  for (let row = n - 1; row >= 0; row--) {
    for (let j = row + 1; j < n; j++) y[row] -= m[row * n + j] * y[j];
    y[row] /= m[row * n + row];
  }
  return y;
}
