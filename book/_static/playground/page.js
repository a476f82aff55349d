// The playground's page: choose the digit that the network has never seen, give it an image, see its pathway.
"use strict";
const page = { unseen: 1, x: new Float64Array(784), rate: 0.05, from: null, to: null, drawn: null };
const $ = (id) => document.getElementById(id);
const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;
const colour = (name) => getComputedStyle($("rapp-playground")).getPropertyValue(name).trim();

const rgb = (name) => {
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = colour(name);
  const hex = probe.fillStyle;
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
};

// Three rows of cells: h in the input's colour, ĥ in the reconstruction's, and how far apart they are.
function strip(canvas, h, hHat) {
  const n = h.length, context = canvas.getContext("2d"), image = context.createImageData(n, 3);
  canvas.width = n;
  canvas.height = 3;
  const most = Math.max(...h.map(Math.abs), ...hHat.map(Math.abs), 1e-9);
  const rows = [[h, rgb("--rapp-x")], [hHat, rgb("--rapp-x-hat")], [h.map((v, i) => v - hHat[i]), rgb("--rapp-apart")]];
  rows.forEach(([values, ink], row) => values.forEach((value, i) => {
    const at = 4 * (row * n + i);
    image.data.set([...ink, Math.round(255 * Math.min(1, Math.abs(value) / most))], at);
  }));
  context.putImageData(image, 0, 0);
}

function show() {
  const network = page.network;
  if (!network) return;
  const found = rapp.pathway(network, page.x), words = [];
  rapp.paint($("rapp-x"), page.x);
  rapp.paint($("rapp-x-hat"), found.xHat);
  found.h.forEach((h, i) => strip($(`rapp-layer-${i + 1}`), h, found.hHat[i]));
  for (const score of SCORES) {
    const normal = network.arrays[`${score}.normal`], novel = network.arrays[`${score}.novel`];
    const place = rapp.below(normal, found[score]), threshold = rapp.quantile(normal, 1 - page.rate);
    const caught = 1 - rapp.below(novel, threshold), isNovel = found[score] > threshold;
    const rank = place >= 1 ? "above all normal digits" : `above ${percent(place, place > 0.985 ? 1 : 0)} of normal digits`;
    $(`rapp-${score}-mark`).style.left = `${100 * place}%`;
    $(`rapp-${score}-cut`).style.left = `${100 * (1 - page.rate)}%`;
    $(`rapp-${score}-rank`).textContent = rank;
    const verdict = $(`rapp-${score}-verdict`);
    verdict.textContent = isNovel ? "called novel" : "passes as normal";
    verdict.className = `verdict ${isNovel ? "novel" : "normal"} ${caught < 0.5 ? "weak" : ""}`;
    $(`rapp-${score}-caught`).textContent =
      `catches ${percent(caught)} of unseen ${network.unseen}s; AUROC ${network.auroc[score].toFixed(3)}`;
    words.push(`${NAMES[score]}: ${rank}, ${verdict.textContent}.`);
  }
  $("rapp-says").textContent = words.join(" ");
}

function use(x, label) {
  page.x = x;
  $("rapp-what").textContent = label;
  show();
}

// What was drawn, as MNIST's digits were made: 20 pixels the longer side, centre of mass in the middle of 28 × 28.
function centred(canvas) {
  const { width, height } = canvas, ink = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  let left = width, right = -1, top = height, bottom = -1;
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) if (ink[4 * (y * width + x) + 3] > 20) {
    left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y);
  }
  if (right < 0) return null;
  const w = right - left + 1, h = bottom - top + 1, scale = 20 / Math.max(w, h);
  const small = document.createElement("canvas");
  small.width = small.height = 28;
  const context = small.getContext("2d", { willReadFrequently: true });
  const grey = (dx, dy) => {
    context.clearRect(0, 0, 28, 28);
    context.imageSmoothingQuality = "high";
    context.drawImage(canvas, left, top, w, h, 14 - (w * scale) / 2 + dx, 14 - (h * scale) / 2 + dy, w * scale, h * scale);
    const data = context.getImageData(0, 0, 28, 28).data;
    return Float64Array.from({ length: 784 }, (_, i) => data[4 * i + 3] / 255);
  };
  const once = grey(0, 0);
  let mass = 0, x = 0, y = 0;
  once.forEach((value, i) => { mass += value; x += value * (i % 28); y += value * Math.floor(i / 28); });
  return grey(13.5 - x / mass, 13.5 - y / mass);
}

