// The playground's networks: decoding what book/rappbook/playground.py wrote, and the pathway of one image.
"use strict";
const rapp = { networks: {}, waiting: {} };
const SLOPE = 0.2; // of LeakyReLU, as rapp.models has it
const SCORES = ["recon", "sap", "nap"];
const NAMES = { recon: "Reconstruction", sap: "SAP", nap: "NAP" };
const TYPES = { int8: Int8Array, uint8: Uint8Array, int16: Int16Array, float32: Float32Array };

// Each network's script calls this with what it holds.
function rappNetwork(about, text) {
  const raw = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const arrays = {};
  for (const [name, [type, at, shape]] of Object.entries(about.arrays)) {
    arrays[name] = new TYPES[type](raw.buffer, at, shape.reduce((a, b) => a * b, 1));
    arrays[name].shape = shape;
  }
  rapp.last = { ...about, arrays };
}

// A network by its script, loaded once: a page opened from a disk may load scripts and nothing else.
rapp.load = (file) => {
  rapp.waiting[file] ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `_static/playground/${file}`;
    script.onload = () => resolve(rapp.last);
    script.onerror = () => reject(new Error(`${file} could not be loaded`));
    document.head.append(script);
  });
  return rapp.waiting[file];
};

// Linear → LeakyReLU → BatchNorm, or Linear alone, of x (n_in).
function layer(a, name, x) {
  const weight = a[`${name}.weight`], [rows, columns] = weight.shape, gain = a[`${name}.gain`];
  const y = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    for (let j = 0, at = i * columns; j < columns; j++) sum += weight[at + j] * x[j];
    sum = sum * a[`${name}.scale`][i] + a[`${name}.bias`][i];
    y[i] = gain ? (sum > 0 ? sum : SLOPE * sum) * gain[i] + a[`${name}.shift`][i] : sum;
  }
  return y;
}

const encode = (a, x) => [0, 1, 2].reduce((h, i) => [...h, layer(a, `encoder${i}`, i ? h[i - 1] : x)], []);
const decode = (a, code) => [0, 1, 2].reduce((y, i) => layer(a, `decoder${i}`, y), code);
const squared = (a, b) => a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0);

// The pathway of an image x (784, from 0 to 1): h, x̂, ĥ and the three scores.
rapp.pathway = (network, x) => {
  const a = network.arrays, h = encode(a, x), xHat = decode(a, h[2]), hHat = encode(a, xHat);
  const d = h.flatMap((part, i) => Array.from(part, (value, j) => value - hHat[i][j]));
  const white = a["white"], [rows, columns] = white.shape;
  let nap = 0;
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    for (let j = 0; j < columns; j++) sum += white[i * columns + j] * (d[j] - a["mean"][j]);
    nap += (sum * a["white.scale"][i]) ** 2;
  }
  const sap = d.reduce((sum, value) => sum + value * value, 0);
  return { h, xHat, hHat, recon: squared(x, xHat), sap, nap };
};

// The share of a sample below a value, by its quantiles (ascending, evenly spaced), and the way back.
rapp.below = (quantiles, value) => {
  const n = quantiles.length;
  if (value <= quantiles[0]) return 0;
  if (value >= quantiles[n - 1]) return 1;
  let i = 1;
  while (quantiles[i] < value) i++;
  const step = quantiles[i] - quantiles[i - 1];
  return (i - 1 + (step > 0 ? (value - quantiles[i - 1]) / step : 0)) / (n - 1);
};
rapp.quantile = (quantiles, share) => {
  const at = share * (quantiles.length - 1), i = Math.min(Math.floor(at), quantiles.length - 2);
  return quantiles[i] + (at - i) * (quantiles[i + 1] - quantiles[i]);
};

// Draw a grey image (784, from 0 to 1) into a canvas of 28 × 28.
rapp.paint = (canvas, x) => {
  const context = canvas.getContext("2d"), image = context.createImageData(28, 28);
  for (let i = 0; i < 784; i++) {
    image.data.fill(Math.round(255 * Math.min(1, Math.max(0, x[i]))), 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
};
