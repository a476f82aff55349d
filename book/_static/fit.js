// An equation that is wider than its column is set smaller, down to half its size.
window.addEventListener("load", () => {
  const fit = () => {
    for (const box of document.querySelectorAll('mjx-container[display="true"]')) {
      box.style.fontSize = box.dataset.size ??= box.style.fontSize; // MathJax has set one
      const size = parseFloat(getComputedStyle(box).fontSize);
      const share = box.clientWidth / box.scrollWidth;
      if (share < 1) box.style.fontSize = `${size * Math.max(0.5, share * 0.99)}px`;
    }
  };
  if (!window.MathJax || !MathJax.startup) return;
  MathJax.startup.promise.then(() => {
    fit();
    let width = innerWidth;
    window.addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; fit(); } });
  });
});