function drawing() {
  const canvas = $("rapp-draw"), context = canvas.getContext("2d", { willReadFrequently: true });
  let last = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
  };
  const stroke = (to) => {
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = canvas.width / 12;
    context.strokeStyle = "white";
    context.beginPath();
    context.moveTo(...(last ?? to));
    context.lineTo(to[0] + 0.01, to[1]); // a line of no length draws nothing, and a tap is to leave a dot
    context.stroke();
    last = to;
    page.drawn = centred(canvas);
    if (!page.drawn) return;
    document.querySelectorAll('#rapp-gallery [aria-checked="true"]').forEach((it) => it.setAttribute("aria-checked", "false"));
    use(page.drawn, "your drawing");
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = null;
    $("rapp-invites").hidden = true;
    stroke(place(event));
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons) stroke(place(event)); });
  $("rapp-clear").addEventListener("click", () => {
    context.clearRect(0, 0, canvas.width, canvas.height);
    $("rapp-invites").hidden = false;
    if (page.drawn) pick(...page.picked);
  });
}

const image = (digit, i) => {
  const per = page.network.arrays.images.shape[0] / 10, at = 784 * (digit * per + i);
  return Float64Array.from(page.network.arrays.images.subarray(at, at + 784), (value) => value / 255);
};

// The test images as a grid of radio buttons: one Tab stop, arrow keys move within.
function gallery() {
  const box = $("rapp-gallery"), per = page.network.arrays.images.shape[0] / 10;
  box.replaceChildren();
  for (let k = 0; k < 10; k++) for (let i = 0; i < per; i++) {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    canvas.width = canvas.height = 28;
    rapp.paint(canvas, image(k, i));
    button.append(canvas);
    Object.assign(button, { type: "button", tabIndex: k === page.unseen && i === 0 ? 0 : -1 });
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", "false");
    button.setAttribute("aria-label", `a ${k}${k === page.unseen ? ", which the network has never seen" : ""}, image ${i + 1}`);
    if (k === page.unseen) button.classList.add("unseen");
    button.addEventListener("click", () => pick(k, i));
    box.append(button);
  }
  box.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: per, ArrowUp: -per }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...box.children], at = (all.indexOf(document.activeElement) + step + all.length) % all.length;
    all[at].click();
    all[at].focus();
  };
}

function pick(digit, i) {
  const all = [...$("rapp-gallery").children], per = all.length / 10;
  all.forEach((button, at) => {
    button.setAttribute("aria-checked", at === digit * per + i);
    button.tabIndex = at === digit * per + i ? 0 : -1;
  });
  [page.from, page.to] = [page.to, image(digit, i)];
  Object.assign(page, { picked: [digit, i], drawn: null });
  $("rapp-morph").value = 100;
  use(page.to, `a ${digit} of the test set`);
}

function morph() {
  const share = $("rapp-morph").value / 100;
  page.drawn = null;
  use(page.to.map((value, i) => share * value + (1 - share) * page.from[i]),
    `${percent(1 - share)} of the image before, ${percent(share)} of the last one`);
}

async function switchTo(digit) {
  page.unseen = digit;
  const network = await rapp.load(`net-${digit}.js`);
  if (page.unseen !== digit) return; // another one was chosen meanwhile
  const drawn = page.drawn; // it stays, so that two networks can be compared; each has test images of its own
  page.network = network;
  page.to = image((digit + 1) % 10, 0); // to morph from, until another image is picked
  gallery();
  pick(digit, 0);
  if (drawn) use(page.drawn = drawn, "your drawing");
  const box = $("rapp-gallery");
  box.scrollTop = box.querySelector(".unseen").offsetTop - box.offsetTop; // on a phone it scrolls
}

addEventListener("load", () => {
  if (!$("rapp-playground")) return;
  $("rapp-playground").hidden = false;
  document.querySelectorAll('input[name="rapp-unseen"]').forEach((input) =>
    input.addEventListener("change", () => switchTo(Number(input.value))));
  $("rapp-rate").addEventListener("input", () => {
    page.rate = $("rapp-rate").value / 100;
    $("rapp-rate-says").textContent = percent(page.rate, 1);
    show();
  });
  $("rapp-morph").addEventListener("input", morph);
  new MutationObserver(show).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  drawing();
  switchTo(1);
});
