"use strict";
// Models: what is in this noisy x_t?  Every one has
//   eps(x, t)   the noise E[eps | x_t]        jacobian(x, t)   eps, and its derivative in x, one d × d matrix a sample
//   x0(x, t)    the data E[x_0 | x_t]         rows(list)       the model for these samples of its batch
//   d, schedule, calls
// x is a batch (see arrays.js), t a number, or an array with one time for each sample.

const timeOf = (t, i) => (typeof t === "number" ? t : t[i]);

// --- exact models: Gaussian mixtures in the plane ---

/** If x_0 follows a mixture of N(mu_k, C_k), x_t follows one of N(alpha mu_k, alpha^2 C_k + sigma^2 I): no network.
 * mixture: {weights, means, spectrum, basis}, C_k = V diag(e) V^T with e its spectrum and V its basis, by rows. */
class MixtureModel {
  d = 2;
  calls = 0;
  time = null; // that `variances` belong to

  constructor(mixture, schedule) {
    const K = mixture.weights.length, column = (of) => Float64Array.from({ length: K }, (_, k) => of(k));
    this.schedule = schedule;
    this.count = K;
    this.logWeight = column((k) => Math.log(mixture.weights[k]));
    [this.meanX, this.meanY] = [0, 1].map((j) => column((k) => mixture.means[k][j]));
    [this.e1, this.e2] = [0, 1].map((j) => column((k) => mixture.spectrum[k][j]));
    [this.v11, this.v12, this.v21, this.v22] = [[0, 0], [0, 1], [1, 0], [1, 1]]
      .map(([i, j]) => column((k) => mixture.basis[k][i][j])); // axis 1 is (v11, v21), axis 2 (v12, v22)
    for (const name of ["var1", "var2", "base", "share", "pull1", "pull2"]) this[name] = new Float64Array(K);
  }

  rows() { return this; }

  /** The variances of every component along its axes at time t, and the part of log(w_k p_k) that x is not in. */
  variances(t) {
    if (t === this.time) return;
    this.time = t;
    [this.alpha, this.sigma] = [this.schedule.alpha(t), this.schedule.sigma(t)];
    for (let k = 0; k < this.count; k++) {
      this.var1[k] = this.alpha ** 2 * this.e1[k] + this.sigma ** 2;
      this.var2[k] = this.alpha ** 2 * this.e2[k] + this.sigma ** 2;
      this.base[k] = this.logWeight[k] - 0.5 * Math.log(4 * Math.PI ** 2 * this.var1[k] * this.var2[k]);
    }
  }

  /** log p_t at one point; leaves for each component its share of p_t there, and (x - alpha mu) / variance along its
   * two axes, as `pull1` and `pull2`. */
  logDensity(x, y, t) {
    this.variances(t);
    const { count, alpha, share, pull1, pull2 } = this;
    let most = -Infinity, total = 0;
    for (let k = 0; k < count; k++) {
      const dx = x - alpha * this.meanX[k], dy = y - alpha * this.meanY[k];
      const along = this.v11[k] * dx + this.v21[k] * dy, across = this.v12[k] * dx + this.v22[k] * dy;
      pull1[k] = along / this.var1[k];
      pull2[k] = across / this.var2[k];
      share[k] = this.base[k] - 0.5 * (along * pull1[k] + across * pull2[k]);
      if (share[k] > most) most = share[k];
    }
    for (let k = 0; k < count; k++) total += share[k] = Math.exp(share[k] - most);
    for (let k = 0; k < count; k++) share[k] /= total;
    return most + Math.log(total);
  }

  /** eps = -sigma score = sigma sum_k share_k (x - alpha mu_k) / variance. */
  eps(x, t) {
    this.calls++;
    const out = new Float64Array(x.length);
    for (let i = 0; i < x.length; i += 2) {
      this.logDensity(x[i], x[i + 1], timeOf(t, i / 2));
      let sx = 0, sy = 0;
      for (let k = 0; k < this.count; k++) {
        const first = this.share[k] * this.pull1[k], second = this.share[k] * this.pull2[k];
        sx += this.v11[k] * first + this.v12[k] * second;
        sy += this.v21[k] * first + this.v22[k] * second;
      }
      out[i] = this.sigma * sx;
      out[i + 1] = this.sigma * sy;
    }
    return out;
  }

