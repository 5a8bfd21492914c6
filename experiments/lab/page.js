"use strict";
/* page.js - what the pictures of the heap map answer: which span is under the pointer, or at the cell that the arrow keys chose.
   Without it the pictures and tables are all there. Text goes in as text, never as HTML. */
(function () {
  const SVG = "http://www.w3.org/2000/svg";

  function element(name, attributes, parent) {
    const made = name === "p" ? document.createElement(name) : document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    return parent.appendChild(made);
  }

  function findSpan(spans, page) {
    let low = 0, high = spans.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1, span = spans[middle];
      if (page < span[0]) high = middle - 1;
      else if (page >= span[0] + span[1]) low = middle + 1;
      else return span;
    }
    return null;
  }

  function address(data, page) {
    return "0x" + (BigInt("0x" + data.base) + BigInt(page) * BigInt(data.page)).toString(16);
  }

  function describe(data, page, span) {
    if (!span) return [address(data, page) + ": free page"];
    const [first, pages, slot, slots, objects, age, flags, site, , sizeClass] = span;
    const kind = (flags & 1 ? "without pointers" : flags & 8 ? "typed" : "scanned") + (flags & 2 ? ", in a thread's cache" : "");
    const what = slot ? "size class " + sizeClass + ", " + slot + "-byte slots" : "one large object";
    const lines = ["span at " + address(data, first) + ": " + pages * data.page / 1024 + " KiB, " + what + ", " + kind];
    const cycles = age === 1 ? "1 cycle" : age + " cycles";
    lines.push(objects + " of " + slots + (slots === 1 ? " slot" : " slots") + " taken (" + (100 * objects / slots).toFixed(1) +
      " %), made " + cycles + " ago");
    if (site >= 0) lines.push((objects < slots ? "pinned by " : "filled by ") + data.sites[site]);
    return lines;
  }

  /* The slots of a span as a strip: bitmap is hexadecimal, the lowest bit last. */
  function drawSlots(bitmap, slots, parent) {
    const columns = 64, rows = Math.ceil(slots / columns);
    const svg = element("svg", {viewBox: "0 0 " + columns + " " + rows, "aria-hidden": "true"}, parent);
    const paths = ["", ""];
    for (let i = 0; i < slots; i++) {
      const digit = parseInt(bitmap[bitmap.length - 1 - (i >> 2)] || "0", 16);
      paths[digit >> (i & 3) & 1] += "M" + i % columns + " " + Math.floor(i / columns) + "h.85v.85h-.85z";
    }
    element("path", {d: paths[0], class: "slot"}, svg);
    element("path", {d: paths[1], class: "taken"}, svg);
  }

  function attach(figure) {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const svg = figure.querySelector("svg.cells"), readout = figure.querySelector(".readout");
    const mark = element("rect", {class: "mark", width: 1, height: 1, visibility: "hidden"}, svg);
    let x = 0, y = 0, shown = null;

    function show() {
      const row = data.rows[y];
      if (row === null || row === undefined) return;
      const page = row * data.columns + x, span = findSpan(data.spans, page);
      mark.setAttribute("x", x - .06);
      mark.setAttribute("y", y - .06);
      mark.setAttribute("visibility", "visible");
      const key = span ? span[0] : "free " + page;
      if (key === shown) return;
      shown = key;
      readout.textContent = "";
      for (const line of describe(data, page, span)) element("p", {}, readout).textContent = line;
      if (span && data.maps[span[8]]) drawSlots(data.maps[span[8]], span[3], readout);
    }

    /* Until something is chosen: the sparsest span. */
    const share = function (span) { return span[4] ? span[4] / span[3] : 1; };
    const first = data.spans.reduce(function (best, span) { return best && share(best) <= share(span) ? best : span; }, null);
    if (first) {
      x = first[0] % data.columns;
      y = Math.max(0, data.rows.indexOf(Math.floor(first[0] / data.columns)));
      show();
    }

    svg.addEventListener("pointermove", function (event) {
      const box = svg.getBoundingClientRect();
      x = Math.min(data.columns - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * data.columns)));
      y = Math.min(data.rows.length - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * data.rows.length)));
      show();
    });
    svg.addEventListener("keydown", function (event) {
      const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
      if (!step) return;
      event.preventDefault();
      x = Math.min(data.columns - 1, Math.max(0, x + step[0]));
      do y += step[1]; while (data.rows[y] === null);
      y = Math.min(data.rows.length - 1, Math.max(0, y));
      show();
    });
    svg.addEventListener("focus", show);
    figure.dataset.ready = "true";
  }

  document.querySelectorAll("figure.map").forEach(attach);
})();
