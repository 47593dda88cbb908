"use strict";
// The book's own noise: standard normals that are functions of (seed, sample, element), so that the same start is
// drawn here and by toolkit.initial_noise(..., dtype=torch.float64).

const MIX1 = 0xBF58476D1CE4E5B9n, MIX2 = 0x94D049BB133111EBn, GOLDEN = 0x9E3779B97F4A7C15n;
const START = -1n; // the key of a run's start
const wrap = (z) => BigInt.asUintN(64, z);

/** SplitMix64's finaliser (Steele, Lea & Flood 2014) of a 64-bit integer. */
function mixed(z) {
  z = wrap((z ^ (z >> 30n)) * MIX1);
  z = wrap((z ^ (z >> 27n)) * MIX2);
  return z ^ (z >> 31n);
}

/** Standard normals for samples 0 ... n - 1 of d elements: one hash gives two of them (Box & Muller 1958). */
function initialNoise(n, d, seed) {
  const noise = new Float64Array(n * d), half = Math.ceil(d / 2);
  const key = mixed(wrap(START * GOLDEN + BigInt(seed) * MIX2 + 1n));
  for (let sample = 0; sample < n; sample++) {
    for (let pair = 0; pair < half; pair++) {
      const bits = mixed(wrap(key + mixed(wrap(BigInt(sample) * MIX1 + BigInt(pair) * GOLDEN))));
      const low = Number(BigInt.asIntN(32, bits)), high = Number(BigInt.asIntN(32, bits >> 32n));
      const radius = Math.sqrt(-2 * Math.log(Math.min(1, (Math.abs(low) + 0.5) / 2 ** 31)));
      const angle = high * Math.PI / 2 ** 31;
      noise[sample * d + pair] = radius * Math.cos(angle);
      if (half + pair < d) noise[sample * d + half + pair] = radius * Math.sin(angle);
    }
  }
  return noise;
}