  /** x0 = sum_k share_k (mu_k + alpha C_k (x - alpha mu_k) / variance). */
  x0(x, t) {
    this.calls++;
    const out = new Float64Array(x.length);
    for (let i = 0; i < x.length; i += 2) {
      this.logDensity(x[i], x[i + 1], timeOf(t, i / 2));
      for (let k = 0; k < this.count; k++) {
        const first = this.alpha * this.e1[k] * this.pull1[k], second = this.alpha * this.e2[k] * this.pull2[k];
        out[i] += this.share[k] * (this.meanX[k] + this.v11[k] * first + this.v12[k] * second);
        out[i + 1] += this.share[k] * (this.meanY[k] + this.v21[k] * first + this.v22[k] * second);
      }
    }
    return out;
  }

  /** d eps / dx = -sigma (sum_k share_k (s_k s_k^T - C_k(t)^-1) - s s^T), s_k and s the scores of component and whole. */
  jacobian(x, t) {
    const eps = this.eps(x, t), jacobian = new Float64Array(2 * x.length);
    for (let i = 0; i < x.length; i += 2) {
      this.logDensity(x[i], x[i + 1], timeOf(t, i / 2));
      let sx = 0, sy = 0, xx = 0, xy = 0, yy = 0;
      for (let k = 0; k < this.count; k++) {
        const a = this.v11[k], b = this.v12[k], c = this.v21[k], d = this.v22[k];
        const gx = -(a * this.pull1[k] + b * this.pull2[k]), gy = -(c * this.pull1[k] + d * this.pull2[k]);
        const tight1 = 1 / this.var1[k], tight2 = 1 / this.var2[k], share = this.share[k];
        sx += share * gx;
        sy += share * gy;
        xx += share * (gx * gx - a * a * tight1 - b * b * tight2);
        xy += share * (gx * gy - a * c * tight1 - b * d * tight2);
        yy += share * (gy * gy - c * c * tight1 - d * d * tight2);
      }
      const mixed = xy - sx * sy, of = [xx - sx * sx, mixed, mixed, yy - sy * sy];
      jacobian.set(of.map((h) => -this.sigma * h), 2 * i);
    }
    return { eps, jacobian };
  }

  /** Where the exact flow carries x from time t to time s, in closed form: for one Gaussian, (x - alpha mu) over the
   * deviation is constant along each axis.  Nothing for several of them. */
  flow(x, t, s) {
    if (this.count > 1) return null;
    const out = new Float64Array(x.length), [v11, v12, v21, v22] = [this.v11[0], this.v12[0], this.v21[0], this.v22[0]];
    const deviations = (time) => {
      this.variances(time);
      return [this.alpha, Math.sqrt(this.var1[0]), Math.sqrt(this.var2[0])];
    };
    const [from, wide1, wide2] = deviations(t), [to, narrow1, narrow2] = deviations(s);
    for (let i = 0; i < x.length; i += 2) {
      const dx = x[i] - from * this.meanX[0], dy = x[i + 1] - from * this.meanY[0];
      const along = (v11 * dx + v21 * dy) * narrow1 / wide1, across = (v12 * dx + v22 * dy) * narrow2 / wide2;
      out[i] = to * this.meanX[0] + v11 * along + v12 * across;
      out[i + 1] = to * this.meanY[0] + v21 * along + v22 * across;
    }
    return out;
  }
}

/** The mixture with a Gaussian of deviation `width` at each point [x, y]: a kernel density estimate. */
function kernelMixture(points, width) {
  return {
    weights: points.map(() => 1 / points.length),
    means: points,
    spectrum: points.map(() => [width ** 2, width ** 2]),
    basis: points.map(() => [[1, 0], [0, 1]]),
  };
}

