// The front page's histogram: normal and unseen digits by one of three scores, and a threshold to drag.
"use strict";
addEventListener("load", async () => {
  const box = document.querySelector(".rapp-front");
  if (!box) return;
  const { arrays, labels, unseen, auroc } = await rapp.load("front-data.js");
  const BINS = 40, HEIGHT = 100, svg = box.querySelector("svg"), slider = box.querySelector("input");
  let score = "recon";
  const images = box.querySelector(".rapp-images");
  labels.forEach((label, i) => {
    const cell = document.createElement("div");
    for (const name of ["x", "x_hat"]) {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 28;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", name === "x" ? `a ${label}` : `the network's copy of that ${label}`);
      rapp.paint(canvas, Float64Array.from(arrays[name].subarray(784 * i, 784 * i + 784), (value) => value / 255));
      cell.append(canvas);
    }
    const says = document.createElement("div");
    if (label === unseen) says.className = "unseen";
    cell.append(says);
    images.append(cell);
  });
  const bars = ["normal", "novel"].map((kind) => Array.from({ length: BINS }, (_, i) => {
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of Object.entries({ x: i * 10, width: 9, y: HEIGHT, height: 0, opacity: 0.6 })) rect.setAttribute(name, value);
    rect.style.fill = kind === "normal" ? "var(--rapp-x)" : "var(--rapp-x-hat)";
    svg.prepend(rect);
    return rect;
  }));
  const line = svg.querySelector("line");
  // Scores spread over several powers of ten, so their logarithms are shown, from the least to the greatest.
  const draw = () => {
    const logs = ["normal", "novel"].map((kind) => Array.from(arrays[`${score}.${kind}`], Math.log10));
    const low = Math.min(logs[0][0], logs[1][0]), high = Math.max(logs[0].at(-1), logs[1].at(-1));
    const bin = (value) => Math.min(BINS - 1, Math.floor(((value - low) / (high - low)) * BINS));
    const counts = logs.map((values) => values.reduce((n, value) => (n[bin(value)]++, n), new Array(BINS).fill(0)));
    const most = Math.max(...counts.flat());
    bars.forEach((rects, kind) => rects.forEach((rect, i) => {
      const height = (HEIGHT * counts[kind][i]) / most;
      rect.setAttribute("y", HEIGHT - height);
      rect.setAttribute("height", height);
    }));
    const share = slider.value / 1000, threshold = low + share * (high - low);
    line.setAttribute("x1", share * BINS * 10);
    line.setAttribute("x2", share * BINS * 10);
    const above = (kind) => 1 - rapp.below(arrays[`${score}.${kind}`], 10 ** threshold);
    const text = (value) => `${(100 * value).toFixed(0)} %`;
    box.querySelector(".rapp-says").textContent =
      `Above the line: ${text(above("novel"))} of the unseen ${unseen}s, ${text(above("normal"))} of the normal digits. AUROC ${auroc[score].toFixed(3)}.`;
    slider.setAttribute("aria-valuetext", box.querySelector(".rapp-says").textContent);
    [...images.children].forEach((cell, i) => {
      const place = rapp.below(arrays[`${score}.normal`], arrays[score][i]);
      cell.lastChild.textContent = `${text(place)}`;
    });
    box.querySelectorAll("button").forEach((button) => button.setAttribute("aria-pressed", button.value === score));
  };
  box.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => {
    score = button.value;
    const cut = Math.log10(rapp.quantile(arrays[`${score}.normal`], 0.95));
    const ends = ["normal", "novel"].map((kind) => arrays[`${score}.${kind}`]);
    const low = Math.log10(Math.min(ends[0][0], ends[1][0])), high = Math.log10(Math.max(ends[0].at(-1), ends[1].at(-1)));
    slider.value = (1000 * (cut - low)) / (high - low);
    draw();
  }));
  slider.addEventListener("input", draw);
  // The line can be dragged in the picture, too; by keyboard it is the slider.
  const drag = (event) => {
    const { left, width } = svg.getBoundingClientRect();
    slider.value = (1000 * (event.clientX - left)) / width;
    draw();
  };
  svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); drag(event); });
  svg.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
  box.querySelector("button").click();
  box.hidden = false;
});