// --- the digits' network ---

/** A residual MLP, told the noise level c and a label (10 for none): the loops of toolkit.networks.DigitsMLP, in
 * float64 on the shipped weights.  tensors: {name: Float64Array}, the weights by rows. */
class DigitsNetwork {
  constructor(tensors) {
    this.of = (name) => ({ weight: tensors[`${name}.weight`], bias: tensors[`${name}.bias`] });
    this.frequency = tensors["conditioning.frequency"];
    this.classes = tensors["conditioning.classes.weight"];
    this.blocks = [0, 1, 2, 3].map((n) => ({
      film: this.of(`blocks.${n}.film`), first: this.of(`blocks.${n}.first`), second: this.of(`blocks.${n}.second`),
    }));
  }

  /** The vector of 96 numbers that stands for (c, label): sinusoids through two layers, plus one of the class. */
  condition(c, label) {
    const angles = Array.from(this.frequency, (f) => c * f);
    const waves = Float64Array.of(c, ...angles.map(Math.cos), ...angles.map(Math.sin));
    const level = linear(this.of("conditioning.level.2"), silu(linear(this.of("conditioning.level.0"), waves, 1)), 1);
    return silu(level.map((value, j) => value + this.classes[label * level.length + j]));
  }

  /** Scale and shift of every block for each sample: worked out once for each (c, label) that occurs, all together. */
  modulations(c, labels) {
    const keys = labels.map((label, i) => `${c[i]} ${label}`), known = [...new Set(keys)];
    const conditions = known.map((key) => keys.indexOf(key)).map((i) => this.condition(c[i], labels[i]));
    const together = Float64Array.from(conditions.flatMap((condition) => Array.from(condition)));
    const films = this.blocks.map((block) => linear(block.film, together, known.length));
    return keys.map((key) => films.map((film) => {
      const width = film.length / known.length, first = known.indexOf(key) * width;
      return film.subarray(first, first + width);
    }));
  }

  /** The output (n × 64) for inputs x (n × 64), levels c (n) and labels (n). */
  forward(x, c, labels) {
    const n = labels.length, modulations = this.modulations(c, labels);
    let h = linear(this.of("inlet"), x, n);
    this.blocks.forEach((block, b) => {
      const y = modulated(normalised(h, n).y, modulations.map((each) => each[b]));
      h = combine(1, h, 1, linear(block.second, silu(linear(block.first, y, n)), n));
    });
    return linear(this.of("outlet"), normalised(h, n).y, n);
  }

  /** The Jacobian (64 × 64) of the output in the input x of one sample, by rows: the derivative of each layer is
   * applied to all 64 unit vectors at once. */
  jacobian(x, c, label) {
    const [modulations] = this.modulations([c], [label]), d = x.length, inlet = this.of("inlet");
    let h = linear(inlet, x, 1), dh = transposed(inlet.weight, d); // row j: the change of h with input j
    this.blocks.forEach((block, b) => {
      const { y, spread } = normalised(h, 1);
      const inside = linear(block.first, modulated(y, [modulations[b]]), 1);
      const dy = scaled(normalisedChange(dh, y, spread, d), modulations[b]);
      const slope = inside.map(siluSlope), dInside = product(block.first.weight, dy, d);
      for (let i = 0; i < dInside.length; i++) dInside[i] *= slope[i % slope.length];
      h = combine(1, h, 1, linear(block.second, silu(inside), 1));
      dh = combine(1, dh, 1, product(block.second.weight, dInside, d));
    });
    const { y, spread } = normalised(h, 1);
    return transposed(product(this.of("outlet").weight, normalisedChange(dh, y, spread, d), d), d);
  }
}

/** x W^T for x (n × inputs) and W (outputs × inputs): four samples and two outputs at a time, so that a number that
 * was fetched is used more than once. */
function product(weight, x, n) {
  const inputs = x.length / n, outputs = weight.length / inputs, out = new Float64Array(n * outputs);
  let row = 0;
  for (; row + 4 <= n; row += 4) {
    const x0 = row * inputs, x1 = x0 + inputs, x2 = x1 + inputs, x3 = x2 + inputs;
    for (let o = 0; o < outputs; o += 2) {
      const w0 = o * inputs, w1 = w0 + inputs;
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      for (let j = 0; j < inputs; j++) {
        const a = weight[w0 + j], b = weight[w1 + j];
        const p = x[x0 + j], q = x[x1 + j], r = x[x2 + j], s = x[x3 + j];
        a0 += a * p; a1 += a * q; a2 += a * r; a3 += a * s;
        b0 += b * p; b1 += b * q; b2 += b * r; b3 += b * s;
      }
      let at = row * outputs + o;
      out[at] = a0; out[at + 1] = b0;
      at += outputs; out[at] = a1; out[at + 1] = b1;
      at += outputs; out[at] = a2; out[at + 1] = b2;
      at += outputs; out[at] = a3; out[at + 1] = b3;
    }
  }
  for (; row < n; row++) {
    for (let o = 0; o < outputs; o++) {
      let sum = 0;
      for (let j = 0; j < inputs; j++) sum += weight[o * inputs + j] * x[row * inputs + j];
      out[row * outputs + o] = sum;
    }
  }
  return out;
}

function linear({ weight, bias }, x, n) {
  const out = product(weight, x, n);
  for (let first = 0; first < out.length; first += bias.length) {
    for (let j = 0; j < bias.length; j++) out[first + j] += bias[j];
  }
  return out;
}

function transposed(matrix, columns) {
  const rows = matrix.length / columns, out = new Float64Array(matrix.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = matrix[i * columns + j];
  return out;
}

function silu(x) {
  const out = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) out[i] = x[i] / (1 + Math.exp(-x[i]));
  return out;
}

function siluSlope(v) {
  const gate = 1 / (1 + Math.exp(-v));
  return gate * (1 + v * (1 - gate));
}

/** Layer normalisation, y = (h - mean) / spread, of each of n samples. */
function normalised(h, n) {
  const width = h.length / n, y = new Float64Array(h.length);
  let spread = 0;
  for (let row = 0; row < n; row++) {
    let mean = 0, square = 0;
    const first = row * width, end = first + width;
    for (let i = first; i < end; i++) mean += h[i];
    mean /= width;
    for (let i = first; i < end; i++) square += (h[i] - mean) * (h[i] - mean);
    spread = Math.sqrt(square / width + 1e-5);
    for (let i = first; i < end; i++) y[i] = (h[i] - mean) / spread;
  }
  return { y, spread }; // the spread of the last sample, for the derivative of a single one
}

/** How y = normalised(h) changes with h: dy = (dh - mean(dh) - y mean(y dh)) / spread, for n changes dh. */
function normalisedChange(dh, y, spread, n) {
  const width = y.length, dy = new Float64Array(dh.length);
  for (let row = 0; row < n; row++) {
    let mean = 0, along = 0;
    for (let j = 0; j < width; j++) {
      mean += dh[row * width + j] / width;
      along += y[j] * dh[row * width + j] / width;
    }
    for (let j = 0; j < width; j++) dy[row * width + j] = (dh[row * width + j] - mean - y[j] * along) / spread;
  }
  return dy;
}

/** (1 + scale) y + shift, scale and shift the halves of each sample's modulation. */
function modulated(y, modulations) {
  const width = y.length / modulations.length, out = new Float64Array(y.length);
  modulations.forEach((m, row) => {
    for (let j = 0; j < width; j++) out[row * width + j] = (1 + m[j]) * y[row * width + j] + m[width + j];
  });
  return out;
}

function scaled(dy, modulation) {
  const width = modulation.length / 2;
  return dy.map((v, i) => (1 + modulation[i % width]) * v);
}

/** The weights that the page carries, half-precision numbers in base64, as {name: Float64Array}. */
function tensorsOf(weights) {
  const text = atob(weights.base64), tensors = {};
  let at = 0;
  for (const [name, count] of weights.tensors) {
    const tensor = tensors[name] = new Float64Array(count);
    for (let i = 0; i < count; i++, at += 2) tensor[i] = fromHalf(text.charCodeAt(at) | text.charCodeAt(at + 1) << 8);
  }
  tensors["conditioning.frequency"] = Float64Array.from(weights.frequency);
  return tensors;
}

function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = (bits & 1023) / 1024;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction);
}

/** The digits' network as a model: it was trained as F in x_0 = c_skip x / alpha + c_out F(c_in x, c_noise) (Karras
 * et al. 2022, eq. 7).  labels: one for each sample, 10 for none. */
class NetworkModel {
  d = 64;

  constructor(network, schedule, labels, sigmaData, counter = { calls: 0 }) {
    Object.assign(this, { network, schedule, labels, sigmaData, counter });
  }

  get calls() { return this.counter.calls; }

  rows(list) {
    const labels = list.map((row) => this.labels[row]);
    return new NetworkModel(this.network, this.schedule, labels, this.sigmaData, this.counter);
  }

  eps(x, t) {
    return this.answer(x, t, ({ alpha, sigma, total }) => [
      sigma / total, -alpha * this.sigmaData / Math.sqrt(total),
    ]);
  }

  x0(x, t) {
    return this.answer(x, t, ({ alpha, sigma, total }) => [
      alpha * this.sigmaData ** 2 / total, sigma * this.sigmaData / Math.sqrt(total),
    ]);
  }

  /** p x + q F for each sample, with [p, q] from `factors`. */
  answer(x, t, factors) {
    this.counter.calls++;
    const levels = this.labels.map((_, i) => this.levels(timeOf(t, i)));
    const given = x.map((v, i) => v / Math.sqrt(levels[Math.floor(i / this.d)].total));
    const out = this.network.forward(given, levels.map((level) => level.c), this.labels);
    const both = levels.map(factors);
    return out.map((v, i) => {
      const [p, q] = both[Math.floor(i / this.d)];
      return p * x[i] + q * v;
    });
  }

  levels(t) {
    const alpha = this.schedule.alpha(t), sigma = this.schedule.sigma(t);
    return { alpha, sigma, total: sigma ** 2 + alpha ** 2 * this.sigmaData ** 2, c: -0.25 * this.schedule.lam(t) };
  }

  jacobian(x, t) {
    const eps = this.eps(x, t), { d } = this, jacobian = new Float64Array(d * x.length);
    this.labels.forEach((label, i) => {
      const { alpha, sigma, total, c } = this.levels(timeOf(t, i));
      const given = x.subarray(i * d, (i + 1) * d).map((v) => v / Math.sqrt(total));
      const part = this.network.jacobian(given, c, label).map((v) => -alpha * this.sigmaData / total * v);
      for (let j = 0; j < d; j++) part[j * d + j] += sigma / total;
      jacobian.set(part, i * d * d);
    });
    return { eps, jacobian };
  }

  flow() { return null; }
}

/** Classifier-free guidance: null + w (labelled - null), two calls each time (Ho & Salimans 2022, eq. 6). */
class Guided {
  constructor(labelled, without, scale) {
    Object.assign(this, { labelled, without, scale, d: labelled.d, schedule: labelled.schedule });
  }

  get calls() { return this.labelled.calls + this.without.calls; }

  rows(list) { return new Guided(this.labelled.rows(list), this.without.rows(list), this.scale); }
  eps(x, t) { return this.mixed(this.labelled.eps(x, t), this.without.eps(x, t)); }
  x0(x, t) { return this.mixed(this.labelled.x0(x, t), this.without.x0(x, t)); }
  mixed(given, without) { return combine(1 - this.scale, without, this.scale, given); }

  jacobian(x, t) {
    const given = this.labelled.jacobian(x, t), without = this.without.jacobian(x, t);
    return {
      eps: this.mixed(given.eps, without.eps),
      jacobian: this.mixed(given.jacobian, without.jacobian),
    };
  }

  flow() { return null; }
}
